package broker

import (
	"encoding/binary"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/qos"
	"packetboat/broker/store"
)

// delivery is an encoded PUBLISH for a live receiver.
type delivery struct {
	frame   []byte
	id      int // where the packet identifier stands
	payload int // so many bytes of it are payload
	qos     byte
	group   *group // the shared subscription it came by, or nil

	// burst: it is one of the retained messages of a new subscription, which may
	// exceed the bound of the output by as much as there can be of them.
	burst bool
}

// deliver appends an encoded PUBLISH to the output. It returns true when the
// caller has to see to a flush.
func (c *conn) deliver(d *delivery) (flush bool) {
	frame := d.frame
	if c.maxPacket > 0 && len(frame) > c.maxPacket { // [MQTT-3.1.2-24] [MQTT-3.1.2-25]
		c.b.stats.tooLarge.Add(1)
		return false
	}
	o := &c.out
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return false
	}
	limit := c.b.opt.MaxOutput
	if d.burst {
		limit += 2 * int(c.b.opt.MaxRetainedSize)
	}
	size := o.sizeLocked() + len(frame)
	if size > limit || size > len(frame) && !c.mayWaitLocked(size) {
		o.mu.Unlock()
		c.overflow()
		return false
	}
	o.sent.packets++
	o.sent.publishes++
	o.sent.payload += uint64(d.payload)
	switch {
	case d.qos == 0:
		b, _ := c.appendLocked(o.beginLocked(), frame)
		o.endLocked(b)
	case o.pend.len() > 0 || !o.window.room():
		c.waitLocked(frame, d.group)
		o.mu.Unlock()
		return false // an acknowledgement moves it on
	default:
		c.sendLocked(frame, d.id, d.qos, d.group)
	}
	flush = !o.marked && !o.writing
	o.marked = o.marked || flush
	o.mu.Unlock()
	return flush
}

// appendLocked appends an encoded PUBLISH to b, with a topic alias in place of
// its topic if the client knows one.
func (c *conn) appendLocked(b, frame []byte) (_ []byte, aliased bool) {
	if c.out.aliasMax > 0 {
		if n, tell := c.aliasLocked(packet.PublishTopic(frame), len(frame)); n != 0 {
			return packet.AppendAliased(b, frame, n, tell), true
		}
	}
	return append(b, frame...), false
}

// sendLocked appends a QoS 1 or 2 PUBLISH under a free identifier, which stands
// at id of the frame.
func (c *conn) sendLocked(frame []byte, id int, qos byte, g *group) {
	o := &c.out
	b := o.beginLocked()
	at := len(b)
	b, aliased := c.appendLocked(b, frame)
	if aliased {
		id = packet.PublishID(b[at:])
	}
	number := o.window.take(qos)
	binary.BigEndian.PutUint16(b[at+id:], number)
	o.endLocked(b)
	if g != nil && qos == 1 {
		o.shares.keep(number, g, frame)
	}
}

// overflow is the policy of a full output.
func (c *conn) overflow() {
	if c.session.consumer != nil { // what is durable waits in the store
		c.b.stats.droppedQoS0.Add(1)
		return
	}
	o := &c.out
	o.mu.Lock()
	waited := o.sizeLocked()
	if o.buf != nil && !o.closed {
		o.buf.b = o.buf.b[:0] // too slow to hear it all
		o.trimLocked()
		c.waitsLessLocked()
	}
	o.mu.Unlock()
	if c.shutdownFor(packet.QuotaExceeded, "too slow for its subscriptions") {
		c.b.stats.cut.Add(1)
		c.log.Warn("slow subscriber disconnected", "client", c.session.id, "remote", c.remote, "waiting_bytes", waited)
	}
}

// handlePuback takes the acknowledgement of a QoS 1 delivery.
func (c *conn) handlePuback(a packet.Ack) error { return c.finished(a.ID, (*qos.Window).Puback) }

// handlePubcomp takes the last acknowledgement of a QoS 2 delivery.
func (c *conn) handlePubcomp(a packet.Ack) error { return c.finished(a.ID, (*qos.Window).Pubcomp) }

// finished ends a delivery, in the durable window by finish.
func (c *conn) finished(id uint16, finish func(*qos.Window, uint16) bool) error {
	if s := c.session; s.consumer != nil {
		s.mu.Lock()
		finish(s.win, id)
		s.mu.Unlock()
		c.pumpDue = true
		return nil
	}
	o := &c.out
	o.mu.Lock()
	o.window.finish(id)
	o.shares.drop(id)
	c.advanceLocked()
	o.mu.Unlock()
	return nil
}

// handlePubrec takes the first acknowledgement of a QoS 2 delivery. PUBREL
// leaves when the release is durable.
func (c *conn) handlePubrec(a packet.Ack) error {
	failed := a.Code >= packet.UnspecifiedError // the exchange ends here [MQTT-4.4.0-2]
	if s := c.session; s.consumer != nil {
		s.mu.Lock()
		if failed {
			s.win.Puback(a.ID)
			s.mu.Unlock()
			c.pumpDue = true
			return nil
		}
		r, known := s.win.Pubrec(a.ID)
		s.mu.Unlock()
		c.answer(r, packet.PUBREL, a.ID, knownCode(known))
		return nil
	}
	o := &c.out
	o.mu.Lock()
	var known bool
	if failed {
		o.window.finish(a.ID)
		c.advanceLocked()
	} else {
		known = o.window.release(a.ID)
	}
	o.mu.Unlock()
	if !failed {
		c.answer(store.Receipt{}, packet.PUBREL, a.ID, knownCode(known))
	}
	return nil
}

