package store

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"packetboat/broker/store/wal/simdisk"
)

// garble finds text in the log and damages the frame that it stands in.
func (b *box) garble(text string) {
	b.t.Helper()
	files, _ := b.disk.List()
	for _, f := range files {
		if !strings.HasSuffix(f.Name, ".log") {
			continue
		}
		hit := false
		b.disk.Edit(f.Name, func(have []byte) []byte {
			if i := strings.Index(string(have), text); i >= 0 {
				have[i] ^= 0xff
				hit = true
			}
			return have
		})
		if hit {
			return
		}
	}
	b.t.Fatalf("%q is not in the log", text)
}

// TestDamageIsCountedExactlyWhereLaterFramesProveIt: of three consumers each
// loses what was in the frame, and nothing else. It had the record of one, too.
func TestDamageIsCountedExactlyWhereLaterFramesProveIt(t *testing.T) {
	b := newBox(t).open()
	b.publish("a1", 1, "a")
	b.publish("b1", 2, "b")
	b.snapshot() // from here on the count is known
	_, _ = b.tryPublish(&Message{Topic: "t", Payload: []byte("id"), QoS: 2, Origin: "session/p", PacketID: 5}, "a")
	b.commit()
	b.publish("a2-bad", 1, "a")
	b.publish("ab3-bad", 1, "a", "b")
	b.publish("c1-bad", 1, "c")
	b.commit()
	b.publish("a4", 1, "a", "b", "c")
	b.commit()
	b.garble("ab3-bad")
	b.open()
	check := func(when string) {
		t.Helper()
		for name, want := range map[string]uint64{"a": 2, "b": 1, "c": 1} {
			if l := b.s.Lookup(name).Lag(); l.Lost[Damaged] != want {
				t.Errorf("%s: %s lost %d, want %d", when, name, l.Lost[Damaged], want)
			}
		}
		var gaps uint64
		for _, g := range b.s.Gaps() {
			if g.Reason != Damaged {
				t.Errorf("%s: gap %+v", when, g)
			}
			gaps += g.Count
		}
		if gaps != 4 {
			t.Errorf("%s: %d messages in gap markers, want 4: %+v", when, gaps, b.s.Gaps())
		}
	}
	check("at once")
	if len(b.s.Stats().Damage) != 1 || b.s.Stats().Damage[0].Torn {
		t.Fatalf("damage %+v", b.s.Stats().Damage)
	}
	if _, held := b.s.Received("session/p", 5); held {
		t.Fatal("an id is held that may have been released in the damaged bytes")
	}
	if err := b.s.snapshotIfDueNow(b); err != nil {
		t.Fatal(err)
	}
	b.crash(1)
	if len(b.s.Stats().Damage) > 0 {
		t.Fatalf("found again after a snapshot: %+v", b.s.Stats().Damage)
	}
	check("at the next start")
	equal(t, "a", messages(b.drain("a")), []string{"a1", "id", "a4"})
	equal(t, "b", messages(b.drain("b")), []string{"b1", "a4"})
	equal(t, "c", messages(b.drain("c")), []string{"a4"})
	for _, name := range []string{"a", "b", "c"} {
		b.balance(name)
	}
}

// TestAConsumerWhoseRecordIsDamagedIsKnownAgainFromTheNextSegment: what it has in
// between is not lost.
func TestAConsumerWhoseRecordIsDamagedIsKnownAgainFromTheNextSegment(t *testing.T) {
	b := newBox(t).open()
	b.publish("first", 1, "other")
	b.commit()
	b.publish("c0-bad", 1, "c")
	b.commit()
	b.publish("c1", 1, "c")
	b.commit()
	for range 20 {
		b.publish(strings.Repeat("x", 1000), 1, "other")
	}
	b.publish("c2", 1, "c")
	b.commit()
	b.garble("c0-bad")
	b.open()
	if l := b.balance("c"); l.Lost[Damaged] != 1 || l.Messages != 2 {
		t.Fatalf("ledger %+v", l)
	}
	b.restart()
	equal(t, "c", b.drain("c"), []string{"c1", "c2"})
	if names := b.s.Consumers(); len(names) != 2 {
		t.Fatalf("consumers %q", names)
	}
}

