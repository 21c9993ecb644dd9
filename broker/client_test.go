package broker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"packetboat/broker/packet"
)

// client is a raw MQTT client: it sends what it is told and answers nothing by
// itself.
type client struct {
	t       testing.TB
	nc      net.Conn
	version byte
	buf     []byte
	pub     packet.Publish
	ack     packet.Connack // of the last connect
}

func (c *client) send(frames ...[]byte) {
	c.t.Helper()
	var all []byte
	for _, f := range frames {
		all = append(all, f...)
	}
	if _, err := c.nc.Write(all); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// next reads one packet; io.EOF when the connection is over.
func (c *client) next() (typ, flags byte, body []byte, err error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		typ, flags, body, n, err := packet.Next(c.buf, 0)
		if err != nil {
			return 0, 0, nil, err
		}
		if n > 0 {
			body = append([]byte(nil), body...)
			c.buf = c.buf[n:]
			return typ, flags, body, nil
		}
		in := make([]byte, 4096)
		k, err := c.nc.Read(in)
		c.buf = append(c.buf, in[:k]...)
		if err != nil && k == 0 {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				err = io.EOF // a reset is as good
			}
			return 0, 0, nil, err
		}
	}
}

// want reads a packet of that type.
func (c *client) want(typ byte) (flags byte, body []byte) {
	c.t.Helper()
	got, flags, body, err := c.next()
	if err != nil {
		c.t.Fatalf("waiting for packet type %d: %v", typ, err)
	}
	if got != typ {
		c.t.Fatalf("packet type %d (flags %x) %x, want type %d", got, flags, body, typ)
	}
	return flags, body
}

func (c *client) connect(p *packet.Connect) packet.Connack {
	c.t.Helper()
	c.version = p.Version
	c.send(packet.AppendConnect(nil, p))
	return c.wantConnack()
}

func (c *client) wantConnack() packet.Connack {
	c.t.Helper()
	_, body := c.want(packet.CONNACK)
	var ack packet.Connack
	if err := packet.ParseConnack(body, c.version, &ack); err != nil {
		c.t.Fatal(err)
	}
	c.ack = ack
	return ack
}

func (c *client) subscribe(f ...packet.Filter) []byte {
	c.t.Helper()
	return c.subscribeID(0, f...)
}

func (c *client) subscribeID(id uint32, f ...packet.Filter) []byte {
	c.t.Helper()
	c.send(packet.AppendSubscribe(nil, c.version, &packet.Subscribe{ID: 100, SubscriptionID: id, Filters: f}))
	return c.wantSuback(packet.SUBACK)
}

func (c *client) wantSuback(typ byte) []byte {
	c.t.Helper()
	_, body := c.want(typ)
	var ack packet.Suback
	if err := packet.ParseSuback(typ, body, c.version, &ack); err != nil {
		c.t.Fatal(err)
	}
	if ack.ID != 100 {
		c.t.Fatalf("acknowledgement of %d", ack.ID)
	}
	return ack.Codes
}

func (c *client) unsubscribe(filters ...string) []byte {
	c.t.Helper()
	c.send(packet.AppendUnsubscribe(nil, c.version, &packet.Unsubscribe{ID: 100, Filters: filters}))
	return c.wantSuback(packet.UNSUBACK)
}

func (c *client) publish(p packet.Publish) {
	c.t.Helper()
	c.send(packet.AppendPublish(nil, c.version, &p))
}

// publishAll publishes at QoS 0, 1 or 2 and goes through with the exchange.
func (c *client) publishAll(p packet.Publish) {
	c.t.Helper()
	c.publish(p)
	switch p.QoS {
	case 0:
		c.ping()
	case 1:
		c.wantAck(packet.PUBACK, p.ID)
	case 2:
		c.wantAck(packet.PUBREC, p.ID)
		c.sendAck(packet.PUBREL, p.ID)
		c.wantAck(packet.PUBCOMP, p.ID)
	}
}

func (c *client) sendAck(typ byte, id uint16) {
	c.t.Helper()
	c.send(packet.AppendAck(nil, c.version, typ, id, 0))
}

// wantAck reads an acknowledgement and returns its reason code.
func (c *client) wantAck(typ byte, id uint16) byte {
	c.t.Helper()
	flags, body := c.want(typ)
	a, err := packet.ParseAck(typ, flags, body, c.version)
	if err != nil {
		c.t.Fatal(err)
	}
	if a.ID != id {
		c.t.Fatalf("packet type %d for %d, want %d", typ, a.ID, id)
	}
	return a.Code
}

