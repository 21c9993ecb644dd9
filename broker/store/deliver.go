package store

import (
	"context"
	"errors"
	"io"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"packetboat/broker/store/wal"
)

// reader is where a consumer reads the log: the rest of a frame, in memory of
// its own. Used only when the newest records in memory do not have the message.
type reader struct {
	rec     []byte // the record being delivered
	buf     []byte // a frame
	recs    []byte // the rest of it
	off     wal.Pos
	next    wal.Pos // of the next frame; 0 = not reading
	span    uint64  // first seq of the span being read
	rescued bool    // its kind
	seq     uint64  // all below were passed
	ids     []uint32
	used    bool    // since the housekeeping last looked
	bad     wal.Pos // a frame that could not be read
	tries   int     // ... so many times
}

// smallRecord is what a reader keeps memory for while there is nothing to read.
// A frame may be as large as a commit, and there is a reader for each session.
const smallRecord = 4 << 10

// caughtUp lets go of the frame; what was delivered last stays valid. No record behind
// those that were read is the consumer's, and next is where its next one may be. The
// memory for one record stays: live messages are read into it.
func (r *reader) caughtUp() { r.buf, r.recs = nil, nil }

// rest lets go of all memory. What can be read is read again from the span on.
func (r *reader) rest() {
	r.caughtUp()
	r.next = 0
	if cap(r.rec) > smallRecord {
		r.rec = nil
	}
}

// readingLocked notes that c has memory to let go of when it does not read any more.
func (c *Consumer) readingLocked() {
	if !c.rd.used {
		c.rd.used = true
		c.s.readers[c] = struct{}{}
	}
}

// restReaders has those rest that were not used since the last time: peers that
// take nothing, or do not answer.
func (s *Store) restReaders() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.readers {
		if !c.rd.used {
			c.rd.rest()
			delete(s.readers, c)
		}
		c.rd.used = false
	}
}

// TryNext fills d with the next message to deliver, in order, and moves on. It
// returns false when there is none: nothing more is durable, a give-up is not
// durable yet, or as many are unfinished as the window allows. OnReady tells
// when the first two have changed; finish some to change the third.
//
// Delivered again by Rewind: what is not finished, with Dup set; of what is
// released, only that.
func (c *Consumer) TryNext(d *Delivery) bool {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.nextReleasedLocked(d) {
		return true
	}
	for {
		if !c.mayDeliverLocked() {
			if c.cursor >= c.next {
				c.rd.caughtUp()
			}
			return false
		}
		seq := c.cursor
		switch {
		case c.isDoneLocked(seq):
			c.cursor++
			continue
		case c.isReleasedLocked(seq):
			if seq < c.relEnd {
				c.cursor++
				continue // handed out already
			}
			if !c.giveUpDurableLocked() {
				return false
			}
			c.cursor++
			c.fillReleased(d, seq)
			return true
		}
		found, err := c.readLocked(seq, d)
		if c.removed || c.cursor != seq || c.isDoneLocked(seq) {
			continue // dropped while the disk was read
		}
		if errors.Is(err, io.EOF) || err != nil && c.tryAgainLocked(err) {
			return false
		}
		if why, text := c.verdictLocked(found, d, seq); why != 0 {
			gone := sentMessage{seq: seq, at: c.receivedLocked(seq)}
			if found {
				gone.topic, gone.at = d.Topic, d.Received
				c.keepDeadLocked(d, why, text)
			}
			c.giveUpLocked(gone, why, !found || d.QoS == 2)
			continue // the next ones may go the same way: one commit for all
		}
		if !c.giveUpDurableLocked() {
			c.rd.next = 0
			return false
		}
		d.Seq, d.ID = seq, 0
		if d.QoS > 0 {
			d.ID = c.idLocked(seq)
		}
		d.Dup = d.QoS > 0 && seq < c.sentHigh
		c.sentHigh = max(c.sentHigh, seq+1)
		c.cursor++
		c.noteSentLocked(seq, &d.Message)
		return true
	}
}

// verdictLocked decides whether a message that was read is given up, and why.
func (c *Consumer) verdictLocked(found bool, d *Delivery, seq uint64) (why Reason, text string) {
	if !found {
		return Damaged, ""
	}
	age := c.s.clocks.age(d.Received)
	maybeSent := d.QoS == 2 && seq < c.sentHigh // then it is delivered all the same [MQTT-4.3.3-7]
	if d.HasExpiry && !maybeSent && age >= time.Duration(d.Expiry)*time.Second {
		return Expired, ""
	}
	if c.inspect != nil {
		d.Seq = seq
		d.At, d.AtTrusted = c.s.clocks.received(&d.Message)
		d.Dup = d.QoS > 0 && seq < c.sentHigh
		return c.inspect(d, age)
	}
	return 0, ""
}

