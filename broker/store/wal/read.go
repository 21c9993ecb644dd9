package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sort"
)

const maxHandles = 8

var errFrame = errors.New("checksum mismatch")

// handle is an open file for readers.
type handle struct {
	f    File
	refs int
	gone bool // close when the last reader lets go
	used int
}

// DamagedError says that the frame at Pos cannot be read; Next is where the
// next valid one begins.
type DamagedError struct {
	Pos, Next Pos
	Err       error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("queue is damaged at position %x, next valid frame at %x: %v", uint64(e.Pos), uint64(e.Next), e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// Record copies the record at p, as Append returned it, to dst[:0] if it is
// durable and still in memory.
func (l *Log) Record(p Pos, dst []byte) ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	frames := l.tail
	if p >= l.Durable() {
		if !l.opt.ReadStaged {
			return dst, false
		}
		frames = append(slices.Clone(l.sealed), l.open)
	}
	i := sort.Search(len(frames), func(i int) bool { return frames[i].pos > p }) - 1
	if i < 0 || p >= frames[i].end() {
		return dst, false
	}
	rec, _, err := NextRecord(frames[i].buf[p-frames[i].pos:])
	if err != nil {
		return dst, false
	}
	return append(dst[:0], rec...), true
}

// Read returns the records of the frame at p, in buf if it is large enough,
// and the position of the next frame. It returns io.EOF when nothing durable
// stands at p, and a *DamagedError when the bytes there are not a frame. Any
// other error is one of the file system, which may be gone the next time; who
// does not want to wait goes on at Skip.
func (l *Log) Read(p Pos, buf []byte) (recs []byte, next Pos, err error) {
	if p >= l.Durable() {
		return buf[:0], p, io.EOF
	}
	l.mu.Lock()
	i := sort.Search(len(l.tail), func(i int) bool { return l.tail[i].pos >= p })
	if i < len(l.tail) && l.tail[i].pos == p {
		recs = append(buf[:0], l.tail[i].buf[frameHeader:]...)
		next = l.tail[i].end()
		l.mu.Unlock()
		return recs, next, nil
	}
	seg, end, ok := l.segmentAtLocked(p)
	l.mu.Unlock()
	if !ok {
		return buf[:0], p, &DamagedError{p, end, errors.New("its segment is gone")}
	}
	return l.readFrame(seg, p, end, buf)
}

// segmentAtLocked returns the segment that holds p and where it ends (for a
// position in no segment: where the next one begins).
func (l *Log) segmentAtLocked(p Pos) (segment, Pos, bool) {
	i := l.findSegmentLocked(p)
	end := l.Durable()
	if i+1 < len(l.segs) {
		end = l.segs[i+1].pos
	}
	if i < 0 || l.segs[i].first == 0 {
		return segment{}, end, false
	}
	return l.segs[i], end, true
}

func (l *Log) readFrame(seg segment, p, end Pos, buf []byte) ([]byte, Pos, error) {
	h, err := l.acquire(seg.name)
	if errors.Is(err, fs.ErrNotExist) {
		return buf[:0], p, &DamagedError{p, end, err}
	}
	if err != nil {
		return buf[:0], p, fmt.Errorf("open segment: %w", err)
	}
	defer l.release(h)
	off := seg.first + int64(p-seg.pos)
	frame, info, err := readFrameAt(h.f, off, buf)
	if err == nil && info.pos == p {
		return frame[frameHeader:], p + Pos(info.size), nil
	}
	if err == nil {
		err = errFrame // of another position
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		// Sealed files end behind their last frame: what follows was freed.
		err = errors.New("file ends")
	case !errors.Is(err, errFrame):
		return buf[:0], p, fmt.Errorf("read %s: %w", seg.name, err)
	}
	return buf[:0], p, &DamagedError{p, nextFrame(h.f, off, p, end), err}
}

// nextFrame returns the position of the first valid frame behind p, whose own
// would be at off of the file; end if there is none.
func nextFrame(f File, off int64, p, end Pos) Pos {
	rest := readAll(f, off)
	if o, i, ok := findFrame(rest, 1, p+1, end); ok && i.pos == p+Pos(o) {
		return i.pos
	}
	return end
}

// Skip returns where the next frame behind p begins that can be read, for
// readers who give up the one at p.
func (l *Log) Skip(p Pos) Pos {
	l.mu.Lock()
	seg, end, ok := l.segmentAtLocked(p)
	l.mu.Unlock()
	if !ok {
		return end
	}
	h, err := l.acquire(seg.name)
	if err != nil {
		return end
	}
	defer l.release(h)
	return nextFrame(h.f, seg.first+int64(p-seg.pos), p, end)
}

// readFrameAt reads and checks the frame at off into buf, which grows.
func readFrameAt(f File, off int64, buf []byte) ([]byte, frameInfo, error) {
	if cap(buf) < frameHeader {
		buf = make([]byte, 4096)
	}
	// One read fetches small frames whole.
	b := buf[:min(cap(buf), 64<<10)]
	n, err := f.ReadAt(b, off)
	if n < frameHeader {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return buf, frameInfo{}, err
	}
	length := leUint32(b) &^ tableFlag
	if length > maxFrame {
		return buf, frameInfo{}, errFrame
	}
	size := frameHeader + int(length)
	if size > n {
		// Before memory is taken for it: a damaged length is up to 256 MiB.
		if have, err := f.Size(); err != nil || have-off < int64(size) {
			return buf, frameInfo{}, errFrame
		}
		if cap(buf) < size {
			nb := make([]byte, size)
			copy(nb, b[:n])
			buf = nb
		}
		b = buf[:size]
		m, err := f.ReadAt(b[n:], off+int64(n))
		if m < size-n {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return buf, frameInfo{}, err
		}
	}
	info, ok := parseFrame(b[:size], false)
	if !ok {
		return buf, frameInfo{}, errFrame
	}
	return b[:size], info, nil
}

// readAll returns what is in the file from off on, zeros where it cannot be
// read: one bad sector does not hide what is behind it.
func readAll(f File, off int64) []byte {
	size, err := f.Size()
	if err != nil || size <= off || off < 0 {
		return nil
	}
	b := make([]byte, size-off)
	if n, err := f.ReadAt(b, off); err == nil || errors.Is(err, io.EOF) {
		return b[:n]
	}
	const block = 4 << 10
	for at := 0; at < len(b); {
		to := min(at+block-int((off+int64(at))%block), len(b))
		if n, err := f.ReadAt(b[at:to], off+int64(at)); err != nil && !errors.Is(err, io.EOF) {
			clear(b[at+n : to])
		}
		at = to
	}
	return b
}

func (l *Log) acquire(name string) (*handle, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.handles[name]
	if h == nil {
		f, err := l.fs.Open(name, false)
		if err != nil {
			return nil, err
		}
		if len(l.handles) >= maxHandles {
			l.dropOldestHandleLocked()
		}
		h = &handle{f: f}
		l.handles[name] = h
	}
	l.poolSeq++
	h.used = l.poolSeq
	h.refs++
	return h, nil
}

func (l *Log) release(h *handle) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.refs--
	if h.gone && h.refs == 0 {
		h.f.Close()
	}
}

func (l *Log) dropOldestHandleLocked() {
	oldest := ""
	for name, h := range l.handles {
		if oldest == "" || h.used < l.handles[oldest].used {
			oldest = name
		}
	}
	l.closeHandleLocked(oldest)
}

func (l *Log) closeHandleLocked(name string) {
	h := l.handles[name]
	if h == nil {
		return
	}
	delete(l.handles, name)
	h.gone = true
	if h.refs == 0 {
		h.f.Close()
	}
}
