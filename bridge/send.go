package bridge

import (
	"fmt"
	"strings"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/qos"
	"packetboat/broker/store"
)

// The way up, in the order in which the data meets it: the pump waits until
// something may go out, lets the answers go whose time has come, fills up with
// messages lane by lane, and writes it all with one system call.

const (
	// batch is how much the pump encodes before it writes.
	batch = 64 << 10
	// keepBuffer is the largest buffer kept between batches.
	keepBuffer = 256 << 10
)

// pump is the only writer of the link. It ends when the link does, after
// writing what had gathered until then.
func (c *conn) pump() {
	defer close(c.link.flushed)
	var buf []byte
	for {
		closed := c.link.isClosed()
		var ended bool
		buf, ended = c.link.take(buf[:0])
		if !ended && !closed {
			buf = c.fill(buf)
		}
		if len(buf) > 0 {
			if c.link.write(buf) != nil {
				return
			}
			c.finishQoS0()
			if cap(buf) > keepBuffer {
				buf = nil
			}
			continue
		}
		if closed {
			return
		}
		select {
		case <-c.link.kicks:
		case <-c.link.closing:
		}
	}
}

// fill appends what may be sent now.
func (c *conn) fill(dst []byte) []byte {
	b := c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	dst = c.answer(dst)
	if !c.sending {
		return dst
	}
	defer c.tellGivenUp()
	before := c.inFlightLocked()
	c.probing = c.b.probeLocked()
	for i := range b.lanes {
		c.fillReleased(i)
	}
	c.countAgain()
	for i := len(b.lanes) - 1; i >= 0 && len(dst) < batch; i-- {
		dst = c.fillFrom(dst, i)
	}
	dst = c.answer(dst)
	now := c.inFlightLocked()
	b.probe.alone.Store(c.probing >= 0 && now > 0)
	if before == 0 && now > 0 {
		c.progress = time.Now()
	}
	b.count.inFlight.Store(int64(now))
	return dst
}

// answer appends the answers whose time has come, in their order: PUBACKs and
// PUBRECs in the order of the PUBLISHes [MQTT-4.6.0-2] [MQTT-4.6.0-3], PUBRELs
// in that of the PUBRECs [MQTT-4.6.0-4]. Bridge.mu is held.
func (c *conn) answer(dst []byte) []byte {
	for {
		a, ok := c.answers.Pop(c.b.store.IsDurable)
		if !ok {
			break
		}
		dst = packet.AppendAck(dst, c.version, a.Type, a.ID, a.Code)
	}
	if after, waiting := c.answers.Waiting(); waiting {
		c.wakeAfter(after, &c.armed)
	}
	return dst
}

// wakeAfter has the pump woken when r is durable. armed remembers that it was
// asked for already.
func (c *conn) wakeAfter(r store.Receipt, armed *store.Receipt) {
	if r.IsZero() || r == *armed {
		return
	}
	*armed = r
	if !c.b.store.OnDurable(r, c.link.kick) {
		c.link.kick()
	}
}

// countAgain corrects how many messages are to go again. Bridge.mu is held.
func (c *conn) countAgain() {
	holding := 0
	for i := range c.b.lanes {
		ln := &c.b.lanes[i]
		n, qos2 := ln.consumer.MaybeHeld()
		ln.again = min(ln.again, n)
		if qos2 {
			holding++
		}
	}
	c.several = holding > 1
	if !c.counted {
		c.counted = true
		for i := range c.b.lanes {
			c.b.lanes[i].again = min(c.b.lanes[i].again, c.most())
		}
	}
}

// most is how many messages may be in flight, but for what room says of crashes.
func (c *conn) most() int {
	if c.several {
		return max(c.limits.inFlight-c.spare(), 1)
	}
	return c.limits.inFlight
}

func (c *conn) spare() int { return max(c.limits.inFlight/8, 1) }

