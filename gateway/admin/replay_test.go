package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// deadLetters has a bridge give up n messages in each of two lanes.
func (r *rig) deadLetters(n int) (lanes [2]*store.Consumer) {
	r.t.Helper()
	dead, err := r.local.Store.Consumer("bridge/b/dead", store.SessionIDs)
	if err != nil {
		r.t.Fatal(err)
	}
	for lane := range lanes {
		c, err := r.local.Store.Consumer(fmt.Sprint("bridge/b/", lane), store.LaneIDs(lane))
		if err != nil {
			r.t.Fatal(err)
		}
		lanes[lane] = c
		c.SetDead(dead)
		var last store.Receipt
		for i := range n {
			m := &store.Message{
				Topic: "t", Payload: fmt.Appendf(nil, "%d-%d", lane, i), QoS: 2,
				Props: packet.AppendUserProp(nil, "site", "north"),
			}
			if last, err = r.local.Store.Publish(m, []store.Target{{Consumer: c, QoS: 1, KeepRetain: i == 0}}); err != nil {
				r.t.Fatal(err)
			}
		}
		if err := r.local.Store.Wait(r.t.Context(), last); err != nil {
			r.t.Fatal(err)
		}
		c.OnReady(func() {})
		for range n {
			d, err := c.Next(r.t.Context())
			if err != nil {
				r.t.Fatal(err)
			}
			last = c.GiveUp(d.Seq, store.Refused, "not authorized")
		}
		if err := r.local.Store.Wait(r.t.Context(), last); err != nil {
			r.t.Fatal(err)
		}
	}
	return lanes
}

func TestDeadLettersAreReplayedInTheLaneThatGaveThemUp(t *testing.T) {
	const n = 300 // more than a batch in each
	for name, of := range map[string]func(r *rig) source{
		"in this process":    func(r *rig) source { return r.local },
		"through the socket": func(r *rig) source { return r.client },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			s := of(r)
			lanes := r.deadLetters(n)
			if got, err := s.Replay(t.Context(), "bridge/b/dead"); err != nil || got != 2*n {
				t.Fatalf("%d, %v", got, err)
			}
			for lane, c := range lanes {
				got, err := texts(t, s, fmt.Sprint("bridge/b/", lane), 0)
				if err != nil || len(got) != n {
					t.Fatalf("lane %d: %d, %v", lane, len(got), err)
				}
				for i, text := range got {
					if text != fmt.Sprint(lane, "-", i) {
						t.Fatalf("lane %d: %s at %d", lane, text, i)
					}
				}
				d, err := c.Next(t.Context())
				if err != nil || d.QoS != 1 || !d.Retain || !slices.Equal(userProps(d.Props), []string{"site", store.DeadReceived}) {
					t.Errorf("lane %d: %+v with %q, %v", lane, d, userProps(d.Props), err)
				}
			}
			if got, err := texts(t, s, "bridge/b/dead", 0); err != nil || len(got) != 0 {
				t.Errorf("%d are still dead, %v", len(got), err)
			}
			if got, err := s.Replay(t.Context(), "bridge/b/dead"); err != nil || got != 0 {
				t.Errorf("once more: %d, %v", got, err)
			}
			// Died again, and replayed again: it says once when it was received.
			c := lanes[0]
			c.Rewind()
			d, err := c.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := r.local.Store.Wait(t.Context(), c.GiveUp(d.Seq, store.Refused, "again")); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Replay(t.Context(), "bridge/b/dead"); err != nil || got != 1 {
				t.Fatalf("again: %d, %v", got, err)
			}
			v := c.View()
			v.SkipTo(c.NewestFrom(1))
			var again store.Delivery
			if ok, err := v.Next(&again); !ok || err != nil || !slices.Equal(userProps(again.Props), []string{"site", store.DeadReceived}) {
				t.Errorf("%v, %v, %q", ok, err, userProps(again.Props))
			}
			if v, err := s.Verify(t.Context(), nil); err != nil || !v.OK {
				t.Errorf("verify: %+v, %v", v, err)
			}
		})
	}
}

