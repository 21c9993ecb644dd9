package store

import (
	"strings"

	"packetboat/broker/store/wal"
)

// Policy is what happens to a consumer's messages when there is no room.
type Policy byte

const (
	// DropOldest ends the oldest ones, told in a gap marker.
	DropOldest Policy = iota
	// Reject refuses a publish that it is a target of, whole: the publisher
	// gets no acknowledgement.
	Reject
	// DropNewest leaves it out as a target and counts that.
	DropNewest
)

const (
	// smallBacklog is up to how many bytes a consumer's whole backlog is moved on
	// rather than dropped, so that a bulk stream for a dead cloud cannot evict the
	// three commands of an offline valve.
	smallBacklog = 256 << 10
)

// SetPolicy sets what happens to the consumer's messages when there is no room.
// maxSize bounds its backlog in bytes, 0 is no bound of its own; Reject and
// DropNewest need one, or they could hold the whole queue.
func (c *Consumer) SetPolicy(p Policy, maxSize uint64) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.policy, c.maxBytes, c.maxMessages = p, maxSize, 0
}

// SetLimit bounds the backlog of a DropOldest consumer in messages and bytes; 0
// is no bound. What is beyond is dropped when the next message comes, oldest
// first, but for what may be in flight.
func (c *Consumer) SetLimit(messages, bytes uint64) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.policy, c.maxMessages, c.maxBytes = DropOldest, messages, bytes
}

// SetOrphan marks a consumer that nobody reads any more, a bridge that is no
// longer configured: its messages are kept while there is room and are the
// first to go, whatever policy it had. Who reads it again sets its own.
func (c *Consumer) SetOrphan(orphan bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.orphan = orphan; orphan {
		c.policy, c.maxMessages, c.maxBytes = DropOldest, 0, 0
	}
}

// admitLocked applies the policies of the targets of a message of size bytes:
// it returns the targets that are left and those that were left out, or ErrFull
// when the publish is refused. full: the log has no room for protected lanes.
func (s *Store) admitLocked(to []Target, size uint64, full bool) (left, out []Target, err error) {
	newest := 0
	for i := range to {
		c := to[i].Consumer
		if c.policy == DropOldest || !full && (c.maxBytes == 0 || c.queuedBytes+size <= c.maxBytes) {
			continue
		}
		if c.policy == Reject {
			return nil, nil, ErrFull
		}
		newest++
	}
	if newest == 0 {
		return to, nil, nil
	}
	for _, t := range to {
		c := t.Consumer
		if c.policy == DropNewest && (full || c.maxBytes != 0 && c.queuedBytes+size > c.maxBytes) {
			out = append(out, t)
		} else {
			left = append(left, t)
		}
	}
	return left, out, nil
}

// dropNewestLocked counts a message that was not stored for c: it has a seq and
// a gap marker, so that the ledger balances.
func (c *Consumer) dropNewestLocked(size uint64, topic string, why Reason) {
	at := c.s.clocks.now()
	c.dropLaterLocked(Gap{Consumer: c.name, Reason: why, Count: 1, Bytes: size, From: at, To: at, FirstSeq: c.next, LastSeq: c.next,
		Topics: oneTopic(strings.Clone(topic))})
}

// dropLaterLocked ends the messages of g now and stages its marker when the
// frame is closed, merged with those that follow it.
func (c *Consumer) dropLaterLocked(g Gap) {
	before := c.lost[g.Reason]
	c.applyGapLocked(&g)
	g.Count = c.lost[g.Reason] - before
	if g.Count == 0 {
		return
	}
	if p := &c.pending; p.Count > 0 && p.LastSeq+1 == g.FirstSeq && p.Reason == g.Reason {
		p.LastSeq, p.To = g.LastSeq, g.To
		p.Count += g.Count
		p.Bytes += g.Bytes
		p.addTopics(g.Topics)
	} else {
		c.stagePendingLocked(nil)
		c.pending = g
	}
	c.urgentLocked()
	c.barrier = c.s.wal.OpenFrame() // the marker joins the open frame
}

// stagePendingLocked stages the gap marker that was gathered, with buf for the
// record.
func (c *Consumer) stagePendingLocked(buf []byte) {
	if c.pending.Count == 0 {
		return
	}
	c.s.wal.MakeRoom(gapSize(&c.pending)) // the progress that it makes comes behind it
	if c.pending.Count == 0 {
		return // staged with the frame that was closed
	}
	g := c.pending
	c.pending = Gap{}
	p := c.s.wal.Append(appendGap(buf[:0], c.num, &g))
	c.s.unpinned = max(c.s.unpinned, p)
	c.s.noteGapLocked(g, p)
}

// limitLocked drops what of a backlog is beyond the consumer's own limit.
func (c *Consumer) limitLocked() {
	if c.policy != DropOldest {
		return
	}
	for c.maxMessages > 0 && c.queued > c.maxMessages || c.maxBytes > 0 && c.queuedBytes > c.maxBytes {
		if !c.dropFirstLocked() {
			return
		}
	}
}

// dropFirstLocked drops the oldest message that is not in flight.
func (c *Consumer) dropFirstLocked() bool {
	seq := max(c.floor, c.maybeSentLocked())
	if c.overLimit > seq {
		seq = c.overLimit
	}
	for seq < c.next && (c.isDoneLocked(seq) || c.isReleasedLocked(seq)) {
		seq++
	}
	if seq >= c.next {
		return false
	}
	c.overLimit = seq + 1
	at := c.receivedLocked(seq)
	c.dropLaterLocked(Gap{Consumer: c.name, Reason: Dropped, Bytes: c.sizeOfLocked(seq), From: at, To: at, FirstSeq: seq, LastSeq: seq})
	return true
}

// share is what a consumer has in a segment.
type share struct {
	c      *Consumer
	bytes  uint64
	flying uint64 // of these, what may be in flight
}

// sharesLocked returns who has messages in [lo, hi) of the log, and how much.
func (s *Store) sharesLocked(lo, hi wal.Pos) []share {
	var out []share
	for _, c := range s.consumers {
		sum, flying, any := uint64(0), uint64(0), false
		for i := range c.spans {
			if sp := &c.spans[i]; sp.pos >= lo && sp.pos < hi {
				sum += sp.bytes
				any = true
				if first, high := max(sp.first, c.floor), min(sp.end(), c.maybeSentLocked()); first < high {
					flying += sp.bytes / uint64(sp.count) * (high - first)
				}
			}
		}
		if any {
			out = append(out, share{c, sum, flying})
		}
	}
	return out
}

// planLocked decides what becomes of everybody's messages in a segment of size
// bytes that is to go: who is rescued; the others are dropped. ok is false when
// protected lanes have too much in it, or too much is in flight: to write that
// again would win little and wear the disk.
func planLocked(shares []share, size uint64) (rescue map[*Consumer]bool, ok bool) {
	rescue = map[*Consumer]bool{}
	budget := size / 2
	for _, sh := range shares {
		if sh.flying > budget {
			return nil, false
		}
		budget -= sh.flying
	}
	for _, protected := range []bool{true, false} {
		for _, sh := range shares {
			if c := sh.c; (c.policy != DropOldest) == protected && (protected || !c.orphan && c.queuedBytes <= smallBacklog) {
				more := sh.bytes - min(sh.flying, sh.bytes)
				if more > budget {
					if protected {
						return nil, false
					}
					continue
				}
				budget -= more
				rescue[c] = true
			}
		}
	}
	return rescue, true
}
