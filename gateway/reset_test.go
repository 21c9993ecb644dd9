package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"packetboat/bridge"
	"packetboat/broker/store"
	"packetboat/gateway/admin"
)

func TestResetForgetsTheSessionOfABridgeThatRuns(t *testing.T) {
	r, g, _ := reloadable(t, sections(t, twoBridges))
	for _, name := range []string{"one", "two"} {
		r := g.store.Set(bridge.SessionKey(name), []byte(`{"server":"127.0.0.1:1","client_id":"g","generation":7}`))
		if err := g.store.Wait(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	before := g.bridges.all()
	did, err := g.ResetBridge(t.Context(), "one")
	if err != nil || did != (admin.Reset{Bridge: "one", HadSession: true}) {
		t.Errorf("%+v, %v", did, err)
	}
	if _, ok := g.store.Get(bridge.SessionKey("one")); ok {
		t.Error("the session is still on record")
	}
	if _, ok := g.store.Get(bridge.SessionKey("two")); !ok {
		t.Error("the session of another bridge is not on record any more")
	}
	after := g.bridges.all()
	if len(after) != 2 || after[0] != before[0] || after[1] != before[1] {
		t.Error("the bridges are others")
	}
	awaitWork(t, after[0])

	if _, err := g.ResetBridge(t.Context(), "three"); !errors.Is(err, admin.ErrNoBridge) || err.Error() != "there is no such bridge: three; there are one, two" {
		t.Errorf("a bridge that is none: %v", err)
	}
	// A queue without a bridge, as a removed one leaves it.
	if _, err := g.store.Consumer("bridge/former/0", store.LaneIDs(0)); err != nil {
		t.Fatal(err)
	}
	if did, err := g.ResetBridge(t.Context(), "former"); err != nil || did.HadSession {
		t.Errorf("a bridge that is not configured: %+v, %v", did, err)
	}
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	if _, err := g.ResetBridge(t.Context(), "one"); err != ErrNotRunning {
		t.Errorf("after the end: %v", err)
	}
}

// awaitWork waits until a bridge is at work.
func awaitWork(t *testing.T, b *bridge.Bridge) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		s, changed := b.Changed()
		if s.Phase != bridge.Stopped {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("bridge %s is %v", b.Name(), s)
		}
	}
}

func TestBridgesAreToldInFull(t *testing.T) {
	_, g, _ := reloadable(t, sections(t, twoBridges))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for s, changed := g.bridges.all()[0].Changed(); s.Phase != bridge.BackingOff; s, changed = g.bridges.all()[0].Changed() {
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("not backing off: %v", s)
		}
	}
	all := g.Bridges().Bridges
	if len(all) != 2 {
		t.Fatalf("%+v", all)
	}
	b := all[0]
	if b.Name != "one" || b.Server != "127.0.0.1:1" || b.Error == "" || b.ErrorAt.IsZero() || time.Since(b.Since) > patience || len(b.Lanes) != 4 || b.Lanes[3].Queue != "bridge/one/3" {
		t.Errorf("%+v", b)
	}
}
