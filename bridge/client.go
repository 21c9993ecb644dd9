package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"packetboat/broker/packet"
	"packetboat/config"
)

// client is what speaks MQTT on a connection, apart from the PUBLISH packets and
// answers of the pump: paho for MQTT 5, our own for MQTT 3.1.1. What it reads
// goes to the conn: publish, puback, pubrec, pubrel, pubcomp.
type client interface {
	// connect sends CONNECT, and calls conn.settle with the answer before it
	// reads or sends anything else.
	connect(ctx context.Context) error
	// subscribe returns a reason code for each; err says that there is no answer.
	subscribe(ctx context.Context, subs []packet.Filter) (codes []byte, err error)
	unsubscribe(ctx context.Context, filters []string) error
	// done is closed when nothing is read any more.
	done() <-chan struct{}
	// problem is what it could not read, after done; nil for nothing.
	problem() error
	// close ends the link and returns when all goroutines have.
	close()
}

// errCannotAsk is a subscription that cannot be put into a packet for this server.
var errCannotAsk = errors.New("not a subscription that the server can take")

func (c *conn) newClient() client {
	if c.version == packet.V5 {
		return newClient5(c)
	}
	return newClient311(c)
}

// protocol is the packet codec's version of a configuration's.
func protocol(v config.Version) byte {
	if v == 4 {
		return packet.V311
	}
	return packet.V5
}

// connectPacket is CONNECT, but for what paho has its own structures for.
func (c *conn) connectPacket() packet.Connect {
	cfg := &c.b.cfg
	p := packet.Connect{
		Version: c.version, CleanStart: c.clean, KeepAlive: uint16(min(cfg.KeepAlive/time.Second, 65535)),
		ClientID: cfg.ClientID,
		HasUser:  c.user != "", User: c.user,
		HasPass: c.password != "", Password: []byte(c.password),
		SessionExpiry: seconds(cfg.SessionExpiry), ReceiveMaximum: c.receiveMaximum, MaxPacketSize: uint32(max(c.b.maxPacket, 0)),
	}
	if cfg.Status != "" && !c.clean {
		p.Will = &packet.Will{Topic: cfg.Status, Payload: []byte(offline), QoS: 1, Retain: true}
	}
	return p
}

// connectError says why a CONNECT got no answer.
func (c *conn) connectError(err error) error {
	switch {
	case c.ctx.Err() != nil:
		return c.ctx.Err()
	case errors.Is(err, net.ErrClosed): // by us, because of something else: the pump could not write, say
		if cause := c.link.err(); cause != nil && !errors.Is(cause, errLinkClosed) {
			err = cause
		}
	case errors.Is(err, context.DeadlineExceeded):
		return &noConnack{fmt.Errorf("no answer to CONNECT within %v", c.b.cfg.ConnectTimeout)}
	}
	return &noConnack{fmt.Errorf("no MQTT %s answer to CONNECT: %w", c.b.cfg.Version, err)}
}
