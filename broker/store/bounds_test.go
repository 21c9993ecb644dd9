package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"packetboat/broker/store/wal/simdisk"
)

// du is what the files take.
func (b *box) du() (sum int64) {
	files, err := b.disk.List()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range files {
		sum += f.Size
	}
	return sum
}

// run runs the store until stop is called.
func (b *box) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	s := b.s
	go func() { ended <- s.Run(ctx) }()
	return func() {
		b.t.Helper()
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("Run: %v", err)
		}
	}
}

func numbered(n int, size int) string {
	p := make([]byte, size)
	binary.BigEndian.PutUint64(p, uint64(n))
	return string(p)
}

// takeNumbers drains a consumer of numbered messages while the store runs.
func (b *box) takeNumbers(name string) (got []uint64) {
	b.t.Helper()
	c := b.consumer(name)
	var d Delivery
	for {
		for c.TryNext(&d) {
			if !d.Released {
				got = append(got, binary.BigEndian.Uint64(d.Payload))
			}
			c.Done(d.Seq)
		}
		if c.Lag().Messages == 0 {
			return got
		}
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
	}
}

// TestAFullQueueDropsTheOldestAndTellsExactlyWhat: five times the limit for an
// offline bridge.
func TestAFullQueueDropsTheOldestAndTellsExactlyWhat(t *testing.T) {
	for _, tt := range []struct {
		name   string
		qos    byte
		size   int
		more   func(b *box) // besides
		commit time.Duration
		least  int // per cent of the limit that is kept; 0 = 60
	}{
		{name: "small messages", qos: 1, size: 100},
		{name: "large messages", qos: 1, size: 3000},
		{name: "QoS 2", qos: 2, size: 500},
		{name: "paced commits", qos: 1, size: 500, commit: 50 * time.Millisecond},
		{name: "with a snapshot of 8 per cent of the limit", qos: 1, size: 500, least: 20, more: func(b *box) {
			for i := range 40 {
				b.s.Set(fmt.Sprint("session", i), make([]byte, 1000))
				m := Message{Topic: fmt.Sprint(i), Payload: make([]byte, 1000), Retain: true}
				if _, err := b.s.Publish(&m, nil); err != nil {
					b.t.Error(err)
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const limit = 1 << 20
				b := newBox(t)
				b.opt.MaxSize, b.opt.SegmentSize, b.opt.CommitInterval = limit, 16<<10, tt.commit
				b.open()
				stop := b.run()
				if tt.more != nil {
					tt.more(b)
				}
				n := 5 * limit / tt.size
				most := int64(0)
				for i := range n {
					b.s.WaitForRoom()
					b.publish(numbered(i, tt.size), tt.qos, "bridge/up/0")
					if i%200 == 199 {
						if i%1000 == 999 {
							time.Sleep(time.Second)
						}
						synctest.Wait()
					}
					if i%101 == 0 {
						most = max(most, b.du())
					}
				}
				time.Sleep(3 * time.Second)
				synctest.Wait()
				most = max(most, b.du())
				if most > limit+b.opt.SegmentSize {
					t.Errorf("the files take %d bytes, %d above the limit of %d", most, most-limit, limit)
				}
				accepted := b.s.Lookup("bridge/up/0").Lag().Accepted
				if accepted != uint64(n) {
					t.Errorf("accepted %d of %d", accepted, n)
				}
				stop()
				b.crash(1)
				gaps := b.s.Gaps()
				stop = b.run()
				got := b.takeNumbers("bridge/up/0")
				stop()
				// The newest, without a hole.
				for i, v := range got {
					if want := uint64(n - len(got) + i); v != want {
						t.Fatalf("delivery %d of %d is message %d, want %d", i, len(got), v, want)
					}
				}
				least := tt.least
				if least == 0 {
					least = 60
				}
				if kept := len(got) * tt.size; kept < limit/100*least {
					t.Errorf("%d bytes are kept of a limit of %d", kept, limit)
				}
				if len(gaps) != 1 || gaps[0].FirstSeq != 0 || gaps[0].LastSeq != uint64(n-len(got)-1) || gaps[0].Count != uint64(n-len(got)) ||
					gaps[0].Reason != Dropped || gaps[0].Consumer != "bridge/up/0" {
					t.Errorf("%d of %d are missing, gap markers %+v", n-len(got), n, gaps)
				}
				if want := []TopicCount{{"t", uint64(n - len(got))}}; len(gaps) != 1 || !slices.Equal(gaps[0].Topics, want) {
					t.Errorf("topics of the gap markers %+v, want %+v", gaps, want)
				}
				b.open()
				l := b.balance("bridge/up/0")
				if l.Accepted != uint64(n) || l.Lost[Dropped] != uint64(n-len(got)) || l.Delivered != uint64(len(got)) {
					t.Errorf("ledger %+v, delivered %d of %d", l, len(got), n)
				}
			})
		})
	}
}

