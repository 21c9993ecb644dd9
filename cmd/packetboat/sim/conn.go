package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"packetboat/broker/packet"
)

// conn is an MQTT connection, client side. One goroutine reads, one writes.
type conn struct {
	net.Conn
	version byte
	packets *packet.Reader
}

// dialTimeout bounds connecting, up to CONNACK.
const dialTimeout = 10 * time.Second

// dial connects and returns the server's answer, which is a success.
func dial(ctx context.Context, addr string, c *packet.Connect) (*conn, packet.Connack, error) {
	var ack packet.Connack
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, ack, err
	}
	x := &conn{Conn: nc, version: c.Version, packets: packet.NewReader(nc, 16<<10, 0)}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	err = x.hello(c, &ack)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = nc.Close()
		return nil, ack, err
	}
	return x, ack, nil
}

func (x *conn) hello(c *packet.Connect, ack *packet.Connack) error {
	if _, err := x.Write(packet.AppendConnect(nil, c)); err != nil {
		return err
	}
	typ, flags, body, err := x.packets.Next()
	if err != nil {
		return fmt.Errorf("wait for CONNACK: %w", err)
	}
	if typ != packet.CONNACK || flags != 0 {
		return fmt.Errorf("packet of type %d instead of CONNACK", typ)
	}
	if err := packet.ParseConnack(body, c.Version, ack); err != nil {
		return fmt.Errorf("CONNACK: %w", err)
	}
	if ack.Code != packet.Success {
		return fmt.Errorf("refused with 0x%02X", ack.Code)
	}
	return nil
}

// redial calls session with one connection after the other until it reports
// that all is done, or ctx ends.
func redial(ctx context.Context, session func(ctx context.Context) (done bool, err error)) error {
	const pause = 50 * time.Millisecond
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last error
	for {
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), last)
		case <-timer.C:
		}
		done, err := session(ctx)
		if done {
			return nil
		}
		last = err
		timer.Reset(pause)
	}
}
