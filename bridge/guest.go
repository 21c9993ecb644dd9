package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"packetboat/bridge/dial"
	"packetboat/broker/packet"
)

// A guest is at a cloud broker for a moment, to see whether it is let in and what
// it may do. It keeps no session, unless it comes with the bridge's own client id:
// then the session is left as it was. It takes nothing of what it is sent: what is
// not acknowledged comes again. One goroutine.
type guest struct {
	conn    *conn // for what a CONNECT of the bridge has
	raw     net.Conn
	packets *packet.Reader
	version byte
	own     bool
	ack     packet.Connack
}

// newGuest makes the guest of a bridge on a connection.
func (b *Bridge) newGuest(raw net.Conn, shown credentials, own bool) *guest {
	g := &guest{raw: raw, packets: packet.NewReader(raw, readBuffer, maxInbound), version: protocol(b.cfg.Version), own: own}
	g.conn = &conn{b: b, version: g.version, clean: !own, credentials: shown, receiveMaximum: uint16(b.cfg.Inflight)}
	return g
}

// within runs f until ctx ends: then what it does with the connection fails by a
// deadline.
func (g *guest) within(ctx context.Context, f func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = g.raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return f()
}

// login sends CONNECT and takes the answer; [refusedConnect] is a no.
func (g *guest) login() error {
	p := g.conn.connectPacket()
	p.Will = nil
	if !g.own {
		p.SessionExpiry = 0
	}
	_, wrote := g.raw.Write(packet.AppendConnect(nil, &p))
	typ, _, body, err := g.next() // a server that has hung up may have said why before
	if err != nil {
		return cmp.Or(told(err), wrote, err)
	}
	if typ != packet.CONNACK {
		return fmt.Errorf("the first packet is of type %d, not CONNACK [MQTT-3.2.0-1]", typ)
	}
	if err := packet.ParseConnack(body, g.version, &g.ack); err != nil {
		return err
	}
	if g.ack.Code >= packet.UnspecifiedError {
		return &refusedConnect{code: g.ack.Code, text: g.ack.ReasonString}
	}
	return nil
}

// told is err if it is what a server has said, or what its end of the connection
// is known to mean.
func told(err error) error {
	var at *dial.Error
	var left *disconnected
	if errors.As(err, &at) || errors.As(err, &left) {
		return err
	}
	return nil
}

// Why a round trip is not made.
var (
	errMayNotSubscribe = errors.New("it may not subscribe there")
	errMayNotPublish   = errors.New("it may not publish there")
	errNotBack         = errors.New("the server has acknowledged it and does not send it back: most likely the guest may not read there")
)

// roundTrip subscribes to a topic, publishes to it at QoS 1 and waits for both the
// acknowledgement and the message.
func (g *guest) roundTrip(topic string, payload []byte) error {
	const id = 1
	ask := packet.Subscribe{ID: id, Filters: []packet.Filter{{Filter: topic, QoS: 1}}}
	if _, err := g.raw.Write(packet.AppendSubscribe(nil, g.version, &ask)); err != nil {
		return err
	}
	_, body, err := g.until(packet.SUBACK)
	switch {
	case late(err) == errLate:
		return fmt.Errorf("no answer to SUBSCRIBE: %w", errLate)
	case err != nil: // as AWS IoT Core does it
		return fmt.Errorf("%w: the connection ended: %w", errMayNotSubscribe, err)
	}
	var granted packet.Suback
	if err := packet.ParseSuback(packet.SUBACK, body, g.version, &granted); err != nil {
		return err
	}
	if len(granted.Codes) != 1 || granted.Codes[0] >= packet.UnspecifiedError {
		return fmt.Errorf("%w: %s", errMayNotSubscribe, packet.Reason(granted.Codes[0]))
	}
	m := packet.Publish{Topic: topic, Payload: payload, QoS: 1, ID: id}
	if _, err := g.raw.Write(packet.AppendPublish(nil, g.version, &m)); err != nil {
		return err
	}
	return g.awaitBoth(topic, payload, id)
}

// errLate stands for the deadline of a connection, whose text is about sockets.
var errLate = errors.New("not in time")

func late(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errLate
	}
	return err
}

// awaitBoth waits for the PUBACK and for the message.
func (g *guest) awaitBoth(topic string, payload []byte, id uint16) error {
	acked, came := false, false
	for !acked || !came {
		typ, flags, body, err := g.next()
		switch {
		case err != nil && acked:
			return errNotBack
		case late(err) == errLate:
			return fmt.Errorf("no acknowledgement: %w", errLate)
		case err != nil:
			return fmt.Errorf("%w: the connection ended: %w", errMayNotPublish, err)
		}
		switch typ {
		case packet.PUBACK:
			a, err := packet.ParseAck(typ, flags, body, g.version)
			if err != nil {
				return err
			}
			if a.ID == id && a.Code >= packet.UnspecifiedError {
				return fmt.Errorf("%w: %s", errMayNotPublish, packet.Reason(a.Code))
			}
			acked = acked || a.ID == id
		case packet.PUBLISH:
			var p packet.Publish
			if err := packet.ParsePublish(flags, body, g.version, &p); err != nil {
				return err
			}
			if p.Topic == topic && string(p.Payload) == string(payload) {
				came = true
				if p.QoS == 1 { // with nothing unacknowledged, the server can forget it
					if _, err := g.raw.Write(packet.AppendAck(nil, g.version, packet.PUBACK, p.ID, 0)); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// leave takes leave, so that no will is published. A session that the guest has
// made under the bridge's own client id ends: the bridge would take it for its own.
func (g *guest) leave() {
	d := packet.Disconnect{}
	if g.own && !g.ack.SessionPresent {
		d.HasSessionExpiry = true // 0
	}
	_, _ = g.raw.Write(packet.AppendDisconnect(nil, g.version, &d)) // it ends all the same
	_ = g.raw.Close()
}

// until returns the next packet of a type; others are passed over.
func (g *guest) until(typ byte) (flags byte, body []byte, err error) {
	for {
		t, flags, body, err := g.next()
		switch {
		case err != nil:
			return 0, nil, err
		case t == typ:
			return flags, body, nil
		}
	}
}

// next returns the next packet, which is valid until it is called again. The
// server's DISCONNECT is an error.
func (g *guest) next() (typ, flags byte, body []byte, err error) {
	typ, flags, body, err = g.packets.Next()
	if err != nil || typ != packet.DISCONNECT {
		return typ, flags, body, err
	}
	var d packet.Disconnect
	if err := packet.ParseDisconnect(body, g.version, &d); err != nil {
		return 0, 0, nil, err
	}
	return 0, 0, nil, &disconnected{code: d.Code, text: d.ReasonString}
}
