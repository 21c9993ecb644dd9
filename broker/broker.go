// Package broker is the gateway's local MQTT broker: it accepts MQTT 3.1,
// 3.1.1 and 5.0 connections, routes every message of the gateway, and keeps
// what is durable about it in the store.
//
// The files read as a message travels: listener.go accepts, conn.go lives and
// dies, conn_read.go cuts packets, inbound.go takes PUBLISH, route.go finds
// receivers and stages, conn_write.go carries bytes out, outbound.go keeps the
// windows. Everything else hangs on these: connect.go, session.go,
// subscribe.go, access.go, retained.go, will.go, willrecord.go, shared.go, handover.go, unrouted.go, attach.go,
// answers.go, parked.go, pace.go, sys.go, and for operators clients.go, tap.go.
//
// Locks, in the order in which they may be taken: Broker.mu (the subscription
// tree and the sessions), retained.mu, session.mu (a session's durable
// window), output.mu (a connection's output), the store's own, flushers.mu,
// held.mu, tap.mu. Nobody waits for the disk with any of them.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/broker/acl"
	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/broker/topic"
)

// Message is an application message; see [store.Message].
type Message = store.Message

// ErrTopic is wrapped by the error of Publish for a topic that cannot be
// published to.
var ErrTopic = errors.New("invalid topic")

// Options are the limits and parts of a broker. The zero value of a limit is
// its default.
type Options struct {
	Store *store.Store // required; its Run has to be running while the broker serves
	Log   *slog.Logger // nil: slog.Default

	// Authenticate decides about a CONNECT; nil lets everybody in, without a name
	// unless a certificate gives one. It returns packet.Success or the reason code
	// to refuse with, and who the client is from then on: "" is nobody in
	// particular, whatever name the client has given itself. It runs on the
	// connection's goroutine and may block, but not for long after Gone is closed.
	Authenticate func(*Credentials) (user string, code byte)

	// Rules say who may publish and subscribe to what; nil: everybody to everything.
	// SetRules changes them.
	Rules *acl.Rules

	MaxPacketSize int // bytes, 1 MiB
	MaxInflight   int // QoS 1 and 2 messages in flight, each way, each client: 1024
	MaxSessions   int // persistent ones, 1000
	// MaxSessionMessages and MaxSessionSize (bytes) bound what is queued for one
	// persistent session; beyond that its oldest messages are dropped. 0: no
	// bound of its own.
	MaxSessionMessages int
	MaxSessionSize     int64
	MaxSessionExpiry   time.Duration // 7 days
	MaxSubscriptions   int           // of a client, 1000
	MaxTopicLevels     int           // 32
	TopicAliasMax      int           // accepted of a client, and given to one that takes them, 64; negative: none
	MaxKeepAlive       time.Duration // server keep alive; 0: the client's
	ConnectTimeout     time.Duration // from accept to a complete CONNECT, 10 s; and from who the client is to CONNACK
	NoRetain           bool          // refuse retained messages
	MaxRetained        int           // messages, 10,000
	MaxRetainedSize    int64         // bytes, 16 MiB
	MessagesPerSecond  int           // PUBLISH packets of a client, 0: no limit; more wait
	BytesPerSecond     int64         // of them, the same
	MaxOutput          int           // bytes that may wait for one connection, 4 MiB
	SysInterval        time.Duration // of $SYS; 0: no $SYS

	// SysMore gives further values of $SYS: set takes the name, below $SYS/broker/,
	// and the value. It is called with nothing else going on in $SYS, and does not
	// block; nil: there are none.
	SysMore func(set func(name, value string))

	// Unrouted appends where a message goes whose topic nobody subscribes to;
	// nil: nowhere.
	Unrouted func(dst []byte, topic string) []byte

	QueueQoS0 QueueQoS0
	Version   string // for $SYS/broker/version
}

// QueueQoS0 says which durable subscribers get QoS 0 messages queued while
// they are offline.
type QueueQoS0 byte

const (
	QueueForBridges QueueQoS0 = iota // attached subscribers only
	QueueForAll                      // persistent sessions too
	QueueForNone
)

