package bridge

import (
	"strings"
	"sync"

	"packetboat/broker"
	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// liveBound is how much may wait in the link before QoS 0 messages are left to
// the queue (which takes or drops them by its own policy).
const liveBound = 256 << 10

// live hands QoS 0 messages to the connection while there is one: without
// record, without sequence number. It implements broker.Live.
type live struct {
	b *Bridge

	mu  sync.Mutex
	on  *conn // nil: offline
	way router
	pub packet.Publish

	stamper stamper
}

var _ broker.Live = (*live)(nil)

func (l *live) attach(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.on = c
}

func (l *live) detach(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.on == c {
		l.on = nil
	}
}

// Deliver appends m to what goes out next, or reports false: offline, too much
// waits, or QoS 0 messages of that lane are still queued, which m must not
// overtake. It runs on the publisher's goroutine and does not block.
func (l *live) Deliver(m *store.Message, sub int, _ byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.on
	if c == nil || c.link.isClosed() || c.link.buffered() > liveBound {
		return false
	}
	if l.b.probe.alone.Load() {
		return false
	}
	if l.b.lanes[l.b.rules.up[sub].lane].consumer.QueuedQoS0() {
		return false
	}
	to := l.way.route(m.Topic)
	if to.rule == nil || to.topic == "" {
		return false
	}
	p := &l.pub
	*p = packet.Publish{
		Topic: to.topic, Payload: m.Payload, Props: remapResponse(m.Props, l.b.rules.back.up, l.b.rules.firstDown), Retain: m.Retain && to.rule.retain && c.limits.retain,
	}
	p.Expiry, p.HasExpiry = m.Expiry, m.HasExpiry
	if limit := to.rule.maxAge; limit > 0 && (!p.HasExpiry || limit < p.Expiry) {
		p.Expiry, p.HasExpiry = limit, true
	}
	if c.version == packet.V5 && (len(l.b.rules.down) > 0 || strings.HasPrefix(m.Origin, "bridge/")) {
		l.stamper.props = append(l.stamper.props[:0], p.Props...)
		l.stamper.mark(&l.b.stamp, p)
	}
	if c.limits.packet > 0 && packet.PublishSize(c.version, p) > c.limits.packet {
		return false // the queue's way counts it as given up
	}
	if c.pace.on {
		l.b.mu.Lock()
		ok := c.pace.liveMayGo(packet.PublishSize(c.version, p))
		l.b.mu.Unlock()
		if !ok {
			return false
		}
	}
	if to.comes && c.version != packet.V5 {
		l.b.mu.Lock()
		l.b.echoes.note(echoKey{lane: -1}, p.Topic, p.Payload, false)
		l.b.mu.Unlock()
	}
	c.link.append(func(dst []byte) []byte { return packet.AppendPublish(dst, c.version, p) })
	p.Payload, p.Props = nil, nil
	l.b.count.sent.Add(1)
	return true
}
