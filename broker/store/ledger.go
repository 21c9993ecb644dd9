package store

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"packetboat/broker/store/wal"
)

// Gap is a gap marker: messages of one consumer that it did not get, and why.
type Gap struct {
	Consumer  string // "" = unknown
	Reason    Reason
	Count     uint64
	Bytes     uint64
	From, To  Stamp // receive times
	FirstSeq  uint64
	LastSeq   uint64
	Topics    []TopicCount // at most 64; where they are not all, the counts are fewer than Count
	Abandoned bool         // PUBREL goes out for each: the peer may hold them half open

	pos     wal.Pos // of its record; of several that were merged, the last
	telling bool    // the one message of it told of another gap
}

const (
	maxGaps  = 1000
	gapReach = 64 // how far back the one is looked for that a gap follows on
)

// appendGap: consumer, flags, reason, count, bytes, from, to, first, last, topics.
func appendGap(dst []byte, num uint32, g *Gap) []byte {
	flags := byte(0)
	if g.Abandoned {
		flags = 1
	}
	dst = append(binary.AppendUvarint(append(dst, recGap), uint64(num)), flags, byte(g.Reason))
	dst = appendUvarints(dst, g.Count, g.Bytes, uint64(g.From.Boot), g.From.Up, uint64(g.To.Boot), g.To.Up, g.FirstSeq, g.LastSeq)
	topics := g.Topics[:min(len(g.Topics), maxGapTopics)]
	dst = binary.AppendUvarint(dst, uint64(len(topics)))
	for _, t := range topics {
		dst = binary.AppendUvarint(appendBytes(dst, t.Topic), t.Count)
	}
	return dst
}

// gapSize is how long the record of g is at most, whatever its count.
func gapSize(g *Gap) int {
	n := 3 + 11*binary.MaxVarintLen64
	for _, t := range g.Topics[:min(len(g.Topics), maxGapTopics)] {
		n += 2*binary.MaxVarintLen64 + len(t.Topic)
	}
	return n
}

func parseGap(c *cursor) (num uint32, g Gap) {
	num = uint32(c.uvarint())
	g.Abandoned = c.byte()&1 != 0
	g.Reason = Reason(c.byte())
	g.Count, g.Bytes = c.uvarint(), c.uvarint()
	g.From, g.To = c.stamp(), c.stamp()
	g.FirstSeq, g.LastSeq = c.uvarint(), c.uvarint()
	n := c.uvarint()
	for i := uint64(0); i < n && i < maxGapTopics && c.err == nil; i++ {
		g.Topics = append(g.Topics, TopicCount{string(c.bytes()), c.uvarint()})
	}
	return num, g
}

// applyGapLocked ends the messages of the gap that are not finished.
func (c *Consumer) applyGapLocked(g *Gap) {
	if g.Reason == 0 || g.Reason >= numReasons {
		return
	}
	if end := g.LastSeq + 1; end > c.next { // never stored: drop-newest
		c.accepted += end - c.next
		c.queued += end - c.next
	}
	bytes := c.sizeOfLocked(g.FirstSeq)
	n := c.skipLocked(g.FirstSeq, g.LastSeq+1, g.Abandoned)
	n = min(n, c.queued)
	c.queued -= n
	c.queuedBytes -= min(n*bytes, c.queuedBytes)
	if c.queued == 0 {
		c.queuedBytes = 0
	}
	c.lost[g.Reason] += n
}

