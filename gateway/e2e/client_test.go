package e2e

import (
	"errors"
	"net"
	"testing"
	"time"

	"packetboat/broker/packet"
)

// client speaks MQTT in a test that has to see packets as they are.
type client struct {
	t       *testing.T
	version byte
	conn    net.Conn
	buf     []byte
	got     []packet.Publish // while another packet was waited for
}

// dialClient connects with a clean session; version is packet.V5 or V311.
func dialClient(t *testing.T, address, id string, version byte) *client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, version: version, conn: conn}
	t.Cleanup(func() { _ = conn.Close() })
	c.send(packet.AppendConnect(nil, &packet.Connect{Version: version, CleanStart: true, ClientID: id, KeepAlive: 60}))
	c.until(packet.CONNACK)
	return c
}

func (c *client) send(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// publish sends p and waits until it is acknowledged.
func (c *client) publish(p packet.Publish) {
	c.t.Helper()
	p.ID = 1
	c.send(packet.AppendPublish(nil, c.version, &p))
	switch p.QoS {
	case 1:
		c.until(packet.PUBACK)
	case 2:
		c.until(packet.PUBREC)
		c.send(packet.AppendAck(nil, c.version, packet.PUBREL, 1, 0))
		c.until(packet.PUBCOMP)
	}
}

func (c *client) subscribe(filter string, qos byte) {
	c.t.Helper()
	c.send(packet.AppendSubscribe(nil, c.version, &packet.Subscribe{ID: 2, Filters: []packet.Filter{{Filter: filter, QoS: qos}}}))
	c.until(packet.SUBACK)
}

// next is the next message, acknowledged.
func (c *client) next(most time.Duration) (packet.Publish, bool) {
	c.t.Helper()
	for len(c.got) == 0 {
		if _, err := c.read(time.Now().Add(most)); errors.Is(err, errNothing) {
			return packet.Publish{}, false
		}
	}
	p := c.got[0]
	c.got = c.got[1:]
	return p, true
}

// until reads until a packet of that type comes.
func (c *client) until(typ byte) {
	c.t.Helper()
	for {
		got, err := c.read(time.Now().Add(patience))
		if err != nil {
			c.t.Fatalf("no packet of type %d: %v", typ, err)
		}
		if got == typ {
			return
		}
	}
}

var errNothing = errors.New("nothing came")

// read takes one packet; a PUBLISH is kept and acknowledged.
func (c *client) read(deadline time.Time) (typ byte, err error) {
	c.t.Helper()
	for {
		typ, flags, body, n, err := packet.Next(c.buf, 0)
		if err != nil {
			c.t.Fatal(err)
		}
		if n > 0 {
			c.take(typ, flags, body)
			c.buf = c.buf[n:]
			return typ, nil
		}
		chunk := make([]byte, 64<<10)
		_ = c.conn.SetReadDeadline(deadline)
		n, err = c.conn.Read(chunk)
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			return 0, errNothing
		}
		if err != nil {
			c.t.Fatal(err)
		}
		c.buf = append(c.buf[:len(c.buf):len(c.buf)], chunk[:n]...)
	}
}

func (c *client) take(typ, flags byte, body []byte) {
	switch typ {
	case packet.PUBLISH:
		var p packet.Publish
		if err := packet.ParsePublish(flags, body, c.version, &p); err != nil {
			c.t.Fatal(err)
		}
		c.got = append(c.got, p)
		switch p.QoS {
		case 1:
			c.send(packet.AppendAck(nil, c.version, packet.PUBACK, p.ID, 0))
		case 2:
			c.send(packet.AppendAck(nil, c.version, packet.PUBREC, p.ID, 0))
		}
	case packet.PUBREL:
		if a, err := packet.ParseAck(typ, flags, body, c.version); err == nil {
			c.send(packet.AppendAck(nil, c.version, packet.PUBCOMP, a.ID, 0))
		}
	}
}
