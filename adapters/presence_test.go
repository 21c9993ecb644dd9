package adapters

import (
	"context"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/store"
)

func TestPresence(t *testing.T) {
	t.Run("of the adapter, offline until a link opens", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = r.s.Run(ctx, r.wait) })
			synctest.Wait()
			a, waitA := r.serve(ctx, Place{Remote: "a"})
			synctest.Wait()
			b, waitB := r.serve(ctx, Place{Remote: "b"})
			synctest.Wait()
			a.Close()
			waitA()
			synctest.Wait()
			b.Close()
			waitB()
			synctest.Wait()
			stop()
			wg.Wait()
			if got := r.broker.payloads("gw/dev/status"); !reflect.DeepEqual(got, []string{"offline", "online", "offline"}) {
				t.Fatalf("got %q", got)
			}
			for _, m := range r.broker.messages() {
				if !m.Retain || m.QoS != 1 {
					t.Fatalf("%+v", m)
				}
			}
		})
	})
	t.Run("of each peer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(r *rig, o *Options) { o.Status = tmpl(t, "gw/{remote}/status") })
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = r.s.Run(ctx, r.wait) })
			a, waitA := r.serve(ctx, Place{Remote: "a"})
			_, waitB := r.serve(ctx, Place{Remote: "b"})
			synctest.Wait()
			a.Close()
			waitA()
			synctest.Wait()
			if got := r.broker.payloads("gw/a/status"); !reflect.DeepEqual(got, []string{"online", "offline"}) {
				t.Fatalf("a: %q", got)
			}
			stop()
			waitB()
			wg.Wait()
			if got := r.broker.payloads("gw/b/status"); got[0] != "online" {
				t.Fatalf("b: %q", got)
			}
			if len(r.s.presence.topics) > 1 {
				t.Fatalf("%d topics kept", len(r.s.presence.topics))
			}
		})
	})
	t.Run("keeps the latest for a broker that is full", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			r.broker.setRefuse(func(*store.Message) error { return store.ErrFull })
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = r.s.Run(ctx, r.wait) })
			for range 5 {
				d, wait := r.serve(ctx, Place{})
				d.Close()
				wait()
			}
			_, wait := r.serve(ctx, Place{})
			time.Sleep(time.Minute)
			if r.broker.attempts() > 100 {
				t.Fatalf("%d tries a minute", r.broker.attempts())
			}
			r.broker.setRefuse(nil)
			time.Sleep(pauseMax + time.Millisecond)
			synctest.Wait()
			if got := r.broker.payloads("gw/dev/status"); !reflect.DeepEqual(got, []string{"online"}) {
				t.Fatalf("got %q", got)
			}
			stop()
			wait()
			wg.Wait()
			if got := r.broker.payloads("gw/dev/status"); !reflect.DeepEqual(got, []string{"online", "offline"}) {
				t.Fatalf("got %q", got)
			}
		})
	})
}

func TestPresenceSilent(t *testing.T) {
	const after = time.Minute
	states := func(r *rig, topic string) []string {
		synctest.Wait()
		return r.broker.payloads(topic)
	}
	run := func(t *testing.T, status string, f func(t *testing.T, r *rig, ctx context.Context)) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(r *rig, o *Options) { o.Status, o.SilentAfter = tmpl(t, status), after })
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = r.s.Run(ctx, r.wait) })
			synctest.Wait()
			f(t, r, ctx)
			stop()
			wg.Wait()
		})
	}
	expect := func(t *testing.T, r *rig, topic string, want ...string) {
		t.Helper()
		if got := states(r, topic); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %q, not %q", got, want)
		}
	}

	t.Run("without a frame for so long, until the next", func(t *testing.T) {
		run(t, "gw/status", func(t *testing.T, r *rig, ctx context.Context) {
			time.Sleep(2 * after) // no link: offline, not silent
			d, wait := r.serve(ctx, Place{})
			time.Sleep(after - time.Second)
			expect(t, r, "gw/status", "offline", "online")
			d.Write([]byte("half a fra"))
			time.Sleep(2 * time.Second)
			expect(t, r, "gw/status", "offline", "online", "silent")
			time.Sleep(10 * after)
			d.Write([]byte("me\n"))
			expect(t, r, "gw/status", "offline", "online", "silent", "online")
			for range 100 { // frames that come in time
				time.Sleep(after - time.Second)
				d.Write([]byte("x\n"))
			}
			expect(t, r, "gw/status", "offline", "online", "silent", "online")
			time.Sleep(after)
			expect(t, r, "gw/status", "offline", "online", "silent", "online", "silent")
			d.Close()
			wait()
			expect(t, r, "gw/status", "offline", "online", "silent", "online", "silent", "offline")
			d, wait = r.serve(ctx, Place{}) // the time counts anew
			time.Sleep(after - time.Second)
			expect(t, r, "gw/status", "offline", "online", "silent", "online", "silent", "offline", "online")
			d.Close()
			wait()
		})
	})
	t.Run("of each peer", func(t *testing.T) {
		run(t, "gw/{remote}/status", func(t *testing.T, r *rig, ctx context.Context) {
			a, waitA := r.serve(ctx, Place{Remote: "a"})
			b, waitB := r.serve(ctx, Place{Remote: "b"})
			time.Sleep(after / 2)
			a.Write([]byte("x\n"))
			time.Sleep(after/2 + time.Second)
			expect(t, r, "gw/a/status", "online")
			expect(t, r, "gw/b/status", "online", "silent")
			time.Sleep(after / 2)
			expect(t, r, "gw/a/status", "online", "silent")
			a.Close()
			b.Close()
			waitA()
			waitB()
		})
	})
	t.Run("of all links together, where they have one topic", func(t *testing.T) {
		run(t, "gw/status", func(t *testing.T, r *rig, ctx context.Context) {
			a, waitA := r.serve(ctx, Place{Remote: "a"})
			time.Sleep(after + time.Second)
			b, waitB := r.serve(ctx, Place{Remote: "b"}) // says nothing
			expect(t, r, "gw/status", "offline", "online", "silent")
			b.Write([]byte("x\n"))
			expect(t, r, "gw/status", "offline", "online", "silent", "online")
			a.Close()
			b.Close()
			waitA()
			waitB()
		})
	})
}
