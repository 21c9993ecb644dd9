// Package client is an MQTT client for a person or a script: it reaches any
// broker, says what it is refused and why, and keeps nothing for later.
//
//	Dial ──► Conn ──► Publish, Subscribe
//	           └────► Events: Message (Done acknowledges it), Ack, Suback
package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/bridge/dial"
	"packetboat/broker/packet"
)

// Options say which broker, and as whom.
type Options struct {
	// Server is a URL (mqtt, mqtts, ws, wss) or unix:PATH.
	Server string
	// Net is how servers with a URL are reached.
	Net dial.Options
	// Connect is what the broker is told. With a keep alive of 0 the link is never
	// asked whether it is alive.
	Connect packet.Connect
	// Timeout bounds Dial, up to the broker's answer, and each write; 0: not bounded.
	Timeout time.Duration
}

// Refused is what a broker would not do, in words. Code is one of MQTT 5.0 also for
// older versions.
type Refused struct {
	What string // "the connection", "to take a/b"
	Code byte
	Text string // the broker's own words, mostly ""
}

// Error says what was refused and why.
func (r *Refused) Error() string {
	s := "the broker refused " + r.What + ": " + packet.Reason(r.Code)
	if r.Text != "" {
		s += ": " + r.Text
	}
	return s
}

// Message is one that has come. It is the receiver's own.
type Message struct {
	packet.Publish
	At time.Time
}

// Ack is the end of a publish at QoS 1 or 2: the broker has it, or will not take
// it (Code from 0x80 on).
type Ack struct {
	ID   uint16
	Code byte
	Text string // the broker's own words, mostly ""
}

// Suback answers a subscription, with a code for each filter in turn.
type Suback struct {
	ID    uint16
	Codes []byte
	Text  string
}

// Conn is a connection to a broker. Its methods may be called by any goroutine.
type Conn struct {
	// Answer is what the broker said of itself.
	Answer packet.Connack
	// Events has what comes: Message, Ack or Suback, in order. It is closed with the
	// connection; Err says why then.
	Events <-chan any

	net     net.Conn
	version byte
	timeout time.Duration
	cancel  context.CancelFunc
	ended   sync.WaitGroup // of the reader and of who keeps the link alive

	mu   sync.Mutex // for writing, and out
	out  []byte
	err  error         // why the reader has ended; written before Events is closed
	life chan struct{} // something has come: one slot, a wake-up

	waits  atomic.Bool // the reader, for somebody to take an event
	silent atomic.Bool // the broker did not answer in time
}

// Dial connects to a broker and waits until it has said yes. The end of ctx ends
// the attempt, and nothing after it: Close ends a connection.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	p, err := DialPackets(ctx, o)
	if err != nil {
		return nil, err
	}
	return run(p, &o), nil
}

// run makes a Conn of a connection.
func run(p *Packets, o *Options) *Conn {
	c := &Conn{net: p.Conn, version: o.Connect.Version, timeout: o.Timeout, life: make(chan struct{}, 1), Answer: p.Answer}
	c.start(p.Reader, &o.Connect)
	return c
}

// Packets is a connection that the broker has let in, for who reads and writes
// packets himself: it neither answers nor keeps the link alive. Close closes it
// without a DISCONNECT.
type Packets struct {
	net.Conn
	Reader *packet.Reader // of what comes, for one goroutine
	Answer packet.Connack // what the broker said of itself
}

// DialPackets is [Dial] for who reads and writes packets himself.
func DialPackets(ctx context.Context, o Options) (*Packets, error) {
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	raw, err := reach(ctx, &o)
	if err != nil {
		return nil, err
	}
	return open(ctx, raw, &o)
}

// open begins MQTT on a connection, which is closed when that fails.
func open(ctx context.Context, raw net.Conn, o *Options) (*Packets, error) {
	p := &Packets{Conn: raw, Reader: packet.NewReader(raw, 16<<10, 0)}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	err := p.hello(&o.Connect)
	if !stop() && err != nil {
		err = late(ctx)
	}
	if err == nil {
		err = raw.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = raw.Close() // it is of no use any more
		return nil, err
	}
	return p, nil
}

// late is why nobody waits any longer.
func late(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New("connected, and no answer to CONNECT in time (is that port one of MQTT, and with TLS or without as asked?)")
	}
	return ctx.Err()
}

