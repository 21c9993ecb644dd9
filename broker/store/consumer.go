package store

import (
	"sort"
	"time"

	"packetboat/broker/store/wal"
)

// IDs is a consumer's range of packet identifiers: seq s is sent as
// First + s % N. It is fixed for the consumer's life.
type IDs struct{ First, N uint16 }

// SessionIDs is the range of a session or an adapter.
var SessionIDs = IDs{1, 65535}

// LaneIDs returns the range of a bridge's lane, 0 to 3. The ids from 65,533 on
// are left for SUBSCRIBE and UNSUBSCRIBE.
func LaneIDs(lane int) IDs { return IDs{uint16(1 + 16383*lane), 16383} }

// idLocked returns the packet identifier of seq. (Rule id_from_seq: the same in
// every life.)
func (c *Consumer) idLocked(seq uint64) uint16 {
	return c.ids.First + uint16((seq+c.s.idShift)%uint64(c.ids.N))
}

// span says: count of my messages, from seq first on, stand in the log from the
// frame at pos on. It lies within one segment.
type span struct {
	pos   wal.Pos
	first uint64
	count uint32
	bytes uint64
	at    Stamp // receive time of the first

	// rescued: they are rescue records. A frame may hold both these and later
	// messages, so a reader of the span looks at one kind only.
	rescued bool
}

func (sp *span) end() uint64 { return sp.first + uint64(sp.count) }

// skipped is a range of seqs [first, end) that have no message: skipped after
// damage, or dropped in bulk. An abandoned one may have been sent at QoS 2, so
// PUBREL goes out for each.
type skipped struct {
	first, end uint64
	abandoned  bool
}

const (
	spanGap        = 64 << 10 // a larger gap between records begins a new span
	spansInSegment = 32       // then the last one grows
	ringSize       = 256      // newest record positions of an online consumer
)

// Consumer is a durable reader of the queue: a persistent session, a lane of a
// bridge, an adapter's commands. Get it from [Store.Consumer].
type Consumer struct {
	s    *Store
	num  uint32
	name string
	ids  IDs

	// What follows is guarded by s.mu.
	next     uint64 // seq of the next message
	floor    uint64 // all below are finished
	durFloor uint64 // the floor that a crash would leave
	done     bitRing
	released bitRing
	skips    []skipped // above the floor, ordered
	spans    []span    // not finished durably, ordered by first
	qos2     bool      // has ever had QoS 2
	removed  bool

	// the ledger; see [Lag]
	accepted, queued, queuedBytes uint64
	oldest                        Stamp // of the first message since nothing waited
	lost                          [numReasons]uint64

	// delivery
	cursor    uint64   // next seq to look at
	relNext   uint64   // next released seq to hand out again after Rewind
	relEnd    uint64   // ... below this
	abandoned []uint64 // given up behind both: to be handed out as released
	sentHigh  uint64   // all below may have been sent
	barrier   wal.Pos  // nothing is delivered until this is durable: a give-up
	lastQoS0  uint64   // 1 + seq of the newest QoS 0 message
	ring      *[ringSize]ringEntry
	lastPos   wal.Pos // of the newest record
	staging   uint64  // Store.staging when it was last a target
	lastSeg   wal.Pos // segment of the newest span
	segSpans  int     // spans in it
	ready     func()
	inspect   func(*Delivery, time.Duration) (Reason, string)
	wait      chan struct{} // one slot: Next
	wakeAt    wal.Pos       // notify when this is durable; 0 = nothing to notify

	// bounds
	policy                Policy
	orphan                bool
	dead                  *Consumer // gets what the peer will not take; nil for none
	maxMessages, maxBytes uint64    // 0 = no bound
	overLimit             uint64    // seqs below were dropped or are in flight
	pending               Gap       // its marker is staged with the frame
	tells                 uint64    // 1 + seq of the newest message that tells of a gap
	lastSent              sentMessage
	sent                  *[windowSize]sentMessage // what was handed out, for who may give it up later

	// progress
	dirty        bool
	urgent       bool   // a release waits
	prompt       bool   // every Done is urgent
	finished     int    // since the last progress record
	lastProgress uint64 // µs of uptime

	rd reader // owned by the caller of TryNext
}