// noteGapLocked keeps g, whose record is at p, for status and for telling. A gap
// that follows on the newest one of its consumer is merged with it, also when
// others came between: a full queue drops from several consumers in turn.
func (s *Store) noteGapLocked(g Gap, p wal.Pos) {
	g.pos = p
	if c := s.byName[g.Consumer]; c != nil {
		g.telling = g.FirstSeq == g.LastSeq && c.tells == g.FirstSeq+1
	}
	for _, f := range s.onGap {
		f()
	}
	for i := len(s.gaps) - 1; i >= max(0, len(s.gaps)-gapReach); i-- {
		last := &s.gaps[i]
		if last.Consumer != g.Consumer {
			continue
		}
		apart := last.pos <= s.gapSeal || last.telling || g.telling
		if !apart && last.Reason == g.Reason && last.LastSeq+1 == g.FirstSeq && last.Abandoned == g.Abandoned {
			last.Count += g.Count
			last.Bytes += g.Bytes
			last.addTopics(g.Topics)
			last.To, last.LastSeq, last.pos = g.To, g.LastSeq, p
			return
		}
		break
	}
	if len(s.gaps) == maxGaps {
		s.gaps = append(s.gaps[:0], s.gaps[1:]...)
	}
	s.gaps = append(s.gaps, g)
	if s.gapTopics += len(g.Topics); s.gapTopics > maxLedgerTopics {
		s.boundTopicsLocked()
	}
}

// Gaps returns the newest gap markers, oldest first.
func (s *Store) Gaps() []Gap {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := append([]Gap(nil), s.gaps...)
	for i := range out {
		out[i].Topics = slices.Clone(out[i].Topics) // those in the ledger grow
	}
	return out
}

// Lag is the ledger of one consumer. It balances:
// Accepted = Delivered + Messages + the sum of Lost.
type Lag struct {
	Messages  uint64 // queued, in flight included
	Bytes     uint64 // about
	Oldest    time.Duration
	Accepted  uint64
	Delivered uint64
	Lost      map[Reason]uint64
}

// checkLedgersLocked compares the counters of what waits with the state that
// they count, at each start and with each snapshot, and puts them right: a
// ledger that is wrong must not go on as if it were not. Verify compares the
// rest, with the log.
func (s *Store) checkLedgersLocked() {
	for _, c := range s.consumers {
		n := c.recountLocked()
		if n == c.queued {
			continue
		}
		s.ledgerErrors++
		s.log.Error("the ledger of a queue was wrong about what waits; it is put right: please report this, with the output of packetboat queue verify",
			"consumer", c.name, "ledger", c.queued, "waiting", n)
		c.queued = n
	}
}

// balances reports whether the ledger adds up.
func (l *Lag) balances() bool {
	sum := l.Delivered + l.Messages
	for _, n := range l.Lost {
		sum += n
	}
	return sum == l.Accepted
}

// same compares the counts of two ledgers.
func (l *Lag) same(o *Lag) bool {
	return l.Messages == o.Messages && l.Accepted == o.Accepted && l.Delivered == o.Delivered && maps.Equal(l.Lost, o.Lost)
}

// Add adds the ledger of another queue.
func (l *Lag) Add(o *Lag) {
	l.Messages += o.Messages
	l.Bytes += o.Bytes
	l.Oldest = max(l.Oldest, o.Oldest)
	l.Accepted += o.Accepted
	l.Delivered += o.Delivered
	for why, n := range o.Lost {
		if l.Lost == nil {
			l.Lost = make(map[Reason]uint64)
		}
		l.Lost[why] += n
	}
}

// Ended is the sum of the ledgers of the consumers that were removed since the
// start. Messages and Bytes are what still waited for them.
func (s *Store) Ended() (sum Lag) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum.Add(&s.ended)
	return sum
}

// Lag returns what waits for the consumer and what became of the rest.
func (c *Consumer) Lag() Lag {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.lagLocked()
}

func (c *Consumer) lagLocked() Lag {
	l := Lag{Messages: c.queued, Bytes: c.queuedBytes, Accepted: c.accepted, Lost: map[Reason]uint64{}}
	l.Delivered = c.accepted - c.queued
	for r, n := range c.lost {
		if n > 0 {
			l.Lost[Reason(r)] = n
			l.Delivered -= n
		}
	}
	for i := range c.spans {
		if c.queued > 0 && c.spans[i].end() > c.floor {
			// Of a span, the time of its first message is known, which may be finished.
			l.Oldest = c.s.clocks.age(c.spans[i].at)
			if !c.oldest.IsZero() {
				l.Oldest = min(l.Oldest, c.s.clocks.age(c.oldest))
			}
			break
		}
	}
	return l
}
