package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// The pool: spare files whose blocks were written before, for new segments. A
// commit into such a file changes no metadata of the file system, so the device
// writes a quarter of what a growing file costs it. They are freed segments,
// or made of zeros when the log is idle. FORMAT.md: their content has no meaning.

const (
	poolFiles  = 2
	poolPrefix = "pool-"
	poolTemp   = "pool.tmp" // being made
	zeroPiece  = 256 << 10  // written and synced at a time
	notMuch    = 8          // commits between two pieces: the log counts as idle
)

// spare is a file of the pool.
type spare struct {
	name string
	size int64
}

// making is the spare file that is being filled with zeros.
type making struct {
	f       File
	size    int64
	commits uint64 // when the last piece was written
}

func poolName(n int) string { return poolPrefix + strconv.Itoa(n) }

func parsePoolName(name string) (n int, ok bool) {
	digits, ok := strings.CutPrefix(name, poolPrefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && poolName(n) == name
}

// fitsPool: the pool holds only files of the present size.
func (l *Log) fitsPool(size int64) bool {
	return size >= l.opt.SegmentSize*7/8 && size <= l.opt.SegmentSize*9/8
}

// adoptSpare takes in a file of the pool that a former life has left, or removes it.
func (l *Log) adoptSpare(f FileInfo) {
	n, ok := parsePoolName(f.Name)
	if ok && len(l.pool) < poolFiles && l.fitsPool(f.Size) {
		l.pool = append(l.pool, spare{f.Name, f.Size})
		l.poolSeq = max(l.poolSeq, n)
		return
	}
	if err := l.fs.Remove(f.Name); err != nil {
		l.log.Warn("could not remove a spare segment", "file", f.Name, "err", err)
	}
}

// Free gives up the segment that begins at p: nobody will read it again. The
// file is kept for reuse or removed; when that fails, the segment is still there.
func (l *Log) Free(p Pos) error {
	l.mu.Lock()
	i := l.findSegmentLocked(p)
	if i < 0 || i == len(l.segs)-1 || l.segs[i].pos != p {
		l.mu.Unlock()
		return fmt.Errorf("free segment %x: not a sealed segment", p)
	}
	s := l.segs[i]
	l.segs = append(l.segs[:i:i], l.segs[i+1:]...)
	l.closeHandleLocked(s.name)
	keep := len(l.pool) < poolFiles && l.fitsPool(s.size)
	name := ""
	if keep {
		l.poolSeq++
		name = poolName(l.poolSeq)
	}
	l.mu.Unlock()
	var err error
	if keep {
		err = l.fs.Rename(s.name, name)
	} else {
		err = l.fs.Remove(s.name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.segs = slices.Insert(l.segs, l.findSegmentLocked(p)+1, s)
		return fmt.Errorf("free segment %s: %w", s.name, err)
	case keep:
		l.pool = append(l.pool, spare{name, s.size})
	}
	return nil
}

// takePooled renames a freed file to name, replacing what is there, and opens
// it; nil when there is none.
func (l *Log) takePooled(name string) (File, error) {
	l.mu.Lock()
	var from string
	if n := len(l.pool); n > 0 {
		from = l.pool[n-1].name
		l.pool = l.pool[:n-1]
	}
	l.mu.Unlock()
	if from == "" {
		return nil, nil
	}
	if err := l.fs.Rename(from, name); err != nil {
		return nil, err
	}
	return l.fs.Open(name, false)
}

// FillPool writes the next piece of a spare file, if the pool is short of one
// and hardly anything was committed since the last call: for a housekeeping that
// calls it about once a second. A piece is synced by itself, so that no
// commit has to wait for more than one. Not to be called concurrently.
func (l *Log) FillPool() error {
	l.mu.Lock()
	m, commits := &l.making, l.stats.Commits
	idle := commits-m.commits <= notMuch && l.staged.Load() == 0
	short := len(l.pool) < poolFiles && l.failed == nil && !l.closed
	m.commits = commits
	l.mu.Unlock()
	if !idle || !short {
		return nil
	}
	if err := l.zeroNext(); err != nil {
		l.dropMaking()
		_ = l.fs.Remove(poolTemp) // its room may be what is missing
		return fmt.Errorf("prepare a spare segment: %w", err)
	}
	return nil
}

func (l *Log) zeroNext() error {
	m := &l.making
	if m.f == nil {
		if err := l.fs.Remove(poolTemp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f, err := l.fs.Open(poolTemp, true)
		if err != nil {
			return err
		}
		m.f = f
	}
	piece := make([]byte, min(zeroPiece, l.opt.SegmentSize-m.size))
	if _, err := m.f.WriteAt(piece, m.size); err != nil {
		return err
	}
	if err := m.f.Sync(); err != nil {
		return err
	}
	l.mu.Lock()
	m.size += int64(len(piece))
	done := m.size == l.opt.SegmentSize
	l.mu.Unlock()
	if !done {
		return nil
	}
	return l.poolMade()
}

// poolMade puts the file that is full of zeros into the pool.
func (l *Log) poolMade() error {
	l.mu.Lock()
	l.poolSeq++
	name := poolName(l.poolSeq)
	l.mu.Unlock()
	if err := l.fs.Rename(poolTemp, name); err != nil {
		return err
	}
	l.mu.Lock()
	size := l.making.size
	l.pool = append(l.pool, spare{name, size})
	l.mu.Unlock()
	l.dropMaking()
	return nil
}

// dropMaking forgets the file that was being made.
func (l *Log) dropMaking() {
	l.mu.Lock()
	f := l.making.f
	l.making.f, l.making.size = nil, 0
	l.mu.Unlock()
	if f != nil {
		f.Close()
	}
}