// TestAQueueThatIsReadNeverDrops: traffic of many times the limit passes through.
func TestAQueueThatIsReadNeverDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 1 << 20
		b := newBox(t)
		b.opt.MaxSize, b.opt.SegmentSize = limit, 16<<10
		b.open()
		stop := b.run()
		c := b.consumer("bridge/up/0")
		b.publish("three commands", 1, "session/valve") // an offline consumer pins the beginning
		got := 0
		most := int64(0)
		for i := range 5000 {
			b.s.WaitForRoom()
			b.publish(numbered(i, 1000), 1, "bridge/up/0")
			if i%50 == 49 {
				synctest.Wait()
				for d := (Delivery{}); c.TryNext(&d); got++ {
					if v := binary.BigEndian.Uint64(d.Payload); v != uint64(got) {
						t.Fatalf("delivery %d is message %d", got, v)
					}
					c.Done(d.Seq)
				}
				time.Sleep(100 * time.Millisecond)
				most = max(most, b.du())
			}
		}
		stop()
		if got != 5000 || len(b.s.Gaps()) > 0 {
			t.Fatalf("%d of 5000 delivered, gap markers %+v", got, b.s.Gaps())
		}
		if most > limit+b.opt.SegmentSize {
			t.Fatalf("the files took %d bytes", most)
		}
		b.open()
		equal(t, "the offline one", b.drain("session/valve"), []string{"three commands"})
	})
}

// TestWhatIsInFlightStaysWhenTheQueueIsFull: the peer's answer still finds it,
// and writing it again and again does not fill the disk.
func TestWhatIsInFlightStaysWhenTheQueueIsFull(t *testing.T) {
	for _, tt := range []struct {
		name   string
		qos    byte
		flying int
		size   int
	}{
		{"a few", 1, 20, 500},
		{"a few at QoS 2", 2, 20, 500},
		{"half of the queue", 1, 500, 1000},
		{"all that fits a window, at QoS 2", 2, windowSize, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const limit = 1 << 20
				b := newBox(t)
				b.opt.MaxSize, b.opt.SegmentSize = limit, 16<<10
				b.open()
				stop := b.run()
				c := b.consumer("bridge/up/0")
				for i := range tt.flying {
					b.publish(numbered(i, tt.size), tt.qos, "bridge/up/0")
				}
				synctest.Wait()
				var flying []Delivery
				for d := (Delivery{}); c.TryNext(&d); {
					flying = append(flying, d)
				}
				if len(flying) != tt.flying {
					t.Fatalf("%d in flight", len(flying))
				}
				written := b.disk.Written
				most, refused, sent := int64(0), 0, 0
				for i := range 5 * limit / tt.size {
					b.s.WaitForRoom()
					_, err := b.tryPublish(&Message{Topic: "t", Payload: []byte(numbered(tt.flying+i, tt.size)), QoS: tt.qos}, "bridge/up/0")
					if errors.Is(err, ErrFull) {
						refused++
					} else if err != nil {
						t.Fatal(err)
					}
					sent += tt.size
					if i%100 == 99 {
						synctest.Wait()
						time.Sleep(100 * time.Millisecond)
						most = max(most, b.du())
					}
				}
				synctest.Wait()
				if most > limit+b.opt.SegmentSize {
					t.Errorf("the files take %d bytes, %d above the limit", most, most-limit)
				}
				if more := b.disk.Written - written; more > 3*int64(sent) {
					t.Errorf("%d bytes written for %d bytes published", more, sent)
				}
				for _, d := range flying {
					if seq, _, ok := c.Seq(d.ID); !ok || seq != d.Seq {
						t.Fatalf("the answer to %d finds seq %d, %v", d.ID, seq, ok)
					}
				}
				// The link was lost: they come again, all of them, first and in order.
				c.Rewind()
				for i := range flying {
					d := Delivery{}
					if !c.TryNext(&d) || binary.BigEndian.Uint64(d.Payload) != uint64(i) || d.ID != flying[i].ID {
						t.Fatalf("delivery %d after the link was lost is %d", i, d.Seq)
					}
				}
				for i := range flying {
					c.Done(flying[i].Seq)
				}
				b.takeNumbers("bridge/up/0")
				stop()
				b.open()
				b.balance("bridge/up/0")
				t.Logf("%d refused, at most %d bytes", refused, most)
			})
		})
	}
}

