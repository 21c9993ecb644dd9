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
