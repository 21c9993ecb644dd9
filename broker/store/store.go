package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/broker/store/wal"
)

// Errors that callers tell apart.
var (
	// ErrFull: the queue has no room and its policy is to refuse.
	ErrFull = errors.New("the queue is full")
	// ErrFailed: the disk takes no writes at present. What is staged waits.
	ErrFailed = errors.New("the disk queue cannot write")
	// ErrLocked: another process uses the directory.
	ErrLocked = wal.ErrLocked
	// ErrTooLarge: the message is longer than half a segment.
	ErrTooLarge = errors.New("message is too large for the queue")
)

// Options of a Store. The zero value is usable.
type Options struct {
	MaxSize        int64 // of everything in the directory, bytes; 0 = no bound
	MinFree        int64 // of the file system, bytes; 0 = no bound
	SegmentSize    int64 // 0 = 1/64 of MaxSize, within 256 KiB and 8 MiB
	CommitInterval time.Duration
	Clock          Clock        // nil = SystemClock
	Log            *slog.Logger // nil = none

	// FS replaces the real directory; with it, nothing is locked. For tests.
	FS wal.FS
	// WithoutRule switches off one of the rules of the QoS 2 model by name, to
	// show that its test fails without it. For tests only.
	WithoutRule string
}

// hangLimit is how long a write may take before the disk counts as failed.
const hangLimit = 30 * time.Second

const maxStaged = 4 << 20 // beyond that, publishers wait for the next commit

// Store is the open disk queue. See the package comment.
type Store struct {
	opt  Options
	fs   wal.FS
	lock io.Closer
	log  *slog.Logger
	wal  *wal.Log

	mu         sync.Mutex
	consumers  map[uint32]*Consumer
	byName     map[string]*Consumer
	lastNum    uint32
	fresh      []freshConsumer
	origins    map[string]*origin
	originNum  map[uint32]*origin
	lastOrigin uint32
	kv         map[string][]byte
	later      []string // keys of kv that are not staged yet, see SetLater
	retained   map[string]*Message
	clocks     clocks
	segment    wal.Pos // of the newest record
	scratch    []byte  // one record being staged
	sealBuf    []byte  // ... while a frame is closed
	gaps       []Gap
	gapSeal    wal.Pos           // markers up to here were told and are not merged with later ones
	onGap      map[string]func() // by who is to hear of new markers
	gapTopics  int               // of all of them
	censuses   []*census         // of the segments that are the next to go
	censusNeed int64             // bytes of such segments that have no census yet; 0 = none

	toWake       []*Consumer
	woken        []func() // scratch of onCommit
	dirty        []*Consumer
	inProgress   bool          // progressLocked runs
	flying       []flyingFloor // progress records that are not durable yet
	snap         snapshotState
	damage       []Damage
	written      written
	dir          string // "" with Options.FS
	diskFree     int64  // of the file system, as last measured
	credit       int64  // bytes that may be staged before the bounds are looked at again
	full         bool
	ending       bool
	poolAt       uint64                 // µs of uptime: no spare segment is made before
	tight        atomic.Bool            // what was dropped has to be freed before more is staged
	loose        chan struct{}          // closed when it is
	readers      map[*Consumer]struct{} // with memory for a frame
	stalled      []*Consumer            // whose log could not be read; tried again by the housekeeping
	ledgerErrors uint64                 // since Open
	ended        Lag                    // of consumers removed since Open
	unpinned     wal.Pos                // of the newest record that made a segment free to go
	idShift      uint64                 // 0 but in the test without the rule id_from_seq
	accepted     uint64
	staging      uint64 // counts publishes, to find those with a consumer twice
}

// flyingFloor is a floor in a progress record at pos.
type flyingFloor struct {
	c     *Consumer
	pos   wal.Pos
	floor uint64
}