// Inspect sets a function that TryNext asks about each message before handing
// it out: a Reason gives the message up, 0 delivers it, and text says why in words, for
// a dead letter. age is that of the message. A chain of messages that are given up costs one commit, where GiveUp
// after each delivery would cost one each. It is called with the store's lock
// held and must not call the store. An expiry interval is observed without it.
func (c *Consumer) Inspect(f func(d *Delivery, age time.Duration) (why Reason, text string)) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.inspect = f
}

// TryReleased is TryNext for what is released only: after Rewind those come
// first, and they need no room at the peer.
func (c *Consumer) TryReleased(d *Delivery) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.nextReleasedLocked(d)
}

// nextReleasedLocked hands out the released ones of [relNext, relEnd), each
// once: a PUBREL too many could meet the identifier's next message.
func (c *Consumer) nextReleasedLocked(d *Delivery) bool {
	if c.relNext >= c.relEnd && len(c.abandoned) == 0 || c.removed || !c.giveUpDurableLocked() {
		return false
	}
	for c.relNext = max(c.relNext, c.floor); c.relNext < c.relEnd; {
		seq := c.relNext
		c.relNext++
		if !c.isDoneLocked(seq) && c.isReleasedLocked(seq) {
			c.fillReleased(d, seq)
			return true
		}
	}
	if len(c.abandoned) > 0 {
		c.fillReleased(d, c.abandoned[0])
		c.abandoned = c.abandoned[1:]
		return true
	}
	return false
}

func (c *Consumer) fillReleased(d *Delivery, seq uint64) {
	*d = Delivery{Seq: seq, ID: c.idLocked(seq), Released: true, Dup: true}
	d.QoS = 2
}

// giveUpDurableLocked: nothing of this consumer leaves before a give-up is on disk.
func (c *Consumer) giveUpDurableLocked() bool {
	if c.barrier == 0 || c.barrier < c.s.wal.Durable() || c.s.readOnly() || c.s.without("give_up_durable_before_later_ones") {
		return true
	}
	c.s.wakeLocked(c, c.barrier)
	return false
}

// mayDeliverLocked holds the cursor to the rules of what may be sent.
func (c *Consumer) mayDeliverLocked() bool {
	c.cursor = max(c.cursor, c.floor)
	switch {
	case c.removed, c.cursor >= c.next:
		return false
	case c.cursor >= c.floor+windowSize:
		return false
	}
	floor := c.durFloor
	if c.s.readOnly() || c.s.without("span_limit_from_durable_floor") { // a reader sends nothing
		floor = c.floor
	}
	if c.cursor >= floor+uint64(c.ids.N) {
		c.urgentLocked() // the floor has to become durable first
		return false
	}
	return true
}

func (s *Store) without(rule string) bool { return s.opt.WithoutRule == rule }

// readLocked finds the record of seq and fills d. It returns io.EOF when the
// record is not durable yet, and false when the log does not have it.
func (c *Consumer) readLocked(seq uint64, d *Delivery) (bool, error) {
	return c.findLocked(&c.rd, seq, d)
}

// findLocked is readLocked with a reader of the caller's.
func (c *Consumer) findLocked(r *reader, seq uint64, d *Delivery) (bool, error) {
	if c.ring != nil {
		if e := c.ring[seq%ringSize]; e.seq == seq && e.pos != 0 {
			if e.pos >= c.s.wal.Durable() && !c.s.without("read_only_durable") {
				c.s.wakeLocked(c, e.pos)
				return false, io.EOF
			}
			if rec, ok := c.s.wal.Record(e.pos, r.rec); ok {
				r.rec = rec
				r.next = 0
				if cap(rec) > smallRecord {
					c.readingLocked()
				}
				return c.fillLocked(r, d, rec, e.pos, seq), nil
			}
		}
	}
	return c.scanLocked(r, seq, d)
}

