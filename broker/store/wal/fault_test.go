package wal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"packetboat/broker/store/wal"
	"packetboat/broker/store/wal/simdisk"
)

// work is a life with everything in it that touches the disk: commits, new
// segments, freed and recycled ones. It calls after behind each step.
func work(r *rig, after func(step int)) (recs []string, freed int) {
	var pos []wal.Pos
	for i := range 24 {
		for j := range 1 + i%3 {
			recs = append(recs, msg(10*i+j, 90))
			pos = append(pos, r.append(recs[len(recs)-1]))
		}
		r.commit()
		if segs := r.log.Segments(); len(segs) > 3 && r.log.Free(segs[0].Start) == nil {
			freed = slices.IndexFunc(pos, func(p wal.Pos) bool { return p >= segs[1].Start })
		}
		after(i)
	}
	return recs, freed
}

var faults = []struct {
	op  simdisk.Op
	err error
}{
	{simdisk.OpOpen, unix.EMFILE},
	{simdisk.OpOpen, unix.ENOSPC},
	{simdisk.OpWrite, unix.EIO},
	{simdisk.OpWrite, unix.ENOSPC},
	{simdisk.OpSync, unix.EIO},
	{simdisk.OpSyncDir, unix.EIO},
	{simdisk.OpAllocate, unix.ENOSPC},
	{simdisk.OpTruncate, unix.ENOSPC},
	{simdisk.OpRename, unix.ENOSPC},
	{simdisk.OpRemove, unix.EROFS},
}

// TestAFailingCallLosesNothingThatWasReportedDurable lets each call of each kind
// fail, once and for a while, and crashes at once and at the end.
func TestAFailingCallLosesNothingThatWasReportedDurable(t *testing.T) {
	for _, f := range faults {
		for _, tt := range []struct {
			name  string
			calls int           // that fail
			until time.Duration // ... or how long the disk is broken
			crash bool          // right after the commit with the fault
		}{
			{name: "once", calls: 1},
			{name: "once, then the power", calls: 1, crash: true},
			{name: "twice", calls: 2},
			{name: "twice, then the power", calls: 2, crash: true},
			{name: "for ten seconds", until: 10 * time.Second},
		} {
			t.Run(fmt.Sprintf("%s fails with %v %s", f.op, f.err, tt.name), func(t *testing.T) {
				for at, done := 1, false; !done; at++ {
					synctest.Test(t, func(t *testing.T) {
						done = !faultyLife(t, f.op, f.err, at, tt.calls, tt.until, tt.crash)
					})
				}
			})
		}
	}
}

func faultyLife(t *testing.T, op simdisk.Op, fail error, at, calls int, broken time.Duration, crash bool) (failed bool) {
	r := newRig(t, simdisk.New(), 700).open(0, 0)
	start := time.Now()
	n := 0
	r.disk.Fault = func(o simdisk.Op, name string) error {
		if o != op {
			return nil
		}
		if n++; n < at {
			return nil
		}
		if n == at {
			failed = true
			start = time.Now()
		}
		if n < at+calls || time.Since(start) < broken {
			return fmt.Errorf("%s: %w", name, fail)
		}
		return nil
	}
	var recs []string
	var freed int
	untilPlug(func() {
		recs, freed = work(r, func(step int) {
			if crash && failed {
				panic(plug{})
			}
		})
	})
	if len(r.states)%2 != 0 || r.log.Failed() != nil {
		t.Fatalf("%s %d: the log is still failed: %v", op, at, r.states)
	}
	for i, err := range r.states {
		if (i%2 == 0) != errors.Is(err, fail) {
			t.Fatalf("%s %d: states %v", op, at, r.states)
		}
	}
	if calls == 1 && len(r.states) > 0 {
		t.Fatalf("%s %d: one failing call, and the log was failed: %v", op, at, r.states)
	}
	check := func(what string, d *simdisk.Disk) {
		after := newRig(t, d, 700).open(0, 0)
		got := after.got
		if recs != nil {
			got = slices.DeleteFunc(slices.Clone(got), func(rec string) bool { return slices.Contains(recs[:freed], rec) })
			equal(t, fmt.Sprintf("%s %d, %s", op, at, what), got, recs[freed:])
		} else if last := len(after.pos) - 1; last < 0 || after.log.Durable() < r.log.Durable() {
			t.Fatalf("%s %d, %s: %x was durable, recovered to %x", op, at, what, r.log.Durable(), after.log.Durable())
		}
		if len(after.damage) > 0 {
			t.Fatalf("%s %d, %s: damage %+v", op, at, what, after.damage)
		}
	}
	r.disk.Fault = nil
	check("as it is", r.disk.Clone())
	r.disk.Crash(rand.New(rand.NewPCG(uint64(at), 1)))
	check("after a crash", r.disk)
	return failed
}

