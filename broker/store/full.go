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
	if len(s.snap.kept) == 0 || s.unpinned >= s.wal.Durable() {
		s.mu.Unlock()
		return // what a crash would bring back has to be there then
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

// dropSegmentLocked ends the messages of c that stand in [lo, hi) of the log,
// but for those that may be in flight: these are rescued, so that the peer's
// answer still finds them.
func (c *Consumer) dropSegmentLocked(lo, hi wal.Pos) {
	for _, sp := range append([]span(nil), c.spans...) {
		if sp.pos < lo || sp.pos >= hi {
			continue
		}
		first, end := max(sp.first, c.floor), sp.end()
		if high := min(end, c.maybeSentLocked()); first < high {
			c.rescueLocked(sp, first, high)
			first = high
		}
		if first < end {
			c.dropLocked(&sp, first, end, false)
		}
	}
	kept := c.spans[:0]
	for _, sp := range c.spans {
		if sp.pos < lo || sp.pos >= hi {
			kept = append(kept, sp)
		}
	}
	if len(kept) == len(c.spans) {
		return
	}
	c.spans = kept
	// What is finished there has to be so durably before the segment goes: the
	// record joins the open frame.
	c.urgentLocked()
	c.s.unpinned = max(c.s.unpinned, c.s.wal.OpenFrame())
}

// maybeSentLocked is the seq below which messages may be in flight, or may have
// been at QoS 2 in a former life.
func (c *Consumer) maybeSentLocked() uint64 {
	if c.qos2 {
		return max(c.cursor, c.sentHigh)
	}
	return c.cursor
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
	c.s.unpinned = max(c.s.unpinned, wal.Pos(r.pos))
	c.s.noteGapLocked(g)
}

// measureFree returns the free bytes of the file system, 0 if unknown.
func (s *Store) measureFree() int64 {
	var st unix.Statfs_t
	if s.opt.MinFree == 0 || s.dir == "" || unix.Statfs(s.dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * int64(st.Bsize) // Bsize is an int32 on 32-bit ARM
}
