package store

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"packetboat/broker/store/wal"
	"packetboat/broker/store/wal/simdisk"
)

// TestALedgerThatOnlyAgreesWithItselfIsFoundOut: counters that are wrong and add
// up all the same.
func TestALedgerThatOnlyAgreesWithItselfIsFoundOut(t *testing.T) {
	for _, tt := range []struct {
		name   string
		tamper func(c *Consumer)
	}{
		{"one more accepted, and delivered", func(c *Consumer) { c.accepted++ }},
		{"one more lost, and less delivered", func(c *Consumer) { c.lost[Dropped]++ }},
		{"one loss of another reason", func(c *Consumer) { c.lost[Dropped]--; c.lost[Expired]++ }},
		{"one more waiting", func(c *Consumer) { c.queued++; c.accepted++ }},
		{"a message of before the snapshot", func(c *Consumer) { c.lost[Purged]++; c.accepted++ }},
	} {
		for _, snapshots := range []int{0, 1, 2, 3} {
			t.Run(fmt.Sprintf("%s, %d snapshots", tt.name, snapshots), func(t *testing.T) {
				b := newBox(t).open()
				b.consumer("c").SetLimit(3, 0)
				for i := range 9 {
					b.publish(fmt.Sprint(i), 1, "c")
					b.commit()
					if i < snapshots {
						b.snapshot()
					}
				}
				d := b.next("c")
				b.consumer("c").Done(d.Seq)
				if v := b.agrees(); !v.Derived || !v.OK() {
					t.Fatalf("%+v", v)
				}
				tt.tamper(b.consumer("c"))
				a := b.s.beginAudit()
				b.commit()
				v, err := a.run(context.Background(), nil)
				if err != nil || v.OK() || v.Ledgers[0].Agrees() {
					t.Fatalf("%v: nobody noticed: %+v", err, v)
				}
			})
		}
	}
}

// TestEveryDamageIsNamed with what a later frame proves and what was before it.
func TestEveryDamageIsNamed(t *testing.T) {
	b := newBox(t).open()
	for i := range 60 {
		m := &Message{Topic: fmt.Sprintf("topic/%d", i), Payload: []byte(strings.Repeat(fmt.Sprintf("<%d>", i), 200)), QoS: 1}
		if _, err := b.tryPublish(m, "c"); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			b.commit() // two messages in a frame
		}
		if i == 29 {
			b.snapshot()
		}
		b.clock.pass(time.Second)
	}
	b.restart()
	places := []int{4, 12, 40, 47}
	for _, i := range places {
		b.garble(fmt.Sprintf("<%d><%d>", i, i))
	}
	check := func(when string, v *Verification, places []int) {
		t.Helper()
		if v.OK() || len(v.Damage) != len(places) {
			t.Fatalf("%s: %d places: %+v", when, len(v.Damage), v.Damage)
		}
		for k, i := range places {
			d := v.Damage[k]
			if last := fmt.Sprintf("topic/%d", i&^1-1); d.LastTopic != last || d.Torn || d.Bytes < 1200 || d.File == "" || d.LastReceived.Up == 0 {
				t.Errorf("%s: %+v, want %s before it", when, d, last)
			}
			if d.Messages != 2 {
				t.Errorf("%s: %d messages in %+v, want 2", when, d.Messages, d)
			}
		}
	}
	a := b.s.beginAudit()
	v, err := a.run(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	check("while it runs", v, places)
	if l := v.Ledgers[0]; l.Agrees() || len(l.Missing) != 4 {
		t.Fatalf("ledger %+v", l)
	}
	b.logs.Reset()
	b.open()
	v, err = b.s.beginAudit().run(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	check("at a start", v, places)
	for _, want := range []string{"last_message_before=topic/39", "last_message_before=topic/45", "messages=2"} {
		if !strings.Contains(b.logs.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, b.logs.String())
		}
	}
}

