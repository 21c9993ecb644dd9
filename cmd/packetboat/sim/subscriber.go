package sim

import (
	"context"
	"errors"
	"fmt"
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

	received map[uint16]bool // QoS 2: handed over, PUBREL has not come
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
		s.received = map[uint16]bool{}
	}
	out := packet.AppendSubscribe(nil, s.Version, &packet.Subscribe{
		ID: 1, Filters: []packet.Filter{{Filter: s.Filter, QoS: s.QoS}},
	})
	for {
		if len(out) > 0 && !x.buffered() {
			if _, err := x.Write(out); err != nil {
				return false, err
			}
			out = out[:0]
		}
		// Half of the keep alive without a packet is time for a ping.
		if err := x.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
			return false, err
		}
		typ, flags, body, err := x.next()
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

// take handles a packet and appends the answer.
func (s *Subscriber) take(out []byte, typ, flags byte, body []byte) ([]byte, error) {
	switch typ {
	case packet.PUBLISH:
		var p packet.Publish
		if err := packet.ParsePublish(flags, body, s.Version, &p); err != nil {
			return out, err
		}
		if p.QoS < 2 || !s.received[p.ID] {
			s.Message(p.Topic, p.Payload)
		}
		switch p.QoS {
		case 1:
			out = packet.AppendAck(out, s.Version, packet.PUBACK, p.ID, packet.Success)
		case 2:
			s.received[p.ID] = true
			out = packet.AppendAck(out, s.Version, packet.PUBREC, p.ID, packet.Success)
		}
	case packet.PUBREL:
		a, err := packet.ParseAck(typ, flags, body, s.Version)
		if err != nil {
			return out, err
		}
		delete(s.received, a.ID)
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
