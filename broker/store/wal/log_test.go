package wal_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"packetboat/broker/store/wal"
	"packetboat/broker/store/wal/simdisk"
)

// rig is a log on a simulated disk and all that recovery said about it.
type rig struct {
	t    testing.TB
	mu   sync.Mutex // Options.Lock
	disk *simdisk.Disk
	opt  wal.Options
	log  *wal.Log

	got    []string // records applied by Open
	pos    []wal.Pos
	tables []string // records of table frames
	damage []wal.Damage
	states []error // what OnState said; in a failed state the error
}

// newRig returns a rig with segments of size bytes; nothing is open yet.
func newRig(t testing.TB, disk *simdisk.Disk, size int64) *rig {
	r := &rig{t: t, disk: disk}
	r.opt = wal.Options{
		FS: disk, Lock: &r.mu, SegmentSize: size,
		Counted:      func(rec []byte) bool { return len(rec) > 0 && rec[0] == 'm' },
		BeginSegment: func(p wal.Pos, late bool, add func([]byte)) { add(fmt.Appendf(nil, "table %d", p)) },
		OnDamage:     func(d wal.Damage) { r.damage = append(r.damage, d) },
		OnState:      func(err error) { r.states = append(r.states, err) },
		Log:          slog.New(slog.DiscardHandler),
	}
	return r
}

// open recovers the log from position from with count messages before it.
func (r *rig) open(from wal.Pos, count uint64) *rig {
	r.t.Helper()
	if err := r.tryOpen(from, count); err != nil {
		r.t.Fatalf("open: %v", err)
	}
	return r
}

func (r *rig) tryOpen(from wal.Pos, count uint64) error {
	r.got, r.pos, r.tables, r.damage = nil, nil, nil, nil
	var err error
	r.log, err = wal.Open("", from, count, r.opt, func(frame, p wal.Pos, rec []byte) error {
		switch {
		case rec == nil:
		case p == 0:
			r.tables = append(r.tables, string(rec))
		default:
			r.got = append(r.got, string(rec))
			r.pos = append(r.pos, p)
		}
		return nil
	})
	return err
}

// append stages records and returns the position of the last.
func (r *rig) append(recs ...string) (p wal.Pos) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range recs {
		p = r.log.Append([]byte(rec))
	}
	return p
}

func (r *rig) commit() {
	r.t.Helper()
	if err := r.log.Commit(context.Background()); err != nil {
		r.t.Fatalf("commit: %v", err)
	}
}

// add appends and commits one record: a frame of its own.
func (r *rig) add(rec string) wal.Pos {
	r.t.Helper()
	p := r.append(rec)
	r.commit()
	return p
}

// msg is the i-th message, n bytes long.
func msg(i, n int) string {
	s := fmt.Sprintf("m%05d ", i)
	return s + strings.Repeat(string(rune('a'+i%26)), max(0, n-len(s)))
}

// frame is where a test expects a frame of the log.
type frame struct {
	pos  wal.Pos
	file string
	off  int // in the file
	size int
	recs []string
}

const (
	frameHead = 24 // FORMAT.md
	fileHead  = 32
)

// layout reads frames off the disk, as FORMAT.md describes them.
func layout(t testing.TB, disk *simdisk.Disk) []frame {
	t.Helper()
	var frames []frame
	logs := segments(t, disk)
	for i, name := range logs {
		b := content(disk, name)
		var start, end uint64
		fmt.Sscanf(name, "%016x-", &start)
		if end = 1 << 62; i+1 < len(logs) {
			fmt.Sscanf(logs[i+1], "%016x-", &end)
		}
		off := int(binary.LittleEndian.Uint32(b[12:]))
		for p := start; p < end && off+frameHead <= len(b); {
			n := int(binary.LittleEndian.Uint32(b[off:]))
			if binary.LittleEndian.Uint64(b[off+8:]) != p {
				break
			}
			f := frame{pos: wal.Pos(p), file: name, off: off, size: frameHead + n}
			for recs := b[off+frameHead : off+f.size]; len(recs) > 0; {
				rec, rest, err := wal.NextRecord(recs)
				if err != nil {
					t.Fatalf("frame at %x: %v", p, err)
				}
				f.recs = append(f.recs, string(rec))
				recs = rest
			}
			frames = append(frames, f)
			off += f.size
			p += uint64(f.size)
		}
	}
	return frames
}

// segments returns the names of the segment files, oldest first.
func segments(t testing.TB, disk *simdisk.Disk) (names []string) {
	t.Helper()
	files, err := disk.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name, ".log") {
			names = append(names, f.Name)
		}
	}
	return names
}

// content returns the bytes of a file.
func content(disk *simdisk.Disk, name string) (b []byte) {
	disk.Edit(name, func(have []byte) []byte {
		b = slices.Clone(have)
		return have
	})
	return b
}

// records returns the records of all frames but those that without says.
func records(frames []frame, without func(f frame) bool) (recs []string) {
	for _, f := range frames {
		if without == nil || !without(f) {
			recs = append(recs, f.recs...)
		}
	}
	return recs
}

func equal(t testing.TB, what string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	at := func(s []string) string {
		if i < len(s) {
			return fmt.Sprintf("%.12q", s[i])
		}
		return "nothing"
	}
	t.Fatalf("%s: %d records, want %d; record %d is %s, want %s", what, len(got), len(want), i, at(got), at(want))
}

