package store

import (
	"context"
	"encoding/binary"
	"strings"
	"sync"
	"testing"

	"packetboat/broker/store/wal"
)

// record puts a record together as FORMAT.md describes it: numbers are uvarints,
// strings are as they are, prefixed ones have their length in front.
func record(fields ...any) (rec []byte) {
	for _, f := range fields {
		switch f := f.(type) {
		case int:
			rec = binary.AppendUvarint(rec, uint64(f))
		case uint64:
			rec = binary.AppendUvarint(rec, f)
		case byte:
			rec = append(rec, f)
		case string:
			rec = append(rec, f...)
		case prefixed:
			rec = append(binary.AppendUvarint(rec, uint64(len(f))), f...)
		case []byte:
			rec = append(rec, f...)
		}
	}
	return rec
}

type prefixed string

// byHand writes a log of the frames, each a commit, without the store.
func (b *box) byHand(frames ...[][]byte) {
	b.t.Helper()
	var mu sync.Mutex
	log, err := wal.Open("", 0, 0, wal.Options{
		FS: b.disk, Lock: &mu, SegmentSize: b.opt.SegmentSize,
		Counted: func(rec []byte) bool { return isMessage(rec[0]) },
	}, func(frame, p wal.Pos, rec []byte) error { return nil })
	if err != nil {
		b.t.Fatal(err)
	}
	for _, frame := range frames {
		mu.Lock()
		for _, rec := range frame {
			log.Append(rec)
		}
		mu.Unlock()
		if err := log.Commit(context.Background()); err != nil {
			b.t.Fatal(err)
		}
	}
}

func clockBytes(boot int, id byte, up int) []byte {
	var bootID [16]byte
	bootID[0] = id
	return record(byte(9), boot, bootID[:], up, binary.AppendVarint(nil, 1_700_000_000_000_000), byte(0), 0)
}

func message(consumer, seq, qos, up int, payload string) []byte {
	return record(byte(1), byte(qos), 1, consumer, seq, byte(qos), up, prefixed("t"), payload)
}

func rescue(consumer, seq, qos, boot, up int, payload string) []byte {
	return record(byte(8), byte(qos), boot, 1, consumer, seq, byte(qos), up, prefixed("t"), payload)
}

// TestRescuedMessagesTakeTheirOldPlace reads logs that were made by hand.
func TestRescuedMessagesTakeTheirOldPlace(t *testing.T) {
	begin := [][]byte{clockBytes(1, 1, 1000), record(byte(6), 3, 1, 65535, "c")}
	full := [][]byte{message(3, 0, 1, 2000, "m0"), message(3, 1, 2, 3000, "m1"), message(3, 2, 1, 4000, "m2"), message(3, 3, 1, 5000, "m3")}
	for _, tt := range []struct {
		name   string
		frames [][][]byte
		want   []string
		seqs   []uint64
		lost   uint64
	}{
		{
			name:   "all, in order",
			frames: [][][]byte{begin, full, {rescue(3, 0, 1, 1, 2000, "m0'"), rescue(3, 1, 2, 1, 3000, "m1'"), rescue(3, 2, 1, 1, 4000, "m2'"), rescue(3, 3, 1, 1, 5000, "m3'")}},
			want:   []string{"m0'", "m1'", "m2'", "m3'"}, seqs: []uint64{0, 1, 2, 3},
		},
		{
			name:   "one from the middle",
			frames: [][][]byte{begin, full, {rescue(3, 1, 2, 1, 3000, "m1'")}},
			want:   []string{"m0", "m1'", "m2", "m3"}, seqs: []uint64{0, 1, 2, 3},
		},
		{
			name:   "in another order",
			frames: [][][]byte{begin, full, {rescue(3, 3, 1, 1, 5000, "m3'"), rescue(3, 0, 1, 1, 2000, "m0'")}, {rescue(3, 2, 1, 1, 4000, "m2'")}},
			want:   []string{"m0'", "m1", "m2'", "m3'"}, seqs: []uint64{0, 1, 2, 3},
		},
		{
			name:   "twice: the latest counts",
			frames: [][][]byte{begin, full, {rescue(3, 0, 1, 1, 2000, "m0'")}, {rescue(3, 0, 1, 1, 2000, "m0''")}},
			want:   []string{"m0''", "m1", "m2", "m3"}, seqs: []uint64{0, 1, 2, 3},
		},
		{
			name:   "in the frame of a later message",
			frames: [][][]byte{begin, full, {message(3, 4, 1, 6000, "m4"), rescue(3, 1, 2, 1, 3000, "m1'"), message(3, 5, 1, 7000, "m5")}},
			want:   []string{"m0", "m1'", "m2", "m3", "m4", "m5"}, seqs: []uint64{0, 1, 2, 3, 4, 5},
		},
		{
			name:   "of what is finished",
			frames: [][][]byte{begin, full, {record(byte(2), 3, 2, prefixed(""), prefixed(""))}, {rescue(3, 0, 1, 1, 2000, "m0'"), rescue(3, 2, 1, 1, 4000, "m2'")}},
			want:   []string{"m2'", "m3"}, seqs: []uint64{2, 3},
		},
		{
			name:   "of another consumer, of none and with an unknown number",
			frames: [][][]byte{begin, {record(byte(6), 4, 1, 65535, "other")}, full, {rescue(4, 0, 1, 1, 2000, "x"), rescue(9, 0, 1, 1, 2000, "y")}},
			want:   []string{"m0", "m1", "m2", "m3"}, seqs: []uint64{0, 1, 2, 3},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t)
			b.clock.up = 1e9
			b.byHand(tt.frames...)
			b.open()
			check := func(when string) {
				t.Helper()
				var got []string
				var seqs []uint64
				c := b.consumer("c")
				for d := (Delivery{}); c.TryNext(&d); {
					got = append(got, what(&d))
					seqs = append(seqs, d.Seq)
					if want := uint64(2000 + 1000*d.Seq); d.Received != (Stamp{1, want}) || d.Topic != "t" {
						t.Errorf("%s: seq %d was received at %+v, topic %q", when, d.Seq, d.Received, d.Topic)
					}
				}
				equal(t, when, got, tt.want)
				equal(t, when, seqs, tt.seqs)
				c.Rewind()
				if l := b.balance("c"); l.Messages != uint64(len(tt.want)) || len(l.Lost) > 0 {
					t.Errorf("%s: ledger %+v", when, l)
				}
			}
			check("from the log")
			b.snapshot()
			b.open()
			check("from a snapshot")
			b.clock.reboot(0, false)
			b.open()
			check("after a boot")
		})
	}
}