type ringEntry struct {
	seq uint64
	pos wal.Pos
}

// Name returns the consumer's name: "session/ID", "bridge/NAME/LANE", "adapter/NAME".
func (c *Consumer) Name() string { return c.name }

// Consumer returns the durable consumer called name, making it if there is none.
// An existing one keeps its range of identifiers.
func (s *Store) Consumer(name string, ids IDs) (*Consumer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.byName[name]; c != nil {
		return c, nil
	}
	s.lastNum++
	c := s.newConsumerLocked(s.lastNum, name, ids)
	r := s.appendLocked(appendConsumer(s.scratch[:0], c))
	s.fresh = append(s.fresh, freshConsumer{c, r})
	return c, nil
}

// freshConsumer is one whose name stands in a single frame yet.
type freshConsumer struct {
	c *Consumer
	r Receipt
}

// repeatNamesLocked stages the records of new consumers once more, in a later
// frame: until the next segment begins with a table of them all, one damaged
// frame would leave a consumer's messages without an owner.
func (s *Store) repeatNamesLocked() {
	for len(s.fresh) > 0 && s.IsDurable(s.fresh[0].r) {
		c := s.fresh[0].c
		s.fresh = s.fresh[1:] // first: appending may begin a segment, whose table has them all
		if !c.removed {
			s.appendLocked(appendConsumer(s.scratch[:0], c))
		}
	}
	if len(s.fresh) == 0 {
		s.fresh = nil
	}
}

func (s *Store) newConsumerLocked(num uint32, name string, ids IDs) *Consumer {
	c := s.makeConsumer(num, name, ids)
	s.consumers[num] = c
	s.byName[name] = c
	s.lastNum = max(s.lastNum, num)
	return c
}

func (s *Store) makeConsumer(num uint32, name string, ids IDs) *Consumer {
	if ids.N == 0 {
		ids = SessionIDs
	}
	return &Consumer{s: s, num: num, name: name, ids: ids, wait: make(chan struct{}, 1)}
}

// Lookup returns the consumer called name, or nil.
func (s *Store) Lookup(name string) *Consumer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byName[name]
}

// Consumers returns the names of all consumers, ordered.
func (s *Store) Consumers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.byName))
	for name := range s.byName {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Remove ends a consumer and its backlog. The Consumer delivers nothing more;
// its name may be used again and is then another consumer.
func (s *Store) Remove(name string) Receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byName[name]
	if c == nil {
		return Receipt{}
	}
	l := c.lagLocked()
	s.ended.Add(&l)
	s.removeLocked(c)
	return s.appendLocked(appendRemove(s.scratch[:0], c.num))
}

func (s *Store) removeLocked(c *Consumer) {
	c.removed = true
	c.spans = nil
	delete(s.consumers, c.num)
	if s.byName[c.name] == c {
		delete(s.byName, c.name)
	}
}

// acceptLocked takes in the message of seq c.next, whose record is at p in the
// frame at frame.
func (c *Consumer) acceptLocked(p, frame wal.Pos, size int, qos byte, at Stamp) {
	seq := c.next
	if c.queued == 0 {
		c.oldest = at
	}
	c.next++
	c.accepted++
	c.queued++
	c.queuedBytes += uint64(size)
	if qos == 2 {
		c.qos2 = true
	}
	if qos == 0 {
		c.lastQoS0 = seq + 1
	}
	c.addToSpan(seq, p, frame, size, at)
	if c.ring != nil {
		c.ring[seq%ringSize] = ringEntry{seq, p}
	}
	c.lastPos = p
}

