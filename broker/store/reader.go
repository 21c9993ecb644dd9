package store

import (
	"errors"
	"io"
	"sort"

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
