package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"packetboat/bridge/dial"
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

	// Dial opens TCP connections; nil is net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Bridge carries messages to and from one cloud broker. Its queue exists from
// New on; the connection lives while Run runs.
type Bridge struct {
	cfg       config.Bridge
	profile   *profile
	servers   []server
	rules     rules
	stamp     stamp
	origin    string // "bridge/NAME"
	store     *store.Store
	publish   func(*store.Message) (store.Receipt, error)
	attached  *broker.Attachment
	dialer    *dial.Dialer
	dial      func(ctx context.Context, s dial.Server) (net.Conn, error)
	log       *slog.Logger
	maxPacket int

	mu      sync.Mutex // the lanes, and the connection's send state
	lanes   [lanes]lane
	probe   probe
	pace    pace
	echoes  *echoes
	drained drainRate

	connected time.Time // when the last CONNECT was answered, or was not; Run's own

	live  live
	state stateBox
	count counters
	warn  struct {
		expired, tooLarge, unfit, noRule, refused, unmatched, downLost, parked repeated
	}
}

// server is one address of the cloud.
type server struct {
	dial.Server
	session string // the name under which the upstream record knows it
}

// host is the name or address, without the port.
func (s server) host() string {
	host, _, _ := net.SplitHostPort(s.Address)
	return host
}

// New checks the section and attaches the bridge's queue to the broker: what
// its up rules take is stored from now on, whether Run runs or not. A mistake
// in the section is reported as [ConfigError]s, joined.
func New(cfg config.Bridge, opt Options) (*Bridge, error) {
	b := &Bridge{
		cfg: cfg, origin: "bridge/" + cfg.Name,
		stamp: newStamp(cfg.Stamp, cfg.Gateway),
		store: opt.Store, publish: opt.Broker.Publish, maxPacket: opt.MaxPacket,
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	b.log = opt.Log.With("bridge", cfg.Name)
	if err := b.check(opt.Dial); err != nil {
		return nil, err
	}
	dead, err := b.openDead()
	if err != nil {
		return nil, err
	}
	b.live.b, b.live.way.rules = b, &b.rules
	if opt.Replaces != nil {
		b.attached, err = opt.Replaces.attached.Replace(b.subscriptions(), &b.live)
	} else {
		b.forgetUpstreamOfNewLanes()
		b.attached, err = opt.Broker.Attach(b.origin, lanes, b.subscriptions(), &b.live)
	}
	if err != nil {
		return nil, fmt.Errorf("attach the queue of bridge %s: %w", cfg.Name, err)
	}
	for i := range b.lanes {
		c := b.attached.Lane(i)
		b.lanes[i].index, b.lanes[i].again = i, maxInFlight // of a former life: unknown
		b.lanes[i].consumer, b.lanes[i].window = c, qos.NewWindow(c, maxInFlight)
		c.SetPolicy(b.rules.whenFull(i))
		c.SetOrphan(false)
		c.SetDead(dead)
	}
	return b, nil
}

// subscriptions are the up rules as the broker routes by them, within what the
// profile allows.
func (b *Bridge) subscriptions() []broker.Subscription {
	subs := b.rules.subscriptions()
	for i := range subs {
		subs[i].QoS = min(subs[i].QoS, b.profile.qos)
		subs[i].Key = b.retainedKey(&b.rules.up[i])
		subs[i].Judge = b.profile.judgeOf(&b.rules.up[i], b.cfg.ClientID)
	}
	return subs
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
	return b.check(nil)
}

// Effective gives a section with the values of its profile where the
// configuration says nothing.
func Effective(cfg config.Bridge) config.Bridge {
	profileOf(cfg.Profile).settle(&cfg)
	return cfg
}

// CheckFiles finds mistakes in the files that a section names, as whoever runs
// this may read them: [ConfigError]s, joined. A bridge starts without them, and
// reads them for each connection.
func CheckFiles(cfg config.Bridge) error {
	b := Bridge{cfg: cfg}
	if b.check(nil) != nil {
		return nil // Check says so
	}
	errs := []error{placed(b.dialer.CheckFiles())}
	if cfg.TokenKeyFile != "" {
		if _, _, err := b.token("hub", time.Now()); err != nil {
			errs = append(errs, &ConfigError{"token_key_file", err})
		}
	}
	return errors.Join(errs...)
}

// placed makes ConfigErrors of what package dial has found.
func placed(err error) error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, e := range all.Unwrap() {
			errs = append(errs, placed(e))
		}
		return errors.Join(errs...)
	}
	var of *dial.KeyError
	if errors.As(err, &of) {
		e := of.Err
		if of.Remedy != "" {
			e = fmt.Errorf("%w; %s", e, of.Remedy)
		}
		return &ConfigError{of.Key, e}
	}
	return err
}