// TestAFailedFileIsNeverTouchedAgain: the kernel may have dropped its pages.
func TestAFailedFileIsNeverTouchedAgain(t *testing.T) {
	for _, op := range []simdisk.Op{simdisk.OpWrite, simdisk.OpSync} {
		r := newRig(t, simdisk.New(), 1<<20).open(0, 0)
		r.add(msg(0, 50))
		bad := ""
		r.disk.Fault = func(o simdisk.Op, name string) error {
			if bad == "" && o == op {
				bad = name
				return unix.EIO
			}
			if name == bad && (o == simdisk.OpWrite || o == simdisk.OpSync || o == simdisk.OpTruncate) {
				t.Errorf("%s on %s, on which a %s failed", o, name, op)
			}
			return nil
		}
		want := []string{msg(0, 50)}
		for i := 1; i < 5; i++ {
			want = append(want, msg(i, 50))
			r.add(want[i])
		}
		if bad == "" || len(r.log.Segments()) != 2 || !r.log.Segments()[1].Late {
			t.Fatalf("no late segment: %+v", r.log.Segments())
		}
		var p wal.Pos = wal.FirstPos
		for i := range want {
			recs, next, err := r.log.Read(p, nil)
			if err != nil || !strings.Contains(string(recs), want[i]) {
				t.Fatalf("frame %d cannot be read: %v", i, err)
			}
			p = next
		}
		r.disk.Fault = nil
		r.disk.Crash(rand.New(rand.NewPCG(3, 3)))
		r.open(0, 0)
		equal(t, "after a crash", r.got, want)
	}
}

// TestABrokenDiskIsTriedAgainWithBackoff runs a committer on a disk that takes
// nothing for two minutes.
func TestABrokenDiskIsTriedAgainWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, simdisk.New(), 1<<20)
		var when []time.Duration
		start := time.Now()
		r.opt.OnState = func(err error) {
			r.states = append(r.states, err)
			when = append(when, time.Since(start))
		}
		r.open(0, 0)
		tries := 0
		r.disk.Fault = func(op simdisk.Op, name string) error {
			if op == simdisk.OpOpen && time.Since(start) < 2*time.Minute {
				tries++
				return unix.EROFS
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.log.Run(ctx) }()
		p := r.append("m1")
		synctest.Wait()
		if r.log.Failed() == nil {
			t.Fatal("not failed")
		}
		r.append("m2") // what is staged meanwhile waits
		if err := r.log.Wait(ctx, p); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 2*time.Minute || took > 2*time.Minute+30*time.Second {
			t.Fatalf("durable after %v", took)
		}
		if len(r.states) != 2 || !errors.Is(r.states[0], unix.EROFS) || r.states[1] != nil || r.log.Failed() != nil {
			t.Fatalf("states %v", r.states)
		}
		if when[0] > 0 {
			t.Fatalf("failed was told after %v", when[0])
		}
		if tries < 5 || tries > 12 {
			t.Fatalf("%d tries in two minutes", tries)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		r.open(0, 0)
		equal(t, "records", r.got, []string{"m1", "m2"})
	})
}

func TestAnEndWithABrokenDiskIsAnErrorAndLosesOnlyWhatWasNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, simdisk.New(), 1<<20).open(0, 0)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.log.Run(ctx) }()
		if err := r.log.Wait(ctx, r.append("m1")); err != nil {
			t.Fatal(err)
		}
		r.disk.Fault = func(op simdisk.Op, name string) error {
			if op == simdisk.OpWrite {
				return unix.EIO
			}
			return nil
		}
		waited := make(chan error)
		go func() { waited <- r.log.Wait(t.Context(), r.append("m2")) }()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, unix.EIO) {
			t.Fatalf("Run returned %v", err)
		}
		if err := <-waited; !errors.Is(err, wal.ErrClosed) {
			t.Fatalf("Wait returned %v", err)
		}
		r.disk.Fault = nil
		r.disk.Crash(rand.New(rand.NewPCG(1, 1)))
		r.open(0, 0)
		if len(r.got) == 0 || r.got[0] != "m1" {
			t.Fatalf("records %q", r.got)
		}
	})
}