// Open recovers the queue in dir and gets ready to go on; nothing runs until
// Run. It fails when the directory is in use, cannot be read, is not a queue,
// or was written by a newer program; damage alone never makes it fail.
func Open(dir string, opt Options) (*Store, error) { return open(dir, opt, nil) }

func open(dir string, opt Options, reading *reading) (*Store, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Clock == nil {
		opt.Clock = SystemClock()
	}
	if opt.SegmentSize == 0 {
		opt.SegmentSize = 8 << 20
		if opt.MaxSize > 0 {
			opt.SegmentSize = min(max(opt.MaxSize/64, 256<<10), 8<<20)
		}
	}
	s := &Store{
		opt: opt, fs: opt.FS, log: opt.Log,
		consumers: map[uint32]*Consumer{}, byName: map[string]*Consumer{}, readers: map[*Consumer]struct{}{},
		origins: map[string]*origin{}, originNum: map[uint32]*origin{},
		loose: make(chan struct{}),
		kv:    map[string][]byte{}, retained: map[string]*Message{},
		clocks: clocks{src: opt.Clock},
	}
	if s.fs == nil {
		if err := s.openDir(dir); err != nil {
			return nil, err
		}
	}
	if !s.readOnly() {
		s.fs = countedFS{s.fs, &s.written}
	}
	s.diskFree = s.measureFree()
	if s.without("id_from_seq") {
		s.idShift = uint64(opt.Clock.Uptime())
	}
	if err := s.recover(dir, reading); err != nil {
		if s.lock != nil {
			s.lock.Close()
		}
		return nil, fmt.Errorf("open queue in %s: %w", dir, err)
	}
	return s, nil
}

func (s *Store) openDir(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	s.fs, s.dir = wal.Dir(dir), dir
	if err := checkForeign(s.fs); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	lock, err := wal.Lock(dir)
	if errors.Is(err, wal.ErrLocked) {
		return fmt.Errorf("data directory %s: %w: one gateway per directory; stop the other one or set gateway.data_dir", dir, err)
	}
	if err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	s.lock = lock
	return nil
}

// Run commits what is staged, writes snapshots and frees what is read, until
// ctx ends. It then commits once more, closes the files and returns.
func (s *Store) Run(ctx context.Context) error {
	var keepers sync.WaitGroup
	keeperCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	keepers.Go(func() { s.keep(keeperCtx) })
	keepers.Go(func() { s.watch(keeperCtx) })
	commitCtx, stopCommits := context.WithCancel(context.WithoutCancel(ctx))
	committer := make(chan error, 1)
	go func() { committer <- s.wal.Run(commitCtx) }()
	<-ctx.Done()
	stop()
	keepers.Wait()
	s.mu.Lock()
	s.ending = true // all progress joins the last commit
	s.mu.Unlock()
	stopCommits()
	err := <-committer
	if s.lock != nil {
		s.lock.Close()
	}
	if err != nil {
		return fmt.Errorf("disk queue: %w", err)
	}
	return nil
}

// watch looks for a disk that hangs. Not the housekeeping's: that writes, too.
func (s *Store) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.wal.CheckHang(hangLimit)
		case <-ctx.Done():
			return
		}
	}
}

// keep is the housekeeping: once a second, and when something asks.
func (s *Store) keep(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		ticked := false
		select {
		case <-tick.C:
			ticked = true
		case <-s.snap.wake:
		case <-ctx.Done():
			return
		}
		if n%10 == 0 {
			s.checkClock()
		}
		s.mu.Lock()
		idle := s.idleProgressLocked()
		s.mu.Unlock()
		if idle {
			s.wal.Kick()
		}
		s.retryReads()
		if err := s.snapshotIfDue(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("snapshot of the queue failed; it is tried again", "err", err)
		}
		s.freeSegments()
		s.takeCensuses()
		s.keepBounds(ctx)
		if ticked {
			s.restReaders()
			s.fillPool()
		}
	}
}