// TestANameStandsInTwoFrames, so that either may be damaged while there is no
// table yet that has it.
func TestANameStandsInTwoFrames(t *testing.T) {
	b := newBox(t).open()
	b.consumer("c-first")
	b.commit()
	for _, m := range []string{"m0", "m1", "m2"} {
		b.publish(m, 1, "c-first")
		b.commit()
	}
	b.garble("c-first")
	b.open()
	if l := b.balance("c-first"); l.Messages != 3 {
		t.Fatalf("ledger %+v", l)
	}
	equal(t, "c-first", b.drain("c-first"), []string{"m0", "m1", "m2"})
}

// TestNumbersAreNeverUsedAgain, also when the last one is removed and only a
// snapshot knows.
func TestNumbersAreNeverUsedAgain(t *testing.T) {
	b := newBox(t).open()
	b.publish("a", 1, "a", "b")
	_, _ = b.tryPublish(&Message{Topic: "t", QoS: 2, Origin: "session/p", PacketID: 5}, "a")
	was, origin := b.consumer("b").num, b.s.lastOrigin
	b.s.Remove("b")
	b.s.Forget("session/p", 0)
	b.snapshot()
	b.open()
	b.publish("new", 1, "new")
	_, _ = b.tryPublish(&Message{Topic: "t", QoS: 2, Origin: "session/q", PacketID: 5}, "a")
	if n := b.consumer("new").num; n <= was {
		t.Fatalf("consumer %d after %d", n, was)
	}
	if b.s.lastOrigin <= origin {
		t.Fatalf("origin %d after %d", b.s.lastOrigin, origin)
	}
}

// snapshotIfDueNow is what the housekeeping does.
func (s *Store) snapshotIfDueNow(b *box) error {
	s.mu.Lock()
	due := s.snapshotDueLocked()
	s.mu.Unlock()
	if !due {
		return errors.New("no snapshot is due after damage")
	}
	b.snapshot()
	return nil
}

// TestWhatWasDeliveredBeforeItsBytesWentIsNotLost: a later progress record, or
// the table of a later segment, shows it.
func TestWhatWasDeliveredBeforeItsBytesWentIsNotLost(t *testing.T) {
	for _, proof := range []string{"a progress record", "the table of a segment"} {
		t.Run(proof, func(t *testing.T) {
			b := newBox(t).open()
			b.publish("first", 1, "c")
			b.snapshot()
			b.publish("bad1", 1, "c")
			b.publish("bad2", 1, "c")
			b.commit()
			for range 3 {
				d := b.next("c")
				b.consumer("c").Done(d.Seq)
			}
			if proof == "a progress record" {
				b.settle()
			} else {
				b.consumer("c").dirty = false // the record never came
				b.s.mu.Lock()
				b.s.dirty = nil
				b.s.mu.Unlock()
				for range 20 { // a segment full of others' messages
					b.publish(strings.Repeat("x", 1000), 1, "other")
				}
				b.drain("other")
			}
			b.publish("last", 1, "c")
			b.commit()
			b.garble("bad2")
			b.open()
			if l := b.balance("c"); l.Lost[Damaged] != 0 || l.Delivered != 3 || l.Messages != 1 {
				t.Fatalf("ledger %+v", l)
			}
			equal(t, "delivered", b.drain("c"), []string{"last"})
		})
	}
}

// TestDamagedWhileRunning: the segment goes bad under a consumer that reads it.
func TestDamagedWhileRunning(t *testing.T) {
	b := newBox(t).open()
	for i := range 8 {
		b.publish(fmt.Sprintf("m%d", i), 1, "c")
		b.commit()
	}
	b.open() // nothing in memory
	b.garble("m3")
	equal(t, "delivered", b.drain("c"), []string{"m0", "m1", "m2", "m4", "m5", "m6", "m7"})
	if l := b.balance("c"); l.Lost[Damaged] != 1 || l.Delivered != 7 {
		t.Fatalf("ledger %+v", l)
	}
	if g := b.s.Gaps(); len(g) != 1 || g[0].FirstSeq != 3 || g[0].Count != 1 || g[0].Reason != Damaged {
		t.Fatalf("gap markers %+v", g)
	}
}

