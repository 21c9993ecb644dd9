package broker

import (
	"context"
	"strconv"
	"time"
)

// sysOrigin is the origin of the broker's own messages.
const sysOrigin = "$SYS"

// publishSys publishes $SYS/broker/… to its subscribers until ctx ends: what
// Mosquitto's users know, with QoS 0, not stored.
func (b *Broker) publishSys(ctx context.Context) {
	tick := time.NewTicker(b.opt.SysInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s := b.Stats()
		count := func(v uint64) string { return strconv.FormatUint(v, 10) }
		r := b.router()
		for _, x := range [...]struct{ topic, value string }{
			{"version", b.opt.Version},
			{"uptime", strconv.Itoa(int(time.Since(b.started)/time.Second)) + " seconds"},
			{"clients/connected", strconv.FormatInt(s.Connections, 10)},
			{"clients/total", strconv.Itoa(s.Sessions)},
			{"subscriptions/count", strconv.Itoa(s.Subscriptions)},
			{"retained messages/count", strconv.Itoa(s.Retained)},
			{"messages/received", count(s.PacketsReceived)},
			{"publish/messages/received", count(s.PublishReceived)},
			{"publish/messages/sent", count(s.PublishSent)},
			{"publish/messages/dropped", count(s.DroppedQoS0 + s.TooLarge)},
			{"publish/messages/unrouted", count(s.Unrouted)},
			{"publish/messages/refused", count(s.Refused)},
		} {
			r.route(nil, &Message{Topic: "$SYS/broker/" + x.topic, Payload: []byte(x.value), Origin: sysOrigin})
		}
		r.flush()
		b.routers.Put(r)
	}
}
