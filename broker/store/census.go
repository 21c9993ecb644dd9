package store

import (
	"errors"

	"packetboat/broker/store/wal"
)

// A census says of each message of a segment which topic it has, so that the
// marker of what is dropped to make room can tell. It is taken by the
// housekeeping, without the lock, of the segments that are the next to go;
// publishers wait for it when there is little room left, rather than
// that the disk is read while everybody waits.
type census struct {
	start, end wal.Pos
	topics     []string
	runs       map[uint32][]topicRun // by consumer number
	entries    int
	numbers    map[string]uint16 // index in topics
}

// topicRun is the topics of the seqs from first on: indexes into census.topics.
type topicRun struct {
	first uint64
	topic []uint16
}

const (
	censusTopics  = 4096    // further ones are not told apart
	censusEntries = 1 << 18 // of messages and their consumers: half a MiB
	noTopic       = 0xffff
)

// bounds is a segment of the log.
type bounds struct{ start, end wal.Pos }

// victimsLocked returns the segments that are the next to go when need bytes
// have to be given back.
func (s *Store) victimsLocked(need int64) []bounds {
	var out []bounds
	segs := s.wal.Segments()
	pinned := s.pinnedLocked(segs)
	for _, orphans := range []bool{true, false} {
		for i := 0; i+1 < len(segs) && need > 0; i++ {
			if !pinned[i] {
				continue
			}
			shares := s.sharesLocked(segs[i].Start, segs[i+1].Start)
			if orphansOnly(shares) != orphans {
				continue
			}
			if _, ok := planLocked(shares, uint64(segs[i].Size)); ok {
				out = append(out, bounds{segs[i].Start, segs[i+1].Start})
				need -= segs[i].Size
			}
		}
	}
	return out
}

// orphansOnly reports whether nobody but consumers that nobody reads has a share.
func orphansOnly(shares []share) bool {
	for _, sh := range shares {
		if !sh.c.orphan {
			return false
		}
	}
	return len(shares) > 0
}

// countedLocked reports whether a census was taken of each.
func (s *Store) countedLocked(victims []bounds) bool {
	for _, v := range victims {
		if s.censusLocked(v.start) == nil {
			return false
		}
	}
	return true
}

func (s *Store) censusLocked(start wal.Pos) *census {
	for _, c := range s.censuses {
		if c.start == start {
			return c
		}
	}
	return nil
}

// takeCensuses counts the segments that are the next to go, if that is soon.
func (s *Store) takeCensuses() {
	s.mu.Lock()
	if s.censusNeed == 0 {
		s.mu.Unlock()
		return
	}
	victims := s.victimsLocked(s.censusNeed)
	var kept []*census
	for _, v := range victims {
		if c := s.censusLocked(v.start); c != nil {
			kept = append(kept, c)
		}
	}
	s.censuses, s.censusNeed = kept, 0
	s.mu.Unlock()
	for _, v := range victims {
		s.mu.Lock()
		have := s.censusLocked(v.start) != nil
		s.mu.Unlock()
		if have {
			continue
		}
		c := s.takeCensus(v)
		s.mu.Lock()
		s.censuses = append(s.censuses, c)
		s.mu.Unlock()
	}
}

func newCensus(v bounds) *census {
	return &census{start: v.start, end: v.end, runs: map[uint32][]topicRun{}, numbers: map[string]uint16{}}
}

// takeCensus reads a segment. What cannot be read is not in it: then the marker
// does not tell all topics.
func (s *Store) takeCensus(v bounds) *census {
	c := newCensus(v)
	var buf []byte
	for p := v.start; p < v.end; {
		recs, next, err := s.wal.Read(p, buf)
		if cap(recs) > cap(buf) {
			buf = recs
		}
		var bad *wal.DamagedError
		if errors.As(err, &bad) && bad.Next > p {
			p = bad.Next
			continue
		}
		if err != nil {
			break
		}
		for len(recs) > 0 {
			var rec []byte
			if rec, recs, err = wal.NextRecord(recs); err != nil {
				break
			}
			c.add(rec)
		}
		p = next
	}
	return c
}

func (c *census) add(rec []byte) {
	var m messageRecord
	if len(rec) == 0 || !isMessage(rec[0]) && !isRescue(rec[0]) || parseMessage(rec, &m) != nil {
		return
	}
	n, ok := c.numbers[string(m.topic)]
	if !ok {
		n = c.number(string(m.topic))
	}
	var t targetRecord
	for m.next(&t) {
		c.note(t.num, t.seq, n)
	}
}

// number gives a new topic one.
func (c *census) number(topic string) uint16 {
	if len(c.topics) == censusTopics {
		return noTopic
	}
	n := uint16(len(c.topics))
	c.topics = append(c.topics, topic)
	c.numbers[topic] = n
	return n
}

// note takes in that the message of seq for the consumer num has the topic n.
func (c *census) note(num uint32, seq uint64, n uint16) {
	if c.entries == censusEntries {
		return
	}
	c.entries++
	runs := c.runs[num]
	if k := len(runs) - 1; k >= 0 && runs[k].first+uint64(len(runs[k].topic)) == seq {
		runs[k].topic = append(runs[k].topic, n)
		return
	}
	c.runs[num] = append(runs, topicRun{seq, []uint16{n}})
}

// takeCensusOf counts what waits for one consumer, before it is purged.
func (s *Store) takeCensusOf(con *Consumer) *census {
	c := newCensus(bounds{})
	v := con.View()
	var d Delivery
	for c.entries < censusEntries {
		if ok, err := v.Next(&d); err != nil || !ok {
			break
		}
		n, ok := c.numbers[d.Topic]
		if !ok {
			n = c.number(d.Topic)
		}
		c.note(con.num, d.Seq, n)
	}
	return c
}

// countLocked counts the topics of the messages [first, end) of con that are not
// finished. A nil census knows none.
func (c *census) countLocked(con *Consumer, first, end uint64) []TopicCount {
	if c == nil {
		return nil
	}
	counts := make(map[uint16]uint64)
	var order []uint16
	for _, r := range c.runs[con.num] {
		for seq := max(first, r.first); seq < min(end, r.first+uint64(len(r.topic))); seq++ {
			n := r.topic[seq-r.first]
			if n == noTopic || con.isDoneLocked(seq) || con.isReleasedLocked(seq) {
				continue
			}
			if counts[n] == 0 {
				order = append(order, n)
			}
			counts[n]++
		}
	}
	var out []TopicCount
	for _, n := range order[:min(len(order), maxGapTopics)] {
		out = append(out, TopicCount{c.topics[n], counts[n]})
	}
	return out
}
