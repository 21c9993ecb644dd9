package store

import (
	"strings"
	"testing"
	"time"
)

// Records that tell of other records, where these were in damaged bytes.

// TestASkipProvesWhatWasBeforeIt: the seqs that were skipped after a torn tail
// begin behind messages that are damaged later.
func TestASkipProvesWhatWasBeforeIt(t *testing.T) {
	b := newBox(t).open()
	for _, m := range []string{"m0", "m1-bad", "m2-torn"} {
		b.publish(m, 1, "c")
		b.commit()
	}
	b.garble("m2-torn")
	b.open()
	b.commit()
	b.garble("m1-bad")
	b.disk.Edit(lastLog(b), func(have []byte) []byte { // nor is there a table
		have[60] ^= 1
		return have
	})
	b.open()
	if l := b.balance("c"); l.Delivered != 0 || l.Messages != 1 || l.Lost[Damaged] != 1 {
		t.Fatalf("ledger %+v", l)
	}
	equal(t, "c", b.drain("c"), []string{"m0"})
	b.balance("c")
}

func lastLog(b *box) string {
	files, _ := b.disk.List()
	last := ""
	for _, f := range files {
		if strings.HasSuffix(f.Name, ".log") {
			last = max(last, f.Name)
		}
	}
	return last
}

// TestAConsumerWhoseRemovalIsDamagedIsGone, when another has its name, and when a
// later table does not have it.
func TestAConsumerWhoseRemovalIsDamagedIsGone(t *testing.T) {
	for name, again := range map[string]bool{"another of the name": true, "none": false} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t).open()
			b.publish("old", 1, "c", "other")
			b.commit()
			b.s.Remove("c")
			b.s.Set("garbled", nil)
			b.commit()
			if again {
				b.publish("new", 1, "c")
			}
			for range 40 { // into the next segment
				b.publish(strings.Repeat("x", 1000), 1, "other")
			}
			b.commit()
			b.garble("garbled")
			b.open()
			names := []string{"other"}
			if again {
				names = []string{"c", "other"}
				equal(t, "c", b.drain("c"), []string{"new"})
			}
			equal(t, "consumers", b.s.Consumers(), names)
			if len(b.s.consumers) != len(names) {
				t.Errorf("%d consumers", len(b.s.consumers))
			}
			b.agrees()
		})
	}
}

// TestAGapOfAConsumerWithoutANameGetsIt with the next table.
func TestAGapOfAConsumerWithoutANameGetsIt(t *testing.T) {
	b := newBox(t).open()
	b.publish("first", 1, "other")
	b.commit()
	b.publish("bad", 1, "c")
	b.commit()
	b.publish("gone", 1, "c") // has the second record of the name
	b.commit()
	b.next("c")
	b.consumer("c").GiveUp(1, Refused, "")
	b.commit()
	for range 40 {
		b.publish(strings.Repeat("x", 1000), 1, "other")
	}
	b.publish("kept", 1, "c")
	b.commit()
	b.garble("bad")
	b.garble("gone")
	b.open()
	if l := b.balance("c"); l.Lost[Refused] != 1 || l.Messages != 1 {
		t.Fatalf("ledger %+v", l)
	}
	for _, g := range b.s.Gaps() {
		if g.Consumer != "c" {
			t.Errorf("gap %+v", g)
		}
	}
}

// TestGapsHaveReceiveTimes, not those of the loss.
func TestGapsHaveReceiveTimes(t *testing.T) {
	b := newBox(t).open()
	if _, err := b.tryPublish(&Message{Topic: "t", Payload: []byte("m"), QoS: 1, Expiry: 60, HasExpiry: true}, "c"); err != nil {
		t.Fatal(err)
	}
	b.publish("n", 1, "d")
	b.publish("o", 1, "d")
	at := b.s.Now()
	b.commit()
	b.clock.pass(time.Hour)
	b.drain("c") // expired
	b.consumer("d").SetLimit(1, 0)
	b.publish("p", 1, "d") // over its limit
	b.commit()
	for _, g := range b.s.Gaps() {
		if g.From != at || g.To != at {
			t.Errorf("gap %+v, received at %+v", g, at)
		}
	}
	if n := len(b.s.Gaps()); n != 2 {
		t.Errorf("%d gaps", n)
	}
}

// TestVerifyLooksAtHeadsOfSegments: what a reader without a snapshot would need.
func TestVerifyLooksAtHeadsOfSegments(t *testing.T) {
	for _, at := range []int{3, 20, 40, 60} {
		b := newBox(t).open()
		b.publish("m", 1, "c")
		b.commit()
		b.restart()
		b.publish("n", 1, "c")
		b.commit()
		b.disk.Edit(lastLog(b), func(have []byte) []byte {
			have[at] ^= 1
			return have
		})
		v, err := b.s.Verify(t.Context(), nil)
		if err != nil || len(v.Damage) != 1 || v.Damage[0].File != lastLog(b) {
			t.Errorf("byte %d: %+v, %v", at, v, err)
		}
	}
}
