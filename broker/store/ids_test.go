package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"packetboat/broker/store/wal/simdisk"
)

// TestIdentifiersGoRound: id = first + seq % n, in every life, and Seq is the
// inverse for what is in flight.
func TestIdentifiersGoRound(t *testing.T) {
	for _, ids := range []IDs{{10, 7}, {1, 1030}, LaneIDs(3)} {
		t.Run(fmt.Sprintf("%d from %d on", ids.N, ids.First), func(t *testing.T) {
			b := newBox(t)
			b.opt.SegmentSize = 1 << 20
			b.open()
			c, err := b.s.Consumer("c", ids)
			if err != nil {
				t.Fatal(err)
			}
			n := uint64(ids.N)
			// Begin a little below the second turn.
			b.s.mu.Lock()
			c.skipLocked(0, n-20%n, false)
			b.s.appendLocked(appendSkip(nil, c.num, skipped{0, n - 20%n, false}))
			b.s.mu.Unlock()
			var flying []Delivery
			seen := uint64(0)
			for i := range 200 {
				b.publish(fmt.Sprint(i), 1, "c")
				if i%5 == 4 {
					b.commit()
					for d := (Delivery{}); c.TryNext(&d); {
						if want := ids.First + uint16(d.Seq%n); d.ID != want {
							t.Fatalf("seq %d has id %d, want %d", d.Seq, d.ID, want)
						}
						for _, f := range flying {
							if f.ID == d.ID {
								t.Fatalf("seqs %d and %d are both in flight as %d", f.Seq, d.Seq, d.ID)
							}
						}
						seen++
						flying = append(flying, d)
					}
				}
				for _, f := range flying {
					if seq, released, ok := c.Seq(f.ID); !ok || released || seq != f.Seq {
						t.Fatalf("id %d is seq %d, %v, want %d", f.ID, seq, ok, f.Seq)
					}
				}
				if i%50 == 49 {
					b.crash(uint64(i))
					again := b.s.Lookup("c")
					if again.ids != ids {
						t.Fatalf("after a crash the ids are %v", again.ids)
					}
					c, flying = again, nil
					continue
				}
				if len(flying) > 5 || i%10 == 0 {
					for _, f := range flying {
						c.Done(f.Seq)
						if _, _, ok := c.Seq(f.ID); ok {
							t.Fatalf("id %d is finished and found", f.ID)
						}
					}
					flying = nil
					b.commit()
				}
			}
			for _, id := range []uint16{0, ids.First - 1, ids.First + ids.N, 65535} {
				if _, _, ok := c.Seq(id); ok {
					t.Fatalf("id %d is none of these", id)
				}
			}
			if seen == 0 || c.next < n {
				t.Fatalf("%d delivered, next seq %d", seen, c.next)
			}
		})
	}
	if last := LaneIDs(3); uint32(last.First)+uint32(last.N) > 65533 {
		t.Fatal("the lanes leave no identifiers for SUBSCRIBE")
	}
}

// TestNoIdentifierIsUsedTwiceBeforeTheFirstUseIsDurablyOver holds the progress
// back: seq + n waits for it.
func TestNoIdentifierIsUsedTwiceBeforeTheFirstUseIsDurablyOver(t *testing.T) {
	b := newBox(t).open()
	c, _ := b.s.Consumer("c", IDs{1, 5})
	for i := range 8 {
		b.publish(fmt.Sprint(i), 1, "c")
	}
	b.commit()
	for range 5 {
		d := b.next("c")
		c.Done(d.Seq)
	}
	var d Delivery
	if c.TryNext(&d) {
		t.Fatalf("seq %d goes out as %d before seq 0 is durably over", d.Seq, d.ID)
	}
	b.commit()
	equal(t, "then", b.drain("c"), []string{"5", "6", "7"})
}

