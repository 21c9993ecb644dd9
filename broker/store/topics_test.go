package store

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func (b *box) publishOn(topic, payload string, m Message, names ...string) {
	b.t.Helper()
	m.Topic, m.Payload, m.QoS = topic, []byte(payload), 1
	if _, err := b.tryPublish(&m, names...); err != nil {
		b.t.Fatal(err)
	}
}

func topicsOf(t *testing.T, gaps []Gap) []TopicCount {
	t.Helper()
	if len(gaps) != 1 {
		t.Fatalf("gap markers %+v", gaps)
	}
	return gaps[0].Topics
}

// TestGapMarkersTellTheTopics, at once and when the log or a snapshot is read
// again.
func TestGapMarkersTellTheTopics(t *testing.T) {
	const name = "bridge/c/0"
	for _, tt := range []struct {
		name string
		lose func(b *box)
		want []TopicCount
	}{
		{"expired while they waited", func(b *box) {
			for i := range 6 {
				b.publishOn(fmt.Sprint("t/", i%2), "x", Message{Expiry: 1, HasExpiry: true}, name)
			}
			b.clock.pass(time.Hour)
			b.drain(name)
		}, []TopicCount{{"t/0", 3}, {"t/1", 3}}},
		{"left out of a lane that is full", func(b *box) {
			b.consumer(name).SetPolicy(DropNewest, 1)
			for i := range 5 {
				b.publishOn(fmt.Sprint("t/", i/3), "x", Message{}, name)
			}
		}, []TopicCount{{"t/0", 3}, {"t/1", 2}}},
		{"refused by the peer some time after they were sent", func(b *box) {
			b.consumer(name).Inspect(func(*Delivery, time.Duration) (Reason, string) { return 0, "" })
			for i := range 4 {
				b.publishOn(fmt.Sprint("t/", i), "x", Message{}, name)
			}
			b.commit()
			for range 4 {
				b.next(name)
			}
			b.consumer(name).GiveUp(1, Refused, "")
			b.consumer(name).GiveUp(2, Refused, "")
		}, []TopicCount{{"t/1", 1}, {"t/2", 1}}},
		{"purged", func(b *box) {
			for i := range 6 {
				b.publishOn(fmt.Sprint("t/", i/4), "x", Message{}, name)
			}
			b.commit()
			d := b.next(name)
			b.consumer(name).Done(d.Seq)
			b.consumer(name).Purge()
		}, []TopicCount{{"t/0", 3}, {"t/1", 2}}},
		{"dropped with their segment, but for what was delivered", func(b *box) {
			b.consumer("bridge/other/0")
			for i := range 40 { // two segments, and more than is rescued
				b.publishOn(fmt.Sprint("t/", i%4), string(make([]byte, 11<<10)), Message{}, name)
			}
			b.commit()
			for range 2 {
				d := b.next(name)
				b.consumer(name).Done(d.Seq)
			}
			b.consumer(name).Rewind()
			b.s.mu.Lock()
			b.s.censusNeed = 4 * b.opt.SegmentSize
			b.s.mu.Unlock()
			b.s.takeCensuses()
			b.s.mu.Lock()
			for range 4 {
				b.s.dropOldestLocked()
			}
			b.s.mu.Unlock()
		}, []TopicCount{{"t/2", 2}, {"t/3", 2}, {"t/0", 1}, {"t/1", 1}}},
		{"more topics than a marker holds", func(b *box) {
			for i := range 100 {
				b.publishOn(fmt.Sprint("t/", i), "x", Message{Expiry: 1, HasExpiry: true}, name)
			}
			b.clock.pass(time.Hour)
			b.drain(name)
		}, func() (list []TopicCount) {
			for i := range 64 {
				list = append(list, TopicCount{fmt.Sprint("t/", i), 1})
			}
			return list
		}()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t)
			b.opt.SegmentSize = 24 << 10
			b.open()
			tt.lose(b)
			b.commit()
			got := topicsOf(t, b.s.Gaps())
			if !slices.Equal(got, tt.want) {
				t.Fatalf("topics %+v, want %+v", got, tt.want)
			}
			b.restart()
			equal(t, "from the log", topicsOf(t, b.s.Gaps()), tt.want)
			b.snapshot()
			b.open()
			equal(t, "from a snapshot", topicsOf(t, b.s.Gaps()), tt.want)
		})
	}
}

// TestTheLedgersTopicsAreBounded: the oldest markers lose theirs.
func TestTheLedgersTopicsAreBounded(t *testing.T) {
	b := newBox(t).open()
	for i := range uint64(500) {
		var topics []TopicCount
		for k := range 64 {
			topics = append(topics, TopicCount{fmt.Sprintf("t/%d/%d", i, k), 1})
		}
		b.s.noteGapLocked(Gap{Consumer: "session/a", Reason: Dropped, Count: 64, FirstSeq: 1000 * i, LastSeq: 1000*i + 63, Topics: topics}, 1)
	}
	sum := 0
	gaps := b.s.Gaps()
	for _, g := range gaps {
		sum += len(g.Topics)
	}
	if sum > maxLedgerTopics || sum < maxLedgerTopics/2 || len(gaps) != 500 || len(gaps[499].Topics) != 64 {
		t.Fatalf("%d topics in %d markers", sum, len(gaps))
	}
}
