package bridge

import (
	"slices"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/config"
)

// TestRetainedMessagesGoUpOncePerChange and at no connection without one.
func TestRetainedMessagesGoUpOncePerChange(t *testing.T) {
	r := newRig(t, nil)
	r.start()
	r.publish(store.Message{Topic: "a/1", Payload: []byte("one"), QoS: 1, Retain: true})
	r.publish(store.Message{Topic: "b/1", Payload: []byte("two"), QoS: 1, Retain: true})
	life := func(what string, want ...string) {
		t.Helper()
		r.run()
		r.awaitState(Online)
		r.awaitIdle()
		r.stop()
		var got []string
		r.cloud.do(func() {
			for _, p := range r.cloud.got {
				if p.Retain {
					got = append(got, p.Topic+" "+string(p.Payload))
				}
			}
			r.cloud.got = nil
		})
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
		r.start()
	}
	life("as they are published", "a/1 one", "b/1 two")
	life("no change")
	r.stop()
	r.cfg.Up = []config.Up{up("a/#", "new/{1}"), up("#", "{topic}")}
	r.start()
	life("a rule that is new, another that keeps its topic", "new/1 one")
	r.stop()
	r.cfg.Up[0] = up("a/#", "newer/{1}")
	r.start()
	life("another topic", "newer/1 one")
	life("no change")
	r.stop()
	r.cfg.Servers = []string{"mqtt://elsewhere.test"}
	r.start()
	life("another server", "b/1 two", "newer/1 one")
	life("no change")
	r.stop()
	r.cfg.Up[0] = up("a/#", "newer/{1}", func(u *config.Up) { u.Retain = "never" })
	r.start()
	life("never")
}

// TestLostChangesOfRetainedMessagesAreMadeUpFor when the backlog is done, once.
func TestLostChangesOfRetainedMessagesAreMadeUpFor(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) { c.AckTimeout = 100 * time.Millisecond })
	r.start()
	r.publish(store.Message{Topic: "a", Payload: []byte("old"), QoS: 1, Retain: true})
	r.run()
	r.awaitIdle()
	r.stop()
	r.start()
	r.publish(store.Message{Topic: "a", Payload: []byte("new"), QoS: 1, Retain: true})
	if n, _ := r.bridge.lanes[0].consumer.Purge(); n != 1 {
		t.Fatalf("%d purged", n)
	}
	r.run()
	r.cloud.await(t, "the new value", func() bool { return len(r.cloud.got) == 2 })
	if got := r.cloud.payloads(); !slices.Equal(got, []string{"old", "new"}) {
		t.Errorf("got %q", got)
	}
	r.awaitIdle()
	r.bridge.reconcile()
	r.stop()
	r.start()
	r.bridge.reconcile()
	if l := r.bridge.Lag()[0]; l.Accepted != 3 || l.Messages != 0 {
		t.Errorf("ledger %+v", l)
	}
}

// TestWhatTheCloudHasRetainedIsNotSentBackToIt when a rule is new, also in a later
// life.
func TestWhatTheCloudHasRetainedIsNotSentBackToIt(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) {
		c.Up, c.Down = []config.Up{up("x/#", "{topic}")}, []config.Down{down("a/#", "{topic}", 1)}
	})
	r.start()
	r.online(1)
	r.cloud.send("gw1", packet.Publish{Topic: "a/1", Payload: []byte("theirs"), QoS: 1, Retain: true})
	r.cloud.await(t, "the answer", func() bool { return len(r.cloud.sessions["gw1"].out) == 0 })
	r.publish(store.Message{Topic: "a/2", Payload: []byte("ours"), QoS: 1, Retain: true})
	for range 2 {
		if err := r.store.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.publish(store.Message{Topic: "a/3", Payload: []byte("x"), QoS: 1, Retain: true})
	}
	r.stop()
	r.cfg.Up = []config.Up{up("#", "{topic}")}
	r.start()
	r.run()
	r.awaitIdle()
	if got := r.cloud.payloads(); !slices.Contains(got, "ours") || slices.Contains(got, "theirs") {
		t.Errorf("got %q", got)
	}
}