// tear writes a frame that was not finished behind the end of the log.
func (b *box) tear() {
	b.t.Helper()
	b.commit()
	b.s.mu.Lock()
	m := Message{Topic: "t", Payload: []byte(strings.Repeat("torn", 200)), QoS: 1}
	for _, c := range b.s.consumers {
		b.s.stageLocked(&m, []Target{{Consumer: c, QoS: 1}}, nil)
	}
	b.s.mu.Unlock()
	n := 0
	b.disk.Fault = func(op simdisk.Op, name string) error {
		if n++; op == "sync" {
			panic(crashHere{})
		}
		return nil
	}
	func() {
		defer func() { _ = recover() }()
		b.commit()
	}()
	b.disk.Fault = nil
	logs, _ := b.disk.List()
	last := ""
	for _, f := range logs {
		if strings.HasSuffix(f.Name, ".log") {
			last = f.Name
		}
	}
	b.disk.Edit(last, func(have []byte) []byte { // garbled in the middle of the frame
		i := strings.Index(string(have), "torntorn")
		copy(have[i+100:], "garbled")
		return have
	})
}

// TestAfterATornTailNoIdentifierIsUsedAgain: it might have been a commit that was
// answered, and its messages sent.
func TestAfterATornTailNoIdentifierIsUsedAgain(t *testing.T) {
	b := newBox(t)
	b.open()
	b.publish("q1", 1, "one", "two")
	b.publish("q2", 2, "two")
	b.tear()
	b.open()
	if len(b.s.Stats().Damage) != 1 || !b.s.Stats().Damage[0].Torn {
		t.Fatalf("damage %+v", b.s.Stats().Damage)
	}
	// The power fails again before anything of this life is on disk: found again.
	b.disk.Crash(rand.New(rand.NewPCG(9, 9)))
	b.open()
	if len(b.s.Stats().Damage) != 1 {
		t.Fatalf("after another power cut: damage %+v", b.s.Stats().Damage)
	}
	b.commit()
	b.crash(1)
	if len(b.s.Stats().Damage) != 0 {
		t.Fatalf("counted twice: %+v", b.s.Stats().Damage)
	}
	b.publish("new", 1, "one", "two")
	b.commit()
	var got []uint64
	c := b.consumer("one")
	for d := (Delivery{}); c.TryNext(&d); {
		got = append(got, d.Seq)
		c.Done(d.Seq)
	}
	equal(t, "seqs of a QoS 1 consumer", got, []uint64{0, 1 + windowSize})
	// One that has had QoS 2 abandons them: PUBREL ends what the peer may hold.
	all := b.drain("two")
	rels := map[string]bool{}
	var messages []string
	for _, x := range all {
		if strings.HasPrefix(x, "rel ") {
			rels[x] = true
		} else {
			messages = append(messages, x)
		}
	}
	equal(t, "messages of a consumer with QoS 2", messages, []string{"q1", "q2", "new"})
	if len(all) != 3+windowSize || len(rels) != windowSize || !rels["rel 3"] || !rels[fmt.Sprint("rel ", 2+windowSize)] {
		t.Fatalf("%d different PUBRELs of %d", len(rels), len(all)-3)
	}
	for _, name := range []string{"one", "two"} {
		if l := b.balance(name); len(l.Lost) > 0 || l.Messages != 0 {
			t.Fatalf("%s: %+v: nothing was lost", name, l)
		}
	}
}

// TestAbandonedIdentifiersEndOverCrashes: each PUBREL is repeated until PUBCOMP.
func TestAbandonedIdentifiersEndOverCrashes(t *testing.T) {
	b := newBox(t)
	b.open()
	b.publish("q2", 2, "c")
	b.tear()
	b.open()
	c := b.consumer("c")
	rels := 0
	for range 40 {
		for range 60 {
			var d Delivery
			if !c.TryNext(&d) {
				break
			}
			if d.Released {
				rels++
			}
			c.Done(d.Seq)
		}
		b.restart()
		c = b.consumer("c")
	}
	if rels != windowSize {
		t.Fatalf("%d PUBRELs that were answered, want %d", rels, windowSize)
	}
	b.publish("after", 2, "c")
	equal(t, "then", b.drain("c"), []string{"after"})
	b.balance("c")
}