// check compiles what the configuration says; tcp as Options.Dial.
func (b *Bridge) check(tcp func(ctx context.Context, network, address string) (net.Conn, error)) error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, &ConfigError{key, fmt.Errorf(format, args...)})
	}
	b.profile = profileOf(b.cfg.Profile)
	b.profile.settle(&b.cfg)
	b.profile.check(&b.cfg, bad)
	b.echoes = newEchoes(b.cfg.AckTimeout)
	b.pace = newPace(b.cfg.Rate, b.profile)
	if len(b.cfg.Servers) == 0 {
		bad("servers", "is missing: give at least one, such as mqtt://mqtt.example.com:1883")
	}
	for i, s := range b.cfg.Servers {
		to, err := dial.Parse(s)
		if err != nil {
			bad(fmt.Sprintf("servers[%d]", i), "%w", err)
		}
		session := to.Address
		if b.cfg.SharedSessions {
			session = sharedServers
		}
		b.servers = append(b.servers, server{to, session})
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
	b.dialer, err = dial.New(b.dialOptions(tcp))
	if err != nil {
		errs = append(errs, placed(err))
	} else {
		b.dial = b.dialer.Dial
	}
	if b.rules, err = compileRules(b.cfg.Up, b.cfg.Down); err != nil {
		errs = append(errs, err)
	}
	for i := range b.rules.down {
		b.rules.down[i].qos = min(b.rules.down[i].qos, b.profile.qos)
	}
	return errors.Join(errs...)
}

func (b *Bridge) dialOptions(tcp func(ctx context.Context, network, address string) (net.Conn, error)) dial.Options {
	t := &b.cfg.TLS
	return dial.Options{
		Proxy: b.cfg.Proxy, Source: b.cfg.Source, Net: tcp,
		CA: t.CA, Cert: t.Cert, Key: t.Key, ServerName: t.ServerName, ALPN: t.ALPN,
	}
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
	short := 0      // connections in a row that the server has closed soon
	for {
		up, err := b.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		wait.ended(up)
		if up > 0 && up < b.cfg.Backoff.Stable && blames(err) && !b.isProbing() {
			short++
		} else if up > 0 {
			short = 0
		}
		if short >= suspiciouslyMany {
			err = fmt.Errorf("%w; it has closed %d connections in a row soon after they were made, as servers do when another client has the client id %q: each needs its own",
				err, short, b.cfg.ClientID)
		}
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

// suspiciouslyMany connections that the server closes soon, without a word, look
// like two clients with one id, each of which takes over from the other. MQTT 5
// servers say so.
const suspiciouslyMany = 3

// round tries the servers in turn until one was online, and returns when that
// connection has ended, or none could be reached.
func (b *Bridge) round(ctx context.Context) (up time.Duration, err error) {
	var errs []error
	for _, s := range b.order() {
		up, err = b.connect(ctx, s, false)
		for errors.Is(err, errSessionMade) || errors.Is(err, errRenew) {
			up, err = b.connect(ctx, s, errors.Is(err, errSessionMade))
		}
		if up > 0 || ctx.Err() != nil {
			return up, err
		}
		errs = append(errs, fmt.Errorf("%s: %w", s.Address, err))
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
