package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Run commits what is staged until ctx ends; then it commits once more, closes
// the files and returns. The steps of a commit:
//
//  1. close the frame: BeforeSeal adds what travels along (Lock held)
//  2. begin a segment if the frame does: header and table, synced, directory synced
//  3. write the frame, fdatasync
//  4. publish Durable, keep the frame in memory, call OnCommit and the waiters
func (l *Log) Run(ctx context.Context) error {
	defer l.close()
	for {
		select {
		case <-l.wake:
			l.pace(ctx)
			f := l.nextFrame()
			if f == nil {
				continue
			}
			if err := l.commitFrame(ctx, f); err != nil {
				return fmt.Errorf("last commit: %w", err)
			}
			l.kick()
		case <-ctx.Done():
			return l.Commit(ctx)
		}
	}
}

// Commit brings to the disk what is staged now. It is for callers that do not
// let Run do it, and must not be called while Run runs.
func (l *Log) Commit(ctx context.Context) error {
	for f := l.nextFrame(); f != nil; f = l.nextFrame() {
		if err := l.commitFrame(ctx, f); err != nil {
			return fmt.Errorf("last commit: %w", err)
		}
	}
	return nil
}

// pace holds the commit back on media that wear: at most one per
// CommitInterval, unless enough is staged. The ack is later, never weaker.
func (l *Log) pace(ctx context.Context) {
	if l.opt.CommitInterval <= 0 {
		return
	}
	timer := time.NewTimer(l.opt.CommitInterval - time.Since(l.lastSync))
	defer timer.Stop()
	for l.staged.Load() < CommitBytes {
		select {
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		case <-l.wake:
		}
	}
}

// nextFrame returns the oldest closed frame, closing the open one if need be.
func (l *Log) nextFrame() *frameBuf {
	l.mu.Lock()
	if len(l.sealed) == 0 {
		l.mu.Unlock()
		l.opt.Lock.Lock()
		l.seal()
		l.opt.Lock.Unlock()
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	if len(l.sealed) == 0 {
		return nil
	}
	return l.sealed[0]
}

// commitFrame brings f to the disk, in a fresh segment if the present one
// fails, again and again with backoff if that fails too. Until then f and all
// that is staged behind it wait, and nobody is answered.
func (l *Log) commitFrame(ctx context.Context, f *frameBuf) error {
	l.writing.Store(int64(max(time.Since(l.opened), 1)))
	defer l.writing.Store(0)
	err := l.writeFrame(f)
	backoff := time.Second
	for attempt := 0; err != nil; attempt++ {
		l.retire(err)
		if attempt > 0 {
			l.setFailed(err)
			select {
			case <-time.After(backoff):
			case <-ctx.Done():
				return err
			}
			backoff = min(2*backoff, 30*time.Second)
		}
		if err = l.rehome(f); err == nil {
			err = l.writeFrame(f)
		}
	}
	l.writing.Store(0) // first: else CheckHang could call it failed for good
	l.setFailed(nil)
	l.finish(f)
	return nil
}

// CheckHang marks the log as failed when a commit has been hanging for longer
// than limit: a card that answers nothing is no better than one that answers
// with an error. It is well again when the commit succeeds.
func (l *Log) CheckHang(limit time.Duration) {
	start := l.writing.Load()
	d := time.Since(l.opened) - time.Duration(start)
	if start == 0 || d <= limit {
		return
	}
	err := fmt.Errorf("a write has been hanging for %v", d.Round(time.Second))
	l.mu.Lock()
	hangs := l.failed == nil && l.writing.Load() == start
	if hangs {
		l.failed = err
	}
	l.mu.Unlock()
	if hangs && l.opt.OnState != nil {
		l.opt.OnState(err)
	}
}

// retire gives up the current file after an error: it is never written or
// synced again.
func (l *Log) retire(err error) {
	if l.cur == nil {
		return
	}
	l.log.Error("writing to the queue failed; trying a fresh segment", "file", l.curSeg.name, "err", err)
	l.cur.Close()
	l.cur = nil
}

func (l *Log) setFailed(err error) {
	l.mu.Lock()
	changed := (l.failed == nil) != (err == nil)
	l.failed = err
	l.mu.Unlock()
	if changed && l.opt.OnState != nil {
		l.opt.OnState(err)
	}
}

// rehome makes f, whose file failed, the first frame of a fresh segment at the
// same position. Its table is taken now and marked as such.
func (l *Log) rehome(f *frameBuf) error {
	l.opt.Lock.Lock()
	f.table = l.tableFrame(f.pos, true)
	l.opt.Lock.Unlock()
	return l.newSegment(f, true)
}

// writeFrame writes and syncs f at its place.
func (l *Log) writeFrame(f *frameBuf) error {
	if f.table != nil && (l.cur == nil || l.curSeg.pos != f.pos) {
		if err := l.newSegment(f, false); err != nil {
			return err
		}
	}
	if l.cur == nil {
		return errors.New("no segment is open")
	}
	off := l.curSeg.first + int64(f.pos-l.curSeg.pos)
	if _, err := l.cur.WriteAt(f.buf, off); err != nil {
		return fmt.Errorf("write %s: %w", l.curSeg.name, err)
	}
	start := time.Now()
	if err := l.cur.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", l.curSeg.name, err)
	}
	took := time.Since(start)
	l.lastSync = start // paced from start to start: a slow sync is pause enough
	if took > slowSync {
		l.log.Warn("slow disk: one sync took long", "took", took.Round(time.Millisecond), "file", l.curSeg.name)
	}
	l.mu.Lock()
	l.stats.Slowest = max(l.stats.Slowest, took)
	l.stats.Commits++
	l.stats.Bytes += uint64(len(f.buf))
	l.mu.Unlock()
	return nil
}

