package broker

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"packetboat/broker/packet"
)

// conn is one network connection. Its reader goroutine owns it and does all
// the work that its packets ask for; others only append to its output.
//
//	accepted ──CONNECT──► claiming ──session is free──► attached ──┐
//	    │    connect_timeout  │ refused        DISCONNECT, error, │
//	    ▼                     ▼                shutdown by others ▼
//	  ended ◄──────────────────────────────────────────────── detaching
//
// While it is attached, session.conn points here and session.owner is it;
// owner is set from claiming until detaching is done, so a takeover waits for
// that.
type conn struct {
	b        *Broker
	sock     socket
	remote   string
	listener string // address of the listener
	unix     bool   // that is a socket of the file system
	log      *slog.Logger

	// The reader's own.
	in        input
	version   byte
	keepAlive time.Duration // 1.5 × keep alive, 0 = none
	session   *session
	will      *packet.Will // nil: none, or discarded by DISCONNECT
	aliases   []string     // topic aliases of the client, by number - 1
	pub       packet.Publish
	msg       Message
	frame     []byte // scratch for answers that are no acknowledgements
	router    *router
	parked    parked
	publishes access // also what it may subscribe to
	pace      *pace  // nil: no limit
	quota     quota  // of the client
	pumpDue   bool   // acknowledgements have made room in the durable window
	goodbye   bool   // DISCONNECT came
	stats     connStats

	// Set before the connection is attached, constant then.
	since         time.Time
	user          string // who the client is, as authenticated; "" = anonymous
	certified     bool   // user is from a certificate
	claimed       string // the user that a refused client has said to be, for the log
	claimedID     string // likewise the client id
	maxPacket     int    // of the client; 0 = no limit
	receiveMax    int    // of the client
	noProblemInfo bool   // the client wants no reason strings but in CONNACK and DISCONNECT
	onDurable     func()

	receives access // what is queued for it; session.mu guards it

	out    output
	code   byte          // of the shutdown, constant once stop is closed
	stop   chan struct{} // closed when nothing is appended any more
	resume chan struct{} // one slot: answers have left
	done   chan struct{} // closed when the reader has ended and the session is free
	work   atomic.Uint32
	nudged atomic.Bool // look at what is parked

	flushed   atomic.Int64 // when others last had something to flush, since Broker.started
	left      atomic.Int32 // rounds whose output was left to a flusher, and is not written yet
	aloneLeft atomic.Int32 // flushes that the readers do themselves; see alone
	streak    atomic.Int32 // times that a flusher has found nothing gathered
}

func (b *Broker) newConn(nc net.Conn) *conn {
	c := &conn{
		b:      b,
		stop:   make(chan struct{}),
		resume: make(chan struct{}, 1),
		done:   make(chan struct{}),
	}
	if a := nc.RemoteAddr(); a != nil {
		c.remote = a.String()
	}
	c.log = b.log
	c.sock.init(nc)
	c.in.own = c.sock.raw == nil
	c.pace = newPace(b.pace.Load())
	c.onDurable = func() { b.flushers.push(c, workAnswers) }
	return c
}

// errClosed ends a connection without an error of the peer's.
var errClosed = errors.New("closed")

// serve runs the connection until it is over.
func (c *conn) serve(listener net.Addr) {
	c.b.stats.connections.Add(1)
	c.b.stats.sockets.Add(1)
	defer c.b.stats.connections.Add(-1)
	defer close(c.done)
	defer func() { _ = c.sock.conn.Close() }()
	c.listener, c.unix = listener.String(), listener.Network() == "unix"
	err := c.accept(listener)
	if err == nil {
		err = c.readLoop()
	}
	c.releaseRouter()
	c.dropParked()
	code, reason := packet.Success, "" // of a connection that is gone nobody is told anything
	if bad := (*packet.Error)(nil); errors.As(err, &bad) {
		code, reason = bad.Code, bad.Reason
	}
	_ = c.shutdownFor(code, reason)
	c.detach()
	c.end()
	c.in.release()
	c.logEnd(err)
}

func (c *conn) logEnd(err error) {
	id := c.claimedID
	if c.session != nil {
		id = c.session.id
	}
	text, args := "connection closed", []any{"client", id, "remote", c.remote}
	var bad *packet.Error
	switch {
	case errors.Is(err, errClosed) && !c.goodbye:
		args = append(args, "code", c.code)
	case c.goodbye, err == nil, errors.Is(err, errClosed), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		c.log.Debug("connection ended", args...)
		return
	case errors.As(err, &bad):
		args = append(args, "reason", bad.Reason, "code", bad.Code)
		if c.claimed != "" {
			args = append(args, "user", c.claimed)
		}
	default:
		text, args = "connection lost", append(args, "error", err)
	}
	ok, missed := c.b.ends.allow()
	if !ok {
		return
	}
	if missed > 0 {
		args = append(args, "not_logged_before", missed)
	}
	c.log.Info(text, args...)
}

// setDeadline arms the read deadline, unless the connection is being shut
// down: then the deadline has to stay in the past.
func (c *conn) setDeadline(t time.Time) error {
	if err := c.sock.conn.SetReadDeadline(t); err != nil {
		return err
	}
	select {
	case <-c.stop:
		return errClosed
	default:
		return nil
	}
}

var errKeepAlive = &packet.Error{Code: packet.KeepAliveTimeout, Reason: "nothing heard for 1.5 times the keep alive"}

// wait reads more. The deadline is only moved when it fires: an active
// connection never touches a timer. It fires early when publishes are parked
// and it is time to try them again.
func (c *conn) wait() error {
	if c.pace != nil {
		if c.pace.held {
			return c.waitHeld()
		}
		if c.pace.err != nil {
			return c.pace.err
		}
	}
	began := time.Now()
	for {
		if c.nudged.Load() && c.nudged.Swap(false) {
			if err := c.unpark(); err != nil {
				return err
			}
		}
		had := c.in.n
		if c.in.b == nil {
			had = len(c.in.rest)
		}
		err := c.sock.read(&c.in)
		if err == nil {
			c.stats.bytesReceived += uint64(c.in.n - had)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		select {
		case <-c.stop:
			return errClosed
		default:
		}
		if c.session == nil { // no CONNECT in time
			return err
		}
		var until time.Time
		if c.keepAlive > 0 {
			until = began.Add(c.keepAlive)
			if !time.Now().Before(until) { // [MQTT-3.1.2-22]
				return errKeepAlive
			}
		}
		if err := c.setDeadline(until); err != nil {
			return err
		}
	}
}
