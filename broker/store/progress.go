package store

import "packetboat/broker/store/wal"

// Reason is why a message was not delivered.
type Reason byte

// The reasons of the ledger.
const (
	Expired  Reason = iota + 1 // older than its expiry interval
	Dropped                    // the queue or the session's part of it was full
	Purged                     // by the operator
	Damaged                    // its bytes cannot be read any more
	Refused                    // by the peer, for good
	TooLarge                   // for the peer
	NoRule                     // of those that there are now takes it
	Unfit                      // the peer's rules do not allow it
	Poison                     // the peer disconnects on it
	Denied                     // the access rules do not allow it any more
	numReasons
)

// Reasons are all of them.
func Reasons() []Reason {
	all := make([]Reason, 0, numReasons-1)
	for r := Expired; r < numReasons; r++ {
		all = append(all, r)
	}
	return all
}

// String is the reason as in ledgers: "too large".
func (r Reason) String() string {
	switch r {
	case Expired:
		return "expired"
	case Dropped:
		return "dropped"
	case Purged:
		return "purged"
	case Damaged:
		return "damaged"
	case Refused:
		return "refused"
	case TooLarge:
		return "too large"
	case NoRule:
		return "no rule"
	case Unfit:
		return "unfit"
	case Poison:
		return "poison"
	case Denied:
		return "denied"
	}
	return "unknown"
}

const (
	progressAge   = 1_000_000  // µs: with another commit
	progressIdle  = 30_000_000 // µs: on its own
	progressCount = windowSize // finished and not durable
)

// Done finishes a delivery: PUBACK, PUBCOMP, or sent at QoS 0. It is remembered
// lazily; what a crash forgets is delivered again. Finishing twice does nothing.
func (c *Consumer) Done(seq uint64) {
	s := c.s
	s.mu.Lock()
	blocked := c.cursor >= c.floor+windowSize
	if c.finishLocked(seq) && !c.removed {
		c.finished++
		c.dirtyLocked()
		if c.prompt || c.finished >= progressCount {
			c.urgentLocked()
		}
	}
	s.mu.Unlock()
	if blocked {
		c.nudge()
	}
}

// Prompt makes Done be remembered by a commit at once instead of lazily, for a
// consumer whose deliveries must not be repeated after a crash if that can be
// helped: a command to a device.
func (c *Consumer) Prompt() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.prompt = true
}

// Remember has what is finished remembered by a commit at once, when the Receipt is
// durable.
func (c *Consumer) Remember() Receipt {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.dirty && !c.removed {
		c.urgentLocked()
	}
	return c.progressAtLocked()
}

// progressAtLocked is when the newest progress that is asked for is durable.
func (c *Consumer) progressAtLocked() Receipt {
	s := c.s
	if c.urgent {
		return Receipt{uint64(s.wal.OpenFrame())} // the record joins the open frame
	}
	for i := len(s.flying) - 1; i >= 0; i-- {
		if s.flying[i].c == c {
			return Receipt{uint64(s.flying[i].pos)}
		}
	}
	return Receipt{}
}

// rememberLocked stages the progress so far. It will be staged again, with what comes
// behind.
func (c *Consumer) rememberLocked() {
	if !c.dirty || c.removed {
		return
	}
	// Not s.scratch nor s.sealBuf: they may hold records for which there is to be room.
	c.stagePendingLocked(nil)
	c.s.wal.Append(appendProgress(nil, c))
}

// Release notes that the peer has the QoS 2 message (PUBREC). PUBREL leaves
// when the Receipt is durable: otherwise a crash would send the PUBLISH again
// after the PUBREL, and the peer would take it for a new message.
func (c *Consumer) Release(seq uint64) Receipt {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.removed || seq < c.floor || seq >= c.floor+windowSize || seq >= c.next || c.done.get(seq) {
		return Receipt{}
	}
	if !c.released.get(seq) {
		c.released.set(seq)
		c.urgentLocked()
	}
	if s.without("pubrel_after_durable") {
		return Receipt{}
	}
	return c.progressAtLocked()
}