// TestRescueKeepsEverythingOfAMessage: properties, expiry, subscription
// identifiers, RETAIN and the time of receipt.
func TestRescueKeepsEverythingOfAMessage(t *testing.T) {
	b := newBox(t).open()
	c := b.consumer("c")
	m := &Message{Topic: "a/b", Payload: []byte("payload"), QoS: 2, Props: []byte("\x01\x01"), Expiry: 1e6, HasExpiry: true, Origin: "session/p", PacketID: 9}
	if _, err := b.s.Publish(m, []Target{{Consumer: c, QoS: 1, KeepRetain: true, SubscriptionIDs: []uint32{7, 268435455}}}); err != nil {
		t.Fatal(err)
	}
	b.commit()
	before := b.next("c")
	ids := append([]uint32(nil), before.SubscriptionIDs...)
	for range 3 {
		for range 2 { // else it is most of the segment, and stays where it is
			b.publish(strings.Repeat("x", 5000), 1, "c")
		}
		b.clock.reboot(0, false)
		b.restart()
		b.commit()
		c = b.consumer("c")
		b.next("c") // in flight
		b.s.mu.Lock()
		gained := b.s.dropOldestLocked()
		b.s.mu.Unlock()
		if gained == 0 {
			t.Fatal("nothing was rescued")
		}
		b.commit()
		c.Rewind()
		d := b.next("c")
		if d.Topic != before.Topic || string(d.Payload) != "payload" || d.QoS != 1 || !d.Retain || string(d.Props) != "\x01\x01" || d.Seq != 0 || d.ID != before.ID ||
			d.Expiry != 1e6 || !d.HasExpiry || d.Received != before.Received || len(d.SubscriptionIDs) != 2 || d.SubscriptionIDs[0] != ids[0] || d.SubscriptionIDs[1] != ids[1] {
			t.Fatalf("rescued as %+v, was %+v", d, before)
		}
	}
	if _, held := b.s.Received("session/p", 9); !held {
		t.Fatal("the publisher's identifier is forgotten")
	}
}

// TestReleasedMessagesAreRescued, since they go again to a peer that forgets.
func TestReleasedMessagesAreRescued(t *testing.T) {
	b := newBox(t).open()
	c := b.consumer("c")
	b.publish("released", 2, "c")
	b.commit()
	d := b.next("c")
	c.Release(d.Seq)
	for range 2 { // else it is most of the segment, and stays where it is
		b.publish(strings.Repeat("x", 5000), 1, "other")
	}
	b.restart()
	b.commit()
	c = b.consumer("c")
	b.s.mu.Lock()
	gained := b.s.dropOldestLocked()
	b.s.mu.Unlock()
	if gained == 0 {
		t.Fatal("nothing was rescued")
	}
	b.commit()
	c.Restart()
	b.commit()
	if d := b.next("c"); string(d.Payload) != "released" || d.Released || d.Dup {
		t.Errorf("got %+v", d)
	}
}