func TestALogGivesBackWhatWasAppended(t *testing.T) {
	for name, size := range map[string]int64{
		"in one segment":                            1 << 20,
		"over many segments":                        700,
		"with segments smaller than their own head": 10,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, simdisk.New(), size).open(0, 0)
			var want []string
			for life := range 4 {
				for i := range 20 {
					rec := msg(life*100+i, 20+i)
					want = append(want, rec)
					if r.append(rec); i%3 == 0 {
						r.commit()
					}
				}
				r.commit()
				r.open(0, 0)
				equal(t, "after a restart", r.got, want)
				if len(r.damage) > 0 {
					t.Fatalf("damage in a sound log: %+v", r.damage)
				}
				r.mu.Lock()
				if r.log.Count() != uint64(len(want)) {
					t.Fatalf("the count is %d after %d messages", r.log.Count(), len(want))
				}
				r.mu.Unlock()
			}
			for i, p := range r.pos { // Record and Read need it in memory or in a file
				recs, _, err := r.log.Read(p-frameHead, nil)
				if rec, _, _ := wal.NextRecord(recs); err == nil && string(rec) != want[i] {
					t.Fatalf("frame before %x begins with %.10q, want %.10q", p, rec, want[i])
				}
			}
		})
	}
}

func TestARecordLargerThanASegmentGetsALargerSegment(t *testing.T) {
	r := newRig(t, simdisk.New(), 1000).open(0, 0)
	want := []string{msg(0, 50), msg(1, 5000), msg(2, 50), msg(3, 300<<10), msg(4, 50)}
	for _, rec := range want {
		r.append(rec)
	}
	r.commit()
	r.open(0, 0)
	equal(t, "after a restart", r.got, want)
	var p wal.Pos = wal.FirstPos
	for i := range want {
		recs, next, err := r.log.Read(p, nil)
		if err != nil {
			t.Fatalf("read frame %d: %v", i, err)
		}
		if rec, _, _ := wal.NextRecord(recs); string(rec) != want[i] {
			t.Fatalf("frame %d is another", i)
		}
		p = next
	}
}

// plug is the panic with which a test ends a life within a disk operation.
type plug struct{}

// untilPlug calls f and reports whether the plug was pulled meanwhile.
func untilPlug(f func()) (pulled bool) {
	defer func() {
		if e := recover(); e != nil {
			if _, ok := e.(plug); !ok {
				panic(e)
			}
			pulled = true
		}
	}()
	f()
	return false
}

// TestOnlyASyncMakesDurable pulls the plug before every single operation of the
// disk: what Durable covered then is there afterwards, in order, and behind it
// nothing but what was appended.
func TestOnlyASyncMakesDurable(t *testing.T) {
	for at := 1; ; at++ {
		pulled := false
		for seed := range uint64(6) {
			pulled = lifeUntil(t, at, seed)
		}
		if !pulled {
			return
		}
	}
}

func lifeUntil(t *testing.T, at int, seed uint64) (pulled bool) {
	r := newRig(t, simdisk.New(), 600).open(0, 0)
	var want []string
	var ends []wal.Pos
	first := 0 // record of what was not freed
	n := 0
	r.disk.Fault = func(op simdisk.Op, name string) error {
		if n++; n == at {
			panic(plug{})
		}
		return nil
	}
	pulled = untilPlug(func() {
		for i := range 16 {
			want = append(want, msg(i, 100))
			ends = append(ends, r.append(want[i]))
			if i%2 == 0 {
				r.commit()
			}
			if i == 6 || i == 10 {
				next := r.log.Segments()[1].Start
				first = slices.IndexFunc(ends, func(p wal.Pos) bool { return p >= next })
				if err := r.log.Free(r.log.Segments()[0].Start); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	durable := 0
	for durable < len(ends) && ends[durable] < r.log.Durable() {
		durable++
	}
	r.disk.Fault = nil
	r.disk.Crash(rand.New(rand.NewPCG(seed, uint64(at))))
	after := newRig(t, r.disk, 600).open(0, 0)
	// Of what was freed, anything may still be there.
	freed := slices.Clone(want[:first])
	got := slices.DeleteFunc(slices.Clone(after.got), func(rec string) bool { return slices.Contains(freed, rec) })
	if first+len(got) < durable || !slices.Equal(got, want[first:first+len(got)]) {
		t.Fatalf("operation %d, seed %d: %d records came back, %d of %d were freed, %d were durable", at, seed, len(got), first, len(want), durable)
	}
	return pulled
}

func TestErrorsOfTheDirectoryEndOpen(t *testing.T) {
	broken := errors.New("input/output error")
	r := newRig(t, simdisk.New(), 600).open(0, 0)
	r.add(msg(1, 100))
	for name, c := range map[string]struct {
		edit func(b []byte) []byte
		want func(err error) bool
	}{
		"a newer format is named": {
			edit: func(b []byte) []byte { return reHead(b, func(h []byte) { h[8] = 9 }) },
			want: func(err error) bool {
				var newer *wal.NewerError
				return errors.As(err, &newer) && newer.Version == 9 && strings.Contains(err.Error(), "install the newer version")
			},
		},
		"an error of apply is passed on": {want: func(err error) bool { return errors.Is(err, broken) }},
	} {
		t.Run(name, func(t *testing.T) {
			disk := r.disk.Clone()
			opt := r.opt
			opt.FS = disk
			apply := func(frame, p wal.Pos, rec []byte) error { return nil }
			if c.edit != nil {
				disk.Edit(segments(t, disk)[0], c.edit)
			} else {
				apply = func(frame, p wal.Pos, rec []byte) error { return broken }
			}
			if _, err := wal.Open("", 0, 0, opt, apply); err == nil || !c.want(err) {
				t.Fatalf("error %v", err)
			}
		})
	}
}