// GiveUp ends a message that will not be delivered. It is counted in the ledger
// and told in a gap marker. Nothing later of this consumer is delivered before
// that is durable. One that may have been sent at QoS 2 is abandoned: it comes
// again as released, so that PUBREL ends what the peer may hold half open. text
// says why in words, for a dead letter.
func (c *Consumer) GiveUp(seq uint64, why Reason, text string) Receipt {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.dead != nil && why.isDead() && seq >= c.floor && seq < c.next {
		var rd reader
		var d Delivery
		found, err := c.findLocked(&rd, seq, &d)
		switch {
		case c.endedLocked(seq): // while the disk was read
			return Receipt{}
		case found:
			c.keepDeadLocked(&d, why, text)
		default:
			c.s.log.Error("a dead letter cannot be read; its gap marker is all that is kept", "queue", c.name, "seq", seq, "err", err)
		}
	}
	return c.giveUpLocked(c.sentLocked(seq), why, true)
}

// endedLocked: there is nothing to give up any more; a released one the peer has,
// only PUBREL is left.
func (c *Consumer) endedLocked(seq uint64) bool {
	return c.removed || seq >= c.next || c.isDoneLocked(seq) || c.isReleasedLocked(seq)
}

// giveUpLocked: maybeQoS2 is false when the message is known to be none.
func (c *Consumer) giveUpLocked(gone sentMessage, why Reason, maybeQoS2 bool) Receipt {
	seq := gone.seq
	if seq >= c.floor+windowSize || c.endedLocked(seq) {
		return Receipt{}
	}
	g := Gap{Consumer: c.name, Reason: why, Count: 1, Bytes: c.sizeOfLocked(seq), FirstSeq: seq, LastSeq: seq, Topics: oneTopic(gone.topic), From: gone.at, To: gone.at}
	g.Abandoned = maybeQoS2 && c.qos2 && seq < c.sentHigh && !c.s.without("abandon_what_may_have_been_sent")
	r := c.s.appendLocked(appendGap(c.s.scratch[:0], c.num, &g))
	c.applyGapLocked(&g)
	c.s.noteGapLocked(g, wal.Pos(r.pos))
	c.barrier = wal.Pos(r.pos)
	if g.Abandoned && (seq < c.relNext || seq >= c.relEnd && seq < c.cursor) {
		c.abandoned = append(c.abandoned, seq) // neither Rewind's range nor the cursor comes by again
	}
	return r
}

func (c *Consumer) dirtyLocked() {
	if !c.dirty {
		c.dirty = true
		c.s.dirty = append(c.s.dirty, c)
	}
}

// urgentLocked asks for a progress record in the very next commit.
func (c *Consumer) urgentLocked() {
	c.dirtyLocked()
	c.urgent = true
	c.s.wal.Kick()
}

// progressLocked is called before a frame is closed: it adds the progress that
// is due. busy: the frame is written anyway.
func (s *Store) progressLocked(all bool) {
	if s.inProgress {
		return // what is added here has filled the frame
	}
	s.inProgress = true
	defer func() { s.inProgress = false }()
	now := s.clocks.now().Up
	busy := all || s.wal.End() > s.wal.OpenFrame()+frameHead
	if busy {
		s.stageLaterLocked()
	}
	dirty := s.dirty
	rest := dirty[:0]
	for _, c := range dirty {
		if c.removed {
			continue
		}
		due := c.urgent || all || busy && now-c.lastProgress >= progressAge || now-c.lastProgress >= progressIdle
		if !due {
			rest = append(rest, c)
			continue
		}
		// Not s.scratch: that may hold the record for which the frame is closed.
		c.stagePendingLocked(s.sealBuf)
		s.sealBuf = appendProgress(s.sealBuf[:0], c)
		p := Receipt{uint64(s.wal.Append(s.sealBuf))}
		c.dirty, c.urgent, c.finished, c.lastProgress = false, false, 0, now
		s.flying = append(s.flying, flyingFloor{c, wal.Pos(p.pos), c.floor})
	}
	clear(s.dirty[len(rest):])
	s.dirty = rest
}

// idleProgressLocked reports whether progress has waited long enough for a
// commit of its own.
func (s *Store) idleProgressLocked() bool {
	now := s.clocks.now().Up
	for _, c := range s.dirty {
		if now-c.lastProgress >= progressIdle {
			return true
		}
	}
	return false
}
