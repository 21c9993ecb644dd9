package broker

import (
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/broker/topic"
)

// router is the scratch memory of one message on its way to its receivers,
// pooled. The steps of route:
//
//  1. find the subscriptions, fold those of one session into one delivery;
//     when there are none, those of the unrouted topic
//  2. sort receivers into durable ones and live ones
//  3. stage the message for the durable ones, and as retained message
//  4. append it to the output of the live ones
//
// The caller flushes these outputs when its round is over.
type router struct {
	b *Broker

	from *session // the publisher, nil when it is no session
	m    *Message

	matches []match
	gone    int     // of matches: sessions that ended with their connection just now
	astray  Message // goes to the unrouted topic instead of m
	targets []store.Target
	lives   []live
	offered []int // matches of attached subscribers that are to get QoS 0
	queued  []store.Target
	frames  frames
	dirty   []*conn // whose output this router has to see flushed

	// stamp finds the match of a subscriber by its slot: epoch in the upper
	// half, index into matches in the lower one.
	stamp []uint64
	epoch uint32

	add func(*sub)
}

// match is one receiver of the message.
type match struct {
	s      *session
	sub    *sub
	group  *group // by which it was chosen
	att    *Attachment
	rule   int // of the attachment
	qos    byte
	retain bool // retain as published
	ids    []uint32
}

type live struct {
	c  *conn
	at int // in matches
}

// routed is what became of a message.
type routed struct {
	receipt store.Receipt
	matched int  // subscribers
	staged  bool // the store has it
	err     error
}

func newRouter(b *Broker) *router {
	r := &router{b: b}
	r.add = r.collect
	return r
}

func (b *Broker) router() *router { return b.routers.Get().(*router) }

// route sends m, whose topic is valid, to everybody who wants it. m is used
// until route returns.
func (r *router) route(from *session, m *Message) routed {
	b := r.b
	r.from, r.m = from, m
	r.frames.reset()
	b.mu.RLock()
	matched := r.resolve(m)
	if r.durable() && !b.store.HasRoom() {
		var publisher *conn
		if from != nil {
			publisher = from.owner
		}
		b.mu.RUnlock()
		r.waitForRoom(publisher)
		b.mu.RLock()
		matched = r.resolve(m) // who is there now
	}
	res := r.stage()
	res.matched = matched
	// The lock is held until here so that a session that ends is no target
	// any more.
	b.mu.RUnlock()
	if t := b.tap.Load(); t != nil && (res.err == nil || r.unheard()) {
		t.see(m)
	}
	if res.err == nil {
		r.deliver()
	} else if r.unheard() {
		b.stats.droppedQoS0.Add(uint64(len(r.targets)))
		r.deliver()
	}
	if res.matched == 0 {
		b.stats.unrouted.Add(1)
	}
	r.from, r.m, r.astray = nil, nil, Message{}
	clear(r.lives)
	clear(r.targets)
	return res
}

// resolve finds who is to get m and returns how many there are. When nobody
// wants m, it is the unrouted message that goes on.
func (r *router) resolve(m *Message) int {
	r.m = m
	n := r.find()
	if n == 0 && r.b.unrouted.takes(m, !r.b.opt.NoRetain) {
		r.astray = *m
		r.astray.Retain = false
		if r.astray.Topic = r.b.unrouted.topic(m.Topic); len(r.astray.Topic) <= topic.MaxLen {
			r.m = &r.astray
			r.find()
		}
	}
	return n
}

// find finds the receivers, sorts them and returns how many there are.
func (r *router) find() int {
	r.matches = r.matches[:0]
	if r.epoch++; r.epoch == 0 {
		clear(r.stamp)
		r.epoch = 1
	}
	r.b.tree.Match(r.m.Topic, r.add)
	r.sort()
	return len(r.matches) - r.gone
}

// waitForRoom holds this publisher back, and nobody else, while the disk does
// not keep up: no lock is held, and what its round has put out for others, and
// for its connection c if it has one, does not wait with it.
func (r *router) waitForRoom(c *conn) {
	if r.b.store.HasRoom() {
		return
	}
	r.flush()
	if c != nil {
		c.flush()
	}
	r.b.store.WaitForRoom()
}

// durable: the message goes to the store, unless its retained copy is refused.
func (r *router) durable() bool {
	// In-process publishers leave it to the store to remember their ids.
	return len(r.targets) > 0 || r.m.PacketID != 0 && r.from == nil || r.m.Retain && !r.b.opt.NoRetain
}

// unheard: nobody is told that the store refused the message, and nobody will
// send it again, so who can be served without the store is.
func (r *router) unheard() bool {
	return r.m.QoS == 0 && (r.from != nil || r.m.Origin == sysOrigin)
}

