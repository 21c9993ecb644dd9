package adapters

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"packetboat/adapters/decode"
	"packetboat/broker/store"
	"packetboat/config"
)

// fakeBroker records what is published; refuse, when set, says what is not taken.
type fakeBroker struct {
	mu     sync.Mutex
	taken  []store.Message
	tries  int
	refuse func(m *store.Message) error
}

func (b *fakeBroker) Publish(m *store.Message) (store.Receipt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tries++
	if b.refuse != nil {
		if err := b.refuse(m); err != nil {
			return store.Receipt{}, err
		}
	}
	kept := *m
	kept.Payload = bytes.Clone(m.Payload)
	b.taken = append(b.taken, kept)
	return store.Receipt{}, nil
}

func (b *fakeBroker) setRefuse(f func(m *store.Message) error) {
	b.mu.Lock()
	b.refuse = f
	b.mu.Unlock()
}

// payloads of a topic; of all that is no presence when topic is "".
func (b *fakeBroker) payloads(topic string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	for _, m := range b.taken {
		if m.Topic == topic || topic == "" && !strings.HasSuffix(m.Topic, "/status") {
			list = append(list, string(m.Payload))
		}
	}
	return list
}

// fakeDisk makes everything durable when its gate is open. Stamps count from
// its start.
type fakeDisk struct {
	start time.Time
	gate  chan struct{} // nil: open
	boot  uint32        // the present one; 0 is 1
	wall  bool          // the clock is and was trusted
}

func newFakeDisk() *fakeDisk { return &fakeDisk{start: time.Now()} }

func (d *fakeDisk) Wait(ctx context.Context, _ store.Receipt) error {
	if d.gate == nil {
		return nil
	}
	select {
	case <-d.gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *fakeDisk) IsDurable(store.Receipt) bool {
	if d.gate == nil {
		return true
	}
	select {
	case <-d.gate:
		return true
	default:
		return false
	}
}

func (d *fakeDisk) Age(t store.Stamp) time.Duration {
	return time.Since(d.start) - time.Duration(t.Up)*time.Microsecond
}

func (d *fakeDisk) now() store.Stamp {
	return store.Stamp{Boot: max(1, d.boot), Up: uint64(time.Since(d.start) / time.Microsecond)}
}

func (d *fakeDisk) AgeKnown(t store.Stamp) bool { return t.Boot == max(1, d.boot) || d.wall }

// fakeCommands is a consumer whose deliveries come from a channel.
type fakeCommands struct {
	disk *fakeDisk
	c    chan store.Delivery
	seq  uint64

	mu     sync.Mutex
	done   []uint64
	gaveUp map[uint64]store.Reason
	filter string
	closed bool
}

func newFakeCommands(d *fakeDisk) *fakeCommands {
	return &fakeCommands{disk: d, c: make(chan store.Delivery, 10000), gaveUp: map[uint64]store.Reason{}}
}

func (f *fakeCommands) attach(filter string) (Commands, func(), error) {
	f.filter = filter
	return f, func() { f.mu.Lock(); f.closed = true; f.mu.Unlock() }, nil
}

func (f *fakeCommands) send(topic, payload string, edit ...func(*store.Delivery)) uint64 {
	f.seq++
	d := store.Delivery{Seq: f.seq, Message: store.Message{Topic: topic, Payload: []byte(payload), Received: f.disk.now()}}
	for _, e := range edit {
		e(&d)
	}
	f.c <- d
	return f.seq
}

func (f *fakeCommands) Next(ctx context.Context) (store.Delivery, error) {
	select {
	case d, ok := <-f.c:
		if !ok {
			return d, errors.New("consumer failed")
		}
		return d, nil
	case <-ctx.Done():
		return store.Delivery{}, ctx.Err()
	}
}

func (f *fakeCommands) Done(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, seq)
}

func (f *fakeCommands) GiveUp(seq uint64, why store.Reason, _ string) store.Receipt {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gaveUp[seq] = why
	return store.Receipt{}
}

func (f *fakeCommands) finished() (done []uint64, gaveUp map[uint64]store.Reason) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gaveUp = map[uint64]store.Reason{}
	for k, v := range f.gaveUp {
		gaveUp[k] = v
	}
	return append([]uint64(nil), f.done...), gaveUp
}

func tmpl(t testing.TB, s string) config.Template {
	t.Helper()
	p, err := config.ParseTemplate(s, "remote", "port", "time", "field:", "payload", "topic")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// logLines counts log lines by message.
type logLines struct {
	slog.Handler
	mu    sync.Mutex
	lines map[string]int
}

func newLogLines() *logLines {
	return &logLines{Handler: slog.DiscardHandler, lines: map[string]int{}}
}
func (l *logLines) Enabled(context.Context, slog.Level) bool { return true }
func (l *logLines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logLines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines[r.Message]++
	return nil
}
func (l *logLines) count(msg string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines[msg]
}

// rig is a Stream with fakes around it.
type rig struct {
	t      testing.TB
	broker *fakeBroker
	disk   *fakeDisk
	cmds   *fakeCommands
	log    *logLines
	s      *Stream
	links  sync.WaitGroup
}

// wait is what Run is given: the links are opened by the tests.
func (r *rig) wait(ctx context.Context) error {
	<-ctx.Done()
	r.links.Wait()
	return nil
}

func newRig(t testing.TB, edit func(r *rig, o *Options)) *rig {
	t.Helper()
	r := &rig{t: t, broker: &fakeBroker{}, disk: newFakeDisk(), log: newLogLines()}
	r.cmds = newFakeCommands(r.disk)
	o := Options{
		Name:   "dev",
		Topic:  tmpl(t, "gw/dev"),
		Status: tmpl(t, "gw/dev/status"),
		QoS:    1,
		Broker: r.broker,
		Disk:   r.disk,
		Log:    slog.New(r.log),
		Jitter: func() time.Duration { return time.Second },
	}
	if edit != nil {
		edit(r, &o)
	}
	s, err := NewStream(o)
	if err != nil {
		t.Fatal(err)
	}
	r.s = s
	return r
}

// withCommands adds commands on topic.
func withCommands(topic string) func(r *rig, o *Options) {
	return func(r *rig, o *Options) {
		o.Command = &CommandOptions{
			Attach: r.cmds.attach,
			Topic:  tmpl(r.t, topic),
			Encode: decode.Command{Template: tmpl(r.t, "{payload}\r\n")},
			TTL:    time.Minute,
		}
	}
}

func (b *fakeBroker) attempts() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tries
}

func (b *fakeBroker) messages() []store.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]store.Message(nil), b.taken...)
}