// reach connects, up to where MQTT begins.
func reach(ctx context.Context, o *Options) (net.Conn, error) {
	if path, ok := strings.CutPrefix(o.Server, "unix:"); ok {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", path)
		if err != nil {
			return nil, &dial.Error{Stage: "connect", Err: err, Remedy: socketRemedy(err)}
		}
		return conn, nil
	}
	server, err := dial.Parse(o.Server)
	if err != nil {
		return nil, err
	}
	d, err := dial.New(o.Net)
	if err != nil {
		return nil, err
	}
	return d.Dial(ctx, server)
}

// hello is CONNECT and its answer.
func (p *Packets) hello(connect *packet.Connect) error {
	if _, err := p.Write(packet.AppendConnect(nil, connect)); err != nil {
		return fmt.Errorf("send CONNECT: %w", err)
	}
	typ, _, body, err := p.Reader.Next()
	if err != nil {
		return fmt.Errorf("wait for the answer to CONNECT: %w", err)
	}
	if typ != packet.CONNACK {
		return fmt.Errorf("a packet of type %d came instead of the answer to CONNECT: is that an MQTT broker?", typ)
	}
	if err := packet.ParseConnack(body, connect.Version, &p.Answer); err != nil {
		return fmt.Errorf("read the answer to CONNECT: %w", err)
	}
	if p.Answer.Code != packet.Success {
		return &Refused{What: "the connection", Code: p.Answer.Code, Text: p.Answer.ReasonString}
	}
	return nil
}

// start begins to read, and to keep the link alive.
func (c *Conn) start(r *packet.Reader, connect *packet.Connect) {
	events := make(chan any)
	c.Events = events
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.ended.Go(func() {
		c.err = c.read(ctx, r, events)
		close(events)
		cancel()
	})
	keep := time.Duration(connect.KeepAlive) * time.Second
	if c.Answer.HasServerKeepAlive {
		keep = time.Duration(c.Answer.ServerKeepAlive) * time.Second
	}
	if keep > 0 {
		c.ended.Go(func() { c.keepAlive(ctx, keep) })
	}
}

// Err says why the connection has ended, once Events is closed.
func (c *Conn) Err() error { return c.err }

// Close takes leave of the broker and waits until the connection has ended. What
// has come and was not taken from Events is lost, or comes again to a session that
// the broker keeps.
func (c *Conn) Close() error {
	// To close while the broker has not read all would take from it what it has not
	// read; it closes when it has come to DISCONNECT.
	c.cancel()
	_ = c.net.SetReadDeadline(time.Now().Add(leave))
	_ = c.write(func(b []byte) []byte { return packet.AppendDisconnect(b, c.version, &packet.Disconnect{}) })
	c.ended.Wait()
	return c.net.Close()
}

// leave is how long a broker has to close.
const leave = 2 * time.Second

// Window is how many publishes at QoS 1 and 2 may be without an Ack: what the broker
// says, at most 256. Before MQTT 5 brokers cannot say, and Mosquitto drops what is
// beyond 20.
func (c *Conn) Window() int {
	switch {
	case c.version != packet.V5:
		return 20
	case c.Answer.ReceiveMaximum == 0:
		return 256
	}
	return min(int(c.Answer.ReceiveMaximum), 256)
}

// Publish sends a message. At QoS 1 and 2, p.ID says which, and an Ack follows. The
// caller keeps to the broker's receive maximum.
func (c *Conn) Publish(p *packet.Publish) error {
	return c.write(func(b []byte) []byte { return packet.AppendPublish(b, c.version, p) })
}

// Subscribe asks for what matches the filters. A Suback with the id follows.
func (c *Conn) Subscribe(id uint16, filters []packet.Filter) error {
	return c.write(func(b []byte) []byte {
		return packet.AppendSubscribe(b, c.version, &packet.Subscribe{ID: id, Filters: filters})
	})
}

// Done tells the broker that a message has been taken care of.
func (c *Conn) Done(m *Message) error {
	answer := packet.PUBACK
	switch m.QoS {
	case 0:
		return nil
	case 2:
		answer = packet.PUBREC
	}
	return c.ack(answer, m.ID)
}

func (c *Conn) ack(typ byte, id uint16) error {
	return c.write(func(b []byte) []byte { return packet.AppendAck(b, c.version, typ, id, packet.Success) })
}

func (c *Conn) write(encode func([]byte) []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = encode(c.out[:0])
	if c.timeout > 0 {
		if err := c.net.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
			return err
		}
	}
	_, err := c.net.Write(c.out)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.net.Close() // half a packet is sent; the reader ends, too
	}
	return err
}
