// Package simdisk is a simulated disk for tests: it keeps synced and unsynced
// bytes apart, so that a crash can take away or garble what no sync covered.
package simdisk

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"sort"
	"sync"

	"packetboat/broker/store/wal"
)

const sector = 512

// ErrCrashed is what handles of an earlier life return.
var ErrCrashed = errors.New("simdisk: crashed")

// Op names an operation for Fault.
type Op string

// The operations that can be made to fail.
const (
	OpOpen     Op = "open"
	OpWrite    Op = "write"
	OpSync     Op = "sync"
	OpSyncDir  Op = "syncdir"
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
	OpTruncate Op = "truncate"
	OpAllocate Op = "allocate"
	OpRead     Op = "read"
)

// Disk is one directory on a disk with a volatile cache. It may be used from
// several goroutines.
type Disk struct {
	// Fault, when set, may return the error an operation fails with. A failing
	// sync leaves the bytes unsynced for good: the page cache dropped them. It is
	// called without a lock held and may block.
	Fault func(op Op, name string) error

	mu      sync.Mutex
	life    int
	names   map[string]*inode
	durable map[string]*inode
	dirOps  []func(map[string]*inode)

	// Syncs counts successful file syncs.
	Syncs int
	// Written counts bytes passed to WriteAt.
	Written int64
}

type inode struct {
	cur, dur []byte
	dirty    map[int64]struct{}
}

// New returns an empty disk.
func New() *Disk {
	return &Disk{names: map[string]*inode{}, durable: map[string]*inode{}}
}

var _ wal.FS = (*Disk)(nil)

func (d *Disk) fault(op Op, name string) error {
	if d.Fault == nil {
		return nil
	}
	return d.Fault(op, name)
}