// scanLocked reads frames from the span of seq on until r finds the record.
func (c *Consumer) scanLocked(r *reader, seq uint64, d *Delivery) (bool, error) {
	i := sort.Search(len(c.spans), func(i int) bool { return c.spans[i].first > seq }) - 1
	if i < 0 || seq >= c.spans[i].end() {
		return false, nil
	}
	sp := &c.spans[i]
	if r.next == 0 || r.seq > seq || r.span != sp.first && r.next != sp.pos || r.rescued != sp.rescued {
		r.next, r.recs = sp.pos, nil
	}
	r.span, r.rescued = sp.first, sp.rescued
	for {
		for len(r.recs) > 0 {
			rec, rest, err := wal.NextRecord(r.recs)
			if err != nil {
				r.recs = nil
				break
			}
			at := r.off
			r.off += wal.Pos(len(r.recs) - len(rest))
			got, hit := c.seqIn(rec, r.rescued)
			if hit && got > seq && !r.rescued { // rescue records are in no order
				r.seq = seq + 1
				r.off = at
				return false, nil
			}
			r.recs = rest
			if hit && got == seq {
				r.seq = seq + 1
				return c.fillLocked(r, d, rec, at, seq), nil
			}
		}
		all := c.lastPos < c.s.wal.Durable() // before the read: a commit may end while the lock is away
		if err := c.readFrame(r); err != nil {
			if errors.Is(err, io.EOF) && all {
				return false, nil // all there is was read
			}
			return false, err
		}
	}
}

// readFrame fetches the next frame, without the store's lock. Damage is passed
// over: what was in it is missed when its seq comes.
func (c *Consumer) readFrame(r *reader) error {
	p := r.next
	c.s.mu.Unlock()
	recs, next, err := c.s.wal.Read(p, r.buf)
	c.s.mu.Lock()
	if cap(recs) > cap(r.buf) {
		r.buf = recs[:0]
	}
	if r == &c.rd {
		c.readingLocked()
	}
	var damaged *wal.DamagedError
	if errors.As(err, &damaged) {
		if damaged.Next <= p {
			return nil
		}
		c.s.log.Error("reading the queue failed; going on behind it", "consumer", c.name, "err", err)
		r.recs, r.next = nil, damaged.Next
		return nil
	}
	if err != nil {
		return err
	}
	r.recs, r.off, r.next = recs, p+frameHead, next
	return nil
}

// readTries is how often a frame is read that gives an error of the medium,
// once a second, before it counts as damaged.
const readTries = 5

// tryAgainLocked puts c off after an error of the file system until the next
// round of the housekeeping. It returns false when the frame is given up: the
// medium keeps failing there, and what is behind it must not wait for ever. Any
// other error (too many open files, say) is no reason to lose a message.
func (c *Consumer) tryAgainLocked(err error) bool {
	r := &c.rd
	if r.bad != r.next {
		r.bad, r.tries = r.next, 0
		c.s.log.Error("reading the queue failed; it is tried again", "consumer", c.name, "err", err)
	}
	medium := errors.Is(err, unix.EIO) || errors.Is(err, unix.EBADMSG) || errors.Is(err, unix.EUCLEAN) || errors.Is(err, unix.ENODATA)
	if r.tries++; medium && r.tries > readTries {
		r.recs, r.next = nil, c.s.wal.Skip(r.next)
		return false
	}
	c.s.stalled = append(c.s.stalled, c)
	return true
}

// retryReads wakes the consumers whose log could not be read a moment ago.
func (s *Store) retryReads() {
	s.mu.Lock()
	stalled := s.stalled
	s.stalled = nil
	var ready []func()
	for _, c := range stalled {
		c.nudge()
		if c.ready != nil {
			ready = append(ready, c.ready)
		}
	}
	s.mu.Unlock()
	for _, f := range ready {
		f()
	}
}

const frameHead = 24 // of the log's frames

// seqIn returns the seq under which rec, a message or a rescue, is for c.
func (c *Consumer) seqIn(rec []byte, rescued bool) (uint64, bool) {
	if len(rec) < 2 || rescued && !isRescue(rec[0]) || !rescued && !isMessage(rec[0]) {
		return 0, false
	}
	r := messageRecord{}
	cur := cursor{b: rec[2:]}
	if rec[0] == recImported || rec[0] == recImportedRescue {
		cur.wall()
	}
	if rescued {
		cur.uvarint()
	}
	r.n = cur.uvarint()
	r.targets = cur
	var t targetRecord
	for r.next(&t) {
		if t.num == c.num {
			return t.seq, true
		}
	}
	return 0, false
}

