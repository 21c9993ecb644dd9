package wal_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/store/wal"
	"packetboat/broker/store/wal/simdisk"
)

// run starts the committer and returns what ends it.
func (r *rig) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.log.Run(ctx) }()
	return func() {
		r.t.Helper()
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	}
}

// TestNothingIsDurableBeforeTheSyncReturns holds the sync back and looks at
// everything that could say too early that a record is on the disk.
func TestNothingIsDurableBeforeTheSyncReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, simdisk.New(), 1<<20)
		var told atomic.Int32
		r.opt.OnCommit = func(durable wal.Pos) { told.Add(1) }
		r.open(0, 0)
		r.add("m0") // header and table have their own sync
		told.Store(0)
		hold := make(chan struct{})
		held := false
		r.disk.Fault = func(op simdisk.Op, name string) error {
			if op == simdisk.OpSync && !held {
				held = true
				<-hold
			}
			return nil
		}
		defer r.run()()
		before := r.log.Durable()
		p := r.append("m1")
		var waited, called atomic.Bool
		go func() {
			if err := r.log.Wait(t.Context(), p); err != nil {
				t.Errorf("wait: %v", err)
			}
			waited.Store(true)
		}()
		if !r.log.OnDurable(p, func() { called.Store(true) }) {
			t.Fatal("OnDurable says that it is durable")
		}
		synctest.Wait()
		if !held {
			t.Fatal("no sync")
		}
		if waited.Load() || called.Load() || told.Load() > 0 || r.log.Durable() != before {
			t.Fatalf("before the sync returned: Wait %v, OnDurable %v, OnCommit %d, Durable %x", waited.Load(), called.Load(), told.Load(), r.log.Durable())
		}
		if _, ok := r.log.Record(p, nil); ok {
			t.Fatal("Record has it")
		}
		if _, _, err := r.log.Read(p-frameHead, nil); !errors.Is(err, io.EOF) {
			t.Fatalf("Read: %v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.log.Wait(short, p); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Wait with a deadline: %v", err)
		}
		for range 100 { // who gives up leaves nothing behind
			_ = r.log.Wait(short, p)
		}
		if n := r.log.Waiters(); n != 2 {
			t.Fatalf("%d wait, want Wait and OnDurable", n)
		}
		later := r.append("m2") // behind the frame that is being written
		close(hold)
		synctest.Wait()
		if !waited.Load() || !called.Load() || told.Load() == 0 || r.log.Durable() <= later {
			t.Fatalf("after the sync: Wait %v, OnDurable %v, OnCommit %d, Durable %x", waited.Load(), called.Load(), told.Load(), r.log.Durable())
		}
		if r.log.OnDurable(p, func() { t.Error("called for what is durable") }) {
			t.Fatal("OnDurable says that it is not durable")
		}
		if rec, ok := r.log.Record(p, nil); !ok || string(rec) != "m1" {
			t.Fatalf("Record: %q, %v", rec, ok)
		}
	})
}

func TestTheEndOfTheLogReleasesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, simdisk.New(), 1<<20).open(0, 0)
		stop := r.run()
		p := r.append("m1")
		never := p + 1000
		got := make(chan error)
		go func() { got <- r.log.Wait(t.Context(), never) }()
		called := make(chan struct{})
		r.log.OnDurable(never, func() { close(called) })
		synctest.Wait()
		stop()
		if err := <-got; !errors.Is(err, wal.ErrClosed) {
			t.Fatalf("Wait: %v", err)
		}
		<-called
		if err := r.log.Wait(t.Context(), never); !errors.Is(err, wal.ErrClosed) {
			t.Fatalf("Wait after the end: %v", err)
		}
		if err := r.log.Wait(t.Context(), p); err != nil {
			t.Fatalf("what was staged before the end: %v", err)
		}
	})
}