// newSegment ends the current file and begins the one that f opens.
func (l *Log) newSegment(f *frameBuf, late bool) error {
	if l.cur != nil {
		l.sealFile(f.pos)
	}
	seg := segment{pos: f.pos, first: int64(segmentHeader + len(f.table)), late: late, rev: l.nextRevision(f.pos)}
	file, err := l.createSegment(&seg)
	if err != nil {
		return fmt.Errorf("create segment: %w", err)
	}
	head := append(fileHead(segmentMagic, f.pos, late, int(seg.first)), f.table...)
	if _, err = file.WriteAt(head, 0); err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = l.fs.SyncDir()
	}
	if err != nil {
		file.Close()
		_ = l.fs.Remove(seg.name) // holds nothing; a leftover is superseded by a later revision
		return fmt.Errorf("begin segment %s: %w", seg.name, err)
	}
	l.cur, l.curSeg = file, seg
	l.mu.Lock()
	if n := len(l.segs); n > 0 && l.segs[n-1].pos == seg.pos {
		l.closeHandleLocked(l.segs[n-1].name)
		old := l.segs[n-1].name
		l.segs[n-1] = seg
		defer l.fs.Remove(old) // superseded; if it stays, the higher revision counts
	} else {
		l.segs = append(l.segs, seg)
	}
	cuts := l.cuts
	l.cuts = nil
	l.mu.Unlock()
	for _, c := range cuts {
		l.shorten(c)
	}
	return nil
}

// shorten cuts a sealed file of a former life behind its last frame. Not before
// a segment of this life stands behind it: a torn tail has to be found again
// until what recovery made of it is on disk.
func (l *Log) shorten(c cut) {
	f, err := l.fs.Open(c.name, false)
	if err == nil {
		err = f.Truncate(c.size)
		f.Close()
	}
	if err != nil {
		l.log.Warn("could not shorten a full segment", "file", c.name, "err", err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.segs {
		if l.segs[i].name == c.name {
			l.segs[i].size = c.size
		}
	}
}

// nextRevision is higher than that of any file at p, as the highest counts.
func (l *Log) nextRevision(p Pos) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.segs); n > 0 && l.segs[n-1].pos == p {
		return l.segs[n-1].rev + 1
	}
	return 0
}

