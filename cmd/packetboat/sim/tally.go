package sim

import (
	"bytes"
	"strconv"
	"sync"
	"time"
)

// Tally is the account of all sources. Any goroutine may use it.
type Tally struct {
	mu      sync.Mutex
	sources []*Source
	strange uint64 // arrived, but never written
}

// Source is the account of one device.
type Source struct {
	Name string
	// Kind says what an acknowledgement means here, for people: "MQTT QoS 2".
	Kind string
	// Once: nothing may arrive twice.
	Once bool
	// Silent: the device is never answered; everything it wrote is expected.
	Silent bool
	// Pad is how long a payload is at least, filled up with spaces.
	Pad int

	t       *Tally
	base    uint64 // numbers up to this one are settled
	numbers []number
	first   uint64 // highest number that has arrived
	counts  Counts
}

// number is what is known of one of them.
type number struct {
	at      int64 // when it was first written, Unix nanoseconds
	arrived uint16
	acked   bool
}

// Counts are the sums of a source.
type Counts struct {
	Written    uint64 // numbers handed to the edge
	Acked      uint64 // of these, acknowledged
	Arrived    uint64 // of these, arrived at least once
	Missing    uint64 // acknowledged and not arrived (Silent: written and not arrived)
	Duplicates uint64 // arrivals after the first
	Disordered uint64 // first arrivals with a lower number than an earlier one
}

// Plus adds two counts.
func (c Counts) Plus(o Counts) Counts {
	return Counts{
		c.Written + o.Written, c.Acked + o.Acked, c.Arrived + o.Arrived,
		c.Missing + o.Missing, c.Duplicates + o.Duplicates, c.Disordered + o.Disordered,
	}
}

// Add opens the account of a source.
func (t *Tally) Add(s Source) *Source {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := s
	own.t = t
	t.sources = append(t.sources, &own)
	return &own
}

// Sources are all accounts, in the order in which they were opened.
func (t *Tally) Sources() []*Source {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]*Source(nil), t.sources...)
}

// Strange counts what arrived with a number that no source has written.
func (t *Tally) Strange() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.strange
}

// Payload is what a source publishes under a number.
func (s *Source) Payload(n uint64) []byte {
	b := make([]byte, 0, max(s.Pad, len(s.Name)+21))
	b = strconv.AppendUint(append(append(b, s.Name...), ' '), n, 10)
	for len(b) < s.Pad {
		b = append(b, ' ')
	}
	return b
}

// Next takes the next number.
func (s *Source) Next() uint64 {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.numbers = append(s.numbers, number{at: time.Now().UnixNano()})
	s.counts.Written++
	return s.base + uint64(len(s.numbers))
}

// Acked notes that the edge has acknowledged a number.
func (s *Source) Acked(n uint64) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if x := s.at(n); x != nil && !x.acked {
		x.acked = true
		s.counts.Acked++
	}
}

func (s *Source) at(n uint64) *number {
	if n <= s.base || n > s.base+uint64(len(s.numbers)) {
		return nil
	}
	return &s.numbers[n-s.base-1]
}

// Arrived notes a payload that has arrived in the cloud. It reports false for
// one that is not of the form of Payload.
func (t *Tally) Arrived(payload []byte) bool {
	name, rest, ok := bytes.Cut(payload, []byte{' '})
	n, err := strconv.ParseUint(string(bytes.TrimRight(rest, " ")), 10, 64)
	if !ok || err != nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.sources {
		if s.Name == string(name) {
			s.arrivedLocked(n)
			return true
		}
	}
	t.strange++
	return true
}

func (s *Source) arrivedLocked(n uint64) {
	x := s.at(n)
	switch {
	case x == nil && n > 0 && n <= s.base: // of a round that was counted
		s.counts.Duplicates++
	case x == nil:
		s.t.strange++
	case x.arrived > 0:
		x.arrived = min(x.arrived, 1<<16-2) + 1
		s.counts.Duplicates++
	default:
		x.arrived = 1
		s.counts.Arrived++
		if n < s.first {
			s.counts.Disordered++
		}
		s.first = max(s.first, n)
	}
}

// Counts gives the sums so far.
func (s *Source) Counts() Counts {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	return s.countsLocked()
}

func (s *Source) countsLocked() Counts {
	c := s.counts
	for i := range s.numbers {
		if x := &s.numbers[i]; x.arrived == 0 && (x.acked || s.Silent) {
			c.Missing++
		}
	}
	return c
}

// Waiting is how many are acknowledged at the edge (Silent: written) and not
// in the cloud.
func (s *Source) Waiting() uint64 { return s.Counts().Missing }

// MissingWithin counts what is missing of what was written between two times.
func (s *Source) MissingWithin(from, to time.Time) (written, missing uint64) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	for i := range s.numbers {
		x := &s.numbers[i]
		if x.at < from.UnixNano() || x.at > to.UnixNano() {
			continue
		}
		written++
		if x.arrived == 0 && (x.acked || s.Silent) {
			missing++
		}
	}
	return written, missing
}

// MissingNumbers lists the first most of what is missing.
func (s *Source) MissingNumbers(most int) []uint64 {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	var list []uint64
	for i := range s.numbers {
		if x := &s.numbers[i]; x.arrived == 0 && (x.acked || s.Silent) && len(list) < most {
			list = append(list, s.base+uint64(i)+1)
		}
	}
	return list
}

// Settle closes the account of a round and opens the next: it returns the
// counts, and numbers go on where they were.
func (s *Source) Settle() Counts {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	c := s.countsLocked()
	s.base += uint64(len(s.numbers))
	s.numbers, s.counts = s.numbers[:0], Counts{}
	return c
}
