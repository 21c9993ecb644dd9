package store

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"packetboat/broker/store/wal"
)

// Verification is what reading every byte of the log again has shown.
type Verification struct {
	Segments int
	Frames   uint64
	Messages uint64 // message and rescue records that are intact
	Bytes    int64
	Damage   []wal.Damage
	Ledgers  []LedgerCheck
}

// LedgerCheck compares a consumer's ledger with the log.
type LedgerCheck struct {
	Consumer string
	Lag      Lag
	Found    uint64     // messages it waits for that the log has
	Missing  []SeqRange // ... and those that it has not
}

// SeqRange is the seqs from First to Last.
type SeqRange struct{ First, Last uint64 }

// Agrees reports whether the log has exactly what the ledger says is queued,
// and the ledger balances.
func (c *LedgerCheck) Agrees() bool {
	sum := c.Lag.Delivered + c.Lag.Messages
	for _, n := range c.Lag.Lost {
		sum += n
	}
	return len(c.Missing) == 0 && c.Found == c.Lag.Messages && sum == c.Lag.Accepted
}

// OK reports whether nothing is damaged and all ledgers agree.
func (v *Verification) OK() bool {
	for i := range v.Ledgers {
		if !v.Ledgers[i].Agrees() {
			return false
		}
	}
	return len(v.Damage) == 0
}

// Verify reads the whole log and compares what is there with what the ledgers
// say is queued. progress, if not nil, is told the share that is done. The store
// must not be in use otherwise.
func (s *Store) Verify(progress func(done, total int64)) (*Verification, error) {
	v := &Verification{Damage: append([]wal.Damage(nil), s.damage...)}
	found := map[*Consumer]*seqSet{}
	segs := s.wal.Segments()
	var total, done int64
	for _, seg := range segs {
		total += seg.Size
	}
	err := s.walk(func(frame wal.Pos, recs []byte) error {
		v.Frames++
		v.Bytes += int64(len(recs))
		for len(recs) > 0 {
			rec, rest, err := wal.NextRecord(recs)
			if err != nil {
				return fmt.Errorf("frame at %x: %w", uint64(frame), err)
			}
			s.see(rec, found, v)
			recs = rest
		}
		return nil
	}, func(d wal.Damage) { v.Damage = append(v.Damage, d) }, func(i int) {
		done += segs[i].Size
		v.Segments++
		if progress != nil {
			progress(done, total)
		}
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	names := make([]string, 0, len(s.byName))
	for name := range s.byName {
		names = append(names, name)
	}
	s.mu.Unlock()
	sort.Strings(names)
	for _, name := range names {
		c := s.Lookup(name)
		v.Ledgers = append(v.Ledgers, c.check(found[c]))
	}
	return v, nil
}

// walk passes every frame of every segment to frame, from the oldest.
func (s *Store) walk(frame func(p wal.Pos, recs []byte) error, damage func(wal.Damage), segment func(i int)) error {
	segs := s.wal.Segments()
	var buf []byte
	for i, seg := range segs {
		end := s.wal.Durable()
		if i+1 < len(segs) {
			end = segs[i+1].Start
		}
		for p := seg.Start; p < end; {
			recs, next, err := s.wal.Read(p, buf)
			if cap(recs) > cap(buf) {
				buf = recs[:0]
			}
			var bad *wal.DamagedError
			switch {
			case errors.Is(err, io.EOF):
				p = end
				continue
			case errors.As(err, &bad):
				// A sealed file that ends early was followed by one that is freed.
				if bad.Next < end {
					damage(wal.Damage{Pos: p, Bytes: int64(bad.Next - p)})
				}
				p = max(bad.Next, p+1)
				continue
			case err != nil:
				return fmt.Errorf("read frame at %x: %w", uint64(p), err)
			}
			if err := frame(p, recs); err != nil {
				return err
			}
			p = next
		}
		segment(i)
	}
	return nil
}

// see notes for whom of its consumers a record still waits.
func (s *Store) see(rec []byte, found map[*Consumer]*seqSet, v *Verification) {
	if len(rec) == 0 || rec[0] != recMessage && rec[0] != recRescue {
		return
	}
	var m messageRecord
	if parseMessage(rec, &m) != nil {
		return
	}
	v.Messages++
	s.mu.Lock()
	defer s.mu.Unlock()
	var t targetRecord
	for m.next(&t) {
		c := s.consumers[t.num]
		if c == nil || t.seq >= c.next || c.isDoneLocked(t.seq) {
			continue
		}
		if found[c] == nil {
			found[c] = &seqSet{from: c.floor}
		}
		found[c].add(t.seq)
	}
}

func (c *Consumer) check(found *seqSet) LedgerCheck {
	l := LedgerCheck{Consumer: c.name, Lag: c.Lag()}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for seq := c.floor; seq < c.next; seq++ {
		if r, ok := c.skipAt(seq); ok {
			seq = r.end - 1
			continue
		}
		if c.isDoneLocked(seq) {
			continue
		}
		if c.isReleasedLocked(seq) || found != nil && found.has(seq) { // of a released one only PUBREL is left
			l.Found++
			continue
		}
		if n := len(l.Missing); n > 0 && l.Missing[n-1].Last+1 == seq {
			l.Missing[n-1].Last = seq
		} else {
			l.Missing = append(l.Missing, SeqRange{seq, seq})
		}
	}
	return l
}

// seqSet is a bitmap of seqs from a floor on.
type seqSet struct {
	from uint64
	bits []uint64
}

func (s *seqSet) add(seq uint64) {
	i := seq - s.from
	for uint64(len(s.bits)) <= i/64 {
		s.bits = append(s.bits, 0)
	}
	s.bits[i/64] |= 1 << (i % 64)
}

func (s *seqSet) has(seq uint64) bool {
	i := seq - s.from
	return i/64 < uint64(len(s.bits)) && s.bits[i/64]>>(i%64)&1 != 0
}