// appendLocked stages a record.
func (s *Store) appendLocked(rec []byte) Receipt {
	p := s.wal.Append(rec)
	if cap(rec) > cap(s.scratch) && cap(rec) <= 64<<10 {
		s.scratch = rec[:0]
	}
	return Receipt{uint64(p)}
}

// IsDurable reports whether what r stands for is on disk.
func (s *Store) IsDurable(r Receipt) bool { return wal.Pos(r.pos) < s.wal.Durable() }

// Wait blocks until r is durable.
func (s *Store) Wait(ctx context.Context, r Receipt) error {
	if s.IsDurable(r) {
		return nil
	}
	return s.wal.Wait(ctx, wal.Pos(r.pos))
}

// OnDurable calls f once, from the committer, after the commit that makes r
// durable. When r is durable already it returns false and f is not called. If
// the store is closed first, f is called all the same: look at IsDurable.
func (s *Store) OnDurable(r Receipt, f func()) bool {
	if s.IsDurable(r) {
		return false
	}
	return s.wal.OnDurable(wal.Pos(r.pos), f)
}

// Failed returns why the disk takes no writes at present, or nil.
func (s *Store) Failed() error { return s.wal.Failed() }

// Stats are counters since Open, and sizes.
type Stats struct {
	Messages     uint64 // published for durable consumers
	Commits      uint64
	Bytes        uint64 // written into frames
	Written      uint64 // bytes written to all files, snapshots and spare ones too
	Syncs        uint64 // of all files, and of the directory
	Slowest      time.Duration
	DiskBytes    int64
	Segments     int64
	Staged       int64
	Queued       uint64 // bytes that wait, about; what several consumers wait for counts for each
	Consumers    int
	Retained     int
	LedgerErrors uint64   // ledgers that were wrong, see the log
	Damage       []Damage // found at start
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	w := s.wal.Stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	queued := uint64(0)
	for _, c := range s.consumers {
		queued += c.queuedBytes
	}
	return Stats{
		Queued:   queued,
		Messages: s.accepted, Commits: w.Commits, Bytes: w.Bytes, Slowest: w.Slowest,
		Written: s.written.bytes.Load(), Syncs: s.written.syncs.Load(),
		DiskBytes: w.DiskBytes, Segments: int64(w.Segments), Staged: s.wal.Staged(),
		Consumers: len(s.consumers), Retained: len(s.retained), LedgerErrors: s.ledgerErrors, Damage: s.damage,
	}
}

// onCommit is called by the committer: floors become durable, consumers wake.
func (s *Store) onCommit(durable wal.Pos) {
	s.mu.Lock()
	n := 0
	for n < len(s.flying) && s.flying[n].pos < durable {
		f := s.flying[n]
		f.c.durFloor = max(f.c.durFloor, f.floor)
		f.c.trimSpansLocked()
		s.wakeLocked(f.c, f.pos)
		n++
	}
	s.flying = append(s.flying[:0], s.flying[n:]...)
	woken := s.woken[:0]
	later := s.toWake[:0]
	for _, c := range s.toWake {
		if c.wakeAt >= durable {
			later = append(later, c)
			continue
		}
		if c.lastPos >= durable {
			c.wakeAt = durable
			later = append(later, c)
		} else {
			c.wakeAt = 0
		}
		c.nudge()
		if c.ready != nil {
			woken = append(woken, c.ready)
		}
	}
	clear(s.toWake[len(later):])
	s.toWake = later
	s.mu.Unlock()
	for _, f := range woken {
		f()
	}
	clear(woken)
	s.woken = woken[:0]
}

// wakeLocked makes the committer notify c when p is durable.
func (s *Store) wakeLocked(c *Consumer, p wal.Pos) {
	if c.wakeAt == 0 {
		c.wakeAt = p
		s.toWake = append(s.toWake, c)
	}
}

// Commit brings to the disk what is staged now, for callers that do not let Run
// do it. It must not be called while Run runs.
func (s *Store) Commit(ctx context.Context) error { return s.wal.Commit(ctx) }
