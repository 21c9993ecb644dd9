package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"packetboat/broker/store/wal"
	"packetboat/broker/store/wal/simdisk"
)

// recycled makes a log whose last segment is a file that held frames of the
// same size before, and returns what is in the log.
func recycled(t testing.TB) (*rig, []string) {
	r := newRig(t, simdisk.New(), 1000).open(0, 0)
	var renamed []string
	r.disk.Fault = func(op simdisk.Op, name string) error {
		if op == simdisk.OpRename {
			renamed = append(renamed, name)
		}
		return nil
	}
	i := 0
	add := func() { r.add(msg(i, 150)); i++ }
	for len(r.log.Segments()) < 3 {
		add()
	}
	freed := 0
	for _, f := range layout(t, r.disk) {
		if f.pos < r.log.Segments()[1].Start {
			freed += len(f.recs)
		}
	}
	if err := r.log.Free(r.log.Segments()[0].Start); err != nil {
		t.Fatal(err)
	}
	for len(r.log.Segments()) < 3 {
		add()
	}
	if len(renamed) != 2 || !strings.HasPrefix(renamed[1], "pool-") {
		t.Fatalf("renamed %q", renamed)
	}
	add()
	r.disk.Fault = nil
	var want []string
	for j := freed; j < i; j++ {
		want = append(want, msg(j, 150))
	}
	return r, want
}

// TestFramesOfAFormerLifeAreNeverTakenForNewOnes: their checksums are right and
// they stand where the next frame would, but they carry another position.
func TestFramesOfAFormerLifeAreNeverTakenForNewOnes(t *testing.T) {
	r, want := recycled(t)
	frames := layout(t, r.disk)
	last := frames[len(frames)-1]
	behind := content(r.disk, last.file)[last.off+last.size:]
	if !bytes.Contains(behind, []byte("m00004 ")) {
		t.Fatal("no frames of the former life behind the last one")
	}
	t.Run("at a restart", func(t *testing.T) {
		r := newRig(t, r.disk.Clone(), 1000).open(0, 0)
		equal(t, "records", r.got, want)
		if len(r.damage) > 0 {
			t.Fatalf("damage %+v", r.damage)
		}
		r.goesOn()
	})
	t.Run("when the last frame is torn anywhere", func(t *testing.T) {
		for cut := range last.size {
			d := r.disk.Clone()
			old := frames[0]
			d.Edit(last.file, func(b []byte) []byte { // the old frame shows through
				copy(b[last.off+cut:last.off+last.size], content(r.disk, old.file)[old.off+cut:])
				return b
			})
			r := newRig(t, d, 1000).open(0, 0)
			if cut >= frameHead { // the payload may end alike
				want := want[:len(want)-1]
				if len(r.got) < len(want) {
					t.Fatalf("cut %d: %d records, want %d", cut, len(r.got), len(want))
				}
				equal(t, fmt.Sprintf("cut %d", cut), r.got[:len(want)], want)
			}
			if _, _, torn := r.sum(); torn != len(r.damage) {
				t.Fatalf("cut %d: damage %+v", cut, r.damage)
			}
			r.goesOn()
		}
	})
	t.Run("when its frame in the middle is damaged", func(t *testing.T) {
		d := r.disk.Clone()
		f := frames[len(frames)-2]
		if f.file != last.file {
			t.Fatal("the last segment has one frame")
		}
		d.Edit(f.file, func(b []byte) []byte { b[f.off+40] ^= 1; return b })
		r := newRig(t, d, 1000).open(0, 0)
		equal(t, "records", r.got, slices.Concat(want[:len(want)-2], want[len(want)-1:]))
		if bytes, messages, torn := r.sum(); bytes != int64(f.size) || messages != 1 || torn > 0 {
			t.Fatalf("damage %+v", r.damage)
		}
	})
	t.Run("when the power fails before its new head is written", func(t *testing.T) {
		d := r.disk.Clone()
		first := slices.IndexFunc(frames, func(f frame) bool { return f.file == last.file })
		d.Edit(last.file, func([]byte) []byte { return content(r.disk, frames[0].file) })
		r := newRig(t, d, 1000).open(0, 0)
		equal(t, "records", r.got, records(frames[:first], nil))
		if len(r.damage) > 0 {
			t.Fatalf("a file that was being recycled counts as damage: %+v", r.damage)
		}
		r.goesOn()
	})
}

