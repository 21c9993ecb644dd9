package store

import (
	"context"
	"fmt"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"packetboat/broker/store/wal"
)

// freeSegments gives up the segments that nobody needs: no span points into
// them and both kept snapshots are behind them.
func (s *Store) freeSegments() {
	s.mu.Lock()
	s.diskFree = s.measureFree()
	if len(s.snap.kept) < 2 || s.unpinned >= s.wal.Durable() {
		s.mu.Unlock()
		return // what a crash or a bad snapshot would bring back has to be there then
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

// keepBounds frees at once what was dropped when publishers wait for that. A
// segment goes when both kept snapshots are behind it; here they do not wait
// until the log has grown enough.
func (s *Store) keepBounds(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, snapshotWait)
	defer cancel()
	for range 3 {
		if !s.tight.Load() || s.wal.Failed() != nil {
			break
		}
		s.mu.Lock()
		unpinned := s.unpinned
		s.mu.Unlock()
		if err := s.wal.Wait(ctx, unpinned); err != nil {
			break
		}
		s.freeSegments()
		if s.mu.Lock(); s.waitsLocked() {
			s.recordClockLocked() // a position of its own for the snapshot
			s.mu.Unlock()
			if err := s.Snapshot(ctx); err != nil {
				s.log.Warn("the queue is full, and the snapshot that would let go of its beginning failed", "err", err)
				break
			}
			s.freeSegments()
		} else {
			s.mu.Unlock()
		}
	}
	s.mu.Lock()
	s.loosenLocked()
	s.mu.Unlock()
}

// waitsLocked reports whether publishers have to wait until what was dropped is
// freed: a frame may begin a segment, whose blocks are reserved at once.
func (s *Store) waitsLocked() bool {
	return s.hardRoomLocked() <= 2*s.opt.SegmentSize && s.unneededLocked()
}

// unneededLocked reports whether there is a segment that nobody needs and that is
// not free yet.
func (s *Store) unneededLocked() bool {
	segs := s.wal.Segments()
	for i, p := range s.pinnedLocked(segs) {
		if !p && i+1 < len(segs) {
			return true
		}
	}
	return false
}

// loosenLocked lets the publishers go on that wait for what was dropped to be
// freed, if it is.
func (s *Store) loosenLocked() {
	if !s.tight.Load() || s.waitsLocked() || s.censusNeed > 0 {
		return
	}
	s.tight.Store(false)
	close(s.loose)
	s.loose = make(chan struct{})
}

// hardRoomLocked is how many bytes may really be written: unlike roomLocked, it
// counts nothing as free that is not, but for the spare segments, and no reserve.
func (s *Store) hardRoomLocked() int64 {
	if s.opt.MaxSize == 0 {
		return 1 << 62
	}
	st := s.wal.Stats()
	return s.opt.MaxSize - st.DiskBytes + st.Spare - s.wal.Staged() - 3*s.snap.size
}

// poolRetry is when making spare segments is tried again after an error.
const poolRetry = 10 * time.Minute

// fillPool has spare segments made while hardly anything else is written. Not
// when the room for them would cost messages.
func (s *Store) fillPool() {
	s.mu.Lock()
	now := s.clocks.now().Up
	due := now >= s.poolAt && s.roomLocked() > 4*s.opt.SegmentSize
	s.mu.Unlock()
	if !due {
		return
	}
	if err := s.wal.FillPool(); err != nil {
		s.log.Warn("no spare segment could be prepared; commits cost the disk more without", "err", err)
		s.mu.Lock()
		s.poolAt = now + uint64(poolRetry/time.Microsecond)
		s.mu.Unlock()
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

// makeRoomLocked keeps the queue below its bound before m is staged, and tells
// which targets it may be staged for.
func (s *Store) makeRoomLocked(m *Message, to []Target) (left []Target, err error) {
	size := uint64(len(m.Payload)+len(m.Topic)+len(m.Props)) + 64
	left, out, err := s.admitLocked(to, size, false)
	if err != nil {
		return nil, fmt.Errorf("%w: a lane that rejects is at its max_size", err)
	}
	if !s.haveRoomLocked(int64(size)) {
		// No segment can go: what is left is what protected lanes have.
		if left, out, err = s.admitLocked(to, size, true); err != nil || len(left) > 0 || m.Retain {
			return nil, fmt.Errorf("%w: max_size %d bytes, min_free %d bytes", ErrFull, s.opt.MaxSize, s.opt.MinFree)
		}
	}
	for _, t := range out {
		t.Consumer.dropNewestLocked(size, m.Topic, Dropped)
	}
	return left, nil
}

// haveRoomLocked makes sure that size bytes may be staged, if need be by letting
// the oldest messages go.
func (s *Store) haveRoomLocked(size int64) bool {
	if s.opt.MaxSize == 0 && s.opt.MinFree == 0 {
		return true
	}
	if s.credit -= size; s.credit > 0 {
		return true
	}
	room := s.roomLocked()
	enough := s.opt.SegmentSize / 4
	if room < enough {
		enough = max(enough, 4*s.snap.size) // what is dropped at once is worth the snapshots that free it
	}
	for room < enough {
		if !s.full {
			s.full = true
			s.log.Warn("the queue is full: its oldest messages are dropped", "max_size", s.opt.MaxSize, "min_free", s.opt.MinFree)
		}
		gained := s.dropOldestLocked()
		if gained == 0 {
			if room >= s.opt.SegmentSize/4 {
				break
			}
			return false
		}
		room += gained
	}
	s.full = s.full && room < 4*s.opt.SegmentSize
	if s.waitsLocked() || !s.countNextLocked(room) {
		s.tight.Store(true)
		s.wakeKeeper()
	}
	return s.grantLocked(room)
}

// grantLocked gives credit for what is staged next, of so much room. It returns false
// when those who did not wait have used up what there is beyond the bound.
func (s *Store) grantLocked(room int64) bool {
	if s.hardRoomLocked() <= -s.opt.SegmentSize/2 {
		return false
	}
	s.credit = min(room, s.opt.SegmentSize/4)
	s.diskFree -= s.credit // until it is measured again
	return true
}

// countNextLocked reports whether a census was taken of what goes next, if that
// is soon; if not, it is asked for. A new segment takes room at once.
func (s *Store) countNextLocked(room int64) bool {
	need := max(s.opt.SegmentSize/4, 4*s.snap.size) + s.opt.SegmentSize
	if room >= need+2*s.opt.SegmentSize || s.countedLocked(s.victimsLocked(need)) {
		return true
	}
	s.censusNeed = need
	return false
}

// roomLocked is how many bytes may still be staged: what bound and file system
// leave, less the reserve, plus what only waits for the housekeeping to free it.
func (s *Store) roomLocked() int64 {
	free := s.unpinnedLocked()
	if free > 0 {
		s.wakeKeeper()
	}
	room := s.sizeRoomLocked(free)
	if s.opt.MinFree > 0 {
		room = min(room, s.diskFree-s.opt.MinFree+free+s.wal.Stats().Spare)
	}
	return room
}

// Room is how many bytes may still be stored before something has to go, by
// Options.MaxSize alone; very many without one. Around a full queue it is what a
// segment more or less makes of it.
func (s *Store) Room() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sizeRoomLocked(s.unpinnedLocked())
}

// unpinnedLocked is how many bytes only wait for the housekeeping to free them.
func (s *Store) unpinnedLocked() (free int64) {
	segs := s.wal.Segments()
	for i, p := range s.pinnedLocked(segs) {
		if !p && i+1 < len(segs) {
			free += segs[i].Size
		}
	}
	return free
}

// sizeRoomLocked is what MaxSize leaves; free is what unpinnedLocked says.
func (s *Store) sizeRoomLocked(free int64) int64 {
	if s.opt.MaxSize == 0 {
		return 1 << 62
	}
	st := s.wal.Stats()
	// In reserve: two segments and twice the snapshot, besides the two kept.
	used := st.DiskBytes + s.wal.Staged() + 4*s.snap.size + 2*s.opt.SegmentSize
	return s.opt.MaxSize - used + free + st.Spare
}

func (s *Store) wakeKeeper() {
	select {
	case s.snap.wake <- struct{}{}:
	default:
	}
}

// dropOldestLocked makes the oldest sealed segment free to go that can be: what
// small and protected consumers have in it is rescued, the rest is dropped. It
// returns how many bytes that gives back; 0 when no segment can go.
func (s *Store) dropOldestLocked() int64 {
	if n := s.dropOrphansLocked(); n > 0 {
		return n
	}
	segs := s.wal.Segments()
	pinned := s.pinnedLocked(segs)
	for i := 0; i+1 < len(segs); i++ {
		if !pinned[i] {
			continue
		}
		shares := s.sharesLocked(segs[i].Start, segs[i+1].Start)
		rescue, ok := planLocked(shares, uint64(segs[i].Size))
		if !ok {
			continue
		}
		gained := segs[i].Size
		for _, sh := range shares {
			if err := sh.c.leaveLocked(segs[i].Start, segs[i+1].Start, rescue[sh.c]); err != nil {
				s.log.Error("the oldest messages cannot make room: what has to be kept of them cannot be read", "consumer", sh.c.name, "err", err)
				return 0
			}
			if rescue[sh.c] {
				gained -= int64(sh.bytes)
			} else {
				gained -= int64(sh.flying)
			}
		}
		s.wakeKeeper()
		return max(gained, 1)
	}
	return 0
}

// dropOrphansLocked drops the oldest messages of consumers that nobody reads.
func (s *Store) dropOrphansLocked() int64 {
	segs := s.wal.Segments()
	for i := 0; i+1 < len(segs); i++ {
		shares := s.sharesLocked(segs[i].Start, segs[i+1].Start)
		if !orphansOnly(shares) {
			continue
		}
		for _, sh := range shares {
			if err := sh.c.leaveLocked(segs[i].Start, segs[i+1].Start, false); err != nil {
				return 0
			}
		}
		s.wakeKeeper()
		return max(segs[i].Size, 1)
	}
	return 0
}

// leaveLocked makes c leave the segment [lo, hi): its messages there are rescued
// or dropped. Those that may be in flight are rescued in any case, so that the
// peer's answer still finds them.
func (c *Consumer) leaveLocked(lo, hi wal.Pos, rescue bool) error {
	for _, sp := range append([]span(nil), c.spans...) {
		if sp.pos < lo || sp.pos >= hi {
			continue
		}
		first, end := max(sp.first, c.floor), sp.end()
		high := min(end, c.maybeSentLocked())
		if rescue {
			high = end
		}
		if first < high {
			if err := c.rescueLocked(sp, first, high); err != nil {
				return err
			}
			first = high
		}
		if first < end {
			c.dropLocked(&sp, lo, first, end)
		}
	}
	kept := c.spans[:0]
	for _, sp := range c.spans {
		if sp.pos < lo || sp.pos >= hi {
			kept = append(kept, sp)
		}
	}
	if len(kept) == len(c.spans) {
		return nil
	}
	c.spans = kept
	// What is finished there has to be so durably before the segment goes: the
	// record joins the open frame.
	c.urgentLocked()
	c.s.unpinned = max(c.s.unpinned, c.s.wal.OpenFrame())
	return nil
}

// maybeSentLocked is the seq below which messages may be in flight, or may have
// been at QoS 2 in a former life.
func (c *Consumer) maybeSentLocked() uint64 {
	if c.qos2 {
		return max(c.cursor, c.sentHigh)
	}
	return c.cursor
}

// dropLocked ends the messages [first, end) of sp, in the segment at lo, to make
// room.
func (c *Consumer) dropLocked(sp *span, lo wal.Pos, first, end uint64) {
	c.endRangeLocked(Gap{
		Reason: Dropped, FirstSeq: first, LastSeq: end - 1, From: sp.at, To: sp.at,
		Bytes:  sp.bytes / uint64(sp.count) * (end - first),
		Topics: c.s.censusLocked(lo).countLocked(c, first, end),
	})
}

// measureFree returns the free bytes of the file system, very many if unknown.
func (s *Store) measureFree() int64 {
	var st unix.Statfs_t
	if s.opt.MinFree == 0 || s.dir == "" || unix.Statfs(s.dir, &st) != nil {
		return 1 << 62
	}
	return int64(st.Bavail) * int64(st.Bsize) // Bsize is an int32 on 32-bit ARM
}
