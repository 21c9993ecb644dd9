package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"packetboat/broker/packet"
)

// read hands over what comes, until the connection ends; what comes after the end of
// ctx it drops.
func (c *Conn) read(ctx context.Context, r *packet.Reader, events chan<- any) error {
	received := map[uint16]bool{} // QoS 2: handed over, and PUBREL has not come
	for {
		typ, flags, body, err := r.Next()
		if err != nil {
			return c.ending(err)
		}
		select {
		case c.life <- struct{}{}:
		default:
		}
		event, err := c.take(typ, flags, body, received)
		if err != nil {
			return err
		}
		if event == nil {
			continue
		}
		c.waits.Store(true)
		select {
		case events <- event:
		case <-ctx.Done():
			// Close takes leave: nobody takes it any more, and the broker must not
			// stumble over a connection that is closed before it has read the last
			// acknowledgement.
		}
		c.waits.Store(false)
	}
}

// ending says in words how a connection ends.
func (c *Conn) ending(err error) error {
	if c.silent.Load() {
		return errors.New("the broker does not answer any more")
	}
	return Ending(err)
}

// Ending says in words what an error of reading from a broker means; one that says it
// already is returned as it is.
func Ending(err error) error {
	var bad *packet.Error
	var refused *Refused
	switch {
	case errors.As(err, &refused):
		return err
	case errors.As(err, &bad):
		return fmt.Errorf("the broker sent what is not MQTT: %w", err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errors.New("the broker has closed the connection without a reason (it does so when another client comes with the same id, when it stops, and, before MQTT 5, on what it does not allow)")
	}
	return fmt.Errorf("the connection has ended: %w", err)
}

// take makes an event of a packet, or answers it; nil: neither.
func (c *Conn) take(typ, flags byte, body []byte, received map[uint16]bool) (any, error) {
	switch typ {
	case packet.PUBLISH:
		return c.message(flags, body, received)
	case packet.PUBACK, packet.PUBREC, packet.PUBREL, packet.PUBCOMP:
		a, err := packet.ParseAck(typ, flags, body, c.version)
		if err != nil {
			return nil, err
		}
		switch {
		case typ == packet.PUBREC && a.Code < 0x80:
			return nil, c.ack(packet.PUBREL, a.ID)
		case typ == packet.PUBREL:
			delete(received, a.ID)
			return nil, c.ack(packet.PUBCOMP, a.ID)
		}
		return Ack{a.ID, a.Code, reasonString(a.Props)}, nil
	case packet.SUBACK:
		var a packet.Suback
		if err := packet.ParseSuback(typ, body, c.version, &a); err != nil {
			return nil, err
		}
		return Suback{a.ID, bytes.Clone(a.Codes), reasonString(a.Props)}, nil
	case packet.DISCONNECT:
		var d packet.Disconnect
		if err := packet.ParseDisconnect(body, c.version, &d); err != nil {
			return nil, err
		}
		return nil, &Refused{What: "to go on", Code: d.Code, Text: d.ReasonString}
	}
	return nil, nil
}

// message makes one of a PUBLISH; nil: it has come before.
func (c *Conn) message(flags byte, body []byte, received map[uint16]bool) (any, error) {
	m := &Message{At: time.Now()}
	if err := packet.ParsePublish(flags, body, c.version, &m.Publish); err != nil {
		return nil, err
	}
	if m.QoS == 2 {
		if received[m.ID] {
			return nil, c.ack(packet.PUBREC, m.ID)
		}
		received[m.ID] = true
	}
	m.Topic = string([]byte(m.Topic)) // it aliases body, as the others do
	m.Payload, m.Props = bytes.Clone(m.Payload), bytes.Clone(m.Props)
	m.SubscriptionIDs = slices.Clone(m.SubscriptionIDs)
	return m, nil
}

// reasonString is the broker's own words among encoded properties.
func reasonString(props []byte) (text string) {
	_ = packet.EachProp(props, func(id byte, val, _ []byte) bool { // they were checked with the packet
		if id == packet.PropReasonString {
			text = string(val)
		}
		return true
	})
	return text
}

// keepAlive asks whether the broker is there, and ends the connection when it does
// not answer.
func (c *Conn) keepAlive(ctx context.Context, keep time.Duration) {
	tick := time.NewTicker(keep / 2)
	defer tick.Stop()
	silent := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.life:
			silent = 0
			continue
		case <-tick.C:
		}
		if c.waits.Load() {
			silent = 0 // it is this side that does not read
		}
		if silent++; silent > 2 {
			c.silent.Store(true)
			_ = c.net.Close() // the reader says so
			return
		}
		_ = c.write(func(b []byte) []byte { return packet.AppendPing(b, packet.PINGREQ) }) // so does it here
	}
}

func socketRemedy(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "be root, or in the group of the service (usermod -aG packetboat USER)"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return "no gateway listens there: systemctl status packetboat"
	}
	return ""
}