// fillLocked makes d of the record rec at p for c, in memory of rd.
func (c *Consumer) fillLocked(rd *reader, d *Delivery, rec []byte, p wal.Pos, seq uint64) bool {
	var r messageRecord
	if parseMessage(rec, &r) != nil {
		return false
	}
	var t targetRecord
	for r.next(&t) {
		if t.num == c.num && t.seq == seq {
			break
		}
	}
	if t.num != c.num || t.seq != seq {
		return false
	}
	topic := d.Topic
	if string(r.topic) != topic {
		topic = string(r.topic)
	}
	rd.ids = rd.ids[:0]
	for cur := (cursor{b: t.subIDs}); len(cur.b) > 0; {
		rd.ids = append(rd.ids, uint32(cur.uvarint()))
	}
	boot := r.boot
	if boot == 0 {
		boot = c.s.clocks.at(p)
	}
	*d = Delivery{Message: Message{
		Topic: topic, Payload: r.payload, QoS: t.opts & flagQoS, Retain: t.opts&targetRetain != 0,
		Props: r.props, Expiry: r.expiry, HasExpiry: r.flags&flagExpiry != 0,
		PacketID: r.packetID, Received: Stamp{boot, r.up}, Earlier: r.earlier,
	}, SubscriptionIDs: rd.ids}
	if o := c.s.originNum[r.origin]; o != nil {
		d.Origin = o.name
	}
	return true
}

// Next waits for the next delivery; it returns ctx's error when that ends.
func (c *Consumer) Next(ctx context.Context) (Delivery, error) {
	var d Delivery
	for {
		if c.TryNext(&d) {
			return d, nil
		}
		select {
		case <-c.wait:
		case <-ctx.Done():
			return Delivery{}, ctx.Err()
		}
	}
}

// nudge wakes Next. It never blocks.
func (c *Consumer) nudge() {
	select {
	case c.wait <- struct{}{}:
	default:
	}
}

// OnReady sets the function that is called, by the committer or the
// housekeeping, when TryNext may find something new; nil for none. A consumer with one is online: the
// positions of its newest messages are kept, so that live traffic is read from
// memory.
func (c *Consumer) OnReady(f func()) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.ready = f
	if f == nil {
		c.ring = nil
		c.rd.rest()
	} else if c.ring == nil {
		c.ring = new([ringSize]ringEntry)
	}
}

// Rewind starts the delivery again from the first unfinished message, for a new
// connection to the same session: [MQTT-4.4.0-1], in the same order, with the
// same identifiers.
func (c *Consumer) Rewind() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.rewindLocked()
}

func (c *Consumer) rewindLocked() {
	c.cursor = c.floor
	c.relNext, c.relEnd, c.abandoned = c.floor, min(c.next, c.floor+windowSize), nil
	c.rd.next = 0
}

// Restart is Rewind for a peer that has forgotten the session, or for another
// peer: everything goes again as new, also what was confirmed with PUBREC. Many
// servers hand a QoS 2 message on when PUBREL comes, so one that was not confirmed
// with PUBCOMP may have ended with the session; twice is better than not at all.
func (c *Consumer) Restart() Receipt {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	r := c.s.appendLocked(appendUvarints(append(c.s.scratch[:0], recRestart), uint64(c.num)))
	c.restartLocked()
	c.rewindLocked()
	return r
}

func (c *Consumer) restartLocked() {
	c.released = bitRing{}
	for i := range c.skips {
		c.skips[i].abandoned = false
	}
	c.moveFloorLocked()
	c.sentHigh = 0
}

// QueuedQoS0 reports whether QoS 0 messages of this consumer are still queued,
// so that one that is handed over directly would overtake them.
func (c *Consumer) QueuedQoS0() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.lastQoS0 > max(c.cursor, c.floor)
}

// Seq finds the unfinished delivery that was sent under packet identifier id;
// released tells whether PUBREC was noted for it.
func (c *Consumer) Seq(id uint16) (seq uint64, released, ok bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if id < c.ids.First || uint32(id) >= uint32(c.ids.First)+uint32(c.ids.N) {
		return 0, false, false
	}
	n := uint64(c.ids.N)
	// The only seq of [floor, floor+n) that has this identifier.
	base := c.floor + (uint64(id-c.ids.First)+2*n-(c.floor+c.s.idShift)%n)%n
	released = c.isReleasedLocked(base)
	if c.isDoneLocked(base) || base >= c.cursor && (!released || base >= c.relNext) {
		return 0, false, false // finished, or not handed out on this connection
	}
	return base, released, true
}
