package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"packetboat/broker/packet"

	"github.com/eclipse/paho.golang/packets"
	paholog "github.com/eclipse/paho.golang/paho/log"
	"github.com/eclipse/paho.golang/paho/session"
)

// conn implements session.SessionManager: paho asks it for everything that
// concerns identifiers and acknowledgements. The state that outlives a
// connection is not here but in the lanes' windows and in the store.
var _ session.SessionManager = (*conn)(nil)

// Packet identifiers of SUBSCRIBE and UNSUBSCRIBE: those that no lane has.
const (
	firstRequestID = 65533
	lastRequestID  = 65535
)

// requests are SUBSCRIBE and UNSUBSCRIBE packets without an answer.
type requests struct {
	mu      sync.Mutex
	waiting map[uint16]chan<- packets.ControlPacket
	lost    bool
}

var (
	errSessionPresent = errors.New("the server resumed a session although a new one was asked for [MQTT-3.2.2-4]")
	errNotOurs        = errors.New("paho sent a packet that is ours to send")
)

// ConAckReceived is called by paho with a CONNACK of success.
func (c *conn) ConAckReceived(_ io.Writer, _ *packets.Connect, ack *packets.Connack) error {
	return c.settle(ack.SessionPresent, limitsOf(ack.Properties, c.b.cfg.Inflight))
}

// settle settles the session before anything is read from it or sent on it;
// upstream.go says why in this order.
func (c *conn) settle(present bool, l limits) error {
	b := c.b
	c.limits = b.profile.most(l)
	if present {
		if c.clean {
			return errSessionPresent
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.resumeLocked()
		return nil
	}
	if !c.clean && !c.made {
		b.count.lostSessions.Add(1)
		b.log.Info("the server has no session of ours any more; what it had not confirmed is sent as new", "server", c.server)
	}
	c.upstream = upstream{Server: c.sessionServer, At: c.server, ClientID: b.cfg.ClientID, Generation: c.upstream.Generation + 1}
	b.mu.Lock()
	after := b.restartLocked()
	b.mu.Unlock()
	after = after.After(b.forgetOthers(c.upstream))
	after = after.After(b.saveUpstream(c.upstream))
	after = after.After(b.store.Forget(b.origin, 0))
	ctx, cancel := context.WithTimeout(c.ctx, b.cfg.AckTimeout)
	defer cancel()
	if err := b.store.Wait(ctx, after); err != nil {
		if failed := b.store.Failed(); failed != nil {
			err = failed
		}
		return fmt.Errorf("record the new upstream session: %w", err)
	}
	return nil
}

// ConnectionLost notes what the server said on leaving, and releases those who
// wait for an answer.
func (c *conn) ConnectionLost(d *packets.Disconnect) error {
	if d != nil {
		c.link.fail(&disconnected{code: d.ReasonCode, text: reasonString(d.Properties)})
	}
	c.req.mu.Lock()
	defer c.req.mu.Unlock()
	c.req.lost = true
	for id, resp := range c.req.waiting {
		resp <- packets.ControlPacket{} // paho's channels have room for one
		delete(c.req.waiting, id)
	}
	return nil
}

// AddToSession gives a SUBSCRIBE or UNSUBSCRIBE its identifier.
func (c *conn) AddToSession(_ context.Context, p session.Packet, resp chan<- packets.ControlPacket) error {
	if p.Type() == packets.PUBLISH {
		return errNotOurs
	}
	c.req.mu.Lock()
	defer c.req.mu.Unlock()
	if c.req.lost {
		return session.ErrNoConnection
	}
	for id := firstRequestID; id <= lastRequestID; id++ {
		if _, busy := c.req.waiting[uint16(id)]; !busy {
			if c.req.waiting == nil {
				c.req.waiting = make(map[uint16]chan<- packets.ControlPacket)
			}
			c.req.waiting[uint16(id)] = resp
			p.SetIdentifier(uint16(id))
			return nil
		}
	}
	return session.ErrPacketIdentifiersExhausted
}

// PacketReceived takes every packet that has an identifier. It runs on the
// reader. paho ignores its error, so it ends the link itself.
func (c *conn) PacketReceived(p *packets.ControlPacket, _ chan<- *packets.Publish) error {
	if id := p.PacketID(); id == 0 {
		c.link.fail(fmt.Errorf("%s with packet identifier 0", p.PacketType()))
		return nil
	}
	switch x := p.Content.(type) {
	case *packets.Publish:
		p := fromPaho(x)
		c.received(&p)
	case *packets.Puback:
		c.acknowledged(packet.PUBACK, x.PacketID, x.ReasonCode)
	case *packets.Pubrec:
		c.acknowledged(packet.PUBREC, x.PacketID, x.ReasonCode)
	case *packets.Pubcomp:
		c.acknowledged(packet.PUBCOMP, x.PacketID, x.ReasonCode)
	case *packets.Pubrel:
		c.acknowledged(packet.PUBREL, x.PacketID, x.ReasonCode)
	case *packets.Suback:
		c.req.answered(x.PacketID, p)
	case *packets.Unsuback:
		c.req.answered(x.PacketID, p)
	}
	return nil
}

func (r *requests) answered(id uint16, p *packets.ControlPacket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if resp, ok := r.waiting[id]; ok {
		delete(r.waiting, id)
		resp <- *p
	}
}

// Ack is called by paho after its handlers have run, which see only QoS 0
// here: nothing to acknowledge.
func (c *conn) Ack(*packets.Publish) error { return nil }

// Close is called by paho only on sessions that it made itself.
func (c *conn) Close() error { return nil }

// SetErrorLogger and SetDebugLogger: what is worth a line is logged by us.
func (c *conn) SetErrorLogger(paholog.Logger) {}
func (c *conn) SetDebugLogger(paholog.Logger) {}

// disconnected is the end of a connection by the server's DISCONNECT.
type disconnected struct {
	code byte
	text string
}

func (e *disconnected) Error() string {
	s := "the server disconnected: " + packet.Reason(e.code)
	if e.code == packet.SessionTakenOver {
		s += ": another client uses the client id; each needs its own"
	}
	if e.text != "" {
		s += ": " + e.text
	}
	return s
}

func reasonString(p *packets.Properties) string {
	if p == nil {
		return ""
	}
	return p.ReasonString
}

// limits are what the server allows on a connection.
type limits struct {
	inFlight int
	packet   int  // bytes, 0 = no limit
	qos      byte // maximum
	retain   bool
}

// limitsOf reads them from CONNACK.
func limitsOf(p *packets.Properties, inflight int) limits {
	l := limits{inFlight: min(max(inflight, 1), maxInFlight), qos: 2, retain: true}
	if p == nil {
		return l
	}
	if p.ReceiveMaximum != nil && *p.ReceiveMaximum > 0 {
		l.inFlight = min(l.inFlight, int(*p.ReceiveMaximum))
	}
	if p.MaximumPacketSize != nil {
		l.packet = int(*p.MaximumPacketSize)
	}
	if p.MaximumQOS != nil {
		l.qos = min(*p.MaximumQOS, 2)
	}
	if p.RetainAvailable != nil {
		l.retain = *p.RetainAvailable == 1
	}
	return l
}
