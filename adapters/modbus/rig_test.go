package modbus

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/adapters"
	"packetboat/broker/store"
	"packetboat/cmd/packetboat/sim"
	"packetboat/config"
)

// fakeBroker records what is published, and when.
type fakeBroker struct {
	mu     sync.Mutex
	taken  []store.Message
	times  []time.Time
	refuse error
	more   chan struct{} // one slot
}

func (b *fakeBroker) Publish(m *store.Message) (store.Receipt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return store.Receipt{}, b.refuse
	}
	kept := *m
	kept.Payload = bytes.Clone(m.Payload)
	b.taken = append(b.taken, kept)
	b.times = append(b.times, time.Now())
	notify(b.more)
	return store.Receipt{}, nil
}

func (b *fakeBroker) setRefuse(err error) {
	b.mu.Lock()
	b.refuse = err
	b.mu.Unlock()
}

// of gives the payloads of a topic and when they came.
func (b *fakeBroker) of(topic string) (payloads []string, times []time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, m := range b.taken {
		if m.Topic == topic {
			payloads = append(payloads, string(m.Payload))
			times = append(times, b.times[i])
		}
	}
	return payloads, times
}

func (b *fakeBroker) last(topic string) string {
	if p, _ := b.of(topic); len(p) > 0 {
		return p[len(p)-1]
	}
	return ""
}

// message gives the first one of a topic.
func (b *fakeBroker) message(topic string) store.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.taken {
		if m.Topic == topic {
			return m
		}
	}
	return store.Message{}
}

// await waits until ok says so of what was published.
func (b *fakeBroker) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-b.more:
		case <-limit:
			t.Fatalf("not in time: %s", what)
		}
	}
}

type fakeDisk struct{ start time.Time }

func (d fakeDisk) Wait(context.Context, store.Receipt) error { return nil }
func (d fakeDisk) IsDurable(store.Receipt) bool              { return true }
func (d fakeDisk) AgeKnown(t store.Stamp) bool               { return t.Boot == 1 }
func (d fakeDisk) Age(t store.Stamp) time.Duration {
	return time.Since(d.start) - time.Duration(t.Up)*time.Microsecond
}

// fakeCommands is a consumer whose deliveries come from a channel.
type fakeCommands struct {
	disk   fakeDisk
	c      chan store.Delivery
	seq    uint64
	filter string

	mu     sync.Mutex
	done   []uint64
	gaveUp map[uint64]store.Reason
	closed bool
}

func (f *fakeCommands) send(topic, payload string, edit ...func(*store.Delivery)) uint64 {
	f.seq++
	up := uint64(time.Since(f.disk.start) / time.Microsecond)
	d := store.Delivery{Seq: f.seq, Message: store.Message{Topic: topic, Payload: []byte(payload), Received: store.Stamp{Boot: 1, Up: up}}}
	for _, e := range edit {
		e(&d)
	}
	f.c <- d
	return f.seq
}

func (f *fakeCommands) Next(ctx context.Context) (store.Delivery, error) {
	select {
	case d := <-f.c:
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

// fate of a command: done, a reason, or "" while it waits.
func (f *fakeCommands) fate(seq uint64) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if why, ok := f.gaveUp[seq]; ok {
		return why.String()
	}
	if slices.Contains(f.done, seq) {
		return "done"
	}
	return ""
}

// logLines counts log lines by message.
type logLines struct {
	slog.Handler
	mu    sync.Mutex
	lines map[string]int
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

// rig is an adapter with fakes around it.
type rig struct {
	*Adapter
	t      *testing.T
	broker *fakeBroker
	cmds   *fakeCommands
	log    *logLines
	slaves *sim.Modbus
	end    func()
	cut    func() // ends the present line
	theirs net.Conn

	mu     sync.Mutex
	absent error // why the line does not open
}

// newRig makes an adapter of a [[modbus]] section whose units are simulated on
// a pipe; where is port or connect.
func newRig(t *testing.T, where, text string, units map[byte]*sim.ModbusUnit) *rig {
	t.Helper()
	head := "gateway.id = \"gw\"\n[[modbus]]\nname = \"m\"\n"
	if where == "port" {
		head += "port = \"/dev/none\"\n"
	} else {
		head += "connect = \"h:502\"\n"
	}
	cfg, err := config.Parse("f", []byte(head+text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return rigOf(t, cfg.Modbus[0], units)
}

func rigOf(t *testing.T, cfg config.Modbus, units map[byte]*sim.ModbusUnit) *rig {
	t.Helper()
	disk := fakeDisk{time.Now()}
	r := &rig{
		t: t, broker: &fakeBroker{more: make(chan struct{}, 1)},
		cmds:   &fakeCommands{disk: disk, c: make(chan store.Delivery, 1000), gaveUp: map[uint64]store.Reason{}},
		log:    &logLines{Handler: slog.DiscardHandler, lines: map[string]int{}},
		slaves: &sim.Modbus{Units: units},
	}
	a, err := New(cfg, adapters.Host{Broker: r.broker, Disk: disk, Log: slog.New(r.log),
		Attach: func(_, filter string) (adapters.Commands, func(), error) {
			r.cmds.filter = filter
			return r.cmds, func() { r.cmds.closed = true }, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	a.jitter = func() time.Duration { return time.Second }
	r.Adapter = a
	return r
}

// plug connects the simulated units by a pipe whenever the line is opened.
func (r *rig) plug(ctx context.Context, wg *sync.WaitGroup) {
	serve := r.slaves.ServeRTU
	if r.cfg.Connect != "" {
		serve = r.slaves.ServeTCP
	}
	r.open = func(context.Context) (adapters.Link, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.absent != nil {
			return nil, r.absent
		}
		ours, theirs := net.Pipe()
		r.theirs = theirs
		r.cut = func() { _ = theirs.Close() }
		wg.Go(func() {
			if err := serve(ctx, theirs); err != nil && !errors.Is(err, net.ErrClosed) && err.Error() != "io: read/write on closed pipe" {
				r.t.Error(err)
			}
		})
		return ours, nil
	}
}

// start runs the adapter until stop, or the test's end.
func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	r.plug(ctx, &wg)
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			r.t.Error(err)
		}
	})
	r.end = sync.OnceFunc(func() { cancel(); wg.Wait(); r.Close() })
}

func (r *rig) setAbsent(err error) {
	r.mu.Lock()
	r.absent = err
	r.mu.Unlock()
	if err != nil {
		r.cut()
	}
}

// change changes the simulated units.
func (r *rig) change(f func()) {
	r.slaves.Lock()
	defer r.slaves.Unlock()
	f()
}

// pass lets virtual time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// bubble runs f with a rig that runs, in virtual time.
func bubble(t *testing.T, where, text string, units map[byte]*sim.ModbusUnit, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, where, text, units)
		r.start()
		defer r.end()
		synctest.Wait()
		f(t, r)
	})
}