func (c *Consumer) addToSpan(seq uint64, p, frame wal.Pos, size int, at Stamp) {
	if seg := c.s.segment; seg != c.lastSeg {
		c.lastSeg, c.segSpans = seg, 0
	}
	n := len(c.spans)
	if n > 0 && c.segSpans > 0 && c.spans[n-1].end() == seq && !c.spans[n-1].rescued &&
		(p-c.lastPos <= spanGap || c.segSpans >= spansInSegment) {
		c.spans[n-1].count++
		c.spans[n-1].bytes += uint64(size)
		return
	}
	c.segSpans++
	c.spans = append(c.spans, span{pos: frame, first: seq, count: 1, bytes: uint64(size), at: at})
}

func (c *Consumer) skipAt(seq uint64) (skipped, bool) {
	for _, r := range c.skips {
		if seq >= r.first && seq < r.end {
			return r, true
		}
	}
	return skipped{}, false
}

// isDoneLocked reports whether seq is finished.
func (c *Consumer) isDoneLocked(seq uint64) bool {
	if seq < c.floor || seq < c.floor+windowSize && c.done.get(seq) {
		return true
	}
	r, ok := c.skipAt(seq)
	return ok && !r.abandoned
}

func (c *Consumer) isReleasedLocked(seq uint64) bool {
	if seq < c.floor+windowSize && c.released.get(seq) {
		return true
	}
	r, ok := c.skipAt(seq)
	return ok && r.abandoned
}

// finishLocked sets the finished bit of seq and moves the floor.
func (c *Consumer) finishLocked(seq uint64) bool {
	if seq < c.floor || seq >= c.next || seq >= c.floor+windowSize || c.isDoneLocked(seq) {
		return false
	}
	if r, ok := c.skipAt(seq); !ok || !r.abandoned {
		c.unqueueLocked(seq)
	}
	c.done.set(seq)
	c.released.clear(seq)
	c.moveFloorLocked()
	return true
}

// recountLocked counts what waits anew, from what is finished.
func (c *Consumer) recountLocked() (n uint64) {
	for lo := c.floor; lo < c.next; {
		hi := c.alikeLocked(lo, c.next)
		if _, skip := c.skipAt(lo); !skip && !c.isDoneLocked(lo) {
			n += hi - lo
		}
		lo = hi
	}
	return n
}

// unqueueLocked takes one message out of the count of what waits.
func (c *Consumer) unqueueLocked(seq uint64) {
	size := c.sizeOfLocked(seq)
	c.queued--
	c.queuedBytes -= min(size, c.queuedBytes)
	if c.queued == 0 {
		c.queuedBytes = 0
	}
}

// placeLocked returns where in the log the message of seq stands, or one shortly
// before it; 0 when it is not there.
func (c *Consumer) placeLocked(seq uint64) wal.Pos {
	i := sort.Search(len(c.spans), func(i int) bool { return c.spans[i].first > seq }) - 1
	if i < 0 || seq >= c.spans[i].end() {
		return 0
	}
	return c.spans[i].pos
}

// sizeOfLocked estimates the size of a message by the mean of its span.
func (c *Consumer) sizeOfLocked(seq uint64) uint64 {
	i := sort.Search(len(c.spans), func(i int) bool { return c.spans[i].first > seq }) - 1
	if i < 0 || seq >= c.spans[i].end() {
		return 0 // not in the log: never stored, or lost
	}
	return c.spans[i].bytes / uint64(c.spans[i].count)
}

func (c *Consumer) moveFloorLocked() {
	for c.floor < c.next {
		for len(c.skips) > 0 && c.skips[0].end <= c.floor {
			c.skips = c.skips[1:]
		}
		if c.done.get(c.floor) {
			c.passToLocked(c.floor + 1)
			continue
		}
		if len(c.skips) == 0 || c.floor < c.skips[0].first || c.skips[0].abandoned {
			return
		}
		c.passToLocked(c.skips[0].end)
	}
}

// passToLocked raises the floor and clears the bits it passes.
func (c *Consumer) passToLocked(floor uint64) {
	if floor-c.floor >= windowSize {
		c.done, c.released, c.floor = bitRing{}, bitRing{}, floor
	}
	for ; c.floor < floor; c.floor++ {
		c.done.clear(c.floor)
		c.released.clear(c.floor)
	}
}

