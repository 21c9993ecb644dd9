package store

import (
	"errors"
	"fmt"

	"packetboat/broker/store/wal"
)

// Purge ends everything that waits for the consumer, told in gap markers. What
// may have been sent at QoS 2 is abandoned, not forgotten; the seqs go on, so no
// identifier is used again that the peer may still hold. It returns how many
// messages were ended and from when on that is durable.
func (c *Consumer) Purge() (n uint64, r Receipt) {
	topics := c.s.takeCensusOf(c)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	before := c.queued
	high := c.floor
	if c.qos2 {
		high = min(max(c.sentHigh, c.floor), c.next)
		r = r.After(c.purgeLocked(topics, c.floor, high, true))
	}
	r = r.After(c.purgeLocked(topics, high, c.next, false))
	if !r.IsZero() {
		c.s.wakeLocked(c, wal.Pos(r.pos)) // what was abandoned is to be handed out
	}
	return before - c.queued, r
}

func (c *Consumer) purgeLocked(topics *census, first, end uint64, abandoned bool) Receipt {
	if first >= end {
		return Receipt{}
	}
	now := c.s.clocks.now()
	g := Gap{Reason: Purged, Bytes: c.queuedBytes, From: now, To: now, FirstSeq: first, LastSeq: end - 1, Abandoned: abandoned,
		Topics: topics.countLocked(c, first, end)}
	for i := range c.spans {
		if c.spans[i].end() > first {
			g.From = c.spans[i].at
			break
		}
	}
	r := c.endRangeLocked(g)
	if !r.IsZero() && abandoned {
		for seq := first; seq < end; seq++ {
			if !c.isDoneLocked(seq) && (seq < c.relNext || seq >= c.relEnd && seq < c.cursor) {
				c.abandoned = append(c.abandoned, seq)
			}
		}
	}
	return r
}

// endRangeLocked ends the unfinished messages of [g.FirstSeq, g.LastSeq] for
// g.Reason and stages the gap marker; the zero Receipt when there were none.
// Nothing later is delivered, and no segment freed, before it is durable.
func (c *Consumer) endRangeLocked(g Gap) Receipt {
	g.Consumer = c.name
	// What of the range is finished is no part of the gap, also for whoever reads the log.
	c.rememberLocked()
	// The progress that the range being finished makes comes behind the marker, or
	// whoever reads the log takes it for delivered.
	c.s.wal.MakeRoom(gapSize(&g))
	before := c.lost[g.Reason]
	c.applyGapLocked(&g)
	if g.Count = c.lost[g.Reason] - before; g.Count == 0 {
		return Receipt{}
	}
	r := c.s.appendLocked(appendGap(nil, c.num, &g))
	c.barrier = wal.Pos(r.pos)
	c.s.unpinned = max(c.s.unpinned, wal.Pos(r.pos))
	c.s.noteGapLocked(g, wal.Pos(r.pos))
	return r
}

// ErrExists: there is a consumer of the new name already.
var ErrExists = errors.New("there is a queue of that name already")

// Rename gives the consumer called from the name to; its backlog, its seqs and
// its ledger stay. A queue called to that never had a message is replaced.
func (s *Store) Rename(from, to string) (Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byName[from]
	switch {
	case c == nil:
		return Receipt{}, fmt.Errorf("there is no queue %s", from)
	case s.byName[to] != nil && s.byName[to].accepted == 0:
		// Made by a start under the new name, and never used.
		s.appendLocked(appendRemove(s.scratch[:0], s.byName[to].num))
		s.removeLocked(s.byName[to])
	case s.byName[to] != nil:
		return Receipt{}, fmt.Errorf("%w: %s", ErrExists, to)
	}
	s.renameLocked(c, to)
	return s.appendLocked(appendConsumer(s.scratch[:0], c)), nil
}

func (s *Store) renameLocked(c *Consumer, to string) {
	s.renameGapsLocked(c.name, to)
	delete(s.byName, c.name)
	c.name = to
	s.byName[to] = c
}

func (s *Store) renameGapsLocked(from, to string) {
	for i := range s.gaps {
		if s.gaps[i].Consumer == from {
			s.gaps[i].Consumer = to
		}
	}
}

// Unfinished reports whether seq is accepted and not finished.
func (c *Consumer) Unfinished(seq uint64) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return seq >= c.floor && seq < c.next && !c.isDoneLocked(seq)
}

// InFlight returns the first message that was handed out since Rewind and is
// neither finished nor released, and the seq behind the last; false for none.
func (c *Consumer) InFlight() (first, end uint64, ok bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for seq := c.floor; seq < c.cursor; seq++ {
		if !c.isDoneLocked(seq) && !c.isReleasedLocked(seq) {
			return seq, c.cursor, true
		}
	}
	return 0, 0, false
}

// MaybeHeld returns how many messages are still to be handed out since Rewind that
// may have been handed out before, with identifiers that the peer holds; qos2 is
// false, and n 0, for a consumer that never had QoS 2.
func (c *Consumer) MaybeHeld() (n int, qos2 bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if !c.qos2 {
		return 0, false
	}
	for seq := max(c.cursor, c.floor); seq < min(c.sentHigh, c.next); seq++ {
		if !c.isDoneLocked(seq) && !c.isReleasedLocked(seq) {
			n++
		}
	}
	return n, true
}

// Floor returns the seq below which everything is finished.
func (c *Consumer) Floor() uint64 {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.floor
}