// TestAReadErrorLosesNothing: too many open files for an hour, a medium that
// fails for seconds, and one that fails for good in one place.
func TestAReadErrorLosesNothing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		op     simdisk.Op
		err    error
		rounds int // of the housekeeping while it fails
		lost   int
	}{
		{"no file descriptors for an hour", simdisk.OpOpen, unix.EMFILE, 3600, 0},
		{"no memory for a minute", simdisk.OpRead, unix.ENOMEM, 60, 0},
		{"a medium that answers again", simdisk.OpRead, unix.EIO, readTries - 1, 0},
		{"a medium that does not", simdisk.OpRead, unix.EIO, 100, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t).open()
			for i := range 8 {
				b.publish(fmt.Sprintf("m%d", i), 1, "c")
				b.commit()
			}
			b.open()
			c := b.consumer("c")
			b.disk.Fault = func(op simdisk.Op, name string) error {
				if op == tt.op {
					return tt.err
				}
				return nil
			}
			ready := 0
			c.OnReady(func() { ready++ })
			var d Delivery
			if c.TryNext(&d) {
				t.Fatalf("delivered %q", what(&d))
			}
			for range tt.rounds {
				b.s.retryReads()
				if c.TryNext(&d) {
					t.Fatalf("delivered %q", what(&d))
				}
			}
			b.disk.Fault = nil
			if tt.lost == 0 {
				if ready != tt.rounds {
					t.Fatalf("woken %d times in %d rounds", ready, tt.rounds)
				}
				equal(t, "then", b.drain("c"), []string{"m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7"})
			} else {
				b.drain("c")
			}
			if l := b.balance("c"); l.Lost[Damaged] != uint64(tt.lost) {
				t.Fatalf("ledger %+v", l)
			}
			if n := strings.Count(b.logs.String(), "reading the queue failed"); n < 1 || n > 9 {
				t.Fatalf("%d lines in the log", n)
			}
		})
	}
}

// TestSnapshotsThatAreDamaged: the newest, both, and both gone.
func TestSnapshotsThatAreDamaged(t *testing.T) {
	flip := func(b *box, name string) {
		b.disk.Edit(name, func(have []byte) []byte { have[len(have)/2] ^= 1; return have })
	}
	for _, tt := range []struct {
		name string
		do   func(b *box, snaps []string) // oldest first
		kv   bool                         // keys survive
		all  bool                         // the log from its beginning is there
	}{
		{"the newest is damaged", func(b *box, s []string) { flip(b, s[1]) }, true, false},
		{"the older is damaged", func(b *box, s []string) { flip(b, s[0]) }, true, false},
		{"the newest is empty", func(b *box, s []string) { b.disk.Edit(s[1], func([]byte) []byte { return []byte{} }) }, true, false},
		{"both are damaged", func(b *box, s []string) { flip(b, s[0]); flip(b, s[1]) }, true, true},
		{"both are gone", func(b *box, s []string) { _ = b.disk.Remove(s[0]); _ = b.disk.Remove(s[1]) }, true, true},
		{"both are gone and old segments were freed", func(b *box, s []string) { _ = b.disk.Remove(s[0]); _ = b.disk.Remove(s[1]) }, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t).open()
			b.s.Set("k", []byte("v"))
			b.publish("kept", 1, "c")
			var want []string
			publish := func(n int) {
				for range n {
					b.publish(strings.Repeat("x", 900), 1, "other")
					b.drain("other")
				}
				b.settle()
			}
			b.drain("c")
			publish(40)
			b.snapshot()
			for i := range 5 {
				want = append(want, fmt.Sprint("m", i))
				b.publish(want[i], 1, "c")
			}
			publish(20)
			b.snapshot()
			b.publish("last", 1, "c")
			want = append(want, "last")
			b.commit()
			before := len(b.s.wal.Segments())
			if !tt.all {
				b.s.freeSegments()
				if len(b.s.wal.Segments()) == before {
					t.Fatal("nothing was freed")
				}
			}
			var snaps []string
			files, _ := b.disk.List()
			for _, f := range files {
				if strings.HasSuffix(f.Name, ".snap") {
					snaps = append(snaps, f.Name)
				}
			}
			if len(snaps) != 2 {
				t.Fatalf("snapshots %q", snaps)
			}
			tt.do(b, snaps)
			b.open()
			if v, ok := b.s.Get("k"); ok != tt.kv || tt.kv && string(v) != "v" {
				t.Fatalf("key %q, %v", v, ok)
			}
			equal(t, "delivered", b.drain("c"), want)
			l := b.balance("c")
			if len(l.Lost) > 0 {
				t.Fatalf("ledger %+v", l)
			}
			if l := b.balance("other"); len(l.Lost) > 0 || l.Messages > 0 {
				t.Fatalf("ledger of the other %+v", l)
			}
			// And it goes on, with a sound snapshot.
			b.snapshot()
			b.publish("on", 1, "c")
			b.restart()
			equal(t, "goes on", b.drain("c"), []string{"on"})
		})
	}
}