// wantPublish reads a PUBLISH, valid until the next one.
func (c *client) wantPublish() *packet.Publish {
	c.t.Helper()
	flags, body := c.want(packet.PUBLISH)
	if err := packet.ParsePublish(flags, body, c.version, &c.pub); err != nil {
		c.t.Fatal(err)
	}
	return &c.pub
}

// wantMessage reads a PUBLISH and goes through with the exchange.
func (c *client) wantMessage(topic, payload string, qos byte) packet.Publish {
	c.t.Helper()
	p := *c.wantPublish()
	if p.Topic != topic || string(p.Payload) != payload || p.QoS != qos {
		c.t.Fatalf("got %s %q at QoS %d, want %s %q at %d", p.Topic, p.Payload, p.QoS, topic, payload, qos)
	}
	switch qos {
	case 1:
		c.sendAck(packet.PUBACK, p.ID)
	case 2:
		c.sendAck(packet.PUBREC, p.ID)
		c.wantAck(packet.PUBREL, p.ID)
		c.sendAck(packet.PUBCOMP, p.ID)
	}
	return p
}

// wantAll reads so many PUBLISH packets, goes through with all exchanges, and
// returns the payloads with their QoS in the order in which they came.
func (c *client) wantAll(n int) (got []string) {
	c.t.Helper()
	for open := 0; n > 0 || open > 0; {
		typ, flags, body, err := c.next()
		if err != nil {
			c.t.Fatalf("%v; %d publishes and %d exchanges are missing", err, n, open)
		}
		if typ == packet.PUBLISH {
			if err := packet.ParsePublish(flags, body, c.version, &c.pub); err != nil {
				c.t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%s@%d", c.pub.Payload, c.pub.QoS))
			n--
			switch c.pub.QoS {
			case 1:
				c.sendAck(packet.PUBACK, c.pub.ID)
			case 2:
				c.sendAck(packet.PUBREC, c.pub.ID)
				open++
			}
			continue
		}
		a, err := packet.ParseAck(typ, flags, body, c.version)
		if typ != packet.PUBREL || err != nil {
			c.t.Fatalf("packet type %d, %v", typ, err)
		}
		c.sendAck(packet.PUBCOMP, a.ID)
		open--
	}
	return got
}

// peek returns what has come already.
func (c *client) peek() []byte {
	_ = c.nc.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	in := make([]byte, 4096)
	n, _ := c.nc.Read(in)
	c.buf = append(c.buf, in[:n]...)
	return c.buf
}

// ping shows that what was sent is handled; nothing else may come first.
func (c *client) ping() {
	c.t.Helper()
	c.send([]byte{0xc0, 0})
	c.want(packet.PINGRESP)
}

// wantEnd reads the end of the connection, for MQTT 5.0 after a DISCONNECT
// with that code (0: none).
func (c *client) wantEnd(code byte) {
	c.t.Helper()
	if code != 0 && c.version == packet.V5 {
		_, body := c.want(packet.DISCONNECT)
		var d packet.Disconnect
		if err := packet.ParseDisconnect(body, c.version, &d); err != nil {
			c.t.Fatal(err)
		}
		if d.Code != code {
			c.t.Fatalf("DISCONNECT 0x%02X, want 0x%02X", d.Code, code)
		}
	}
	if typ, _, body, err := c.next(); err != io.EOF {
		c.t.Fatalf("packet type %d %x (%v), want the end of the connection", typ, body, err)
	}
}

// disconnect sends DISCONNECT and waits until the server has closed.
func (c *client) disconnect(code byte) {
	c.t.Helper()
	c.send(packet.AppendDisconnect(nil, c.version, &packet.Disconnect{Code: code}))
	c.wantEnd(0)
}

// wantLate is want with a longer patience, for tests with simulated time.
func (c *client) wantLate(typ byte, patience time.Duration) (flags byte, body []byte) {
	c.t.Helper()
	for end := time.Now().Add(patience); ; {
		got, flags, body, err := c.next()
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(end) {
			continue
		}
		if err != nil || got != typ {
			c.t.Fatalf("packet type %d, %v; want type %d", got, err, typ)
		}
		return flags, body
	}
}

func (c *client) wantEndLate(patience time.Duration) {
	c.t.Helper()
	for end := time.Now().Add(patience); ; {
		got, _, _, err := c.next()
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(end) {
			continue
		}
		if err != io.EOF {
			c.t.Fatalf("packet type %d, %v; want the end", got, err)
		}
		return
	}
}
