package wal_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"packetboat/broker/store/wal"
	"packetboat/broker/store/wal/simdisk"
)

// reHead changes the header of a segment and makes its checksum right again.
func reHead(b []byte, f func(h []byte)) []byte {
	f(b[:fileHead])
	binary.LittleEndian.PutUint32(b[28:], crc32.Checksum(b[:28], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// smallLog makes a log of n frames with two messages each.
func smallLog(t testing.TB, n int, size int64) *simdisk.Disk {
	r := newRig(t, simdisk.New(), size).open(0, 0)
	for i := range n {
		r.append(msg(2*i, 30), msg(2*i+1, 40))
		r.commit()
	}
	return r.disk
}

// sum adds up what Open reported.
func (r *rig) sum() (bytes int64, messages uint64, torn int) {
	for _, d := range r.damage {
		bytes += d.Bytes
		messages += d.Messages
		if d.Torn {
			torn++
		}
	}
	return bytes, messages, torn
}

// goesOn checks that the recovered log takes new records, and that the start
// after that finds them behind the old ones and no new damage at its end.
func (r *rig) goesOn() {
	r.t.Helper()
	_, _, tornBefore := r.sum()
	before := r.damage
	want := append(slices.Clone(r.got), "mgo", "mon")
	r.add("mgo")
	r.add("mon")
	r.open(0, 0)
	equal(r.t, "after one more life", r.got, want)
	if _, _, torn := r.sum(); torn > 0 {
		r.t.Fatalf("the torn tail was found again: %+v", r.damage)
	}
	if len(r.damage) > len(before)-tornBefore {
		r.t.Fatalf("new damage: %+v, before: %+v", r.damage, before)
	}
	n := 0
	files, _ := r.disk.List()
	for _, f := range files {
		if strings.HasPrefix(f.Name, "quarantine-") {
			n++
		}
	}
	if n > 16 {
		r.t.Fatalf("%d files in quarantine", n)
	}
}

// TestACutAnywhereInTheLastSegmentKeepsWhatIsBeforeIt cuts the last segment at
// every byte.
func TestACutAnywhereInTheLastSegmentKeepsWhatIsBeforeIt(t *testing.T) {
	disk := smallLog(t, 12, 600)
	frames := layout(t, disk)
	last := frames[len(frames)-1].file
	for cut := range len(content(disk, last)) {
		d := disk.Clone()
		d.Edit(last, func(b []byte) []byte { return b[:cut:cut] })
		r := newRig(t, d, 600).open(0, 0)
		lost := func(f frame) bool { return f.file == last && f.off+f.size > cut }
		equal(t, fmt.Sprintf("cut at %d", cut), r.got, records(frames, lost))
		bytes, messages, torn := r.sum()
		partial := int64(0) // of a frame, or of a head
		if i := slices.IndexFunc(frames, lost); i >= 0 {
			partial = max(0, int64(cut-frames[i].off))
			if cut < frames[i].off && frames[i-1].file != last {
				partial = int64(cut)
			}
		}
		if messages != 0 || torn != len(r.damage) || bytes > partial || torn > 1 {
			t.Fatalf("cut at %d: reported %+v, %d bytes of a frame are there", cut, r.damage, partial)
		}
		inTable := partial == int64(cut) && cut >= fileHead
		if partial >= 16 && bytes != partial && !inTable { // with 16 bytes it has its position
			t.Fatalf("cut at %d: reported %+v, %d bytes of a frame are there", cut, r.damage, partial)
		}
		r.goesOn()
	}
}

// TestACutAnywhereInTheSegmentBeforeTheLast costs what stood behind it there,
// which the last one proves.
func TestACutAnywhereInTheSegmentBeforeTheLast(t *testing.T) {
	disk := smallLog(t, 12, 600)
	frames := layout(t, disk)
	names := segments(t, disk)
	name := names[len(names)-2]
	for cut := range len(content(disk, name)) {
		d := disk.Clone()
		d.Edit(name, func(b []byte) []byte { return b[:cut:cut] })
		r := newRig(t, d, 600).open(0, 0)
		lost := func(f frame) bool { return f.file == name && f.off+f.size > cut }
		equal(t, fmt.Sprintf("cut at %d", cut), r.got, records(frames, lost))
		var wantBytes int64
		var wantMessages uint64
		for _, f := range frames {
			if lost(f) {
				wantBytes += int64(f.size)
				wantMessages += uint64(len(f.recs))
			}
		}
		if bytes, messages, torn := r.sum(); bytes != wantBytes || messages != wantMessages || torn > 0 {
			t.Fatalf("cut at %d: reported %+v, want %d bytes and %d messages", cut, r.damage, wantBytes, wantMessages)
		}
		r.goesOn()
	}
}

// TestAByteFlippedAnywhereCostsOneFrame flips each byte of a log in turn.
func TestAByteFlippedAnywhereCostsOneFrame(t *testing.T) {
	disk := smallLog(t, 9, 600)
	frames := layout(t, disk)
	end := frames[len(frames)-1]
	for _, name := range segments(t, disk) {
		for at := range content(disk, name) {
			d := disk.Clone()
			d.Edit(name, func(b []byte) []byte { b[at] ^= 0x5a; return b })
			r := newRig(t, d, 600).open(0, 0)
			hit := func(f frame) bool { return f.file == name && at >= f.off && at < f.off+f.size }
			what := fmt.Sprintf("%s, byte %d", name, at)
			equal(t, what, r.got, records(frames, hit))
			bytes, messages, torn := r.sum()
			i := slices.IndexFunc(frames, hit)
			switch {
			case i < 0:
				if len(r.damage) > 0 {
					t.Fatalf("%s: no frame is hit, reported %+v", what, r.damage)
				}
			case frames[i].pos == end.pos:
				if messages != 0 || torn != len(r.damage) || torn > 1 {
					t.Fatalf("%s: at the end, reported %+v", what, r.damage)
				}
			default:
				if bytes != int64(frames[i].size) || torn > 0 || messages != uint64(len(frames[i].recs)) {
					t.Fatalf("%s: frame of %d bytes and %d messages hit, reported %+v", what, frames[i].size, len(frames[i].recs), r.damage)
				}
			}
			if at%7 == 0 {
				r.goesOn()
			}
		}
	}
}

// TestNamedCorruptions is the table of what may happen to files, with the
// frames that survive.
func TestNamedCorruptions(t *testing.T) {
	disk := smallLog(t, 30, 900)
	frames := layout(t, disk)
	names := segments(t, disk)
	if len(names) < 4 {
		t.Fatalf("%d segments", len(names))
	}
	middle, last := names[1], names[len(names)-1]
	in := func(name string) func(f frame) bool { return func(f frame) bool { return f.file == name } }
	firstOf := func(name string) frame { return frames[slices.IndexFunc(frames, in(name))] }
	span := func(lost func(f frame) bool) (bytes int64, messages uint64) {
		for _, f := range frames {
			if lost(f) {
				bytes += int64(f.size)
				messages += uint64(len(f.recs))
			}
		}
		return bytes, messages
	}
	zero := func(name string, from, to int) func(d *simdisk.Disk) {
		return func(d *simdisk.Disk) {
			d.Edit(name, func(b []byte) []byte {
				if to > len(b) || to == 0 {
					to = len(b)
				}
				clear(b[max(from, 0):to])
				return b
			})
		}
	}
	none := func(f frame) bool { return false }
	victim := frames[slices.IndexFunc(frames, in(middle))+2]
	tail := frames[len(frames)-3]

	tests := []struct {
		name   string
		edit   func(d *simdisk.Disk)
		from   wal.Pos // of a snapshot; count is that of the frame there
		lost   func(f frame) bool
		atEnd  bool // the damage is at the end: bytes are not proven
		silent bool // looks like a file that was never used
	}{
		{name: "a sound log", edit: func(d *simdisk.Disk) {}, lost: none},
		{name: "a sound log behind a snapshot", edit: func(d *simdisk.Disk) {}, from: victim.pos, lost: none},
		{name: "a frame in the middle garbled", lost: func(f frame) bool { return f.pos == victim.pos }, edit: func(d *simdisk.Disk) {
			d.Edit(middle, func(b []byte) []byte {
				copy(b[victim.off:victim.off+victim.size], strings.Repeat("garbled!", 99))
				return b
			})
		}},
		{name: "a frame in the middle zeroed", lost: func(f frame) bool { return f.pos == victim.pos },
			edit: zero(middle, victim.off, victim.off+victim.size)},
		{name: "a frame with an absurd length", lost: func(f frame) bool { return f.pos == victim.pos }, edit: func(d *simdisk.Disk) {
			d.Edit(middle, func(b []byte) []byte { binary.LittleEndian.PutUint32(b[victim.off:], 0x7fffffff); return b })
		}},
		{name: "a frame with a length just below the limit", lost: func(f frame) bool { return f.pos == victim.pos }, edit: func(d *simdisk.Disk) {
			d.Edit(middle, func(b []byte) []byte { binary.LittleEndian.PutUint32(b[victim.off:], 1<<28); return b })
		}},
		{name: "a segment zeroed", edit: zero(middle, 0, 0), lost: in(middle)},
		{name: "the first segment zeroed", edit: zero(names[0], 0, 0), lost: in(names[0])},
		{name: "the last segment zeroed", edit: zero(last, 0, 0), lost: in(last), atEnd: true, silent: true},
		{name: "a header zeroed", edit: zero(middle, 0, fileHead), lost: none},
		{name: "the last header zeroed", edit: zero(last, 0, fileHead), lost: none},
		{name: "a header and its table zeroed", edit: zero(middle, 0, firstOf(middle).off), lost: none},
		{name: "a header and the first frame zeroed", edit: zero(middle, 0, firstOf(middle).off+firstOf(middle).size),
			lost: func(f frame) bool { return f.pos == firstOf(middle).pos }},
		{name: "the last segment garbled", lost: in(last), atEnd: true, edit: func(d *simdisk.Disk) {
			d.Edit(last, func(b []byte) []byte { copy(b, strings.Repeat("garbled!", len(b)/8)); return b })
		}},
		{name: "the end of the last segment zeroed", atEnd: true, edit: zero(last, tail.off+20, 0),
			lost: func(f frame) bool { return f.file == last && f.pos >= tail.pos }},
		{name: "a segment missing", edit: func(d *simdisk.Disk) { d.Remove(middle) }, lost: in(middle)},
		{name: "a segment missing behind a snapshot", from: frames[1].pos, edit: func(d *simdisk.Disk) { d.Remove(middle) }, lost: in(middle)},
		{name: "a segment missing that a snapshot has made needless", from: victim.pos + 1000,
			edit: func(d *simdisk.Disk) { d.Remove(names[0]) }, lost: none},
		{name: "the first segment missing without a snapshot was freed", edit: func(d *simdisk.Disk) { d.Remove(names[0]) }, lost: in(names[0]), silent: true},
		{name: "the last segment missing", edit: func(d *simdisk.Disk) { d.Remove(last) }, lost: in(last), silent: true},
		{name: "a stale lower revision", lost: none, edit: func(d *simdisk.Disk) {
			old := content(d, middle)
			higher := strings.Replace(middle, "-0.log", "-1.log", 1)
			put(d, higher, old)
			zero(middle, 0, 0)(d)
		}},
		{name: "a lower revision with other frames", lost: none, edit: func(d *simdisk.Disk) {
			put(d, strings.Replace(middle, "-0.log", "-12.log", 1), content(d, middle))
			put(d, strings.Replace(middle, "-0.log", "-9.log", 1), content(d, names[0]))
		}},
		{name: "a snapshot that was never finished", lost: none, edit: func(d *simdisk.Disk) { put(d, "snapshot.tmp", []byte("half")) }},
		{name: "spare files", lost: none, edit: func(d *simdisk.Disk) {
			put(d, "pool-1", content(d, middle))
			put(d, "pool-99", nil)
		}},
		{name: "files of other names", lost: none, edit: func(d *simdisk.Disk) {
			for _, name := range []string{"x.log", "0-0.log", "zzzzzzzzzzzzzzzz-0.log", "000000000000000G-0.log", "0000000000000001-.log",
				"0000000000000001-00.log", "0000000000000001--1.log", "0000000000000001-0.logx", "lost+found", "pool", "\xff"} {
				put(d, name, []byte("garbage"))
			}
		}},
		{name: "the position in a header changed", lost: none, edit: func(d *simdisk.Disk) {
			d.Edit(middle, func(b []byte) []byte { return reHead(b, func(h []byte) { h[16]++ }) })
		}},
		{name: "the offset in a header changed", lost: none, edit: func(d *simdisk.Disk) {
			d.Edit(middle, func(b []byte) []byte { return reHead(b, func(h []byte) { h[12] += 4 }) })
		}},
		{name: "the offset in a header absurd", lost: none, edit: func(d *simdisk.Disk) {
			d.Edit(middle, func(b []byte) []byte { return reHead(b, func(h []byte) { copy(h[12:], "\xff\xff\xff\xff") }) })
		}},
		{name: "two segments have changed places", edit: func(d *simdisk.Disk) {
			a, b := content(d, names[1]), content(d, names[2])
			d.Edit(names[1], func([]byte) []byte { return b })
			d.Edit(names[2], func([]byte) []byte { return a })
		}, lost: func(f frame) bool { return f.file == names[1] || f.file == names[2] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := disk.Clone()
			tt.edit(d)
			r := newRig(t, d, 900)
			lost, count := tt.lost, uint64(0)
			before := func(f frame) bool { return lost(f) }
			if tt.from != 0 {
				i := slices.IndexFunc(frames, func(f frame) bool { return f.pos >= tt.from })
				tt.from = frames[i].pos
				count = uint64(len(records(frames[:i], nil)))
				before = func(f frame) bool { return f.pos < tt.from || lost(f) }
			}
			r.open(tt.from, count)
			equal(t, "survivors", r.got, records(frames, before))
			bytes, messages, torn := r.sum()
			wantBytes, wantMessages := span(lost)
			switch {
			case tt.silent:
				if len(r.damage) > 0 {
					t.Errorf("reported %+v", r.damage)
				}
			case tt.atEnd:
				if torn != 1 || messages != 0 || bytes == 0 {
					t.Errorf("at the end, reported %+v", r.damage)
				}
			default:
				if torn != 0 || bytes != wantBytes || messages != wantMessages {
					t.Errorf("reported %+v, want %d bytes and %d messages", r.damage, wantBytes, wantMessages)
				}
			}
			if tt.from == 0 {
				r.goesOn()
			}
		})
	}
}

// put makes a file.
func put(d *simdisk.Disk, name string, b []byte) {
	f, err := d.Open(name, true)
	if err != nil {
		panic(err)
	}
	f.Close()
	d.Edit(name, func([]byte) []byte { return append([]byte{}, b...) })
}

func TestTheLast64KiBZeroedCostsWhatStoodThere(t *testing.T) {
	r := newRig(t, simdisk.New(), 1<<20).open(0, 0)
	for i := range 300 {
		r.append(msg(i, 1000))
		r.commit()
	}
	frames := layout(t, r.disk)
	last := frames[len(frames)-1]
	end := last.off + last.size
	r.disk.Edit(last.file, func(b []byte) []byte { clear(b[end-64<<10:]); return b })
	r.open(0, 0)
	lost := func(f frame) bool { return f.off+f.size > end-64<<10 }
	equal(t, "survivors", r.got, records(frames, lost))
	if bytes, _, torn := r.sum(); torn != 1 || bytes == 0 {
		t.Fatalf("reported %+v", r.damage)
	}
	r.goesOn()
}

func TestQuarantineIsBounded(t *testing.T) {
	disk := smallLog(t, 120, 1<<20)
	frames := layout(t, disk)
	disk.Edit(frames[0].file, func(b []byte) []byte {
		for i, f := range frames {
			if i%2 == 1 {
				b[f.off+30] ^= 1
			}
		}
		return b
	})
	r := newRig(t, disk, 1<<20).open(0, 0)
	i := 0
	equal(t, "survivors", r.got, records(frames, func(f frame) bool { i++; return i%2 == 0 }))
	r.goesOn()
	kept := 0
	files, _ := disk.List()
	for _, f := range files {
		if strings.HasPrefix(f.Name, "quarantine-") {
			kept++
		}
	}
	if kept != 16 {
		t.Fatalf("%d damaged frames kept, want 16", kept)
	}
	// What was kept is what stood there.
	want := content(disk, frames[0].file)[frames[1].off : frames[1].off+frames[1].size]
	if got := content(disk, fmt.Sprintf("quarantine-%016x", uint64(frames[1].pos))); !slices.Equal(got, want) {
		t.Fatal("the bytes in quarantine are not those of the log")
	}
}

// TestNoFrameBeginsWithinAHeader: what a power cut left of a commit may have, by chance,
// the position of its place where a header would have it.
func TestNoFrameBeginsWithinAHeader(t *testing.T) {
	const pos, header = 0x2af7, 24
	for o, want := range map[int]int{1: 0, 9: 0, header - 1: 0, header: header, 100: 100} {
		b := make([]byte, 200)
		binary.LittleEndian.PutUint64(b[o+8:], uint64(pos+o))
		if got := wal.BegunFrame(b, pos); got != want {
			t.Errorf("at %d: %d, not %d", o, got, want)
		}
	}
}
