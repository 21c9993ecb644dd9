package store

import (
	"fmt"
	"sort"

	"golang.org/x/sys/unix"

	"packetboat/broker/store/wal"
)

// freeSegments gives up the segments that nobody needs: no span points into
// them and both kept snapshots are behind them.
func (s *Store) freeSegments() {
	s.mu.Lock()
	s.diskFree = s.measureFree()
	if len(s.snap.kept) == 0 {
		s.mu.Unlock()
		return
	}
	older := s.snap.kept[len(s.snap.kept)-1]
	segs := s.wal.Segments()
	pinned := s.pinnedLocked(segs)
	s.mu.Unlock()
	for i := 0; i+1 < len(segs); i++ {
		if segs[i+1].Start > older || pinned[i] {
			continue
		}
		if err := s.wal.Free(segs[i].Start); err != nil {
			s.log.Warn("could not free a segment of the queue", "err", err)
		}
	}
}

// pinnedLocked tells for each segment whether a span points into it.
func (s *Store) pinnedLocked(segs []wal.Segment) []bool {
	pinned := make([]bool, len(segs))
	for _, c := range s.consumers {
		for i := range c.spans {
			if k := segmentOf(segs, c.spans[i].pos); k >= 0 {
				pinned[k] = true
			}
		}
	}
	for i := 1; i < len(segs); i++ {
		pinned[i] = pinned[i] || segs[i].Late && pinned[i-1]
	}
	return pinned
}

func segmentOf(segs []wal.Segment, p wal.Pos) int {
	return sort.Search(len(segs), func(i int) bool { return segs[i].Start > p }) - 1
}

// makeRoomLocked keeps the queue below its bound before m is staged: the oldest
// messages of whoever pins the oldest segment are dropped, and told in gap
// markers.
func (s *Store) makeRoomLocked(m *Message) error {
	if s.opt.MaxSize == 0 && s.opt.MinFree == 0 {
		return nil
	}
	if s.credit -= int64(len(m.Payload)+len(m.Topic)+len(m.Props)) + 64; s.credit > 0 {
		return nil
	}
	room := s.roomLocked()
	for room < s.opt.SegmentSize/4 {
		if !s.full {
			s.full = true
			s.log.Warn("the queue is full: its oldest messages are dropped", "max_size", s.opt.MaxSize, "min_free", s.opt.MinFree)
		}
		freed := s.dropOldestLocked()
		if freed == 0 {
			return fmt.Errorf("%w: max_size %d bytes, min_free %d bytes", ErrFull, s.opt.MaxSize, s.opt.MinFree)
		}
		room += freed
	}
	s.full = s.full && room < 4*s.opt.SegmentSize
	s.credit = min(room, s.opt.SegmentSize/4)
	return nil
}

// roomLocked is how many bytes may still be staged: what bound and file system
// leave, less the reserve, plus what only waits for the housekeeping to free it.
func (s *Store) roomLocked() int64 {
	segs := s.wal.Segments()
	pinned := s.pinnedLocked(segs)
	free := int64(0)
	for i := 0; i+1 < len(segs); i++ {
		if !pinned[i] {
			free += segs[i].Size
		}
	}
	if free > 0 {
		s.wakeKeeper()
	}
	room := int64(1) << 62
	if s.opt.MaxSize > 0 {
		// In reserve: two segments and twice the snapshot, besides the two kept.
		used := s.wal.Stats().DiskBytes + s.wal.Staged() + 4*s.snap.size + 2*s.opt.SegmentSize
		room = s.opt.MaxSize - used + free
	}
	if s.opt.MinFree > 0 && s.diskFree > 0 {
		room = min(room, s.diskFree-s.opt.MinFree+free)
	}
	return room
}

func (s *Store) wakeKeeper() {
	select {
	case s.snap.wake <- struct{}{}:
	default:
	}
}

// dropOldestLocked ends everything that pins the oldest sealed segment that is
// pinned at all, and returns how many bytes that gives back; 0 when there is no
// such segment.
func (s *Store) dropOldestLocked() int64 {
	segs := s.wal.Segments()
	pinned := s.pinnedLocked(segs)
	for i := 0; i+1 < len(segs); i++ {
		if !pinned[i] {
			continue
		}
		for _, c := range s.consumers {
			c.dropSegmentLocked(segs[i].Start, segs[i+1].Start)
		}
		s.wakeKeeper()
		return max(segs[i].Size, 1)
	}
	return 0
}

// dropSegmentLocked ends the messages of c that stand in [lo, hi) of the log.
// What may have been sent at QoS 2 is abandoned: PUBREL goes out for it.
func (c *Consumer) dropSegmentLocked(lo, hi wal.Pos) {
	for i := 0; i < len(c.spans); i++ {
		sp := &c.spans[i]
		if sp.pos < lo || sp.pos >= hi {
			continue
		}
		first, end := max(sp.first, c.floor), sp.end()
		if c.qos2 && first < min(end, c.sentHigh) {
			c.dropLocked(sp, first, min(end, c.sentHigh), true)
			first = min(end, c.sentHigh)
		}
		if first < end {
			c.dropLocked(sp, first, end, false)
		}
	}
	kept := c.spans[:0]
	for _, sp := range c.spans {
		if sp.pos < lo || sp.pos >= hi {
			kept = append(kept, sp)
		}
	}
	c.spans = kept
}

func (c *Consumer) dropLocked(sp *span, first, end uint64, abandoned bool) {
	before := c.queued
	g := Gap{Consumer: c.name, Reason: Dropped, FirstSeq: first, LastSeq: end - 1, From: sp.at, To: sp.at, Abandoned: abandoned}
	g.Bytes = sp.bytes / uint64(sp.count) * (end - first)
	c.applyGapLocked(&g)
	if g.Count = before - c.queued; g.Count == 0 {
		return
	}
	r := c.s.appendLocked(appendGap(nil, c.num, &g))
	c.barrier = wal.Pos(r.pos)
	c.s.noteGapLocked(g)
}

// moveLocked takes note that the message of seq stands in the frame at frame
// now: it was rescued from a segment that had to go.
func (c *Consumer) moveLocked(seq uint64, frame wal.Pos, size int, at Stamp) {
	i := sort.Search(len(c.spans), func(i int) bool { return c.spans[i].first > seq }) - 1
	moved := span{frame, seq, 1, uint64(size), at}
	if i < 0 || seq >= c.spans[i].end() {
		c.insertSpanLocked(i+1, moved)
		return
	}
	old := c.spans[i]
	mean := old.bytes / uint64(old.count)
	c.spans[i].count = uint32(seq - old.first)
	c.spans[i].bytes = mean * uint64(c.spans[i].count)
	after := span{old.pos, seq + 1, uint32(old.end() - seq - 1), mean * (old.end() - seq - 1), old.at}
	c.insertSpanLocked(i+1, moved)
	if after.count > 0 {
		c.insertSpanLocked(i+2, after)
	}
	if c.spans[i].count == 0 {
		c.spans = append(c.spans[:i], c.spans[i+1:]...)
	}
}

func (c *Consumer) insertSpanLocked(i int, sp span) {
	c.spans = append(c.spans, span{})
	copy(c.spans[i+1:], c.spans[i:])
	c.spans[i] = sp
}

// measureFree returns the free bytes of the file system, 0 if unknown.
func (s *Store) measureFree() int64 {
	var st unix.Statfs_t
	if s.opt.MinFree == 0 || s.dir == "" || unix.Statfs(s.dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * int64(st.Bsize) // Bsize is an int32 on 32-bit ARM
}
