package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"sync"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/qos"
	"packetboat/broker/store"
)

// conn is one connection to the cloud, from the dialled socket to its end.
type conn struct {
	b       *Bridge
	ctx     context.Context // of the connection; ends when the bridge is to stop
	link    *link
	version byte // packet.V5 or V311

	server        string // host:port
	sessionServer string // as the upstream record names it
	clean         bool   // CONNECT asked for a new session
	credentials
	made     bool // the connection before has made one; MQTT 3.1.1 servers have ended it with that
	upstream upstream
	req      requests

	// Guarded by Bridge.mu.
	sending  bool // PUBLISH may go out
	answers  qos.Answers
	armed    store.Receipt       // the receipt of an answer that will wake the pump
	released map[uint16]struct{} // PUBREL went out again and has no PUBCOMP yet
	progress time.Time           // last sign that the cloud finishes what it gets
	drained  chan struct{}
	proven   bool   // the server has answered PINGREQ
	telling  bool   // of a gap, by the message tellSeq of its lane
	tellSeq  uint64 // ...

	tell   chan struct{} // one slot: tellGaps has something to look at
	limits limits        // of CONNACK; set before sending is

	// The pump's own.
	up        router
	probing   int  // the lane whose messages go one by one, -1 for none
	counted   bool // what goes again is
	several   bool // lanes have had QoS 2
	next      store.Delivery
	publish   packet.Publish
	stamper   stamper
	unstamped bool // publish's payload could not take the stamp
	comes     bool // publish may come back, and nothing but the echoes would tell
	unacked   []unacked

	pace                             *pace // the bridge's: a new connection makes no difference to the cloud
	noRule, expired, tooLarge, unfit given

	in             inbound
	receiveMaximum uint16
	hasParked      chan struct{}
}

// connect dials a server and stays until the connection ends. up is how long
// it was online, 0 when it never was. made: the one before has made a session.
func (b *Bridge) connect(ctx context.Context, server server, made bool) (up time.Duration, err error) {
	b.state.set(Connecting, server.Address, time.Time{}, nil)
	if !b.spaceConnects(ctx) {
		return 0, ctx.Err()
	}
	shown, err := b.credentials(server.host())
	if err != nil {
		return 0, err
	}
	dialling, cancel := context.WithTimeout(ctx, b.cfg.ConnectTimeout)
	raw, err := b.dial(b.watched(dialling), server.Server)
	cancel()
	if err != nil {
		return 0, err
	}
	b.state.reach(StepLogin)
	c := b.newConn(ctx, server, raw)
	c.made = made && c.version != packet.V5
	c.credentials = shown
	defer b.live.detach(c)
	for i := range b.lanes {
		b.lanes[i].consumer.OnReady(c.link.kick)
		defer b.lanes[i].consumer.OnReady(nil)
		defer b.lanes[i].consumer.Inspect(nil)
	}
	pumping := make(chan struct{})
	go func() {
		defer close(pumping)
		c.pump()
	}()
	defer func() {
		c.link.fail(errLinkClosed)
		<-pumping
		b.mu.Lock()
		b.pace.stop()
		b.mu.Unlock()
	}()
	return c.serve()
}

// watched has the state tell what the making of a connection waits for.
func (b *Bridge) watched(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{ // package net knows it
		DNSStart:     func(httptrace.DNSStartInfo) { b.state.reach(StepName) },
		ConnectStart: func(string, string) { b.state.reach(StepConnection) },
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				b.state.reach(StepTLS)
			}
		},
	})
}

// spaceConnects waits until the cloud takes another CONNECT of ours; false when ctx
// ends first.
func (b *Bridge) spaceConnects(ctx context.Context) bool {
	wait := b.profile.connects - time.Since(b.connected)
	if b.profile.connects > 0 && wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
		}
	}
	return true
}

func (b *Bridge) newConn(ctx context.Context, server server, raw net.Conn) *conn {
	c := &conn{
		b: b, ctx: ctx, link: newLink(raw, &b.count), version: protocol(b.cfg.Version),
		server: server.Address, sessionServer: server.session,
		released: make(map[uint16]struct{}), drained: make(chan struct{}, 1), hasParked: make(chan struct{}, 1),
		tell:           make(chan struct{}, 1),
		up:             router{rules: &b.rules},
		receiveMaximum: uint16(b.cfg.Inflight),
	}
	c.pace = &b.pace
	b.mu.Lock()
	b.pace.kick = c.link.kick
	b.mu.Unlock()
	c.upstream = b.loadUpstream()
	c.clean = !c.upstream.fits(c.sessionServer, b.cfg.ClientID)
	return c
}

// serve runs the MQTT connection on the link.
func (c *conn) serve() (up time.Duration, err error) {
	client := c.newClient()
	err = client.connect(c.ctx)
	c.b.connected = time.Now() // the way there took its time, and the server's clock counts
	if err != nil {
		client.close()
		return 0, err
	}
	if c.clean {
		c.end(client)
		return 0, errSessionMade // rule 5 of upstream.go
	}
	since := time.Now()
	c.open()
	working, stop := context.WithCancel(c.ctx)
	var jobs sync.WaitGroup // what goes on beside the watch
	jobs.Go(func() { c.subscribe(working, client) })
	jobs.Go(func() { c.tellGaps(working) })
	renew := c.watch(client.done())
	stop()
	if c.ctx.Err() != nil {
		c.finish(client.done())
	} else if renew {
		c.drain(client.done(), renewWait)
	}
	c.end(client)
	jobs.Wait()
	if renew && errors.Is(c.link.err(), errLinkClosed) {
		return time.Since(since), errRenew
	}
	err = c.link.err()
	if errors.Is(err, errLinkClosed) && c.ctx.Err() == nil {
		if problem := client.problem(); problem != nil {
			err = fmt.Errorf("read from the server: %w", problem)
		}
	}
	c.blame(err)
	return time.Since(since), err
}