// TestCommitIntervalPacesTheSyncs notes the time of each commit.
func TestCommitIntervalPacesTheSyncs(t *testing.T) {
	const interval = 50 * time.Millisecond
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	type stage struct {
		at   time.Duration
		size int
	}
	many := func(n int, every time.Duration) (s []stage) {
		for i := range n {
			s = append(s, stage{time.Duration(i) * every, 100})
		}
		return s
	}
	for name, tt := range map[string]struct {
		stages []stage
		want   []time.Duration
	}{
		"the first after idle goes at once":      {[]stage{{0, 10}}, []time.Duration{0}},
		"each after idle goes at once":           {[]stage{{0, 10}, {ms(60), 10}, {ms(200), 10}}, []time.Duration{0, ms(60), ms(200)}},
		"the second waits for the interval":      {[]stage{{0, 10}, {ms(1), 10}, {ms(49), 10}}, []time.Duration{0, interval}},
		"under load there is one per interval":   {many(200, ms(1)), []time.Duration{0, ms(50), ms(100), ms(150), ms(200)}},
		"256 KiB do not wait, but for the last":  {[]stage{{0, 10}, {ms(5), 100 << 10}, {ms(10), 160 << 10}}, []time.Duration{0, ms(10), ms(60)}},
		"what comes behind 256 KiB waits again":  {[]stage{{0, 10}, {ms(10), 300 << 10}, {ms(20), 10}}, []time.Duration{0, ms(10), ms(60)}},
		"an end of the log does not wait either": {[]stage{{0, 10}, {ms(5), 10}}, []time.Duration{0, ms(7)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, simdisk.New(), 8<<20)
				var got []time.Duration
				start := time.Now()
				r.opt.CommitInterval = interval
				r.opt.OnCommit = func(wal.Pos) {
					if d := time.Since(start); len(got) == 0 || got[len(got)-1] != d {
						got = append(got, d)
					}
				}
				r.open(0, 0)
				stop := r.run()
				for _, s := range tt.stages {
					time.Sleep(s.at - time.Since(start))
					r.append(msg(0, s.size))
				}
				if strings.HasPrefix(name, "an end") {
					time.Sleep(ms(2))
				} else {
					time.Sleep(time.Second)
				}
				stop()
				if len(got) != len(tt.want) {
					t.Fatalf("commits at %v, want %v", got, tt.want)
				}
				for i := range got {
					if got[i] != tt.want[i] {
						t.Fatalf("commits at %v, want %v", got, tt.want)
					}
				}
			})
		})
	}
}

func TestWithoutAnIntervalOneSyncServesAllThatCameDuringTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, simdisk.New(), 8<<20).open(0, 0)
		r.add("m")
		r.disk.Fault = func(op simdisk.Op, name string) error {
			if op == simdisk.OpSync {
				time.Sleep(20 * time.Millisecond)
			}
			return nil
		}
		syncs := r.disk.Syncs
		stop := r.run()
		var acks atomic.Int64
		var wg sync.WaitGroup
		end := time.Now().Add(time.Second)
		for range 100 { // publishers with one message in flight
			wg.Go(func() {
				for time.Now().Before(end) {
					if err := r.log.Wait(t.Context(), r.append("m")); err != nil {
						t.Error(err)
						return
					}
					acks.Add(1)
				}
			})
		}
		wg.Wait()
		stop()
		if n := r.disk.Syncs - syncs; n > 55 || acks.Load() < 1800 {
			t.Fatalf("%d acks with %d syncs in a second of 20 ms syncs", acks.Load(), n)
		}
	})
}

// TestReadersFollowTheCommitter reads, frees and recycles while it commits.
func TestReadersFollowTheCommitter(t *testing.T) {
	const n = 3000
	r := newRig(t, simdisk.New(), 32<<10)
	more := make(chan struct{}, 1)
	r.opt.OnCommit = func(wal.Pos) {
		select {
		case more <- struct{}{}:
		default:
		}
	}
	r.open(0, 0)
	stop := r.run()
	var wg sync.WaitGroup
	newest := make(chan wal.Pos, n)
	wg.Go(func() {
		for i := range n {
			newest <- r.append(msg(i, 200))
			if i%50 == 0 {
				_ = r.log.Wait(context.Background(), r.append("x"))
			}
		}
		close(newest)
	})
	wg.Go(func() { // the newest, from memory if they are still there
		var buf []byte
		i := 0
		for p := range newest {
			rec, ok := r.log.Record(p, buf)
			if ok && !strings.HasPrefix(string(rec), msg(i, 6)) {
				t.Errorf("record %d is %.10q", i, rec)
			}
			buf = rec
			i++
		}
	})
	wg.Go(func() { // in order, freeing behind
		var buf []byte
		seen := 0
		for p := wal.FirstPos; seen < n; {
			recs, next, err := r.log.Read(p, buf)
			if errors.Is(err, io.EOF) {
				<-more
				continue
			}
			if err != nil {
				t.Errorf("read %x: %v", uint64(p), err)
				return
			}
			buf = recs
			for len(recs) > 0 {
				var rec []byte
				if rec, recs, err = wal.NextRecord(recs); err != nil {
					t.Errorf("frame at %x: %v", uint64(p), err)
					return
				}
				if rec[0] != 'm' {
					continue
				}
				if !strings.HasPrefix(string(rec), msg(seen, 6)) {
					t.Errorf("message %d is %.10q", seen, rec)
					return
				}
				seen++
			}
			p = next
			if segs := r.log.Segments(); len(segs) > 4 && segs[1].Start <= p {
				if err := r.log.Free(segs[0].Start); err != nil {
					t.Errorf("free: %v", err)
				}
			}
		}
	})
	wg.Wait()
	stop()
}