// Credentials are what a client shows.
type Credentials struct {
	ClientID    string // as sent: "" asks for an assigned one
	User        string
	HasUser     bool
	Password    []byte // valid during the call
	HasPassword bool
	Verified    bool   // User is from a verified client certificate, whatever CONNECT says
	Remote      string // address of the peer
	Listener    net.Addr
	Gone        <-chan struct{} // closed when the connection is being ended
}

func (o *Options) setDefaults() {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.MaxPacketSize, 1<<20)
	def(&o.MaxInflight, 1024)
	def(&o.MaxSessions, 1000)
	def(&o.MaxSubscriptions, 1000)
	def(&o.MaxTopicLevels, 32)
	def(&o.TopicAliasMax, 64)
	def(&o.MaxRetained, 10_000)
	def(&o.MaxOutput, 4<<20)
	o.TopicAliasMax = max(o.TopicAliasMax, 0)
	o.MaxOutput = max(o.MaxOutput, 2*o.MaxPacketSize)
	if o.MaxRetainedSize == 0 {
		o.MaxRetainedSize = 16 << 20
	}
	if o.MaxSessionExpiry == 0 {
		o.MaxSessionExpiry = 7 * 24 * time.Hour
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
}

// Broker routes messages between connections, attached subscribers and the
// store. Its methods may be called from any number of goroutines.
type Broker struct {
	opt   Options
	log   *slog.Logger
	store *store.Store

	mu        sync.RWMutex // guards the rest of this group
	tree      topic.Tree[string, *sub]
	sessions  map[string]*session // by client id
	attached  map[string]*Attachment
	groups    map[string]*group // shared subscriptions, by whole filter
	marks     map[uint32]*group // ... by mark
	heritage  []string          // consumers of ended sessions, to be handed over
	lasting   int               // sessions that are durable
	slots     slots
	ended     store.Receipt        // of the last session that ended
	late      map[string]lateWill  // by client id
	wills     map[string]*lastWill // durable ones, by client id
	orphans   map[string]*session  // pending wills of sessions that a crash ended, by client id
	willSaved store.Receipt        // of the last change of a will's record
	due       time.Time            // when housekeeping has to look next; zero = never

	rules    atomic.Pointer[acl.Rules] // set with mu held
	pace     atomic.Pointer[paceLimits]
	tap      atomic.Pointer[tap] // nil: nobody looks at what is routed
	taps     taps
	retained retained
	sys      sys
	unrouted unrouted
	ends     quiet // log lines about connections that ended badly
	denials  quiet // ... about what the rules do not allow
	denied   recentDenials
	flushers flushers
	held     held
	outputs  budget        // of what waits to be sent
	connects budget        // of CONNECTs that are not complete
	routers  sync.Pool     // *router
	wake     chan struct{} // one slot: due has changed
	inherit  chan struct{} // one slot: there is something in heritage
	stats    counters
	started  time.Time
	durable  func(store.Receipt) bool // isDurable, made once
}

// New makes a broker over the sessions, subscriptions and retained messages
// that the store holds. Nothing runs yet.
func New(opt Options) (*Broker, error) {
	if opt.Store == nil {
		return nil, errors.New("new broker: no store")
	}
	opt.setDefaults()
	b := &Broker{
		opt: opt, log: opt.Log, store: opt.Store,
		sessions: make(map[string]*session),
		attached: make(map[string]*Attachment),
		groups:   make(map[string]*group),
		marks:    make(map[uint32]*group),
		inherit:  make(chan struct{}, 1),
		late:     make(map[string]lateWill),
		wills:    make(map[string]*lastWill),
		orphans:  make(map[string]*session),
		wake:     make(chan struct{}, 1),
		started:  time.Now(),
		outputs:  budget{most: max(allOutput, 2*opt.MaxRetainedSize)},
		connects: budget{most: allConnects},
	}
	b.SetPace(opt.MessagesPerSecond, opt.BytesPerSecond)
	b.routers.New = func() any { return newRouter(b) }
	b.durable = b.isDurable
	b.unrouted.init(opt.Unrouted)
	b.flushers.init()
	b.held.init()
	b.rules.Store(opt.Rules)
	b.loadRetained()
	if err := b.loadSessions(); err != nil {
		return nil, fmt.Errorf("load sessions: %w", err)
	}
	if err := b.loadWills(); err != nil {
		return nil, fmt.Errorf("load wills: %w", err)
	}
	b.loadHeritage()
	return b, nil
}

