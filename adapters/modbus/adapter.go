package modbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/adapters"
	"packetboat/adapters/frame"
	"packetboat/adapters/serial"
	"packetboat/config"
)

// dialTimeout is for a connection to be made.
const dialTimeout = 10 * time.Second

// Adapter polls the units of one line or connection.
type Adapter struct {
	cfg      config.Modbus
	host     adapters.Host
	log      *slog.Logger
	wire     wire
	timing   timing
	units    []*unit
	status   string // the line's presence topic; "": none, or each unit has one
	presence *presence
	inbox    *inbox // nil: nothing is to be written
	schedule schedule
	opened   time.Time // this life of the line
	answered time.Time // by any unit, in this life
	refusing bool      // the broker has not taken the latest reading

	// open opens the line; pauses between two tries come from jitter. Tests
	// have their own.
	open   func(ctx context.Context) (adapters.Link, error)
	jitter func() time.Duration

	links              adapters.Limiter
	recent             adapters.Recent
	line               lineCounters
	ready              atomic.Bool
	trouble            adapters.Trouble
	opens              atomic.Uint64
	published, dropped atomic.Uint64

	mu    sync.Mutex
	stats []UnitStats // of units, as of their latest poll
}

var _ adapters.Adapter = (*Adapter)(nil)

// New makes the adapter of a [[modbus]] section. Its error is a
// *adapters.KeyError.
func New(cfg config.Modbus, host adapters.Host) (*Adapter, error) {
	a := &Adapter{cfg: cfg, host: host, log: host.Log}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.log = a.log.With("adapter", cfg.Name)
	a.jitter = func() time.Duration { return 500*time.Millisecond + rand.N(time.Second) }
	if err := a.link(); err != nil {
		return nil, err
	}
	if err := a.addUnits(); err != nil {
		return nil, err
	}
	a.presence = newPresence()
	a.showOffline()
	return a, a.attach()
}

// Check says what is wrong with a [[modbus]] section that the configuration
// itself cannot see: nil or a *adapters.KeyError.
func Check(cfg config.Modbus) error {
	_, err := New(cfg, adapters.Checking())
	return err
}

// link chooses the line or connection.
func (a *Adapter) link() error {
	switch {
	case a.cfg.Connect != "":
		a.wire, a.open = mbap{}, a.dial
	case a.cfg.Port != "" || a.cfg.Match != nil:
		if err := a.wanted().Check(); err != nil {
			return err
		}
		a.wire, a.open, a.timing = rtu{}, a.openPort, timingOf(a.cfg.Baud)
	default:
		return &adapters.KeyError{Key: "port", Err: errors.New("is missing: give the path of the port, or connect")}
	}
	return nil
}