// TestARescueThatCannotReadLosesNothing: there are no file descriptors while the
// oldest segment has to go.
func TestARescueThatCannotReadLosesNothing(t *testing.T) {
	b := newBox(t).open()
	const n = 60
	for i := range n {
		b.publish(numbered(i, 1000), 1, "c")
	}
	b.commit()
	b.open()
	c := b.consumer("c")
	var d Delivery
	for range 5 {
		if !c.TryNext(&d) {
			t.Fatal("nothing")
		}
	}
	b.open()
	c = b.consumer("c")
	for range 5 {
		if !c.TryNext(&d) {
			t.Fatal("nothing")
		}
	}
	b.disk.Fault = func(op simdisk.Op, name string) error {
		if op == simdisk.OpOpen || op == simdisk.OpRead {
			return unix.EMFILE
		}
		return nil
	}
	b.s.mu.Lock()
	gained := b.s.dropOldestLocked()
	b.s.mu.Unlock()
	b.disk.Fault = nil
	if l := b.balance("c"); l.Lost[Damaged] > 0 {
		t.Fatalf("%d bytes gained, ledger %+v", gained, l)
	}
}

// TestTheFreeSpaceOfTheDiskIsSpentOnlyOnce between two measurements.
func TestTheFreeSpaceOfTheDiskIsSpentOnlyOnce(t *testing.T) {
	b := newBox(t)
	b.opt.MinFree = 1 << 20
	b.open()
	b.s.diskFree = b.opt.MinFree + 200<<10
	sent := 0
	for {
		_, err := b.tryPublish(&Message{Topic: "t", Payload: make([]byte, 1000), QoS: 1}, "c")
		if errors.Is(err, ErrFull) {
			break
		}
		if sent += 1000; sent > 300<<10 {
			t.Fatalf("%d bytes were taken with 200 KiB above min_free", sent)
		}
	}
	if sent < 100<<10 {
		t.Fatalf("full after %d bytes with 200 KiB above min_free", sent)
	}
}

// TestSnapshotsDuringTraffic: publishers, a reader, snapshots, then the power.
func TestSnapshotsDuringTraffic(t *testing.T) {
	for seed := range uint64(2) {
		b := newBox(t)
		b.opt.SegmentSize = 8 << 10
		b.open()
		stop := b.run()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		const n = 800
		acked := make(chan int, 4*n)
		b.consumer("c")
		done := make(chan struct{})
		for p := range 3 {
			go func() {
				defer func() { done <- struct{}{} }()
				for i := range n {
					r, err := b.s.Publish(&Message{Topic: "t", Payload: []byte(numbered(p*n+i, 60)), QoS: 1}, []Target{{Consumer: b.s.Lookup("c"), QoS: 1}})
					if err != nil {
						t.Error(err)
						return
					}
					b.s.Set("last", []byte(fmt.Sprint(i)))
					if i%20 == 0 {
						if err := b.s.Wait(ctx, r); err != nil {
							return
						}
						acked <- p*n + i
					}
				}
			}()
		}
		for range 2 {
			go func() {
				defer func() { done <- struct{}{} }()
				for range 15 {
					if err := b.s.Snapshot(ctx); err != nil {
						t.Errorf("snapshot: %v", err)
					}
					b.s.freeSegments()
				}
			}()
		}
		taken := map[uint64]bool{}
		c := b.consumer("c")
		for range n {
			d, err := c.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			taken[binary.BigEndian.Uint64(d.Payload)] = true
			c.Done(d.Seq)
		}
		for range 5 {
			<-done
		}
		stop()
		cancel()
		b.disk.Crash(rand.New(rand.NewPCG(seed, 5)))
		b.open()
		last := map[uint64]uint64{}
		for _, p := range b.drain("c") {
			v := binary.BigEndian.Uint64([]byte(p))
			if before, ok := last[v/n]; ok && before >= v {
				t.Fatalf("%d after %d", v, before)
			}
			last[v/n] = v
			taken[v] = true
		}
		close(acked)
		for v := range acked {
			if !taken[uint64(v)] {
				t.Fatalf("message %d was answered and is lost", v)
			}
		}
		b.balance("c")
	}
}

// TestDropNewestKeepsTheBoundOfItsLane: what is left out takes nothing off what
// is queued.
func TestDropNewestKeepsTheBoundOfItsLane(t *testing.T) {
	b := newBox(t).open()
	c := b.consumer("c")
	const bound = 10_000
	c.SetPolicy(DropNewest, bound)
	for i := range 100 {
		b.publish(numbered(i, 500), 1, "c")
		if i%7 == 0 {
			b.commit()
		}
	}
	check := func(when string) {
		t.Helper()
		l := b.balance("c")
		if l.Bytes > bound || l.Accepted != 100 || l.Messages < 15 || l.Messages*500 > bound || l.Lost[Dropped] != 100-l.Messages {
			t.Fatalf("%s: ledger %+v", when, l)
		}
	}
	check("at once")
	b.crash(1)
	check("after a crash")
	got := b.drain("c")
	for i, p := range got {
		if v := binary.BigEndian.Uint64([]byte(p)); v != uint64(i) {
			t.Fatalf("delivery %d is message %d", i, v)
		}
	}
}
