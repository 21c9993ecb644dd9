package wal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a Log. The zero value of each field but Lock has a sane meaning.
type Options struct {
	// FS is the directory to use; nil means the real one.
	FS FS

	// Lock guards staging. The caller of Append holds it; the committer takes
	// it to close a frame and to begin a segment. Required.
	Lock sync.Locker

	// SegmentSize is how long a segment file may be, in bytes; 0 means 8 MiB.
	// A single larger record makes a larger segment.
	SegmentSize int64

	// CommitInterval is the shortest time between two syncs under load. The
	// first commit after idle is at once, and so is one of CommitBytes.
	CommitInterval time.Duration

	// Counted reports whether a record counts as a message; the count lets
	// recovery say how many were in a damaged frame. Nil counts none.
	Counted func(rec []byte) bool

	// BeforeSeal may append further records to the frame that is about to be
	// closed. It is called with Lock held, from Append or from the committer.
	BeforeSeal func()

	// BeginSegment adds the records of the table frame of the segment at p. It
	// is called with Lock held, before the first record of the segment is
	// appended, and must not call Append. late: the segment replaces one that
	// failed, so the state is ahead of p.
	BeginSegment func(p Pos, late bool, add func(rec []byte))

	// OnCommit is called by the committer after each commit, without Lock.
	OnCommit func(durable Pos)

	// OnDamage is called by Open, between the records around the damage, and
	// tells the operator. Nil logs it.
	OnDamage func(Damage)

	// OnState is called by the committer when the log fails (err != nil) and
	// when it is well again (nil).
	OnState func(err error)

	Log *slog.Logger

	// Until, if not 0, ends the recovery at this position, as if the log ended
	// there: for readers of a log that goes on. With UntilTable the table of the
	// segment that begins there is read, too.
	Until      Pos
	UntilTable bool

	// ReadStaged lets Record find what is not durable yet (Lock must be held). It
	// breaks the promise; for the test that shows that the promise needs it.
	ReadStaged bool
}

// CommitBytes is how much may be staged before a commit stops waiting for
// CommitInterval.
const CommitBytes = 256 << 10

const (
	tailBytes      = 1 << 20 // of memory for the newest frames, kept for readers
	freeBuffers    = 8       // of frames, kept for reuse
	firstCap       = 1 << 10 // of a new buffer
	defaultSegment = 8 << 20
	slowSync       = time.Second
)

// Errors that callers tell apart.
var (
	ErrClosed = errors.New("log is closed")
	errHead   = errors.New("segment header is damaged")

	// ErrForeign: the directory holds files that are not a log's.
	ErrForeign = errors.New("not a packetboat data directory")
)

// NewerError says that the directory was written by a newer program.
type NewerError struct{ Version int }

func (e *NewerError) Error() string {
	return fmt.Sprintf("the queue was written in format %d by a newer packetboat; this one reads up to format %d: install the newer version again", e.Version, FormatVersion)
}

// frameBuf is a frame on its way to the disk, or kept in memory after it.
type frameBuf struct {
	pos    Pos
	before uint64
	buf    []byte // frameHeader bytes, then records
	msgs   uint64
	table  []byte // a segment begins with this frame: its table frame
}

func (f *frameBuf) end() Pos { return f.pos + Pos(len(f.buf)) }

// segment is a file of the log.
type segment struct {
	pos   Pos
	rev   int
	first int64 // offset of the first frame; 0 = header unreadable
	size  int64 // of the file
	late  bool  // see Segment.Late
	name  string
}

// cut says how long a file has to be.
type cut struct {
	name string
	size int64
}

// Log is an open log. See the package comment for concurrency.
type Log struct {
	opt Options
	fs  FS
	log *slog.Logger

	// staging, guarded by opt.Lock
	open     *frameBuf
	segStart Pos // of the segment that open goes to
	segRoom  int64
	sealing  bool
	count    uint64 // messages before open

	durable atomic.Uint64
	staged  atomic.Int64 // bytes not durable yet
	writing atomic.Int64 // since when a commit runs, ns since opened; 0 = none does
	opened  time.Time
	wake    chan struct{}

	mu         sync.Mutex // guards what follows
	sealed     []*frameBuf
	tail       []*frameBuf
	tailLen    int // capacity of all
	usual      int // length of a large one among the latest frames
	free       []*frameBuf
	segs       []segment
	waiters    []waiter
	lastWaiter uint64
	failed     error
	closed     bool
	handles    map[string]*handle
	pool       []spare
	making     making // FillPool's, but for its size
	aside      int64  // bytes in quarantine
	poolSeq    int
	cuts       []cut // files of former lives that are longer than what they hold
	stats      Stats

	// owned by the committer
	cur      File
	curSeg   segment
	lastSync time.Time // when the last one began
}

