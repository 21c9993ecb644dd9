package bridge

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/eclipse/paho.golang/packets"
	paholog "github.com/eclipse/paho.golang/paho/log"
)

// pinger keeps a connection alive and notices when it is not. It is a
// paho.Pinger that looks at the link, which sees all packets; paho's own knows
// only those that paho sends.
type pinger struct {
	link *link
	wait time.Duration // how long an answer may take, at most
}

var errNoPong = errors.New("the server does not answer PINGREQ")

// Run sends PINGREQ when nothing was sent, or nothing came, for a keep alive
// [MQTT-3.1.2-20]: the second finds links that are open on our side only.
func (p *pinger) Run(ctx context.Context, conn net.Conn, keepAlive uint16) error {
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
		if _, err := packets.NewControlPacket(packets.PINGREQ).WriteTo(conn); err != nil {
			return nil // the link has ended, and knows why
		}
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

func (p *pinger) PacketSent()               {}
func (p *pinger) PacketReceived()           {}
func (p *pinger) PingResp()                 {}
func (p *pinger) SetDebug(_ paholog.Logger) {}
