package store

import (
	"encoding/binary"
	"testing"

	"packetboat/broker/store/wal"
)

// FuzzRecords hands arbitrary records to recovery, as a log with right checksums
// holds them, and then lets the store work with what came of it.
func FuzzRecords(f *testing.F) {
	seed := func(recs ...[]byte) {
		var b []byte
		for _, r := range recs {
			b = append(binary.AppendUvarint(b, uint64(len(r))), r...)
		}
		f.Add(b, false)
		f.Add(b, true)
	}
	consumer := record(byte(6), 3, 1, 65535, "c")
	seed(clockBytes(1, 1, 1000), consumer, message(3, 0, 1, 2000, "m0"), message(3, 1, 2, 3000, "m1"), rescue(3, 0, 1, 1, 2000, "m0"))
	seed(consumer, message(3, 0, 2, 1, "m"), record(byte(2), 3, 0, prefixed("\x00"), prefixed("\x01")), record(byte(18), 3))
	seed(consumer, record(byte(15), 3, 1, 65535, uint64(1<<40), uint64(1<<39), "c"), record(byte(16), 3, 5, uint64(1<<50), byte(1)), message(3, 1<<30, 1, 1, "m"))
	seed(consumer, record(byte(10), 3, byte(1), byte(2), 5, 500, 1, 1, 1, 1, 0, uint64(1<<60), 1, prefixed("t"), 5))
	seed(record(byte(13), 2, "session/p"), record(byte(1), byte(0x1e), 0, 5, 60, 2, 9, prefixed("t"), "x"), record(byte(3), 2, 9), record(byte(3), 2, 0))
	seed(record(byte(4), prefixed("key"), "value"), record(byte(5), "key"), record(byte(7), 3))
	seed(consumer, record(byte(17), 3, 9, 2, 1, 9, 5, 500, 0, 2, 1, 1, prefixed("\x01"), prefixed("\x02")), record(byte(11), 3, 1, 2, 3, 300, 1, 1, 0),
		record(byte(14), 2, 9), record(byte(12), 1), record(byte(8), byte(4), 1, 0, 1, prefixed("t"), "retained"))
	long := uint64(1<<64 - 5000) // before the boot
	seed(clockBytes(1, 1, 1000), consumer, record(byte(19), byte(1), 7, byte(1), 1, 3, 0, byte(1), long, prefixed("t"), "old"), message(3, 1, 1, 3000, "m1"),
		record(byte(20), byte(1), 7, byte(1), 1, 1, 3, 0, byte(1), long, prefixed("t"), "old"))
	f.Fuzz(func(t *testing.T, data []byte, snapshot bool) {
		if len(data) > 4<<10 {
			return
		}
		b := newBox(t)
		b.opt.MaxSize = 1 << 20
		var recs [][]byte
		for rest := data; len(rest) > 0; {
			rec, more, err := wal.NextRecord(rest)
			if err != nil {
				break
			}
			recs = append(recs, rec)
			rest = more
		}
		if len(recs) == 0 {
			return
		}
		if snapshot {
			_, err := wal.WriteSnapshot(b.disk, 1, 0, func(add func([]byte) error) error {
				for _, r := range recs {
					if err := add(r); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		} else {
			for _, r := range recs {
				if len(r) == 0 {
					return
				}
			}
			b.byHand(recs)
		}
		s, err := Open("", b.opt)
		if err != nil {
			return
		}
		b.s = s
		var names []string
		for _, name := range s.Consumers() {
			if name == "" {
				continue // nobody makes one
			}
			if names = append(names, name); len(names) == 3 {
				break
			}
		}
		names = append(names, "c")
		b.publish("new", 2, names...)
		b.commit()
		for _, name := range names {
			c := b.consumer(name)
			for range 40 {
				var d Delivery
				if !c.TryNext(&d) {
					b.commit()
					continue
				}
				switch d.Seq % 4 {
				case 0:
					c.Done(d.Seq)
				case 1:
					c.Release(d.Seq)
				case 2:
					c.GiveUp(d.Seq, Refused, "")
				}
				c.Seq(d.ID)
			}
			c.Rewind()
			c.Lag()
			c.QueuedQoS0()
		}
		s.mu.Lock()
		s.dropOldestLocked()
		s.mu.Unlock()
		b.consumer(names[0]).Restart()
		b.snapshot()
		b.publish("newest", 1, names...)
		b.restart()
		for _, name := range names {
			if b.s.Lookup(name) == nil {
				t.Fatalf("consumer %q is gone", name)
			}
		}
	})
}