// room is how many more messages of a lane may be in flight. An eighth of the
// window is kept for the highest lane that the rules use, so that a backlog
// below it never fills the window that a live message of it needs.
//
// A server may count what it holds of QoS 2 from the first packet of a connection
// on, so that new messages get only what is left beside all that is still to go
// again. After a crash we do not know how many of which lane these are: together
// no more than the window, but in each lane perhaps all of them. What looks as if
// it went again may be new, then; it goes in small numbers, from the highest lane
// on, for which bridges that have QoS 2 in several lanes keep another eighth. (Not
// covered: another crash at this, with three such lanes.)
func (c *conn) room(lane int) int {
	inFlight := c.inFlightLocked()
	if c.probing >= 0 {
		if lane != c.probing || !c.proven {
			return 0
		}
		return 1 - inFlight
	}
	again := 0
	for i := range c.b.lanes {
		again += c.b.lanes[i].again
	}
	switch most := c.most(); {
	case c.b.lanes[lane].again > 0 && inFlight+again <= most:
		return most - inFlight
	case c.b.lanes[lane].again > 0:
		return c.spare() - inFlight
	case lane < c.b.rules.topLane():
		return max(most-c.limits.inFlight/8, 1) - again - inFlight
	default:
		return most - again - inFlight
	}
}

// inFlightLocked is what the server has not finished: what all lanes have
// sent, and what it had confirmed on an earlier connection, for which only
// PUBREL went out on this one.
func (c *conn) inFlightLocked() int {
	n := len(c.released)
	for i := range c.b.lanes {
		n += c.b.lanes[i].window.InFlight()
	}
	return n
}

// fillReleased queues PUBREL for what the server had confirmed on an earlier
// connection. It needs no room, and makes some. Bridge.mu is held.
func (c *conn) fillReleased(index int) {
	ln := &c.b.lanes[index]
	for ln.consumer.TryReleased(&c.next) {
		c.releaseAgain(ln, c.next.ID)
	}
}

// releaseAgain queues PUBREL, which goes when the release is known to be on disk.
func (c *conn) releaseAgain(ln *lane, id uint16) {
	if after, known := ln.window.Pubrec(id); known {
		c.released[id] = struct{}{}
		c.answers.Push(after, qos.Answer{Type: packet.PUBREL, ID: id})
	}
}

// fillFrom appends messages of one lane, in order. Bridge.mu is held.
func (c *conn) fillFrom(dst []byte, index int) []byte {
	ln := &c.b.lanes[index]
	d := &c.next
	for len(dst) < batch {
		if c.room(index) <= 0 || !c.pace.mayGo(index, ln.again > 0) || !ln.window.TryNext(d) {
			return dst
		}
		if d.Released {
			c.releaseAgain(ln, d.ID)
			continue
		}
		ln.again = max(ln.again-1, 0)
		dst = c.encode(dst, ln, d)
	}
	return dst
}

// inspect has the store ask about each message that it is going to hand out:
// what cannot be sent is given up there, thousands with one commit. Nothing
// that follows is handed out before that is durable.
func (c *conn) inspect() {
	for i := range c.b.lanes {
		c.b.lanes[i].consumer.Inspect(func(d *store.Delivery, age time.Duration) (store.Reason, string) { return c.prepare(i, d, age) })
	}
}

// prepare makes the PUBLISH of a delivery by the rules and the server's limits
// of now, or says why it has to be given up. It runs within TryNext, for the
// delivery of that lane that TryNext returns last of all.
func (c *conn) prepare(lane int, d *store.Delivery, age time.Duration) (why store.Reason, text string) {
	if d.Topic == gapsTopic {
		return c.prepareGap(d)
	}
	to := c.up.route(d.Topic)
	if to.rule == nil || to.topic == "" {
		c.noRule.note(d.Topic)
		return store.NoRule, "none of the rules that there are now makes a topic of it"
	}
	p := &c.publish
	*p = packet.Publish{
		Topic: to.topic, Payload: d.Payload, Props: remapResponse(d.Props, c.b.rules.back.up, c.b.rules.firstDown),
		QoS: min(d.QoS, c.limits.qos), // [MQTT-3.2.2-11]
		// [MQTT-3.2.2-14]
		Retain: d.Retain && to.rule.retain && c.limits.retain,
	}
	if life, limited := lifetime(d, to.rule.maxAge); limited {
		p.HasExpiry = true
		switch age := uint64(age / time.Second); {
		case age < uint64(life):
			p.Expiry = life - uint32(age) // [MQTT-3.3.2-6]
		case d.QoS == 2 && d.Dup:
			// What may have been sent has to be finished [MQTT-4.3.3-7]. 0 would
			// be "never" to some servers.
			p.Expiry = 1
		default:
			c.expired.note(d.Topic)
			return store.Expired, ""
		}
	}
	c.pace.old[lane] = age > backlogAge
	c.unstamped = !c.stamper.apply(&c.b.stamp, lane, d, p)
	if c.version == packet.V5 && (len(c.b.rules.down) > 0 || strings.HasPrefix(d.Origin, "bridge/")) {
		c.stamper.mark(&c.b.stamp, p)
	}
	c.comes = to.comes && c.version != packet.V5
	if why, text = c.b.profile.judge(p.Topic, c.b.cfg.ClientID, len(p.Payload)); why != 0 {
		c.unfit.note(d.Topic)
		return why, text
	}
	return c.fits(d)
}