// collect takes one subscription that matches.
func (r *router) collect(s *sub) {
	switch {
	case s.group != nil:
		if m := s.group.pick(); m != nil {
			r.put(m, s.group)
		}
	case s.att != nil:
		if s.att.name == r.m.Origin || !s.att.mayReceive(r.m.Topic) { // the former: loop guard
			return
		}
		if at := r.seen(s.att.slot); at >= 0 {
			r.matches[at].rule = min(r.matches[at].rule, s.rule) // the first rule carries
			return
		}
		r.put(s, nil)
		r.mark(s.att.slot)
	case s.noLocal && s.s == r.from: // [MQTT-3.8.3-3]
	case s.s.subCount == 1:
		r.put(s, nil)
	default:
		// Overlapping subscriptions: one copy, at the highest QoS, with all
		// identifiers [MQTT-3.3.4-2] [MQTT-3.3.4-4].
		if at := r.seen(s.s.slot); at >= 0 {
			m := &r.matches[at]
			m.qos = max(m.qos, s.qos)
			m.retain = m.retain || s.asPublished
			if s.id != 0 {
				m.ids = append(m.ids, s.id)
			}
			return
		}
		r.put(s, nil)
		r.mark(s.s.slot)
	}
}

func (r *router) put(s *sub, g *group) {
	if len(r.matches) < cap(r.matches) {
		r.matches = r.matches[:len(r.matches)+1]
	} else {
		r.matches = append(r.matches, match{})
	}
	m := &r.matches[len(r.matches)-1]
	*m = match{s: s.s, sub: s, group: g, att: s.att, rule: s.rule, qos: s.qos, retain: s.asPublished, ids: m.ids[:0]}
	if s.id != 0 {
		m.ids = append(m.ids, s.id)
	}
}

func (r *router) seen(slot int) int {
	if slot >= len(r.stamp) || uint32(r.stamp[slot]>>32) != r.epoch {
		return -1
	}
	return int(uint32(r.stamp[slot]))
}

func (r *router) mark(slot int) {
	for slot >= len(r.stamp) {
		r.stamp = append(r.stamp, 0)
	}
	r.stamp[slot] = uint64(r.epoch)<<32 | uint64(len(r.matches)-1)
}

// sort decides for each receiver how the message reaches it.
func (r *router) sort() {
	m := r.m
	r.targets, r.lives, r.offered, r.queued, r.gone = r.targets[:0], r.lives[:0], r.offered[:0], r.queued[:0], 0
	policy := r.b.opt.QueueQoS0
	for i := range r.matches {
		x := &r.matches[i]
		if x.att != nil {
			rule := &x.att.subs[x.rule]
			qos := rule.grant(m.QoS)
			if qos == 0 {
				r.offered = append(r.offered, i)
				continue
			}
			r.targets = append(r.targets, rule.target(x.att.lanes[rule.Lane], m, qos))
			continue
		}
		s := x.s
		x.qos = min(m.QoS, x.qos) // [MQTT-3.8.4-8]
		x.retain = m.Retain && x.retain
		c := s.conn.Load()
		switch {
		case s.consumer == nil:
			if c == nil {
				r.gone++
				continue
			}
			r.lives = append(r.lives, live{c, i})
		case x.qos > 0:
			r.targets = append(r.targets, x.target())
		case c != nil && !s.consumer.QueuedQoS0():
			r.lives = append(r.lives, live{c, i})
		case c != nil || policy == QueueForAll:
			r.queued = append(r.queued, x.target())
		}
	}
}

func (x *match) target() store.Target {
	if x.group != nil {
		x.ids = append(x.ids, x.group.mark)
	}
	return store.Target{Consumer: x.s.consumer, QoS: x.qos, KeepRetain: x.retain, SubscriptionIDs: x.ids}
}

// stage gives the message to the store, if anything about it is durable.
func (r *router) stage() routed {
	b, m := r.b, r.m
	var res routed
	if m.Retain && !b.opt.NoRetain {
		return r.stageRetained(res)
	}
	if r.durable() {
		res.receipt, res.err = b.store.Publish(m, r.targets)
		res.staged = true
	}
	return res
}

// deliver serves the live receivers, after staging was accepted.
func (r *router) deliver() {
	m := r.m
	for i := range r.lives {
		l := &r.lives[i]
		x := &r.matches[l.at]
		r.send(l.c, x, false)
	}
	policy := r.b.opt.QueueQoS0
	for _, i := range r.offered {
		x := &r.matches[i]
		rule := &x.att.subs[x.rule]
		lane := x.att.lanes[rule.Lane]
		t := rule.target(lane, m, 0)
		if t.Refused == 0 && x.att.live != nil && !lane.QueuedQoS0() && x.att.live.Deliver(m, x.rule, 0) {
			continue
		}
		if policy != QueueForNone || t.Refused != 0 {
			r.queued = append(r.queued, t)
		}
	}
	if len(r.queued) > 0 {
		r.queueQoS0()
	}
}