// Run does what no connection does itself: it flushes what one connection put
// out for another, has parked publishes tried again, ends sessions, hands over
// what they leave, sends delayed wills and publishes $SYS. It
// has to run while Serve does, and returns when ctx ended and all that it
// started has.
func (b *Broker) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range flusherCount {
		wg.Go(func() { b.flushers.run(ctx) })
	}
	wg.Go(func() { b.nudgeHeld(ctx) })
	wg.Go(func() { b.runHandover(ctx) })
	if b.opt.SysInterval > 0 {
		wg.Go(func() { b.runSys(ctx) })
	}
	b.housekeep(ctx)
	wg.Wait()
	b.endTap()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stampOfflineLocked()
	for id, l := range b.late {
		if b.wills[id] != nil && b.wills[id].w == l.w {
			continue // its record is published from after the next start
		}
		b.log.Error("will not published", "client", id, "topic", l.w.Topic, "error", "the queue did not take it until the end")
	}
	return nil
}

// Publish routes a message of an adapter or a bridge: to live subscribers at
// once, to durable ones through the store. The message is durable when the
// receipt is; the zero receipt means that nothing about it is.
//
// Nothing of m is kept: what outlives the call is copied, so the caller may
// reuse m and its slices. store.ErrFull, store.ErrFailed and store.ErrTooLarge
// are passed on, and then nobody got the message; nor with ErrDenied. A QoS 2 message with Origin and PacketID that
// the store still holds is not routed again; its first receipt is returned.
func (b *Broker) Publish(m *Message) (store.Receipt, error) {
	if err := b.checkTopic(m.Topic); err != nil {
		return store.Receipt{}, err
	}
	if reserved(m.Topic) {
		return store.Receipt{}, fmt.Errorf("publish to %q: %w: the broker's own", m.Topic, ErrTopic)
	}
	if err := b.checkPublish(m); err != nil {
		return store.Receipt{}, fmt.Errorf("publish to %q: %w", m.Topic, err)
	}
	if m.PacketID != 0 {
		if r, held := b.store.Received(m.Origin, m.PacketID); held {
			return r, nil
		}
	}
	r := b.router()
	res := r.route(nil, m)
	r.flush()
	b.routers.Put(r)
	return res.receipt, res.err
}

func (b *Broker) checkTopic(name string) error {
	if !topic.ValidName(name) {
		return fmt.Errorf("publish to %q: %w", name, ErrTopic)
	}
	if topic.Levels(name) > b.opt.MaxTopicLevels {
		return fmt.Errorf("publish to %q: %w: more than %d levels", name, ErrTopic, b.opt.MaxTopicLevels)
	}
	return nil
}

// reserved topics are the broker's own.
func reserved(name string) bool { return strings.HasPrefix(name, "$SYS/") || name == "$SYS" }

// codeOf is the reason code for a publisher whose message the store refused,
// and the reason in words.
func codeOf(err error) (code byte, why string) {
	switch {
	case errors.Is(err, store.ErrFull):
		return packet.QuotaExceeded, store.ErrFull.Error()
	case errors.Is(err, errRetainedFull):
		return packet.QuotaExceeded, errRetainedFull.Error()
	case errors.Is(err, store.ErrFailed):
		return packet.ImplementationSpecificError, store.ErrFailed.Error()
	}
	return packet.ImplementationSpecificError, ""
}

// KickUsers ends the connections of all clients whose user gone reports, MQTT
// 5.0 ones with 0x87, Not authorized; their sessions stay. Users that a
// certificate has named are not asked about. It returns how many there were.
func (b *Broker) KickUsers(gone func(user string) bool) (n int) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, s := range b.sessions {
		if c := s.owner; c != nil && c.user != "" && !c.certified && gone(c.user) {
			n++
			c.shutdown(packet.NotAuthorized)
		}
	}
	return n
}

// Kick ends the connection of a client, an MQTT 5.0 one with 0x98,
// Administrative action; its session stays. It reports whether there was one.
func (b *Broker) Kick(clientID string) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	s := b.sessions[clientID]
	if s == nil {
		return false
	}
	c := s.conn.Load()
	if c != nil {
		c.shutdown(packet.AdministrativeAction)
	}
	return c != nil
}