// fits gives the prepared PUBLISH up when it is larger than the server takes.
func (c *conn) fits(d *store.Delivery) (why store.Reason, text string) {
	if p := &c.publish; c.limits.packet > 0 {
		p.ID = maxInFlight // any: as long as the right one
		if n := packet.PublishSize(c.version, p); n > c.limits.packet {
			c.tooLarge.note(d.Topic)
			return store.TooLarge, fmt.Sprintf("%d bytes, the server takes %d", n, c.limits.packet)
		}
	}
	return 0, ""
}

// lifetime is the message's expiry interval, or the rule's limit if that is
// shorter, in seconds from when it was received.
func lifetime(d *store.Delivery, maxAge uint32) (life uint32, limited bool) {
	switch {
	case !d.HasExpiry:
		return maxAge, maxAge > 0
	case maxAge == 0:
		return d.Expiry, true
	}
	return min(d.Expiry, maxAge), true
}

// encode appends the prepared PUBLISH.
func (c *conn) encode(dst []byte, ln *lane, d *store.Delivery) []byte {
	p := &c.publish
	p.ID, p.Dup = d.ID, d.Dup
	if r, ok := ln.refused[d.Seq]; ok && r.last {
		p.Dup = false // the refusal ended the former exchange [MQTT-4.4.0-2]
		r.last = false
		ln.refused[d.Seq] = r
	}
	if p.QoS == 0 {
		p.ID, p.Dup = 0, false
		c.unacked = append(c.unacked, unacked{ln, d.Seq, d.ID})
	}
	if c.comes {
		c.b.echoes.note(echoKey{ln.index, d.Seq}, p.Topic, p.Payload, d.Dup)
	}
	c.b.count.sent.Add(1)
	switch {
	case p.Dup:
		c.b.count.resent.Add(1)
	case c.unstamped:
		c.b.count.unstamped.Add(1)
	}
	before := len(dst)
	dst = packet.AppendPublish(dst, c.version, p)
	c.pace.went(ln.index, len(dst)-before)
	return dst
}

// unacked is a message that went at QoS 0: it is finished when it is written.
type unacked struct {
	lane *lane
	seq  uint64
	id   uint16 // not 0 when the server made it QoS 0
}

func (c *conn) finishQoS0() {
	if len(c.unacked) == 0 {
		return
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	for _, u := range c.unacked {
		if u.id != 0 {
			u.lane.window.Puback(u.id)
		} else {
			u.lane.consumer.Done(u.seq)
		}
	}
	c.toldLocked()
	c.unacked = c.unacked[:0]
}

// given counts messages that prepare gave up, until they are logged: prepare
// runs under the store's lock.
type given struct {
	n     int
	topic string // of the last
}

func (g *given) note(topic string) { g.n, g.topic = g.n+1, topic }

// tellGivenUp logs what was given up. Only the pump calls it.
func (c *conn) tellGivenUp() {
	for _, x := range []struct {
		given *given
		log   *repeated
		msg   string
	}{
		{&c.expired, &c.b.warn.expired, "messages given up: older than their rule's max_age"},
		{&c.tooLarge, &c.b.warn.tooLarge, "dead letters: larger than the server takes"},
		{&c.unfit, &c.b.warn.unfit, "dead letters: the profile does not allow them"},
		{&c.noRule, &c.b.warn.noRule, "dead letters: no rule takes them any more"},
	} {
		if x.given.n > 0 {
			x.log.warn(c.b.log, x.given.n, x.msg, "topic", x.given.topic)
			*x.given = given{}
		}
	}
}
