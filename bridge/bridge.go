package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"packetboat/broker"
	"packetboat/broker/qos"
	"packetboat/broker/store"
	"packetboat/broker/topic"
	"packetboat/config"
)

// Options are what a bridge needs besides its section of the configuration.
type Options struct {
	Broker *broker.Broker
	Store  *store.Store // the broker's

	// MaxPacket is the largest packet taken from the cloud, in bytes; 0 is no
	// limit.
	MaxPacket int

	// Log is nil for slog.Default.
	Log *slog.Logger

	// Replaces is the bridge of the same name whose place this one takes, while
	// messages come in: each is queued by the rules of one of the two. Its Run must
	// have returned; unless New fails, it is used up. Nil for none.
	Replaces *Bridge

	// Dial opens network connections; nil is net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Bridge carries messages to and from one cloud broker. Its queue exists from
// New on; the connection lives while Run runs.
type Bridge struct {
	cfg       config.Bridge
	servers   []server
	rules     rules
	stamp     stamp
	origin    string // "bridge/NAME"
	store     *store.Store
	publish   func(*store.Message) (store.Receipt, error)
	attached  *broker.Attachment
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	log       *slog.Logger
	maxPacket int

	mu    sync.Mutex // the lanes, and the connection's send state
	lanes [lanes]lane
	probe probe

	live  live
	state stateBox
	count counters
	warn  struct {
		expired, tooLarge, noRule, refused, unmatched, downLost, parked repeated
	}
}

// server is one address of the cloud.
type server struct {
	address string // host:port
	session string // the name under which the upstream record knows it
}

// New checks the section and attaches the bridge's queue to the broker: what
// its up rules take is stored from now on, whether Run runs or not. A mistake
// in the section is reported as [ConfigError]s, joined.
func New(cfg config.Bridge, opt Options) (*Bridge, error) {
	b := &Bridge{
		cfg: cfg, origin: "bridge/" + cfg.Name,
		stamp: newStamp(cfg.Stamp, cfg.Gateway),
		store: opt.Store, publish: opt.Broker.Publish, dial: opt.Dial, maxPacket: opt.MaxPacket,
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	b.log = opt.Log.With("bridge", cfg.Name)
	if b.dial == nil {
		b.dial = (&net.Dialer{}).DialContext
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	dead, err := b.openDead()
	if err != nil {
		return nil, err
	}
	b.live.b, b.live.way.rules = b, &b.rules
	if opt.Replaces != nil {
		b.attached, err = opt.Replaces.attached.Replace(b.rules.subscriptions(), &b.live)
	} else {
		b.forgetUpstreamOfNewLanes()
		b.attached, err = opt.Broker.Attach(b.origin, lanes, b.rules.subscriptions(), &b.live)
	}
	if err != nil {
		return nil, fmt.Errorf("attach the queue of bridge %s: %w", cfg.Name, err)
	}
	for i := range b.lanes {
		c := b.attached.Lane(i)
		b.lanes[i].consumer, b.lanes[i].window = c, qos.NewWindow(c, maxInFlight)
		c.SetPolicy(b.rules.whenFull(i))
		c.SetOrphan(false)
		c.SetDead(dead)
	}
	return b, nil
}

// deadName is the consumer of the messages that the cloud will not take.
func (b *Bridge) deadName() string { return b.origin + "/dead" }

// openDead opens it; nil when none are to be kept.
func (b *Bridge) openDead() (*store.Consumer, error) {
	if b.cfg.DeadLetterSize == 0 {
		return nil, nil
	}
	dead, err := b.store.Consumer(b.deadName(), store.SessionIDs)
	if err != nil {
		return nil, fmt.Errorf("open the dead letters of bridge %s: %w", b.cfg.Name, err)
	}
	dead.SetLimit(0, uint64(b.cfg.DeadLetterSize))
	dead.SetOrphan(false)
	return dead, nil
}

// Check finds the mistakes in a section that New would report.
func Check(cfg config.Bridge) error {
	b := Bridge{cfg: cfg}
	return b.check()
}

// check compiles what the configuration says.
func (b *Bridge) check() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, &ConfigError{key, fmt.Errorf(format, args...)})
	}
	if len(b.cfg.Servers) == 0 {
		bad("servers", "is missing: give at least one, such as mqtt://mqtt.example.com:1883")
	}
	for i, s := range b.cfg.Servers {
		address, err := parseServer(s)
		if err != nil {
			bad(fmt.Sprintf("servers[%d]", i), "%w", err)
		}
		session := address
		if b.cfg.SharedSessions {
			session = sharedServers
		}
		b.servers = append(b.servers, server{address, session})
	}
	if b.cfg.ClientID == "" {
		bad("client_id", "empty; the cloud keeps a session by it")
	}
	if s := b.cfg.Status; s != "" && !topic.ValidName(s) {
		bad("status", "%q is no topic to publish to", s)
	}
	if s := b.cfg.Gaps; s != "" && !topic.ValidName(s) {
		bad("gaps", "%q is no topic to publish to", s)
	}
	var err error
	if b.rules, err = compileRules(b.cfg.Up, b.cfg.Down); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// parseServer takes "mqtt://host[:port]" apart. Its errors do not quote it:
// there may be a password in it.
func parseServer(s string) (address string, err error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "":
		return "", errors.New("is not a URL such as mqtt://mqtt.example.com:1883")
	case u.Scheme != "mqtt":
		return "", fmt.Errorf("%s is not supported in this version; there is mqtt", u.Scheme)
	}
	port := u.Port()
	if port == "" {
		port = "1883"
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// Name is the bridge's name.
func (b *Bridge) Name() string { return b.cfg.Name }

// Lag is what waits in each lane.
func (b *Bridge) Lag() [lanes]store.Lag {
	var l [lanes]store.Lag
	for i := range l {
		l[i] = b.lanes[i].consumer.Lag()
	}
	return l
}

// DeadLetters is how many messages are kept that the cloud would not take.
func (b *Bridge) DeadLetters() uint64 {
	if c := b.store.Lookup(b.deadName()); c != nil {
		return c.Lag().Messages
	}
	return 0
}

// Close detaches the bridge from the broker: nothing new is queued for it.
// What is queued stays. Run must have returned.
func (b *Bridge) Close() { b.attached.Close() }

// Run connects and reconnects until ctx ends, and returns when the connection
// and all its goroutines have ended. It returns nil. It may be called again
// afterwards.
func (b *Bridge) Run(ctx context.Context) error {
	defer b.state.set(Stopped, "", time.Time{}, nil)
	wait := pauses{Backoff: b.cfg.Backoff}
	var said string // the last failure that was logged
	for {
		up, err := b.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		wait.ended(up)
		if up > 0 && b.isProbing() {
			wait.last = 0 // the server is well, and few attempts are left to make
		}
		pause := wait.next()
		next := time.Now().Add(pause)
		phase := BackingOff
		var no *refusedConnect
		args := []any{"error", err, "next_attempt_in", pause.Round(time.Millisecond)}
		if errors.As(err, &no) {
			phase = Refused
			args = append(args, "remedy", connectRemedy(no.code))
		}
		b.state.set(phase, "", next, err)
		level, text := slog.LevelDebug, fmt.Sprint(err)
		if up > 0 || text != said {
			level = slog.LevelWarn
		}
		said = text
		switch {
		case up > 0:
			b.log.Log(ctx, level, "connection lost", args...)
		case phase == Refused:
			b.log.Log(ctx, level, "the cloud refuses the connection", args...)
		default:
			b.log.Log(ctx, level, "the cloud cannot be reached", args...)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// round tries the servers in turn until one was online, and returns when that
// connection has ended, or none could be reached.
func (b *Bridge) round(ctx context.Context) (up time.Duration, err error) {
	var errs []error
	for _, s := range b.order() {
		if up, err = b.connect(ctx, s, false); errors.Is(err, errSessionMade) {
			up, err = b.connect(ctx, s, true)
		}
		if up > 0 || ctx.Err() != nil {
			return up, err
		}
		errs = append(errs, fmt.Errorf("%s: %w", s.address, err))
	}
	return 0, errors.Join(errs...)
}

// order is the order in which servers are tried: first the one where the
// session was last live, because moving to another costs a new session (and
// one window of messages sent twice), then as configured.
func (b *Bridge) order() []server {
	order := slices.Clone(b.servers)
	u := b.loadUpstream()
	if i := slices.IndexFunc(order, func(s server) bool { return u.fits(s.session, b.cfg.ClientID) }); i > 0 {
		last := order[i]
		order = slices.Insert(slices.Delete(order, i, i+1), 0, last)
	}
	return order
}
