package dashboard

import (
	"net"
	"testing"
	"time"

	"packetboat/broker/packet"
)

// client is a device that speaks MQTT.
type client struct {
	t    *testing.T
	conn net.Conn
	buf  []byte
	out  []byte
}

// dial connects a client with a session that stays for an hour.
func dial(t *testing.T, address, id string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, conn: conn}
	t.Cleanup(func() { _ = conn.Close() })
	c.out = packet.AppendConnect(c.out, &packet.Connect{Version: packet.V311, ClientID: id, KeepAlive: 60})
	c.await(packet.CONNACK, 1)
	return c
}

// publish sends messages, at QoS 1, and waits until all are acknowledged.
func (c *client) publish(messages ...packet.Publish) {
	c.t.Helper()
	const window = 500
	for len(messages) > 0 {
		n := min(window, len(messages))
		for i := range messages[:n] {
			m := messages[i]
			m.QoS, m.ID = 1, uint16(i+1)
			c.out = packet.AppendPublish(c.out, packet.V311, &m)
		}
		c.await(packet.PUBACK, n)
		messages = messages[n:]
	}
}

func (c *client) subscribe(filter string) {
	c.t.Helper()
	c.out = packet.AppendSubscribe(c.out, packet.V311, &packet.Subscribe{ID: 1, Filters: []packet.Filter{{Filter: filter, QoS: 1}}})
	c.await(packet.SUBACK, 1)
}

// await sends what is to be sent and reads until n packets of a type have come.
func (c *client) await(typ byte, n int) {
	c.t.Helper()
	if _, err := c.conn.Write(c.out); err != nil {
		c.t.Fatal(err)
	}
	c.out = c.out[:0]
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	chunk := make([]byte, 16<<10)
	for {
		got, _, _, size, err := packet.Next(c.buf, 0)
		if err != nil {
			c.t.Fatal(err)
		}
		if size > 0 {
			c.buf = c.buf[size:]
			if got != typ {
				continue
			}
			if n--; n == 0 {
				return
			}
			continue
		}
		k, err := c.conn.Read(chunk)
		if err != nil {
			c.t.Fatalf("no packet of type %d: %v", typ, err)
		}
		c.buf = append(c.buf[:len(c.buf):len(c.buf)], chunk[:k]...)
	}
}

// closed waits until the other end has closed the connection.
func (c *client) closed() {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		if _, err := c.conn.Read(make([]byte, 4096)); err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				c.t.Error("the client is still connected")
			}
			return
		}
	}
}