// Open implements [wal.FS].
func (d *Disk) Open(name string, create bool) (wal.File, error) {
	if err := d.fault(OpOpen, name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[name]
	switch {
	case create && n != nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case !create && n == nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case create:
		n = &inode{dirty: map[int64]struct{}{}}
		d.names[name] = n
		d.dirOps = append(d.dirOps, func(m map[string]*inode) { m[name] = n })
	}
	return &file{d: d, n: n, name: name, life: d.life}, nil
}

// Rename implements [wal.FS].
func (d *Disk) Rename(o, n string) error {
	if err := d.fault(OpRename, o); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	node := d.names[o]
	if node == nil {
		return fs.ErrNotExist
	}
	op := func(m map[string]*inode) { delete(m, o); m[n] = node }
	op(d.names)
	d.dirOps = append(d.dirOps, op)
	return nil
}

// Remove implements [wal.FS].
func (d *Disk) Remove(name string) error {
	if err := d.fault(OpRemove, name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] == nil {
		return fs.ErrNotExist
	}
	op := func(m map[string]*inode) { delete(m, name) }
	op(d.names)
	d.dirOps = append(d.dirOps, op)
	return nil
}

// List implements [wal.FS].
func (d *Disk) List() ([]wal.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []wal.FileInfo
	for name, n := range d.names {
		out = append(out, wal.FileInfo{Name: name, Size: int64(len(n.cur))})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out, nil
}

// SyncDir implements [wal.FS].
func (d *Disk) SyncDir() error {
	if err := d.fault(OpSyncDir, "."); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.applyDirOps(len(d.dirOps))
	return nil
}

func (d *Disk) applyDirOps(n int) {
	for _, op := range d.dirOps[:n] {
		op(d.durable)
	}
	d.dirOps = nil
}

// Crash ends this life: of what was not synced, each sector is kept, dropped or
// garbled and a prefix of the directory changes survives. Open files of
// the life before are dead.
func (d *Disk) Crash(rng *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.life++
	d.applyDirOps(rng.IntN(len(d.dirOps) + 1))
	mode := rng.IntN(4) // 0: all dropped, 1: all kept, 2, 3: a mixture
	seen := map[*inode]bool{}
	names := make([]string, 0, len(d.durable))
	for name := range d.durable {
		names = append(names, name)
	}
	sort.Strings(names)
	d.names = map[string]*inode{}
	for _, name := range names {
		n := d.durable[name]
		d.names[name] = n
		if !seen[n] {
			seen[n] = true
			n.crash(rng, mode)
		}
	}
}

func (n *inode) crash(rng *rand.Rand, mode int) {
	if len(n.cur) != len(n.dur) && (mode == 1 || mode > 1 && rng.IntN(2) == 0) {
		n.dur = resize(n.dur, len(n.cur))
	}
	sectors := make([]int64, 0, len(n.dirty))
	for s := range n.dirty {
		sectors = append(sectors, s)
	}
	sort.Slice(sectors, func(i, j int) bool { return sectors[i] < sectors[j] })
	for _, s := range sectors {
		lo, hi := s*sector, min((s+1)*sector, int64(len(n.cur)), int64(len(n.dur)))
		if lo >= hi || mode == 0 {
			continue
		}
		switch r := rng.IntN(8); {
		case mode == 1 || r < 4:
			copy(n.dur[lo:hi], n.cur[lo:hi])
		case r == 4:
			// Only what changed: a sector that is written again keeps the bytes
			// that stay the same, as disks do (a log could not be packed otherwise).
			for i := lo; i < hi; i++ {
				if n.dur[i] != n.cur[i] {
					n.dur[i] = byte(rng.Uint32())
				}
			}
		case r == 5:
			copy(n.dur[lo:lo+rng.Int64N(hi-lo)+1], n.cur[lo:hi])
		}
	}
	n.cur = append([]byte(nil), n.dur...)
	n.dirty = map[int64]struct{}{}
}

func resize(b []byte, n int) []byte {
	if n <= len(b) {
		return b[:n]
	}
	return append(b, make([]byte, n-len(b))...)
}

// Edit changes the synced content of a file, for tests of damage; f gets the
// content and returns what replaces it. Nil removes the file.
func (d *Disk) Edit(name string, f func(b []byte) []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[name]
	n.cur = f(append([]byte(nil), n.cur...))
	n.dur = append([]byte(nil), n.cur...)
	n.dirty = map[int64]struct{}{}
	if n.cur == nil {
		delete(d.names, name)
		delete(d.durable, name)
	}
}

// Clone returns a copy of what is on the disk now.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := New()
	for name, n := range d.names {
		m := &inode{cur: append([]byte(nil), n.cur...), dur: append([]byte(nil), n.cur...), dirty: map[int64]struct{}{}}
		c.names[name], c.durable[name] = m, m
	}
	return c
}

type file struct {
	d    *Disk
	n    *inode
	name string
	life int
}

func (f *file) alive() error {
	if f.life != f.d.life {
		return ErrCrashed
	}
	return nil
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.d.fault(OpRead, f.name); err != nil {
		return 0, err
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if off >= int64(len(f.n.cur)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.cur[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if err := f.d.fault(OpWrite, f.name); err != nil {
		return 0, err
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.alive(); err != nil {
		return 0, err
	}
	if end := off + int64(len(p)); end > int64(len(f.n.cur)) {
		f.n.cur = resize(f.n.cur, int(end))
	}
	copy(f.n.cur[off:], p)
	for s := off / sector; s*sector < off+int64(len(p)); s++ {
		f.n.dirty[s] = struct{}{}
	}
	f.d.Written += int64(len(p))
	return len(p), nil
}

func (f *file) Sync() error {
	err := f.d.fault(OpSync, f.name)
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err != nil {
		// The pages count as clean now: a later sync returns and writes nothing.
		clear(f.n.dirty)
		return err
	}
	if err := f.alive(); err != nil {
		return err
	}
	f.n.dur = resize(f.n.dur, len(f.n.cur)) // of what was dropped: zeros, or what was there before
	for s := range f.n.dirty {
		lo, hi := s*sector, min((s+1)*sector, int64(len(f.n.cur)))
		if lo < hi {
			copy(f.n.dur[lo:hi], f.n.cur[lo:hi])
		}
	}
	clear(f.n.dirty)
	f.d.Syncs++
	return nil
}

func (f *file) Truncate(size int64) error {
	if err := f.d.fault(OpTruncate, f.name); err != nil {
		return err
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.alive(); err != nil {
		return err
	}
	if size < int64(len(f.n.cur)) {
		// The bytes behind are gone from the page cache; on the medium they
		// may still stand when the new size did not get there.
		for s := size / sector; s*sector < int64(len(f.n.cur)); s++ {
			if s*sector >= size {
				delete(f.n.dirty, s)
			}
		}
		f.n.cur = append([]byte(nil), f.n.cur[:size]...)
		return nil
	}
	f.n.cur = resize(f.n.cur, int(size))
	return nil
}

func (f *file) Allocate(size int64) error {
	if err := f.d.fault(OpAllocate, f.name); err != nil {
		return err
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.alive(); err != nil {
		return err
	}
	if size > int64(len(f.n.cur)) {
		f.n.cur = resize(f.n.cur, int(size))
	}
	return nil
}

func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.n.cur)), nil
}

func (f *file) Close() error { return nil }
