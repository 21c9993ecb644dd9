package broker

import (
	"time"

	"packetboat/broker/packet"
)

// pend holds the encoded QoS 1 and 2 publishes to a connection without a
// durable session that wait for room in its window, in order. The output bounds
// it.
type pend struct {
	frames fifo
	items  []pendItem
	head   int
}

type pendItem struct {
	size  int
	since time.Duration // Broker.started, or neverExpires
	group *group        // the shared subscription it came by, or nil
}

const neverExpires = time.Duration(-1)

func (p *pend) len() int  { return len(p.items) - p.head }
func (p *pend) size() int { return p.frames.size() + p.len()*24 }

func (p *pend) push(frame []byte, since time.Duration, g *group) {
	if p.head > 64 && p.head > len(p.items)/2 {
		n := copy(p.items, p.items[p.head:])
		clear(p.items[n:])
		p.items, p.head = p.items[:n], 0
	}
	p.frames.push(frame)
	p.items = append(p.items, pendItem{size: len(frame), since: since, group: g})
}

// first returns the oldest frame, valid until the next push or drop.
func (p *pend) first() (frame []byte, x pendItem) {
	x = p.items[p.head]
	return p.frames.peek()[:x.size], x
}

func (p *pend) drop() {
	p.frames.drop(p.items[p.head].size)
	p.items[p.head] = pendItem{}
	if p.head++; p.head == len(p.items) {
		if cap(p.items) > keepOutput/24 {
			p.items = nil
		}
		p.items, p.head = p.items[:0], 0
	}
}

// waitLocked puts a PUBLISH into pend.
func (c *conn) waitLocked(frame []byte, g *group) {
	since := neverExpires
	if c.version == packet.V5 && packet.PublishExpiry(frame) > 0 {
		since = time.Since(c.b.started)
	}
	c.out.pend.push(frame, since, g)
}

// advanceLocked moves what waits in pend into the window, but for what has
// expired meanwhile [MQTT-3.3.2-5] [MQTT-3.3.2-6].
func (c *conn) advanceLocked() {
	o := &c.out
	for o.pend.len() > 0 && o.window.room() {
		frame, x := o.pend.first()
		if x.since == neverExpires || packet.Age(frame, time.Since(c.b.started)-x.since) {
			c.sendLocked(frame, packet.PublishID(frame), frame[0]>>1&3, x.group)
		} else {
			c.b.stats.expired.Add(1)
		}
		o.pend.drop()
	}
}
