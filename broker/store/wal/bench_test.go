package wal_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"packetboat/broker/store/wal"
	"packetboat/broker/store/wal/simdisk"
)

// null is a disk without a disk: what is left is the log's own work.
type null struct{ *simdisk.Disk }

type nullFile struct{ wal.File }

func (d null) Open(name string, create bool) (wal.File, error) {
	f, err := d.Disk.Open(name, create)
	return nullFile{f}, err
}

func (nullFile) WriteAt(b []byte, off int64) (int, error) { return len(b), nil }
func (nullFile) Sync() error                              { return nil }
func (nullFile) Allocate(int64) error                     { return nil }

// BenchmarkAppendCommit is one commit of n records of 100 bytes.
func BenchmarkAppendCommit(b *testing.B) {
	rec := []byte(msg(0, 100))
	for _, on := range []string{"no disk", "real files"} {
		for _, n := range []int{1, 100} {
			b.Run(fmt.Sprintf("%s/%d records a commit", on, n), func(b *testing.B) {
				r := newRig(b, simdisk.New(), 8<<20)
				r.opt.BeginSegment = nil
				if r.opt.FS = (null{r.disk}); on == "real files" {
					r.opt.FS = wal.Dir(b.TempDir())
				}
				r.open(0, 0)
				b.SetBytes(int64(n * len(rec)))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					r.mu.Lock()
					for range n {
						r.log.Append(rec)
					}
					r.mu.Unlock()
					if err := r.log.Commit(context.Background()); err != nil {
						b.Fatal(err)
					}
					if i%500 == 0 {
						for segs := r.log.Segments(); len(segs) > 2; segs = segs[1:] {
							_ = r.log.Free(segs[0].Start)
						}
					}
				}
			})
		}
	}
}

// TestCommitsAllocateNothing once as much was written as is kept in memory.
func TestCommitsAllocateNothing(t *testing.T) {
	for _, n := range []int{1, 50, 3000} {
		r := newRig(t, simdisk.New(), 1<<30)
		r.opt.FS = null{r.disk}
		r.open(0, 0)
		rec := []byte(msg(0, 100))
		commit := func() {
			r.mu.Lock()
			for range n {
				r.log.Append(rec)
			}
			r.mu.Unlock()
			if err := r.log.Commit(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		for range 3000 / n * 8 {
			commit()
		}
		for range 20 {
			commit()
		}
		if a := testing.AllocsPerRun(200, commit); a > 0 {
			t.Errorf("%v allocations a commit of %d records", a, n)
		}
	}
}

// TestTheNewestFramesTakeAboutAMegabyte of memory, however small they are and
// whatever burst was before.
func TestTheNewestFramesTakeAboutAMegabyte(t *testing.T) {
	r := newRig(t, simdisk.New(), 1<<30)
	r.opt.FS = null{r.disk}
	r.open(0, 0)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for range 20_000 { // a burst
		r.append(msg(0, 500))
	}
	r.commit()
	var p wal.Pos
	for range 20_000 {
		p = r.add("m")
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Fatalf("%d KiB more in memory", grown>>10)
	}
	if _, ok := r.log.Record(p-200*(frameHead+2), nil); !ok {
		t.Fatal("a record of 200 frames ago is not in memory")
	}
}

// BenchmarkRecovery opens a log of 64 MiB in frames of 100 records.
func BenchmarkRecovery(b *testing.B) {
	r := newRig(b, simdisk.New(), 8<<20)
	r.opt.FS = wal.Dir(b.TempDir())
	r.open(0, 0)
	rec := msg(0, 100)
	const n = 640_000
	for i := range n {
		r.append(rec)
		if i%100 == 99 && i%6400 != 0 {
			r.mu.Lock()
			r.log.Seal()
			r.mu.Unlock()
		}
	}
	r.commit()
	got := 0
	b.SetBytes(int64(n * len(rec)))
	b.ReportAllocs()
	for b.Loop() {
		got = 0
		_, err := wal.Open("", 0, 0, r.opt, func(_, _ wal.Pos, rec []byte) error {
			got += len(rec)
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if got < n*len(rec) {
		b.Fatalf("%d bytes came back", got)
	}
}