// errSessionMade ends a connection that made a new session, in peace.
var errSessionMade = errors.New("a new session was made")

// errRenew ends a connection whose token is about to expire, in peace.
var errRenew = errors.New("the token is renewed")

// end takes leave of the server, unless the link has ended already, and waits
// for the client. The session stays.
func (c *conn) end(client client) {
	c.link.last(func(dst []byte) []byte {
		return packet.AppendDisconnect(dst, c.version, &packet.Disconnect{})
	})
	client.close()
}

// refusedConnect is a CONNACK of 0x80 or more.
type refusedConnect struct {
	code byte
	text string
}

func (e *refusedConnect) Error() string {
	s := packet.Reason(e.code)
	if e.text != "" {
		s += ": " + e.text
	}
	return s
}

// Presence on the status topic.
const (
	online  = "online"
	offline = "offline"
)

// open lets the traffic begin.
func (c *conn) open() {
	b := c.b
	b.count.connects.Add(1)
	b.log.Info("connected", "server", c.server, "session", c.upstream.Generation, "in_flight_limit", c.limits.inFlight)
	c.presence(online)
	b.mu.Lock()
	c.inspect()
	c.sending, c.progress = true, time.Now()
	b.echoes.connected(true)
	b.drained = drainRate{acked: b.count.acked.Load(), at: time.Now()}
	probing := b.probeLocked() >= 0
	b.mu.Unlock()
	if probing {
		c.link.append(func(dst []byte) []byte { return packet.AppendPing(dst, packet.PINGREQ) })
	}
	b.live.attach(c)
	c.link.kick()
	b.state.set(Online, c.server, time.Time{}, nil)
}

// presence publishes on the status topic, at QoS 0: it needs no identifier,
// and the next connection publishes it anew.
func (c *conn) presence(text string) {
	if c.b.cfg.Status == "" {
		return
	}
	c.link.append(func(dst []byte) []byte {
		return packet.AppendPublish(dst, c.version, &packet.Publish{
			Topic: c.b.cfg.Status, Payload: []byte(text), Retain: c.limits.retain,
		})
	})
}

var errAckTimeout = errors.New("the server acknowledges nothing")

// watch stays until the connection ends or has to. It finds servers that have
// stopped acknowledging, and tries parked messages again. renew: a token expires.
func (c *conn) watch(done <-chan struct{}) (renew bool) {
	b := c.b
	limit := b.cfg.AckTimeout
	timer := time.NewTimer(limit / 4)
	defer timer.Stop()
	var retry, expiring <-chan time.Time
	if after := c.renewAfter(); after > 0 {
		token := time.NewTimer(after)
		defer token.Stop()
		expiring = token.C
	}
	for {
		select {
		case <-c.ctx.Done():
			return false
		case <-done:
			return false
		case <-c.link.closing:
			return false
		case <-expiring:
			return true
		case <-c.hasParked:
			retry = time.After(retryParked)
			continue
		case <-retry:
			retry = nil
			if c.unpark() {
				retry = time.After(retryParked)
			}
			c.link.kick() // the answers
			continue
		case <-timer.C:
		}
		b.reconcile()
		b.mu.Lock()
		b.drained.sample(b.count.acked.Load(), time.Now())
		if c.answers.Len() > 0 {
			c.progress = time.Now() // it is our disk that is waited for
		}
		waits, since := c.inFlightLocked() > 0, time.Since(c.progress)
		b.mu.Unlock()
		switch {
		case !waits || since < limit/2:
			if b.state.move(Stalled, Online) {
				b.log.Info("the server acknowledges again", "server", c.server)
			}
			timer.Reset(limit / 8)
		case since < limit:
			b.state.move(Online, Stalled)
			timer.Reset(min(limit-since, limit/8))
		default:
			c.link.fail(fmt.Errorf("%w, for %v", errAckTimeout, limit))
			return false
		}
	}
}

// finishWait is how long the end of a bridge waits for acknowledgements of
// what is in flight; what has none then is sent again by the next life, with
// the same identifiers.
const finishWait = time.Second

// finish ends the connection in peace: the session stays at the server.
func (c *conn) finish(done <-chan struct{}) {
	c.drain(done, finishWait)
	c.presence(offline)
}

// drain sends nothing new and waits until nothing is in flight, for a while.
func (c *conn) drain(done <-chan struct{}, most time.Duration) {
	b := c.b
	b.live.detach(c)
	b.mu.Lock()
	c.sending = false
	waits := c.inFlightLocked() > 0
	select {
	case <-c.drained: // of another time that nothing was in flight
	default:
	}
	b.mu.Unlock()
	if waits {
		select {
		case <-c.drained:
		case <-done:
		case <-time.After(most):
		}
	}
}