// TestOneSnapshotIsNotEnoughToFreeWhatIsBeforeIt: it may turn out to be bad.
func TestOneSnapshotIsNotEnoughToFreeWhatIsBeforeIt(t *testing.T) {
	b := newBox(t).open()
	b.s.Set("k", []byte("v"))
	for range 40 {
		b.publish(strings.Repeat("x", 900), 1, "c")
		b.drain("c")
	}
	b.settle()
	b.snapshot()
	b.s.freeSegments()
	files, _ := b.disk.List()
	for _, f := range files {
		if strings.HasSuffix(f.Name, ".snap") {
			b.disk.Edit(f.Name, func(have []byte) []byte { have[len(have)/2] ^= 1; return have })
		}
	}
	b.open()
	if v, _ := b.s.Get("k"); string(v) != "v" {
		t.Fatal("the key went with the only snapshot")
	}
}

// TestAnyDamageStarts flips bytes all over the directory, many at a time.
func TestAnyDamageStarts(t *testing.T) {
	b := newBox(t).open()
	for i := range 60 {
		b.publish(strings.Repeat(fmt.Sprint(i), 100), byte(i%3), "a", "b")
		b.s.Set(fmt.Sprint("k", i%7), []byte(fmt.Sprint(i)))
		if i%9 == 0 {
			b.drain("a")
		}
		if i%25 == 24 {
			b.snapshot()
		}
		b.commit()
	}
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 77))
		c := &box{t: t, disk: b.disk.Clone(), clock: b.clock, opt: b.opt}
		c.opt.FS = c.disk
		c.opt.Log = slog.New(slog.NewTextHandler(&c.logs, nil))
		files, _ := c.disk.List()
		for range 1 + rng.IntN(6) {
			f := files[rng.IntN(len(files))]
			if f.Size == 0 {
				continue
			}
			from := rng.Int64N(f.Size)
			n := min(1+rng.Int64N(1<<rng.IntN(14)), f.Size-from)
			c.disk.Edit(f.Name, func(have []byte) []byte {
				for i := from; i < from+n; i++ {
					have[i] ^= byte(1 + rng.IntN(255))
				}
				return have
			})
		}
		start := time.Now()
		c.open()
		c.publish("on", 1, "a")
		got := c.drain("a")
		c.drain("b")
		c.balance("a")
		c.balance("b")
		if got = messages(got); len(got) == 0 || got[len(got)-1] != "on" {
			t.Logf("%s", c.logs.String())
			t.Logf("%+v", c.s.Stats())
			t.Fatalf("seed %d: the queue does not go on: %.200q, %+v", seed, got, c.s.Lookup("a").Lag())
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Fatalf("seed %d: took %v", seed, d)
		}
	}
}

// The second record of a new consumer's name may be the one that no longer fits
// into the segment, whose successor begins with a table of all names.
func TestANameIsRepeatedWhereASegmentEnds(t *testing.T) {
	rolled := 0
	for pad := range 400 {
		b := newBox(t)
		b.opt.SegmentSize = 4 << 10
		b.open()
		b.consumer("session/first")
		b.publish(strings.Repeat("x", 1800), 1, "session/first")
		b.publish(strings.Repeat("x", 1600+pad), 1, "session/first")
		b.commit()
		b.consumer("session/new")
		b.commit()
		before := b.s.Stats().Segments
		b.publish("hello", 1, "session/new")
		b.commit()
		if b.s.Stats().Segments > before {
			rolled++
		}
		if got := b.drain("session/new"); len(got) != 1 {
			t.Fatalf("pad %d: %q", pad, got)
		}
	}
	if rolled == 0 {
		t.Fatal("no segment has ended there")
	}
}