// TestAReadErrorIsNotDamage: what cannot be read now, for want of a file
// descriptor say, is there the next time.
func TestAReadErrorIsNotDamage(t *testing.T) {
	r := newRig(t, simdisk.New(), 300).open(0, 0)
	for i := range 9 {
		r.add(msg(i, 100))
	}
	for op, fail := range map[simdisk.Op]error{simdisk.OpOpen: unix.EMFILE, simdisk.OpRead: unix.EIO} {
		r.open(0, 0) // nothing in memory, no file open
		r.disk.Fault = func(o simdisk.Op, name string) error {
			if o == op {
				return fail
			}
			return nil
		}
		_, _, err := r.log.Read(wal.FirstPos, nil)
		var damaged *wal.DamagedError
		if !errors.Is(err, fail) || errors.As(err, &damaged) {
			t.Fatalf("%s fails with %v: read returns %v", op, fail, err)
		}
		r.disk.Fault = nil
		if _, _, err := r.log.Read(wal.FirstPos, nil); err != nil {
			t.Fatalf("a moment later: %v", err)
		}
	}
	// Who gives the frame up goes on at the next one.
	next := r.log.Skip(wal.FirstPos)
	recs, _, err := r.log.Read(next, nil)
	if err != nil || !strings.Contains(string(recs), msg(1, 100)) {
		t.Fatalf("the frame behind: %v", err)
	}
}

// TestABadSectorDoesNotHideWhatIsBehindIt: one block cannot be read at start.
func TestABadSectorDoesNotHideWhatIsBehindIt(t *testing.T) {
	r := newRig(t, simdisk.New(), 1<<20).open(0, 0)
	for i := range 100 {
		r.add(msg(i, 1000))
	}
	frames := layout(t, r.disk)
	r.opt.FS = badSector{r.disk, 40_000}
	r.open(0, 0)
	lost := func(f frame) bool { return f.off < 44<<10 && f.off+f.size > 36<<10 } // the block from 36 to 40 KiB
	want := records(frames, lost)
	if len(r.got) < len(want) || !slices.Equal(r.got[len(r.got)-10:], want[len(want)-10:]) {
		t.Fatalf("%d of 100 records survive, want at least %d", len(r.got), len(want))
	}
}

// badSector is a disk of which the block around offset at cannot be read.
type badSector struct {
	*simdisk.Disk
	at int64
}

func (d badSector) Open(name string, create bool) (wal.File, error) {
	f, err := d.Disk.Open(name, create)
	return badFile{f, d.at}, err
}

type badFile struct {
	wal.File
	at int64
}

func (f badFile) ReadAt(b []byte, off int64) (int, error) {
	if n := f.at/512*512 - off; n < int64(len(b)) && n > -512 {
		m, _ := f.File.ReadAt(b[:max(n, 0)], off)
		return m, unix.EIO
	}
	return f.File.ReadAt(b, off)
}

// TestADiskThatHangsCountsAsFailedUntilItAnswers holds a sync for a minute.
func TestADiskThatHangsCountsAsFailedUntilItAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, simdisk.New(), 1<<20).open(0, 0)
		r.disk.Fault = func(op simdisk.Op, name string) error {
			if op == simdisk.OpSync {
				time.Sleep(time.Minute)
			}
			return nil
		}
		stop := r.run()
		p := r.append("m1")
		for range 29 {
			time.Sleep(time.Second)
			r.log.CheckHang(30 * time.Second)
		}
		if err := r.log.Failed(); err != nil {
			t.Fatalf("after 29 seconds: %v", err)
		}
		for range 3 {
			time.Sleep(time.Second)
			r.log.CheckHang(30 * time.Second)
		}
		if len(r.states) != 1 || r.log.Failed() == nil || !strings.Contains(r.states[0].Error(), "hanging for 3") {
			t.Fatalf("after 32 seconds: %v", r.states)
		}
		if err := r.log.Wait(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		r.log.CheckHang(30 * time.Second)
		if len(r.states) != 2 || r.log.Failed() != nil {
			t.Fatalf("when it answered: %v", r.states)
		}
		stop()
	})
}