// createSegment opens a file for seg: one whose blocks were written before if
// there is one, else a new one with its blocks reserved. It sets name, rev and
// size.
func (l *Log) createSegment(seg *segment) (File, error) {
	for ; ; seg.rev++ {
		seg.name = segmentName(seg.pos, seg.rev)
		f, err := l.fs.Open(seg.name, true)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		pooled, err := l.takePooled(seg.name)
		if err != nil {
			f.Close() // the rename may have unlinked it: nothing in it would survive
			_ = l.fs.Remove(seg.name)
			return nil, err
		}
		if pooled != nil {
			f.Close()
			f = pooled
		}
		if err := f.Allocate(l.opt.SegmentSize); err != nil {
			f.Close()
			_ = l.fs.Remove(seg.name)
			return nil, fmt.Errorf("reserve %s: %w", seg.name, err)
		}
		if seg.size, err = f.Size(); err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}
}

// sealFile cuts the current file behind its last frame, which ends at end, so
// that sealed segments take no more room than they hold. The cut need not be
// durable: a segment ends where the next one begins.
func (l *Log) sealFile(end Pos) {
	size := l.curSeg.first + int64(end-l.curSeg.pos)
	err := l.cur.Truncate(size)
	l.cur.Close()
	l.cur = nil
	if err != nil {
		l.log.Warn("could not shorten a full segment", "file", l.curSeg.name, "err", err)
		return
	}
	l.mu.Lock()
	if i := l.findSegmentLocked(l.curSeg.pos); i >= 0 {
		l.segs[i].size = size
	}
	l.mu.Unlock()
}

// finish publishes a frame that is on disk and releases who waits for it.
func (l *Log) finish(f *frameBuf) {
	durable := f.end()
	l.mu.Lock()
	l.durable.Store(uint64(durable))
	l.staged.Add(-int64(len(f.buf) - frameHeader))
	copy(l.sealed, l.sealed[1:])
	l.sealed[len(l.sealed)-1] = nil
	l.sealed = l.sealed[:len(l.sealed)-1]
	f.table = nil
	l.keepLocked(f)
	var ready []waiter
	rest := l.waiters[:0]
	for _, w := range l.waiters {
		if w.pos < durable {
			ready = append(ready, w)
		} else {
			rest = append(rest, w)
		}
	}
	clear(l.waiters[len(rest):])
	l.waiters = rest
	l.mu.Unlock()
	if l.opt.OnCommit != nil {
		l.opt.OnCommit(durable)
	}
	for _, w := range ready {
		w.f()
	}
}

// keepLocked adds a durable frame to the tail that readers find in memory.
func (l *Log) keepLocked(f *frameBuf) {
	l.tail = append(l.tail, f)
	l.tailLen += cap(f.buf)
	l.usual = max(len(f.buf), l.usual*15/16)
	drop := 0
	for l.tailLen > tailBytes && drop < len(l.tail)-1 {
		old := l.tail[drop]
		l.tailLen -= cap(old.buf)
		drop++
		l.recycleLocked(old)
	}
	if drop > 0 {
		n := copy(l.tail, l.tail[drop:])
		clear(l.tail[n:])
		l.tail = l.tail[:n]
	}
}

func (l *Log) close() {
	if l.cur != nil {
		l.opt.Lock.Lock()
		end := l.open.pos
		l.opt.Lock.Unlock()
		if Pos(l.durable.Load()) == end {
			l.sealFile(end)
		} else {
			l.cur.Close()
		}
	}
	l.dropMaking()
	l.mu.Lock()
	l.closed = true
	waiters := l.waiters
	l.waiters = nil
	l.closeFilesLocked()
	l.mu.Unlock()
	for _, w := range waiters {
		w.f()
	}
}
