package gateway

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"packetboat/bridge"
	"packetboat/broker/store"
)

// A sample is what counters and sizes were at a moment. What changed of late, and
// how long that may go on, is told by two of them.
type sample struct {
	at       time.Time
	queued   uint64 // bytes that wait
	written  uint64 // bytes, to the log
	refused  uint64 // publishes that the queue did not take
	bridges  map[string]flow
	adapters map[string]frames
}

// flow is what has come to a bridge, and gone.
type flow struct {
	waiting uint64 // messages
	dropped uint64 // messages, as there was no room
}

// frames is what an adapter's devices have sent.
type frames struct {
	bytes, good, bad uint64
	undecoded        uint64 // of the bad ones
}

const (
	sampleEvery = 2 * time.Second
	samplesKept = 31 // a minute
)

// trend remembers the samples of the last minute.
type trend struct {
	mu   sync.Mutex
	list []sample // the oldest first
}

// run takes samples until ctx ends.
func (t *trend) run(ctx context.Context, take func() sample) error {
	t.add(take())
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			t.add(take())
		}
	}
}

func (t *trend) add(s sample) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) == samplesKept {
		t.list = append(t.list[:0], t.list[1:]...)
	}
	t.list = append(t.list, s)
}

// from is the oldest sample that was taken at since or later; now, when there is
// none.
func (t *trend) from(since time.Time, now sample) sample {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.list {
		if !t.list[i].at.Before(since) {
			return t.list[i]
		}
	}
	return now
}

// enough is how long has to be between two samples for a rate.
const enough = sampleEvery - 100*time.Millisecond

// fillRate is by how many bytes a second the queue grows; false: it does not, or
// that is not known yet. What waits for two bridges is written once.
func fillRate(old, now sample) (rate float64, ok bool) {
	took := now.at.Sub(old.at)
	if took < enough || now.queued <= old.queued || now.written <= old.written {
		return 0, false
	}
	rate = float64(min(now.queued-old.queued, now.written-old.written)) / took.Seconds()
	return rate, rate >= 1
}

// drainTime is how long a bridge that is online needs until nothing waits for it,
// at the rate of late: what comes in is counted against what goes. limit bounds
// the messages a second of a backlog, 0 for none; it is all that is known at first.
func drainTime(old, now flow, took time.Duration, limit int) (left time.Duration, ok bool) {
	gone := float64(old.waiting) - float64(now.waiting)
	switch {
	case now.waiting == 0:
		return 0, true
	case took < enough && limit > 0:
		return time.Duration(float64(now.waiting) / float64(limit) * float64(time.Second)), true
	case took < enough, gone <= 0:
		return 0, false
	}
	return time.Duration(float64(now.waiting) / gone * float64(took)), true
}

// sample takes one.
func (g *Gateway) sample() sample {
	disk := g.store.Stats()
	s := sample{
		at: time.Now(), queued: disk.Queued, written: disk.Bytes, refused: g.broker.Stats().Refused,
		bridges: map[string]flow{}, adapters: map[string]frames{},
	}
	for _, b := range g.bridges.all() {
		s.bridges[b.Name()] = flowOf(b)
	}
	for _, a := range g.devices.all() {
		st := a.Stats()
		s.adapters[a.Name()] = frames{
			bytes: st.Frame.Bytes, good: st.Frame.Frames - min(st.Undecoded, st.Frame.Frames), bad: st.Frame.Bad() + st.Undecoded, undecoded: st.Undecoded,
		}
	}
	return s
}

func flowOf(b *bridge.Bridge) (f flow) {
	for _, l := range b.Lag() {
		f.waiting += l.Messages
		f.dropped += l.Lost[store.Dropped]
	}
	return f
}

// freeBytes is how much the file system of a directory has free for us; -1 when
// that cannot be known.
func freeBytes(dir string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return -1
	}
	return int64(st.Bavail) * int64(st.Bsize)
}

// clockSynchronised asks the kernel.
func clockSynchronised() bool {
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	return err == nil && state != unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC == 0
}