// Stats are counters since Open.
type Stats struct {
	Commits   uint64
	Bytes     uint64 // written into frames
	Slowest   time.Duration
	DiskBytes int64 // of all files of the log: segments, spare ones, quarantine
	Spare     int64 // of these, in files of the pool: the next segments take those
	Segments  int
}

type waiter struct {
	pos Pos
	f   func()
	id  uint64 // of a Wait, that may end before
}

// Durable returns the end of what is on disk.
func (l *Log) Durable() Pos { return Pos(l.durable.Load()) }

// Staged returns how many bytes wait for a commit.
func (l *Log) Staged() int64 { return l.staged.Load() }

// Stats returns the counters.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.stats
	for _, s := range l.segs {
		st.DiskBytes += s.size
	}
	for _, p := range l.pool {
		st.Spare += p.size
	}
	st.DiskBytes += st.Spare + l.making.size + l.aside
	st.Segments = len(l.segs)
	return st
}

// Count returns the number of counted records appended so far. Lock must be held.
func (l *Log) Count() uint64 { return l.count + l.open.msgs }

// End returns the position of the next record. Lock must be held.
func (l *Log) End() Pos { return l.open.end() }

// OpenFrame returns the start of the frame that gathers now: whatever is
// appended to it is durable as soon as Durable exceeds it. Lock must be held.
func (l *Log) OpenFrame() Pos { return l.open.pos }

// Append adds a record to the next commit and returns its position. The record
// is copied. Lock must be held.
func (l *Log) Append(rec []byte) Pos {
	n := recordSize(len(rec))
	l.makeRoom(n)
	p := l.open.end()
	l.open.buf = appendRecord(l.open.buf, rec)
	if l.opt.Counted != nil && l.opt.Counted(rec) {
		l.open.msgs++
	}
	l.staged.Add(int64(n))
	l.kick()
	return p
}

// MakeRoom closes the open frame now if appending a record of n bytes would. For
// records that belong before what BeforeSeal adds once they are applied. Lock must be held.
func (l *Log) MakeRoom(n int) { l.makeRoom(recordSize(n)) }

func (l *Log) makeRoom(n int) {
	if l.sealing {
		return
	}
	if len(l.open.buf) > frameHeader && (len(l.open.buf)+n > CommitBytes+frameHeader || l.needRoom(n)) {
		l.seal()
	}
	if l.needRoom(n) && l.open.pos > l.segStart {
		l.beginSegment()
	}
}

func (l *Log) needRoom(n int) bool {
	return int64(l.open.pos-l.segStart)+int64(len(l.open.buf)+n) > l.segRoom
}

// Seal closes the open frame, so that what was appended so far ends at
// OpenFrame. Lock must be held.
func (l *Log) Seal() { l.seal(); l.kick() }

// seal closes the open frame and begins the next. Lock must be held.
func (l *Log) seal() {
	if l.opt.BeforeSeal != nil {
		l.sealing = true
		l.opt.BeforeSeal()
		l.sealing = false
	}
	if len(l.open.buf) == frameHeader {
		return
	}
	f := l.open
	finishFrame(f.buf, f.pos, f.before, false)
	l.count += f.msgs
	l.mu.Lock()
	l.sealed = append(l.sealed, f)
	next := l.takeBufLocked()
	l.mu.Unlock()
	next.pos, next.before = f.end(), l.count
	l.open = next
}

// beginSegment makes the open, still empty frame the first of a new segment.
// Lock must be held.
func (l *Log) beginSegment() {
	l.open.table = l.tableFrame(l.open.pos, false)
	l.segStart = l.open.pos
	l.segRoom = l.opt.SegmentSize - segmentHeader - int64(len(l.open.table))
}