// queueQoS0 stores a QoS 0 copy for consumers that cannot have it now. Nobody
// is promised anything about it, so a full store only loses it.
func (r *router) queueQoS0() {
	r.waitForRoom(nil)
	q := *r.m
	q.QoS, q.Retain, q.PacketID = 0, false, 0
	if _, err := r.b.store.Publish(&q, r.queued); err != nil {
		r.b.stats.droppedQoS0.Add(uint64(len(r.queued)))
	}
	clear(r.queued)
}

// send appends the message to the output of one connection; burst as in
// delivery.
func (r *router) send(c *conn, x *match, burst bool) {
	ids := x.ids
	if c.version != packet.V5 {
		ids = nil
	}
	frame, id := r.frames.get(r.m, c.version, x.qos, x.retain, ids)
	if c.deliver(&delivery{frame: frame, id: id, payload: len(r.m.Payload), qos: x.qos, group: x.group, burst: burst}) {
		r.dirty = append(r.dirty, c)
	}
}

const (
	// inlineFlush is up to how many outputs a reader writes itself at the end
	// of its round: waking a flusher costs more than a few writes.
	inlineFlush = 4
	// flushPause is how soon after the last write the next one is left to a
	// flusher: so many readers then have something for that connection that it
	// pays to gather it.
	flushPause = 100 * time.Microsecond
	// aloneFor is how many writes the readers do themselves all the same after
	// a flusher has found nothing gathered aloneAfter times: one publisher that
	// waits for each answer is as fast as that.
	aloneFor   = 128
	aloneAfter = 64
)

// flush sees to it that what was delivered is written.
func (r *router) flush() {
	if len(r.dirty) == 0 {
		return
	}
	inline := len(r.dirty) <= inlineFlush
	now := time.Since(r.b.started)
	for i, c := range r.dirty {
		if inline && (now-time.Duration(c.flushed.Swap(int64(now))) > flushPause || c.alone()) {
			c.flush()
		} else {
			c.left.Add(1)
			r.b.flushers.push(c, workFlush)
		}
		r.dirty[i] = nil
	}
	r.dirty = r.dirty[:0]
}

// alone reports whether a reader had better write itself for c, and counts that.
func (c *conn) alone() bool {
	for {
		n := c.aloneLeft.Load()
		if n <= 0 {
			return false
		}
		if c.aloneLeft.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// gathered tells how many rounds had left their output for c to the flusher
// that is about to write it.
func (c *conn) gathered() {
	switch n := c.left.Swap(0); {
	case n == 1:
		if c.streak.Add(1) >= aloneAfter {
			c.aloneLeft.Store(aloneFor)
		}
	case n > 1:
		c.streak.Store(0)
	}
}

// frames holds the encodings of one message, each made once for all receivers
// that can share it.
type frames struct {
	buf  []byte
	at   [2 * 3 * 2]span
	have uint16
	pub  packet.Publish
}

type span struct{ from, to, id int }

func (f *frames) reset() {
	if cap(f.buf) > keepOutput {
		f.buf = nil
	}
	f.buf, f.have = f.buf[:0], 0
}

// get returns the encoded PUBLISH, valid until the next get, and where its
// packet identifier goes. One with subscription identifiers is not shared.
func (f *frames) get(m *Message, version, qos byte, retain bool, ids []uint32) (frame []byte, id int) {
	i := int(qos) * 2
	if retain {
		i++
	}
	if version == packet.V5 {
		i += 6
	}
	if len(ids) == 0 && f.have&(1<<i) != 0 {
		s := f.at[i]
		return f.buf[s.from:s.to], s.id
	}
	p := &f.pub
	p.QoS, p.Retain, p.Topic, p.Payload = qos, retain, m.Topic, m.Payload
	p.Props, p.Expiry, p.HasExpiry, p.SubscriptionIDs = m.Props, m.Expiry, m.HasExpiry, ids
	from := len(f.buf)
	f.buf = packet.AppendPublish(f.buf, version, p)
	*p = packet.Publish{}
	frame = f.buf[from:]
	if qos > 0 {
		id = packet.PublishID(frame)
	}
	if len(ids) == 0 {
		f.at[i] = span{from, len(f.buf), id}
		f.have |= 1 << i
	}
	return frame, id
}

// slots gives subscribers small numbers, so that a router finds them without
// hashing.
type slots struct {
	free []int
	n    int
}

func (s *slots) take() int {
	if k := len(s.free); k > 0 {
		v := s.free[k-1]
		s.free = s.free[:k-1]
		return v
	}
	s.n++
	return s.n - 1
}

func (s *slots) give(v int) { s.free = append(s.free, v) }