// skipLocked makes the seqs [first, end) ones without a message. Those that the
// peer holds half open (released) stay as they are.
func (c *Consumer) skipLocked(first, end uint64, abandoned bool) (dropped uint64) {
	first = max(first, c.floor)
	c.next = max(c.next, end)
	for lo := first; lo < end; {
		hi := c.alikeLocked(lo, end)
		if !c.isDoneLocked(lo) && !c.isReleasedLocked(lo) {
			c.addSkipLocked(skipped{lo, hi, abandoned})
			dropped += hi - lo
		}
		lo = hi
	}
	c.moveFloorLocked()
	return dropped
}

// alikeLocked returns up to where, at most end, the seqs from lo on are in the
// same state: within the window one by one, above it only ranges are skipped.
func (c *Consumer) alikeLocked(lo, end uint64) uint64 {
	if lo-c.floor < windowSize {
		return lo + 1
	}
	for _, r := range c.skips {
		switch {
		case lo < r.first:
			return min(end, r.first)
		case lo < r.end:
			return min(end, r.end)
		}
	}
	return end
}

// finishBelowLocked finishes everything below floor, which is at most c.next.
func (c *Consumer) finishBelowLocked(floor uint64) {
	for lo := c.floor; lo < floor; {
		hi := c.alikeLocked(lo, floor)
		if r, skip := c.skipAt(lo); !c.isDoneLocked(lo) && !(skip && r.abandoned) {
			c.unqueueRangeLocked(lo, hi)
		}
		lo = hi
	}
	if floor > c.floor {
		c.passToLocked(floor)
		c.moveFloorLocked()
	}
}

func (c *Consumer) unqueueRangeLocked(lo, hi uint64) {
	n := min(hi-lo, c.queued)
	var bytes uint64
	i := sort.Search(len(c.spans), func(i int) bool { return c.spans[i].end() > lo })
	for ; i < len(c.spans) && c.spans[i].first < hi; i++ {
		sp := &c.spans[i]
		bytes += sp.bytes / uint64(sp.count) * (min(sp.end(), hi) - max(sp.first, lo))
	}
	c.queued -= n
	c.queuedBytes -= min(bytes, c.queuedBytes)
	if c.queued == 0 {
		c.queuedBytes = 0
	}
}

func (c *Consumer) addSkipLocked(r skipped) {
	i := sort.Search(len(c.skips), func(i int) bool { return c.skips[i].first > r.first })
	if i > 0 && c.skips[i-1].end == r.first && c.skips[i-1].abandoned == r.abandoned {
		c.skips[i-1].end = r.end
		return
	}
	c.skips = append(c.skips, skipped{})
	copy(c.skips[i+1:], c.skips[i:])
	c.skips[i] = r
}

// trimSpansLocked lets go of spans that are finished durably.
func (c *Consumer) trimSpansLocked() {
	n := 0
	for n < len(c.spans) && c.spans[n].end() <= c.durFloor {
		n++
	}
	if n > 0 {
		c.spans = append(c.spans[:0], c.spans[n:]...)
	}
	if n > 0 || c.queued < windowSize {
		c.weighLocked()
	}
}

// weighLocked estimates the bytes of the backlog anew: each message is taken out
// at the mean of its span, which is another one when the span has grown, and
// what that is off would add up.
func (c *Consumer) weighLocked() {
	sum := uint64(0)
	for i := range c.spans {
		sp := &c.spans[i]
		lo, left := max(sp.first, c.floor), uint64(0)
		for ; lo < sp.end() && lo < c.floor+windowSize; lo++ {
			if !c.isDoneLocked(lo) {
				left++
			}
		}
		if lo < sp.end() {
			left += sp.end() - lo
			for _, r := range c.skips {
				if first, end := max(r.first, lo), min(r.end, sp.end()); first < end {
					left -= end - first
				}
			}
		}
		sum += sp.bytes / uint64(sp.count) * left
	}
	if c.queued == 0 {
		sum = 0
	}
	c.queuedBytes = sum
}