func (l *Log) tableFrame(pos Pos, late bool) []byte {
	t := make([]byte, frameHeader, 256)
	if l.opt.BeginSegment != nil {
		l.opt.BeginSegment(pos, late, func(rec []byte) { t = appendRecord(t, rec) })
	}
	finishFrame(t, pos, l.count, true)
	return t
}

func (l *Log) takeBufLocked() *frameBuf {
	n := len(l.free)
	if n == 0 {
		return &frameBuf{buf: make([]byte, frameHeader, firstCap)}
	}
	small := 0
	for i, f := range l.free {
		if cap(f.buf) < cap(l.free[small].buf) {
			small = i
		}
	}
	f := l.free[small]
	l.free[small] = l.free[n-1]
	l.free = l.free[:n-1]
	if cap(f.buf) > 16<<10 && cap(f.buf) > 8*l.usual {
		// Left from a burst: it would fill the tail with little in it.
		f = &frameBuf{buf: make([]byte, frameHeader, firstCap)}
	}
	*f = frameBuf{buf: f.buf[:frameHeader]}
	return f
}

// recycleLocked keeps the buffer of f for another frame, small ones rather than
// large ones.
func (l *Log) recycleLocked(f *frameBuf) {
	if cap(f.buf) > 2*CommitBytes {
		return
	}
	if len(l.free) < freeBuffers {
		l.free = append(l.free, f)
		return
	}
	for i := range l.free {
		if cap(l.free[i].buf) > cap(f.buf) {
			l.free[i] = f
			return
		}
	}
}

func (l *Log) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Kick asks for a commit even when nothing is staged yet: BeforeSeal is called
// and what it appends is written.
func (l *Log) Kick() { l.kick() }

// OnDurable calls f once, from the committer, after the commit that makes p
// durable, and returns true; when p is durable already it returns false and f
// is not called.
func (l *Log) OnDurable(p Pos, f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p < l.Durable() {
		return false
	}
	l.waiters = append(l.waiters, waiter{p, f, 0})
	return true
}

// Wait blocks until p is durable. It returns ctx's error, or ErrClosed when
// the log ended first.
func (l *Log) Wait(ctx context.Context, p Pos) error {
	if p < l.Durable() {
		return nil
	}
	done := make(chan struct{})
	l.mu.Lock()
	if p < l.Durable() {
		l.mu.Unlock()
		return nil
	}
	l.lastWaiter++
	id, closed := l.lastWaiter, l.closed
	if !closed {
		l.waiters = append(l.waiters, waiter{p, func() { close(done) }, id})
	}
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	select {
	case <-done:
		if p < l.Durable() {
			return nil
		}
		return ErrClosed
	case <-ctx.Done():
		l.mu.Lock()
		l.waiters = slices.DeleteFunc(l.waiters, func(w waiter) bool { return w.id == id })
		l.mu.Unlock()
		return ctx.Err()
	}
}

// Failed returns why nothing can be written now, or nil.
func (l *Log) Failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Segment describes a segment file.
type Segment struct {
	Start Pos
	Size  int64 // of the file
	// Late: it replaces the rest of the segment before it, whose file failed.
	// Who has noted where messages begin does not know of it.
	Late bool
}

// Segments returns every segment, oldest first. The last one is being written.
func (l *Log) Segments() []Segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Segment, len(l.segs))
	for i, s := range l.segs {
		out[i] = Segment{s.pos, s.size, s.late}
	}
	return out
}

// findSegmentLocked returns the index of the segment that holds p, or -1.
func (l *Log) findSegmentLocked(p Pos) int {
	return sort.Search(len(l.segs), func(i int) bool { return l.segs[i].pos > p }) - 1
}

func (l *Log) closeFilesLocked() {
	for name := range l.handles {
		l.closeHandleLocked(name)
	}
}

func segmentName(p Pos, rev int) string { return fmt.Sprintf("%016x-%d.log", uint64(p), rev) }

func parseSegmentName(name string) (p Pos, rev int, ok bool) {
	if len(name) < len("0000000000000000-0.log") || name[16] != '-' {
		return 0, 0, false
	}
	var u uint64
	if n, err := fmt.Sscanf(name, "%016x-%d.log", &u, &rev); err != nil || n != 2 {
		return 0, 0, false
	}
	return Pos(u), rev, segmentName(Pos(u), rev) == name
}