// knownCode: a peer may ask for more than we hold, after we lost a session.
func knownCode(known bool) byte {
	if known {
		return packet.Success
	}
	return packet.PacketIDNotFound
}

// pump sends what the durable window gives, while the output has room. The
// reader calls it after acknowledgements, a flusher after commits.
func (c *conn) pump() {
	s := c.session
	if s == nil || s.consumer == nil {
		return
	}
	if all, _ := c.unanswered(); all > 0 {
		c.releaseAnswers() // SUBACK before the retained messages that became durable with it
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.win == nil || s.conn.Load() != c {
		return
	}
	for c.pumpRoom() && s.win.TryNext(&s.delivery) {
		c.sendDurable(&s.delivery)
	}
}

// pumpRoom is false when the output is full enough; the flush that empties it
// calls for the pump again.
func (c *conn) pumpRoom() bool {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	if o.sizeLocked() < pumpRoom {
		return true
	}
	o.starved = true
	return false
}

// sendDurable appends one delivery of the durable window. The store has seen to
// it that it has not expired [MQTT-3.3.2-5] and is not too large.
func (c *conn) sendDurable(d *store.Delivery) {
	o := &c.out
	if d.Released { // [MQTT-4.3.3-6]; the release may not be durable yet
		r, _ := c.session.win.Pubrec(d.ID)
		c.answer(r, packet.PUBREL, d.ID, packet.Success)
		return
	}
	p := packet.Publish{
		Dup: d.Dup && d.QoS > 0, QoS: d.QoS, Retain: d.Retain, Topic: d.Topic, ID: d.ID, Payload: d.Payload,
	}
	if c.version == packet.V5 {
		p.Props = d.Props
		p.SubscriptionIDs, _ = cutMark(d.SubscriptionIDs)
	}
	if d.HasExpiry && c.version == packet.V5 { // [MQTT-3.3.2-6]
		p.HasExpiry = true
		p.Expiry, _ = remaining(d.Expiry, c.b.store.Age(d.Received))
	}
	o.mu.Lock()
	if !o.closed {
		if o.aliasMax > 0 {
			var tell bool
			if p.Alias, tell = c.aliasLocked(p.Topic, packet.PublishSize(c.version, &p)); p.Alias != 0 && !tell {
				p.Topic = ""
			}
		}
		o.sent.packets++
		o.sent.publishes++
		o.sent.payload += uint64(len(p.Payload))
		o.endLocked(packet.AppendPublish(o.beginLocked(), c.version, &p))
	}
	o.mu.Unlock()
	if d.QoS == 0 {
		c.session.consumer.Done(d.Seq)
	}
}

// tooLarge is asked before a delivery counts as sent: what the client never saw
// of a QoS 2 message must not end with a PUBREL either [MQTT-3.1.2-25].
func (c *conn) tooLarge(d *store.Delivery, _ time.Duration) (why store.Reason, text string) {
	size := packet.Publish{
		QoS: d.QoS, Topic: d.Topic, Payload: d.Payload, Props: d.Props, HasExpiry: d.HasExpiry, SubscriptionIDs: d.SubscriptionIDs,
	}
	if packet.PublishSize(packet.V5, &size) <= c.maxPacket {
		return 0, ""
	}
	c.b.stats.tooLarge.Add(1)
	return store.TooLarge, ""
}

// remaining is what is left of an expiry interval, in seconds; ok is false
// when it has passed.
func remaining(expiry uint32, age time.Duration) (left uint32, ok bool) {
	seconds := int64(age / time.Second)
	if seconds >= int64(expiry) {
		return 0, false
	}
	return expiry - uint32(max(seconds, 0)), true
}

// liveWindow holds the packet identifiers in flight to a client without a
// durable session: a power-of-two table in which an identifier has the place
// of its low bits.
//
// It is bounded by max, the client's receive maximum or ours.
type liveWindow struct {
	slots []liveSlot
	n     int
	max   int
	last  uint16 // identifier given last
}

type liveSlot struct {
	id       uint16 // 0 = free
	qos      byte
	released bool // PUBREC came
}

func (w *liveWindow) room() bool { return w.n < w.max }

// take returns a free identifier for a new message [MQTT-2.2.1-4]. There is
// room.
func (w *liveWindow) take(qos byte) uint16 {
	if 2*w.n >= len(w.slots) {
		w.grow()
	}
	for {
		w.last++
		if w.last == 0 {
			w.last = 1
		}
		s := &w.slots[int(w.last)&(len(w.slots)-1)]
		if s.id == 0 {
			*s = liveSlot{id: w.last, qos: qos}
			w.n++
			return w.last
		}
	}
}

func (w *liveWindow) grow() {
	old := w.slots
	w.slots = make([]liveSlot, max(16, 2*len(old)))
	for _, s := range old {
		if s.id != 0 {
			w.slots[int(s.id)&(len(w.slots)-1)] = s
		}
	}
}

func (w *liveWindow) find(id uint16) *liveSlot {
	if len(w.slots) == 0 || id == 0 {
		return nil
	}
	s := &w.slots[int(id)&(len(w.slots)-1)]
	if s.id != id {
		return nil
	}
	return s
}

// finish frees an identifier. Of one that is not in flight nothing is said:
// that happens after a restart.
func (w *liveWindow) finish(id uint16) {
	if s := w.find(id); s != nil {
		*s = liveSlot{}
		w.n--
	}
}

// release notes PUBREC.
func (w *liveWindow) release(id uint16) bool {
	s := w.find(id)
	if s == nil || s.qos != 2 {
		return false
	}
	s.released = true
	return true
}
