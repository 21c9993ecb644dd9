package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"packetboat/broker/packet"
)

// subscriptionsPerPacket keeps SUBSCRIBE within what every server takes.
const subscriptionsPerPacket = 8

// subscribe asks for what the down rules name. In MQTT 5 that is done at each
// connection: the server keeps it, but rules may have changed, and it costs
// nothing, since retained messages come only for subscriptions that are new
// (Retain Handling 1). In MQTT 3.1.1 they would come each time; there, what the
// session has been granted already is not asked for again.
func (c *conn) subscribe(ctx context.Context, client client) {
	b := c.b
	stale := c.upstream.stale(&b.rules)
	known := len(c.upstream.Filters)
	var all []packet.Filter
	for _, d := range b.rules.down {
		f := packet.Filter{
			Filter: d.subscribe, QoS: d.qos, RetainHandling: 1, RetainAsIs: d.retain,
			NoLocal: d.subscribe == d.filter, // [MQTT-3.8.3-4] forbids it on a shared one
		}
		c.upstream.add(d.subscribe)
		if c.version == packet.V5 || !c.upstream.granted(f) {
			all = append(all, f)
		}
	}
	if len(c.upstream.Filters) != known {
		b.saveUpstream(c.upstream)
	}
	for len(all) > 0 {
		n := min(len(all), subscriptionsPerPacket)
		codes, err := client.subscribe(ctx, all[:n])
		if ctx.Err() != nil || c.link.isClosed() {
			return
		}
		switch {
		case errors.Is(err, errCannotAsk):
			b.log.Error("the server cannot take the down rules' subscriptions", "error", err)
		case err != nil:
			c.link.fail(fmt.Errorf("subscribe: %w", err))
			return
		}
		for i, code := range codes[:min(n, len(codes))] {
			if code >= packet.UnspecifiedError {
				b.log.Error("the server refused a subscription; nothing comes down by this rule",
					"filter", all[i].Filter, "reason", packet.Reason(code))
			} else {
				c.upstream.grant(all[i])
			}
		}
		all = all[n:]
	}
	if c.version != packet.V5 {
		b.saveUpstream(c.upstream)
	}
	if len(stale) > 0 {
		if err := client.unsubscribe(ctx, stale); err != nil {
			return // again at the next connection
		}
		c.upstream.remove(stale)
		b.saveUpstream(c.upstream)
	}
}

// granted reports whether the session has that subscription, as an MQTT 3.1.1
// server knows it.
func (u *upstream) granted(f packet.Filter) bool {
	return slices.Contains(u.Granted, grantOf(f))
}

func (u *upstream) grant(f packet.Filter) {
	u.Granted = slices.DeleteFunc(u.Granted, func(g string) bool { return g[1:] == " "+f.Filter })
	u.Granted = append(u.Granted, grantOf(f))
}

func grantOf(f packet.Filter) string { return fmt.Sprintf("%d %s", f.QoS, f.Filter) }