func TestFreedSegmentsAreKeptForReuseWithinBounds(t *testing.T) {
	r := newRig(t, simdisk.New(), 2000).open(0, 0)
	for i := range 100 {
		r.add(msg(i, 150))
	}
	for _, s := range r.log.Segments()[:8] {
		if err := r.log.Free(s.Start); err != nil {
			t.Fatal(err)
		}
	}
	pool := 0
	files, _ := r.disk.List()
	for _, f := range files {
		if strings.HasPrefix(f.Name, "pool-") {
			pool++
		}
	}
	if pool != 2 {
		t.Fatalf("%d spare files, want 2", pool)
	}
	for _, p := range []wal.Pos{0, 7, r.log.Segments()[0].Start + 1, r.log.Segments()[len(r.log.Segments())-1].Start, 1 << 60} {
		if err := r.log.Free(p); err == nil {
			t.Fatalf("Free(%x) of what is no sealed segment", p)
		}
	}
	if err := r.log.Free(r.log.Segments()[0].Start); err != nil {
		t.Fatal(err)
	}
	r.open(0, 0)
	if got := spares(r); !slices.Equal(got, []string{"pool-1", "pool-2"}) {
		t.Fatalf("after a restart there are %q", got)
	}
	r.opt.SegmentSize = 4000
	r.open(0, 0)
	if got := spares(r); len(got) > 0 {
		t.Fatalf("%q are of another size than the segments", got)
	}
}

// spares returns the names of the files of the pool.
func spares(r *rig) (names []string) {
	files, _ := r.disk.List()
	for _, f := range files {
		if strings.HasPrefix(f.Name, "pool") {
			names = append(names, f.Name)
		}
	}
	return names
}

// fill calls FillPool as a housekeeping does.
func fill(r *rig, times int) {
	r.t.Helper()
	for range times {
		if err := r.log.FillPool(); err != nil {
			r.t.Fatal(err)
		}
	}
}

func TestSpareSegmentsAreMadeOfZerosWhenIdle(t *testing.T) {
	const size = 600 << 10
	r := newRig(t, simdisk.New(), size).open(0, 0)
	r.add("m")
	busy := func() {
		for range 20 {
			r.add("m")
		}
	}
	syncs := r.disk.Syncs
	busy()
	fill(r, 1)
	if len(spares(r)) > 0 || r.disk.Syncs-syncs > 20 {
		t.Fatalf("made while the log is busy: %q", spares(r))
	}
	fill(r, 2) // a piece each
	equal(t, "begun", spares(r), []string{"pool.tmp"})
	if st := r.log.Stats(); st.Spare != 0 || st.DiskBytes < 2*256<<10 {
		t.Fatalf("stats %+v", st)
	}
	fill(r, 1)
	equal(t, "one", spares(r), []string{"pool-1"})
	fill(r, 3)
	equal(t, "two", spares(r), []string{"pool-1", "pool-2"})
	written := r.disk.Written
	fill(r, 100)
	if r.disk.Written != written || len(spares(r)) != 2 {
		t.Fatalf("an idle log writes: %q", spares(r))
	}
	if st := r.log.Stats(); st.Spare != 2*size {
		t.Fatalf("stats %+v", st)
	}
	// A restart keeps them, a new segment takes one and allocates nothing.
	r.open(0, 0)
	var renamed []string
	r.disk.Fault = func(op simdisk.Op, name string) error {
		if op == simdisk.OpRename {
			renamed = append(renamed, name)
		}
		return nil
	}
	r.add("m of another life")
	equal(t, "taken", renamed, []string{"pool-2"})
	equal(t, "left", spares(r), []string{"pool-1"})
	fill(r, 3)
	equal(t, "made again", spares(r), []string{"pool-1", "pool-3"})
}

func TestASpareSegmentThatCannotBeMadeLeavesNothing(t *testing.T) {
	for _, op := range []simdisk.Op{simdisk.OpOpen, simdisk.OpWrite, simdisk.OpSync, simdisk.OpRename} {
		r := newRig(t, simdisk.New(), 300<<10).open(0, 0)
		r.add("m")
		r.disk.Fault = func(o simdisk.Op, name string) error {
			if o == op && name == "pool.tmp" {
				return unix.ENOSPC
			}
			return nil
		}
		var err error
		for range 2 {
			if err = r.log.FillPool(); err != nil {
				break
			}
		}
		if !errors.Is(err, unix.ENOSPC) || len(spares(r)) > 0 {
			t.Fatalf("%s: %v, left %q", op, err, spares(r))
		}
		r.disk.Fault = nil
		r.add("m")
		fill(r, 2)
		if got := spares(r); len(got) != 1 || got[0] == "pool.tmp" {
			t.Fatalf("%s: later there are %q", op, got)
		}
		r.open(0, 0).goesOn()
	}
}

// TestAHundredRestartsDoNotPinAHundredFullFiles: each start ends the file of the
// life before where its frames end.
func TestAHundredRestartsDoNotPinAHundredFullFiles(t *testing.T) {
	r := newRig(t, simdisk.New(), 64<<10)
	for i := range 100 {
		r.open(0, 0)
		r.add(msg(i, 50))
		if i%2 == 0 {
			r.disk.Crash(rand.New(rand.NewPCG(uint64(i), 0)))
		}
	}
	var sum int64
	files, _ := r.disk.List()
	for _, f := range files {
		sum += f.Size
	}
	if used := r.log.Stats().DiskBytes; used != sum {
		t.Errorf("Stats says %d bytes, the files have %d", used, sum)
	}
	if sum > 2*64<<10 {
		t.Fatalf("%d bytes for a hundred messages of a hundred lives", sum)
	}
}