// goneWaiting is the context of somebody who goes as soon as something waits for it.
type goneWaiting struct {
	context.Context
	cancel context.CancelFunc
}

func (c goneWaiting) Done() <-chan struct{} {
	c.cancel()
	return c.Context.Done()
}

// A client that goes in the middle of a replay leaves no letter dead that is queued
// again: the next replay would send it twice.
func TestAReplayWhoseClientGoesRepeatsNothing(t *testing.T) {
	const n = 300
	r := newRig(t)
	lanes := r.deadLetters(n)
	ctx, cancel := context.WithCancel(t.Context())
	first, err := r.local.Replay(goneWaiting{ctx, cancel}, "bridge/b/dead")
	cancel()
	t.Logf("%d, %v", first, err)
	queued := func() uint64 { return lanes[0].Lag().Messages + lanes[1].Lag().Messages }
	if got := queued(); got != first {
		t.Errorf("%d are queued, %d were told", got, first)
	}
	if _, err := r.local.Replay(ctx, "bridge/b/dead"); first < 2*n && !errors.Is(err, context.Canceled) {
		t.Errorf("for somebody who is gone: %v", err)
	}
	rest, err := r.local.Replay(t.Context(), "bridge/b/dead")
	if err != nil || queued() != 2*n {
		t.Errorf("%d and %d were replayed, %d are queued, %v", first, rest, queued(), err)
	}
}

func userProps(props []byte) (names []string) {
	_ = packet.EachProp(props, func(id byte, key, _ []byte) bool {
		if id == packet.PropUser {
			names = append(names, string(key))
		}
		return true
	})
	return names
}

func TestOnlyDeadLettersAreReplayed(t *testing.T) {
	r := newRig(t)
	r.publish("bridge/b/0", 1)
	if _, err := r.local.Replay(t.Context(), "bridge/b/0"); !errors.Is(err, ErrNotDead) {
		t.Error(err)
	}
	if _, err := r.local.Replay(t.Context(), "bridge/x/dead"); !errors.Is(err, ErrNoQueue) {
		t.Error(err)
	}
	r.publish("bridge/b/dead", 2) // nothing says where to
	if n, err := r.local.Replay(t.Context(), "bridge/b/dead"); err == nil || n != 0 {
		t.Error(n, err)
	}
	if got, err := texts(t, r.local, "bridge/b/dead", 0); err != nil || len(got) != 2 {
		t.Errorf("%d are left, %v", len(got), err)
	}
}

func TestSplitDead(t *testing.T) {
	user := func(kv ...string) (b []byte) {
		for i := 0; i < len(kv); i += 2 {
			b = packet.AppendUserProp(b, kv[i], kv[i+1])
		}
		return b
	}
	own := packet.AppendByteProp(nil, packet.PropPayloadFormat, 1)
	for _, c := range []struct {
		name  string
		props []byte
		rest  int
		ok    bool
	}{
		{"none", nil, 0, false},
		{"another message's", user("a", "b"), 0, false},
		{"whole", append(append([]byte{}, own...), user(store.DeadReason, "r", store.DeadQueue, "q", store.DeadReceived, "t")...), len(own), true},
		{"no time", append(append([]byte{}, own...), user(store.DeadReason, "r", store.DeadQueue, "q")...), len(own), true},
		{"not at the end", append(user(store.DeadReason, "r", store.DeadQueue, "q"), own...), 0, false},
		{"no reason", user(store.DeadQueue, "q", store.DeadReceived, "t"), 0, false},
		{"broken", []byte{0xff}, 0, false},
	} {
		rest, d := splitDead(c.props)
		if (d != nil) != c.ok || len(rest) != c.rest || c.ok && (d.Queue != "q" || d.Reason != "r") {
			t.Errorf("%s: %x, %+v", c.name, rest, d)
		}
	}
}