func (a *Adapter) dial(ctx context.Context) (adapters.Link, error) {
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(ctx, "tcp", a.cfg.Connect)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (a *Adapter) wanted() serial.Wanted {
	return serial.Wanted{Port: a.cfg.Port, Match: a.cfg.Match}
}

func (a *Adapter) openPort(context.Context) (adapters.Link, error) {
	path, err := a.wanted().Find()
	if err != nil {
		return nil, err
	}
	m := a.cfg.Mode
	// Converters from RS-232 to RS-485 often live on the power of these lines.
	p, err := serial.Open(path, serial.Line{Baud: a.cfg.Baud, Data: m.Data, Parity: m.Parity, Stop: m.Stop, DTR: true, RTS: true})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// addUnits makes the units, and their places in the schedule.
func (a *Adapter) addUnits() error {
	each := a.cfg.Status.Uses("unit")
	if !each {
		a.status = expand(a.cfg.Status, "")
	}
	cost := a.cfg.Timeout + a.timing.sending(8) + a.timing.silence // 8: a request to read
	for i := range a.cfg.Units {
		c := &a.cfg.Units[i]
		status := ""
		if each {
			status = expand(a.cfg.Status, c.Name)
		}
		u, err := newUnit(c, expand(a.cfg.Topic, c.Name), status, cost)
		if err != nil {
			var key *adapters.KeyError
			if errors.As(err, &key) {
				key.Key = fmt.Sprintf("unit[%d].%s", i, key.Key)
			}
			return err
		}
		a.units = append(a.units, u)
		a.stats = append(a.stats, u.stats)
		a.schedule.slots = append(a.schedule.slots, &u.slot)
	}
	return nil
}

func readError(i int, err error) error {
	return &adapters.KeyError{Key: fmt.Sprintf("read[%d].type", i), Err: err}
}

// expand gives a topic of a unit.
func expand(t config.Template, unit string) string {
	return string(t.Expand(nil, func(dst []byte, _ string) []byte { return append(dst, unit...) }))
}

// attach attaches the durable consumer of commands, if a value is to be written.
func (a *Adapter) attach() error {
	topics := map[string]*unit{}
	for _, u := range a.units {
		if slices.ContainsFunc(u.points, func(p point) bool { return p.write }) {
			topics[u.topic+"/set"] = u
		}
	}
	if len(topics) == 0 {
		return nil
	}
	filter, err := commandFilter(a.cfg.Topic)
	if err != nil {
		return &adapters.KeyError{Key: "topic", Err: err}
	}
	a.inbox = newInbox(a.host, a.log, topics)
	if a.inbox.src, a.inbox.detach, err = a.host.Attach(a.cfg.Name, filter); err != nil {
		return &adapters.KeyError{Key: "topic", Err: err}
	}
	return nil
}

// commandFilter is the subscription that gets the commands of all units.
func commandFilter(t config.Template) (string, error) {
	const mark = "\x00" // cannot stand in a topic
	levels := strings.Split(expand(t, mark), "/")
	for i, l := range levels {
		switch {
		case l == mark:
			levels[i] = "+"
		case strings.Contains(l, mark):
			return "", errors.New("{unit} must be a level of its own where a value has write = true")
		}
	}
	return strings.Join(levels, "/") + "/set", nil
}

// Name is the adapter's name.
func (a *Adapter) Name() string { return a.cfg.Name }

// Kind is of adapters.Adapter.
func (a *Adapter) Kind() string { return "modbus" }

// Recent keeps the last replies.
func (a *Adapter) Recent() *adapters.Recent { return &a.recent }

// Close detaches the commands; see adapters.Adapter.
func (a *Adapter) Close() {
	if a.inbox != nil {
		a.inbox.detach()
	}
}

// Run polls until ctx ends. A line that goes is opened again.
func (a *Adapter) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	around, stop := context.WithCancel(context.WithoutCancel(ctx))
	wg.Go(func() {
		adapters.TellStates(around, a.presence, a.presence.wake, adapters.PublishState(a.host.Broker, a.origin(), a.log))
	})
	if a.inbox != nil {
		wg.Go(func() { a.inbox.run(ctx) })
	}
	a.reopen(ctx)
	stop() // after the line was closed, so that offline is said
	wg.Wait()
	return nil
}

// reopen keeps the line open until ctx ends.
func (a *Adapter) reopen(ctx context.Context) {
	var cannot told
	for ctx.Err() == nil {
		link, err := a.open(ctx)
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = link.Close() // nothing was written to it
			}
			return
		case err != nil:
			a.trouble.Set(err)
			if cannot.worth(err) {
				a.log.Error("cannot open; will keep trying", "error", err)
			}
		default:
			cannot = told{}
			a.trouble.Set(nil)
			if more, ok := a.links.Allow(); ok {
				a.log.Info("open", "port", a.cfg.Port, "connect", a.cfg.Connect, "suppressed", more)
			}
			err := a.serve(ctx, link)
			a.trouble.Gone(err)
			if more, ok := a.links.Allow(); ok && ctx.Err() == nil {
				a.log.Warn("gone; will reopen", "error", err, "suppressed", more)
			}
		}
		wait(ctx, a.jitter())
	}
}

// told is an error that was logged: it is not again, until it changes and a
// while has passed.
type told struct {
	text string
	at   time.Time
}

func (t *told) worth(err error) bool {
	text := err.Error()
	if t.text != "" && (text == t.text || time.Since(t.at) < time.Minute) {
		return false
	}
	t.text, t.at = text, time.Now()
	return true
}

// wait waits for d or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// Stats are those of the line. Frames are replies: those with a CRC that does
// not fit count as Checksum, late ones and ones to nothing as Garbage.
func (a *Adapter) Stats() adapters.Stats {
	l := &a.line
	st := adapters.Stats{
		Ready:     a.ready.Load(),
		Problem:   a.trouble.String(),
		Opened:    a.opens.Load(),
		Published: a.published.Load(),
		Dropped:   a.dropped.Load(),
		Frame: frame.Counters{
			Bytes:     l.bytes.Load(),
			Frames:    l.replies.Load(),
			Checksum:  l.crc.Load(),
			Garbage:   l.garbled.Load() + l.stale.Load(),
			Discarded: l.discarded.Load(),
		},
	}
	if st.Ready {
		st.Open = 1
	}
	if ns := l.lastReply.Load(); ns != 0 {
		st.LastFrame = time.Unix(0, ns)
	}
	if in := a.inbox; in != nil {
		st.CommandsWaiting = in.waits()
		st.CommandsSent = in.sent.Load()
		st.CommandsExpired = in.expired.Load()
		st.CommandsFailed = in.failed.Load()
	}
	return st
}

// Units are the counters of each unit. Any goroutine.
func (a *Adapter) Units() []UnitStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.stats)
}
