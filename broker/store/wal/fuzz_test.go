package wal_test

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"packetboat/broker/store/wal"
	"packetboat/broker/store/wal/simdisk"
)

// frameBytes makes a frame of data with a checksum that is right.
func frameBytes(p uint64, before uint64, data []byte) []byte {
	b := make([]byte, frameHead, frameHead+len(data))
	binary.LittleEndian.PutUint32(b, uint32(len(data)))
	binary.LittleEndian.PutUint64(b[8:], p)
	binary.LittleEndian.PutUint64(b[16:], before)
	b = append(b, data...)
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// FuzzRecovery puts arbitrary bytes into a log: over a file from some offset on,
// or as a frame with a right checksum. Recovery ends, its positions rise, sound
// segments before are read whole, and the log goes on.
func FuzzRecovery(f *testing.F) {
	sound := smallLog(f, 12, 600)
	frames := layout(f, sound)
	names := segments(f, sound)
	for i := range names {
		f.Add(uint8(i), uint16(0), uint16(0), false, content(sound, names[i]))
		f.Add(uint8(i), uint16(31), uint16(700), false, []byte("\x00\xff\x00\xff"))
		f.Add(uint8(i), uint16(40), uint16(50), true, []byte("\x03m12\x01m"))
		f.Add(uint8(i), uint16(90), uint16(0), true, []byte("\xff\xff\xff\xff\x01m"))
	}
	f.Fuzz(func(t *testing.T, file uint8, at, from uint16, asFrame bool, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		d := sound.Clone()
		name := names[int(file)%len(names)]
		d.Edit(name, func(b []byte) []byte {
			off := int(at) % (len(b) + 1)
			if asFrame {
				for _, f := range frames {
					if f.file == name && off <= f.off {
						off = f.off
						data = frameBytes(uint64(f.pos), uint64(at), data)
						break
					}
				}
			}
			return append(b[:off], append(data, b[min(len(b), off+len(data)):]...)...)
		})
		r := newRig(t, d, 600)
		if err := r.tryOpen(wal.Pos(from), uint64(at)); err != nil {
			return // a frame with a right checksum and wrong records was not damaged
		}
		for i := 1; i < len(r.pos); i++ {
			if r.pos[i] <= r.pos[i-1] {
				t.Fatalf("record at %x behind %x", r.pos[i], r.pos[i-1])
			}
		}
		if from == 0 && int(file)%len(names) > 0 {
			first := records(frames, func(f frame) bool { return f.file != names[0] })
			if len(r.got) < len(first) {
				t.Fatalf("%d records, the first segment has %d", len(r.got), len(first))
			}
			equal(t, "the first segment", r.got[:len(first)], first)
		}
		end := r.log.Durable()
		p := r.add("mgo")
		r.open(wal.Pos(from), uint64(at))
		if n := len(r.got); n == 0 || r.got[n-1] != "mgo" || r.pos[n-1] != p || p < end {
			t.Fatalf("the log does not go on: %d records", n)
		}
	})
}

// FuzzSnapshot reads arbitrary bytes as a snapshot, with right and wrong checksums.
func FuzzSnapshot(f *testing.F) {
	d := simdisk.New()
	if err := snap(d, 77, 2); err != nil {
		f.Fatal(err)
	}
	const name = "000000000000004d.snap"
	whole := content(d, name)
	f.Add(whole, false)
	f.Add(whole[:60], false)
	f.Add([]byte("\x05hello\x00"), true)
	f.Add([]byte("\xff\xff\xff\xff\x0f"), true)
	f.Fuzz(func(t *testing.T, data []byte, asFrame bool) {
		if asFrame {
			head := whole[:fileHead+frameHead]
			end := uint64(len(head) + frameHead + len(data))
			data = append(append(head[:len(head):len(head)], frameBytes(uint64(len(head)), 77, data)...), frameBytes(end, 77, nil)...)
		}
		d := simdisk.New()
		put(d, name, data)
		n := 0
		_, size, err := wal.ReadSnapshot(d, 77, func(rec []byte) error { n += len(rec); return nil })
		if err == nil && size > int64(len(data)) || err != nil && n > 0 || n > len(data) {
			t.Fatalf("%d bytes of records, size %d, of %d: %v", n, size, len(data), err)
		}
	})
}
