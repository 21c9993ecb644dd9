package bridge

import (
	"context"
	"errors"
	"net"
	"time"

	"packetboat/broker/packet"

	paholog "github.com/eclipse/paho.golang/paho/log"
)

// pinger keeps a connection alive and notices when it is not. It looks at the
// link, which sees all packets.
type pinger struct {
	link *link
	wait time.Duration // how long an answer may take, at most
}

func newPinger(c *conn) pinger { return pinger{c.link, c.b.cfg.AckTimeout} }

// pahoPinger is a paho.Pinger; paho's own knows only the packets that paho sends.
type pahoPinger struct {
	pinger
	conn *conn
}

// Run is run.
func (p pahoPinger) Run(ctx context.Context, _ net.Conn, keepAlive uint16) error {
	return p.run(ctx, keepAlive)
}

func (p pahoPinger) PacketSent()               {}
func (p pahoPinger) PacketReceived()           {}
func (p pahoPinger) PingResp()                 { p.conn.pong() }
func (p pahoPinger) SetDebug(_ paholog.Logger) {}

var errNoPong = errors.New("the server does not answer PINGREQ")

// run sends PINGREQ when nothing was sent, or nothing came, for a keep alive
// [MQTT-3.1.2-20]: the second finds links that are open on our side only.
func (p pinger) run(ctx context.Context, keepAlive uint16) error {
	if keepAlive == 0 {
		return nil
	}
	every := time.Duration(keepAlive) * time.Second
	wait := min(every, p.wait)
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		quiet := max(p.link.idle(&p.link.lastRead), p.link.idle(&p.link.lastWrite))
		if quiet < every {
			timer.Reset(every - quiet)
			continue
		}
		asked := time.Since(p.link.began)
		p.link.append(func(dst []byte) []byte { return packet.AppendPing(dst, packet.PINGREQ) })
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if time.Duration(p.link.lastRead.Load()) < asked {
			p.link.fail(errNoPong)
			return errNoPong
		}
		timer.Reset(max(every-wait, 0))
	}
}
