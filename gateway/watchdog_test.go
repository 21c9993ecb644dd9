package gateway

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheWatchdogIsFedByTheRouterAndByNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 30 * time.Second
		var router atomic.Pointer[chan struct{}] // closed: one gets through
		through, shut := make(chan struct{}), make(chan struct{})
		close(through)
		router.Store(&through)
		beat := newPulse(func() { <-*router.Load() })
		var fed atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		var parts sync.WaitGroup
		parts.Go(func() { _ = beat.run(ctx) })
		parts.Go(func() {
			_ = feed(ctx, beat, limit, func(s string) {
				if s != "WATCHDOG=1" {
					t.Error(s)
				}
				fed.Add(1)
			})
		})

		synctest.Wait()
		if n := fed.Load(); n != 1 {
			t.Errorf("fed %d times at the start", n)
		}
		time.Sleep(limit)
		synctest.Wait()
		if n := fed.Load(); n != 4 {
			t.Errorf("fed %d times in one limit, not 3", n-1)
		}

		router.Store(&shut) // it hangs; nothing else does
		time.Sleep(10 * limit)
		synctest.Wait()
		if n := fed.Load(); n != 4 {
			t.Errorf("fed %d times while the router hung", n-4)
		}

		close(shut)
		synctest.Wait()
		if n := fed.Load(); n != 5 {
			t.Errorf("fed %d times when the router went on", n-4)
		}
		cancel()
		parts.Wait()
	})
}

func TestAGatewayFeedsTheWatchdogUntilItsRouterHangs(t *testing.T) {
	const limit = 30 * time.Millisecond
	r := &running{t: t, ended: make(chan error, 1), states: make(chan string, 1000)}
	g := New(parse(t, sections(t, "[[listener]]\naddress = \"127.0.0.1:0\"\n")), Options{
		Log: slog.New(newHandler("debug", "journal", r)), Notify: func(s string) { r.states <- s }, Watchdog: limit,
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { r.ended <- g.Run(ctx) }()
	r.state("READY=1")
	r.state("WATCHDOG=1")
	r.state("WATCHDOG=1")

	// Whoever holds the queue's lock holds up all that is published.
	g.store.Set("held", nil)
	holds, release, released := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(released)
		g.store.Each("held", func(string, []byte) { close(holds); <-release })
	}()
	<-holds
	beats := 0
	for quiet := time.After(10 * limit); quiet != nil; {
		select {
		case s := <-r.states:
			if s == "WATCHDOG=1" {
				beats++
			}
		case <-quiet:
			quiet = nil
		}
	}
	if beats > 2 { // what was on its way
		t.Errorf("fed %d times while the router hung", beats)
	}
	close(release)
	<-released
	r.state("WATCHDOG=1")
	cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestTheWatchdogsLimitIsSystemds(t *testing.T) {
	for _, c := range []struct {
		usec string
		want time.Duration
	}{
		{"", 0},
		{"30000000", 30 * time.Second},
		{"soon", 0}, // a warning
	} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", "")
		if got := New(parse(t, ""), Options{Log: slog.New(slog.DiscardHandler)}).watchdogOf(); got != c.want {
			t.Errorf("WATCHDOG_USEC=%q: %v", c.usec, got)
		}
	}
}