// TestATornTailIsReportedWithTheLastGoodMessage before it.
func TestATornTailIsReportedWithTheLastGoodMessage(t *testing.T) {
	b := newBox(t).open()
	for i := range 3 {
		if _, err := b.tryPublish(&Message{Topic: fmt.Sprint("t/", i), Payload: []byte("<" + fmt.Sprint(i) + ">"), QoS: 1}, "c"); err != nil {
			t.Fatal(err)
		}
		b.commit()
		b.clock.pass(time.Minute)
	}
	b.garble("<2>")
	b.open()
	v, err := b.s.beginAudit().run(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := b.s.Stats().Damage; len(d) != 1 || !d[0].Torn || d[0].LastTopic != "t/1" || d[0].LastReceived.Up != uint64(2*time.Minute/time.Microsecond) {
		t.Fatalf("damage %+v", d)
	}
	if !v.Ledgers[0].Agrees() {
		t.Fatalf("%+v", v)
	}
	if !strings.Contains(b.logs.String(), "last_message_before=t/1 received_about=2023-11-14T22:14:20Z") {
		t.Fatalf("log: %s", b.logs.String())
	}
}

// TestVerifyWhileTheQueueIsInUse: full, read, with snapshots and freed segments.
func TestVerifyWhileTheQueueIsInUse(t *testing.T) {
	s, err := Open(t.TempDir(), Options{MaxSize: 2 << 20, SegmentSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	var online, offline, valve *Consumer
	for name, c := range map[string]**Consumer{"bridge/on/0": &online, "bridge/off/0": &offline, "session/valve": &valve} {
		if *c, err = s.Consumer(name, SessionIDs); err != nil {
			t.Fatal(err)
		}
	}
	online.OnReady(func() {})
	var published atomic.Int64
	all.Go(func() {
		m := &Message{Topic: "t", Payload: make([]byte, 300), QoS: 1}
		for i := 0; ctx.Err() == nil; i++ {
			s.WaitForRoom()
			to := []Target{{Consumer: online, QoS: 1}, {Consumer: offline, QoS: 1}}
			if i%500 == 0 && i < 5000 {
				to = append(to, Target{Consumer: valve, QoS: 1})
			}
			if _, err := s.Publish(m, to); err != nil {
				t.Error(err)
				return
			}
			published.Add(1)
		}
	})
	all.Go(func() {
		for {
			d, err := online.Next(ctx)
			if err != nil {
				return
			}
			online.Done(d.Seq)
		}
	})
	for n := 0; n < 5 || published.Load() < 30_000; n++ {
		v, err := s.Verify(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range v.Ledgers {
			if l := &v.Ledgers[i]; !l.Agrees() {
				t.Errorf("%s: %+v; the log gives %+v", l.Consumer, *l, l.Counts)
			}
		}
		if len(v.Damage) > 0 {
			t.Errorf("damage %+v", v.Damage)
		}
	}
	cancel()
	all.Wait()
}

// TestAWrongLedgerIsPutRightAndSaid at the next snapshot.
func TestAWrongLedgerIsPutRightAndSaid(t *testing.T) {
	b := newBox(t).open()
	b.publish("x", 1, "c")
	b.publish("y", 1, "c")
	b.consumer("c").queued = 5
	b.snapshot()
	if l := b.balance("c"); l.Messages != 2 || b.s.Stats().LedgerErrors != 1 {
		t.Fatalf("ledger %+v, %d errors", l, b.s.Stats().LedgerErrors)
	}
	if !strings.Contains(b.logs.String(), "consumer=c ledger=5 waiting=2") {
		t.Fatalf("log: %s", b.logs.String())
	}
}

// TestAGapMarkerComesBeforeTheProgressItMakes, also where its record does not
// fit into the frame that is open, or begins a segment: else whoever reads the
// log takes what was dropped for delivered.
func TestAGapMarkerComesBeforeTheProgressItMakes(t *testing.T) {
	drops := map[string]func(b *box){
		"to make room": func(b *box) {
			b.s.mu.Lock()
			defer b.s.mu.Unlock()
			b.s.dropOldestLocked()
		},
		"beyond its limit": func(b *box) { b.consumer("c").SetLimit(2, 0); b.publish("x", 1, "c") },
		"left out":         func(b *box) { b.consumer("c").SetPolicy(DropNewest, 1); b.publish("x", 1, "c") },
		"purged":           func(b *box) { b.consumer("c").Purge() },
	}
	for what, drop := range drops {
		for _, ends := range []string{"frame", "segment"} {
			for left := 0; left < 100; left += 5 {
				b := newBox(t)
				b.opt.SegmentSize = 512 << 10
				limit := int(b.opt.SegmentSize) - 120 // its header and table, about
				if ends == "frame" {
					limit = wal.CommitBytes + 24
				}
				b.open()
				for range 8 {
					b.publish(string(make([]byte, 100<<10)), 1, "c")
					b.commit()
				}
				d := b.next("c")
				b.consumer("c").Rewind()
				b.consumer("c").Done(d.Seq) // its progress is due with the frame
				have := 24
				if ends == "segment" {
					segs := b.s.wal.Segments()
					have = int(b.s.wal.End() - segs[len(segs)-1].Start)
					if n := limit - have - 200<<10; n > 0 { // a frame is shorter than a segment
						b.publish(string(make([]byte, n)), 1, "other")
						b.commit()
						have = int(b.s.wal.End() - segs[len(segs)-1].Start)
					}
				}
				for n := limit - have - left; n > 40; n -= 100 << 10 {
					b.publish(string(make([]byte, min(n, 100<<10)-40)), 1, "other")
				}
				drop(b)
				b.publish(string(make([]byte, 200)), 1, "other") // closes the frame in any case
				b.agrees()
				was := b.s.Lookup("c").Lag()
				b.restart()
				if l := b.s.Lookup("c").Lag(); !l.same(&was) {
					t.Fatalf("%s, %d bytes before the end of the %s: ledger %+v, after a start %+v", what, left, ends, was, l)
				}
			}
		}
	}
}

// TestVerifyReadsAllThatRecoveryReads, wherever the process was killed: when a segment
// has begun and has no frame yet, its table is all that tells of what was finished.
func TestVerifyReadsAllThatRecoveryReads(t *testing.T) {
	for ops := 1; ; ops++ {
		b := newBox(t)
		b.opt.SegmentSize = 4 << 10
		b.open().consumer("c")
		n, killed := 0, false
		b.disk.Fault = func(simdisk.Op, string) error {
			if n++; n == ops {
				killed = true
				panic(crashHere{})
			}
			return nil
		}
		func() {
			defer func() {
				if r := recover(); r != nil && r != (crashHere{}) {
					panic(r)
				}
			}()
			for i := range 20 {
				b.publish(strings.Repeat("x", 600), 1, "c")
				b.commit()
				if i%2 == 1 {
					d := b.next("c")
					b.consumer("c").Done(d.Seq)
				}
			}
		}()
		b.disk.Fault = nil
		if !killed {
			return
		}
		s, err := Open("", Options{FS: readOnlyFS{b.disk}, Clock: b.clock, SegmentSize: b.opt.SegmentSize})
		if err != nil {
			t.Fatal(err)
		}
		v, err := s.Verify(t.Context(), nil)
		if err != nil || !v.Derived && v.Segments > 0 {
			t.Fatalf("killed at operation %d: %v, %+v", ops, err, v)
		}
		for _, l := range v.Ledgers {
			if !l.Agrees() {
				t.Errorf("killed at operation %d: %+v; the log gives %+v", ops, l, l.Counts)
			}
		}
	}
}
