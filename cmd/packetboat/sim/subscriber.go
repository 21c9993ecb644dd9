package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"packetboat/broker/packet"
)

// Subscriber is an MQTT client with a session that survives cuts: what it
// subscribes to at QoS 2 it hands over exactly once.
type Subscriber struct {
	Addr     string
	ClientID string
	Filter   string
	QoS      byte
	Version  byte // 0 is packet.V5

	// Message is called with each message, by one goroutine; topic and payload
	// are valid during the call.
	Message func(topic string, payload []byte)
	// Subscribed is called after each SUBACK; may be nil.
	Subscribed func()

	// Broken counts PUBLISHes that the server sent again, with DUP, after it had
	// sent the PUBREL of the same message, which [MQTT-4.3.3-6] forbids: a sender
	// upstream has no part in these. They are answered and not handed over.
	Broken atomic.Uint64

	received map[uint16]uint64 // QoS 2: handed over, PUBREL has not come; digests
	released map[uint16]uint64 // QoS 2: the last message of an id whose PUBREL has come
	seed     maphash.Seed
}

// Run receives until ctx ends; it returns nil then.
func (s *Subscriber) Run(ctx context.Context) error {
	if s.Version == 0 {
		s.Version = packet.V5
	}
	err := redial(ctx, s.session)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("subscriber %s: %w", s.ClientID, err)
}

func (s *Subscriber) session(ctx context.Context) (done bool, err error) {
	c := &packet.Connect{Version: s.Version, ClientID: s.ClientID, KeepAlive: 30}
	if s.Version == packet.V5 {
		c.SessionExpiry = 3600
		c.ReceiveMaximum = 1000
	}
	x, ack, err := dial(ctx, s.Addr, c)
	if err != nil {
		return false, err
	}
	defer x.Close()
	stop := context.AfterFunc(ctx, func() { _ = x.Close() })
	defer stop()
	if !ack.SessionPresent || s.received == nil {
		s.forget()
	}
	out := packet.AppendSubscribe(nil, s.Version, &packet.Subscribe{
		ID: 1, Filters: []packet.Filter{{Filter: s.Filter, QoS: s.QoS}},
	})
	for {
		if len(out) > 0 && !x.packets.Buffered() {
			if _, err := x.Write(out); err != nil {
				return false, err
			}
			out = out[:0]
		}
		// Half of the keep alive without a packet is time for a ping.
		if err := x.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
			return false, err
		}
		typ, flags, body, err := x.packets.Next()
		var timeout interface{ Timeout() bool }
		if errors.As(err, &timeout) && timeout.Timeout() && ctx.Err() == nil {
			out = packet.AppendPing(out, packet.PINGREQ)
			continue
		}
		if err != nil {
			return false, err
		}
		if out, err = s.take(out, typ, flags, body); err != nil {
			return false, err
		}
	}
}

// forget begins a new session.
func (s *Subscriber) forget() {
	s.received, s.released = map[uint16]uint64{}, map[uint16]uint64{}
	s.seed = maphash.MakeSeed()
}

// take handles a packet and appends the answer.
func (s *Subscriber) take(out []byte, typ, flags byte, body []byte) ([]byte, error) {
	switch typ {
	case packet.PUBLISH:
		var p packet.Publish
		if err := packet.ParsePublish(flags, body, s.Version, &p); err != nil {
			return out, err
		}
		if p.QoS < 2 || s.fresh(&p) {
			s.Message(p.Topic, p.Payload)
		}
		switch p.QoS {
		case 1:
			out = packet.AppendAck(out, s.Version, packet.PUBACK, p.ID, packet.Success)
		case 2:
			out = packet.AppendAck(out, s.Version, packet.PUBREC, p.ID, packet.Success)
		}
	case packet.PUBREL:
		a, err := packet.ParseAck(typ, flags, body, s.Version)
		if err != nil {
			return out, err
		}
		if digest, ok := s.received[a.ID]; ok {
			s.released[a.ID] = digest
			delete(s.received, a.ID)
		}
		out = packet.AppendAck(out, s.Version, packet.PUBCOMP, a.ID, packet.Success)
	case packet.SUBACK:
		var a packet.Suback
		if err := packet.ParseSuback(typ, body, s.Version, &a); err != nil {
			return out, err
		}
		for _, code := range a.Codes {
			if code >= 0x80 {
				return out, fmt.Errorf("subscription to %s refused with 0x%02X", s.Filter, code)
			}
		}
		if s.Subscribed != nil {
			s.Subscribed()
		}
	case packet.DISCONNECT:
		return out, errors.New("the server has disconnected")
	}
	return out, nil
}

// fresh tells whether a QoS 2 message has not come before, and notes that it has
// come now.
func (s *Subscriber) fresh(p *packet.Publish) bool {
	if _, ok := s.received[p.ID]; ok {
		return false
	}
	var h maphash.Hash
	h.SetSeed(s.seed)
	_, _ = h.WriteString(p.Topic)
	_ = h.WriteByte(0)
	_, _ = h.Write(p.Payload)
	digest := h.Sum64()
	s.received[p.ID] = digest
	if old, ok := s.released[p.ID]; ok && p.Dup && old == digest {
		s.Broken.Add(1)
		return false
	}
	return true
}
