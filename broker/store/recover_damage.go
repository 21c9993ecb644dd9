package store

import (
	"fmt"
	"strings"

	"packetboat/broker/store/wal"
)

// What recovery makes of bytes that are gone: it finds out how many messages, and
// whose, were in them from what stands behind them.

// hole is a range of seqs of which the log does not have the messages.
type hole struct {
	c          *Consumer
	first, end uint64
	at         Stamp // the last moment known before it
}

// missing counts the messages of c up to seq that a later record proves lost.
func (r *recovery) missing(c *Consumer, seq uint64) {
	if !r.snapshot && len(r.damaged) == 0 {
		// Without a snapshot the log begins anywhere: what is not there was freed.
		c.skipLocked(c.next, seq, false)
		return
	}
	r.holes = append(r.holes, hole{c, c.next, seq, r.s.clocks.lastKnown()})
	r.passed(c, seq)
	r.damaged = append(r.damaged, wal.Damage{})
}

// passed counts the messages of c up to seq as accepted, wherever they are.
func (r *recovery) passed(c *Consumer, seq uint64) {
	c.accepted += seq - c.next
	c.queued += seq - c.next
	c.next = seq
}

// assume ends what stood in segments before the oldest one that is left: they
// would not have gone while it waited there, but for what was rescued into a
// later one.
func (r *recovery) assume() {
	for _, h := range r.assumed {
		c := h.c
		if c.removed {
			continue
		}
		lo := h.first
		for i := 0; i < len(c.spans) && lo < h.end; i++ {
			sp := &c.spans[i]
			if gap := min(sp.first, h.end); lo < gap {
				c.queued -= c.skipLocked(lo, gap, false)
			}
			lo = max(lo, sp.end())
		}
		if lo < h.end {
			c.queued -= c.skipLocked(lo, h.end, false)
		}
		c.queuedBytes = 0
		for i := range c.spans {
			c.queuedBytes += c.spans[i].bytes
		}
	}
}

// lose ends what is in the holes and was not finished before its bytes went,
// as the records behind them have shown by now.
func (r *recovery) lose() {
	s := r.s
	for _, h := range r.holes {
		if h.c.removed {
			continue
		}
		g := Gap{Consumer: h.c.name, Reason: Damaged, FirstSeq: h.first, LastSeq: h.end - 1, From: h.at, To: h.at, Abandoned: h.c.qos2}
		before := h.c.queued
		h.c.applyGapLocked(&g)
		if g.Count = before - h.c.queued; g.Count > 0 {
			at := s.appendLocked(appendGap(s.scratch[:0], h.c.num, &g))
			s.noteGapLocked(g, wal.Pos(at.pos))
		}
	}
}

// stranger makes a consumer of which only the number is known: the record with
// its name was in damaged bytes.
func (r *recovery) stranger(num uint32) *Consumer {
	s := r.s
	c := s.makeConsumer(num, "", SessionIDs)
	s.consumers[num] = c
	s.lastNum = num
	return c
}

// strangerName stands for the name of a stranger until that is known.
func strangerName(num uint32) string { return fmt.Sprintf("\x00%d", num) }

// named takes in the name of a consumer.
func (r *recovery) named(num uint32, name string, ids IDs) {
	s := r.s
	c := s.consumers[num]
	if old := s.byName[name]; old != nil && old.num != num {
		s.removeLocked(old) // it was before, in damaged bytes
	}
	switch {
	case c == nil:
		s.newConsumerLocked(num, name, ids)
	case c.name == "":
		if ids.N == 0 {
			ids = SessionIDs
		}
		c.name, c.ids = name, ids
		s.byName[name] = c
		s.renameGapsLocked(strangerName(num), name)
	case c.name != name:
		s.renameLocked(c, name)
	}
}

// dismiss ends the consumers that got no name: what they had cannot be delivered
// to anybody.
func (r *recovery) dismiss() {
	s := r.s
	for _, c := range s.consumers {
		if c.name != "" {
			continue
		}
		s.removeLocked(c)
		s.renameGapsLocked(strangerName(c.num), "")
		at := s.appendLocked(appendRemove(s.scratch[:0], c.num))
		if c.queued > 0 {
			s.noteGapLocked(Gap{Reason: Damaged, Count: c.queued, Bytes: c.queuedBytes, From: s.clocks.lastKnown(), To: s.clocks.lastKnown()}, wal.Pos(at.pos))
		}
	}
}

// damage notes bytes that cannot be read or, behind them, how many messages the
// next frame proves to have been in them.
func (r *recovery) damage(d wal.Damage) {
	r.damaged = append(r.damaged, d)
	if d.Bytes > 0 {
		r.s.damage = append(r.s.damage, r.last.damage(d, r.s))
	} else if n := len(r.s.damage); n > 0 {
		r.s.damage[n-1].Messages = d.Messages
	}
}

// afterDamage makes sure that no packet identifier is used again that a peer
// may still hold from the bytes that are gone: the next seqs are skipped, and
// the ids received from publishers forgotten (a duplicate rather than a loss).
func (r *recovery) afterDamage() {
	if len(r.damaged) == 0 {
		return
	}
	s := r.s
	for _, c := range s.consumers {
		sk := skipped{c.next, c.next + windowSize, c.qos2}
		c.skipLocked(sk.first, sk.end, sk.abandoned)
		s.appendLocked(appendSkip(s.scratch[:0], c.num, sk))
	}
	torn := true
	for _, d := range r.damaged {
		torn = torn && d.Torn
	}
	if torn {
		return
	}
	for _, o := range s.origins {
		if len(o.received) > 0 && !strings.HasPrefix(o.name, "\x00") {
			s.appendLocked(appendForget(s.scratch[:0], o.num, 0))
			s.forgetLocked(o, 0)
		}
	}
}
