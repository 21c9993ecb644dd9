package store

import (
	"fmt"
	"testing"
	"time"

	"packetboat/broker/store/wal"
	"packetboat/broker/store/wal/simdisk"
)

// null is a disk without a disk: what is left is the store's own work.
type null struct{ *simdisk.Disk }

type nullFile struct{ wal.File }

func (d null) Open(name string, create bool) (wal.File, error) {
	f, err := d.Disk.Open(name, create)
	return nullFile{f}, err
}

func (nullFile) WriteAt(b []byte, off int64) (int, error) { return len(b), nil }
func (nullFile) Sync() error                              { return nil }
func (nullFile) Allocate(int64) error                     { return nil }

// onNothing opens a store whose disk forgets, with consumers that are online.
func onNothing(t testing.TB, names ...string) (*box, []Target) {
	b := newBox(t)
	b.opt.FS = null{b.disk}
	b.opt.SegmentSize = 1 << 30
	b.open()
	var to []Target
	for _, name := range names {
		c := b.consumer(name)
		c.OnReady(func() {})
		to = append(to, Target{Consumer: c, QoS: 1, SubscriptionIDs: []uint32{1}})
	}
	return b, to
}

// take finishes all there is and returns how many.
func take(c *Consumer, d *Delivery) (n int) {
	for c.TryNext(d) {
		c.Done(d.Seq)
		n++
	}
	return n
}

// TestAMessageOnItsWayThroughAllocatesNothing: staged, committed, handed out from
// memory, finished, with the progress that is due.
func TestAMessageOnItsWayThroughAllocatesNothing(t *testing.T) {
	for _, consumers := range []int{1, 3} {
		var names []string
		for i := range consumers {
			names = append(names, fmt.Sprint("c", i))
		}
		b, to := onNothing(t, names...)
		m := &Message{Topic: "line/3/temperature", Payload: make([]byte, 100), QoS: 1, Origin: "session/p"}
		var d Delivery
		round := func() {
			for range 10 {
				if _, err := b.s.Publish(m, to); err != nil {
					t.Fatal(err)
				}
			}
			b.commit()
			for i := range to {
				if n := take(to[i].Consumer, &d); n != 10 {
					t.Fatalf("%d of 10 delivered", n)
				}
			}
			b.clock.pass(100 * time.Millisecond)
		}
		for range 2000 {
			round()
		}
		if a := testing.AllocsPerRun(500, round); a > 0.5 {
			t.Errorf("%d consumers: %.2f allocations for ten messages", consumers, a)
		}
	}
}

// TestTheBacklogOfAnOfflineConsumerTakesNoMemory but for its spans.
func TestTheBacklogOfAnOfflineConsumerTakesNoMemory(t *testing.T) {
	b := newBox(t)
	b.opt.FS = null{b.disk}
	b.opt.SegmentSize = 1 << 20
	b.open()
	to := []Target{{Consumer: b.consumer("offline"), QoS: 1}}
	m := &Message{Topic: "t", Payload: make([]byte, 100), QoS: 1}
	publish := func(n int) {
		for range n {
			if _, err := b.s.Publish(m, to); err != nil {
				t.Fatal(err)
			}
		}
		b.commit()
	}
	publish(100_000)
	spans := len(to[0].Consumer.spans)
	publish(200_000)
	if n := len(to[0].Consumer.spans); n > 3*spans+3 || n > 60 {
		t.Fatalf("%d spans for 300,000 messages, %d for 100,000", n, spans)
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, consumers := range []int{1, 5} {
		b.Run(fmt.Sprintf("%d consumers", consumers), func(b *testing.B) {
			var names []string
			for i := range consumers {
				names = append(names, fmt.Sprint("c", i))
			}
			x, to := onNothing(b, names...)
			m := &Message{Topic: "line/3/temperature", Payload: make([]byte, 100), QoS: 1}
			b.SetBytes(100)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := x.s.Publish(m, to); err != nil {
					b.Fatal(err)
				}
				if i%100 == 99 {
					x.commit()
				}
			}
		})
	}
}

func BenchmarkPublishDeliverDone(b *testing.B) {
	x, to := onNothing(b, "c")
	m := &Message{Topic: "line/3/temperature", Payload: make([]byte, 100), QoS: 1}
	var d Delivery
	b.SetBytes(100)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := x.s.Publish(m, to); err != nil {
			b.Fatal(err)
		}
		if i%100 == 99 {
			x.commit()
			take(to[0].Consumer, &d)
		}
	}
}

// BenchmarkLargeLiveMessages: each is taken before the next one comes.
func BenchmarkLargeLiveMessages(b *testing.B) {
	x, to := onNothing(b, "c")
	to[0].Consumer.OnReady(func() {})
	m := &Message{Topic: "camera/3", Payload: make([]byte, 64<<10), QoS: 1}
	var d Delivery
	b.SetBytes(64 << 10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.s.Publish(m, to); err != nil {
			b.Fatal(err)
		}
		x.commit()
		take(to[0].Consumer, &d)
	}
}

// backlog makes a store on fs with n messages of 100 bytes for "c".
func backlog(b *testing.B, fs wal.FS, n int) Options {
	x := newBox(b)
	x.opt.FS = fs
	x.opt.SegmentSize = 8 << 20
	x.open()
	to := []Target{{Consumer: x.consumer("c"), QoS: 1}}
	m := &Message{Topic: "line/3/temperature", Payload: make([]byte, 100), QoS: 1}
	for i := range n {
		if _, err := x.s.Publish(m, to); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 {
			x.s.mu.Lock()
			x.s.wal.Seal()
			x.s.mu.Unlock()
		}
		if i%50_000 == 0 {
			x.commit()
		}
	}
	x.commit()
	return x.opt
}

// BenchmarkTryNextFromDisk drains a backlog that is not in the log's memory.
func BenchmarkTryNextFromDisk(b *testing.B) {
	const n = 200_000
	disk := simdisk.New()
	x := &box{t: b, opt: backlog(b, disk, n)}
	var c *Consumer
	var d Delivery
	seen := n
	b.SetBytes(100)
	b.ReportAllocs()
	for b.Loop() {
		if seen == n {
			b.StopTimer()
			x.opt.FS = disk.Clone()
			x.open()
			c, seen = x.consumer("c"), 0
			b.StartTimer()
		}
		if !c.TryNext(&d) {
			x.commit() // the identifiers go round: the floor has to be durable first
			if !c.TryNext(&d) {
				b.Fatalf("nothing at %d", seen)
			}
		}
		c.Done(d.Seq)
		seen++
	}
}

// BenchmarkRecovery opens a million messages of 100 bytes: from the log alone, and
// behind a snapshot.
func BenchmarkRecovery(b *testing.B) {
	const n = 1_000_000
	opt := backlog(b, wal.Dir(b.TempDir()), n)
	for _, how := range []string{"from the log", "from a snapshot"} {
		b.Run(how, func(b *testing.B) {
			if how == "from a snapshot" {
				x := &box{t: b, opt: opt}
				x.open()
				x.snapshot()
			}
			b.ReportAllocs()
			for b.Loop() {
				s, err := Open("", opt)
				if err != nil {
					b.Fatal(err)
				}
				if l := s.Lookup("c").Lag(); l.Messages != n {
					b.Fatalf("%d messages", l.Messages)
				}
			}
		})
	}
}
