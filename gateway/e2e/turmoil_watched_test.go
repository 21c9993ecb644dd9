package e2e

import (
	"context"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// onlookers ask the gateway all the time, so many at once: some read what they get, some
// go in the middle of it, some read nothing and hang.
func (x *turmoil) onlookers(n int) (stop func() (answers int64)) {
	var all sync.WaitGroup
	var answers atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	socket := filepath.Join(filepath.Dir(x.g.config), "admin.sock")
	for i := range n {
		r := rand.New(rand.NewPCG(x.r.Uint64(), uint64(i)))
		all.Go(func() {
			for ctx.Err() == nil {
				if onlook(ctx, socket, r) {
					answers.Add(1)
				}
			}
		})
	}
	end := sync.OnceFunc(func() {
		cancel()
		all.Wait()
	})
	x.t.Cleanup(end)
	return func() int64 {
		end()
		return answers.Load()
	}
}

// onlook asks once, and reports whether there was an answer.
func onlook(ctx context.Context, socket string, r *rand.Rand) bool {
	c, err := net.Dial("unix", socket)
	if err != nil {
		pauseFor(ctx, 10*time.Millisecond)
		return false
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	paths := []string{
		"GET /v1/status", "GET /v1/queues", "GET /v1/events", "GET /v1/clients", "GET /v1/adapters", "GET /v1/messages?queue=bridge/cloud/0",
		"GET /v1/log", "GET /v1/history", "GET /v1/config", "POST /v1/verify",
	}
	if _, err := io.WriteString(c, paths[r.IntN(len(paths))]+" HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"); err != nil {
		return false
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	switch r.IntN(4) {
	case 0: // hangs for a while
		pauseFor(ctx, time.Second)
		return false
	case 1: // goes in the middle
		_, err = io.ReadFull(c, make([]byte, 1+r.IntN(2000)))
	default: // of events, for a second
		_, err = io.Copy(io.Discard, c)
	}
	pauseFor(ctx, 20*time.Millisecond)
	return err == nil
}

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// TestConfigurationsInTurmoilAreWatched by a hundred at a time; when they are gone,
// nothing of them is left.
func TestConfigurationsInTurmoilAreWatched(t *testing.T) {
	t.Parallel()
	x := newTurmoil(t, false)
	witnessed := witness(t, x.g.mqtt)
	x.change()
	x.flows()
	stop := x.onlookers(100)
	x.round(scale(60, 500), 0)
	x.flows()
	answers := stop()
	x.calm()
	x.settled(false)
	t.Logf("%d answers; a client of a listener that stays, PUBACK: %s", answers, witnessed())
	if answers == 0 {
		t.Error("nobody had an answer")
	}
	x.g.await("nobody is connected but the bridges and the valve", func() bool { return x.g.connections() <= 3 })
	files := x.g.open()
	after := x.g.goroutines() // ends it
	x.g.start()
	x.g.await("the bridges are connected", func() bool { return x.g.lines(`"msg":"connected"`) >= 2 })
	x.g.await("the valve is connected", func() bool { return x.g.connections() == 3 })
	if now := x.g.open(); files > now+2 {
		t.Errorf("%d files were open, and %d are of one that has just started", files, now)
	}
	fresh := x.g.goroutines()
	for _, in := range slices.Sorted(maps.Keys(after)) {
		if after[in] > fresh[in]+1 {
			t.Errorf("%d goroutines in %s, and %d in a gateway that has just started", after[in], in, fresh[in])
		}
	}
	t.Logf("goroutines: %d, of one that has just started %d; files %d", after.sum(), fresh.sum(), files)
}
