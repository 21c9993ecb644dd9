package bridge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"packetboat/broker"
	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/config"
)

// device is a durable local subscriber of commands.
func (r *rig) device(filter string) *store.Consumer {
	r.t.Helper()
	a, err := r.broker.Attach("adapter/dev", 0, []broker.Subscription{{Filter: filter, QoS: 2, KeepRetain: true}}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return a.Lane(0)
}

// next is the next command of a device.
func (r *rig) next(c *store.Consumer) store.Delivery {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	d, err := c.Next(ctx)
	if err != nil {
		r.cloud.mu.Lock()
		defer r.cloud.mu.Unlock()
		r.t.Fatalf("no command: %v; queue %+v; packets %q", err, c.Lag(), r.cloud.frames)
	}
	c.Done(d.Seq)
	return d
}

func commands(c *config.Bridge) { c.Down = []config.Down{down("gw1/cmd/#", "cmd/{1}", 2)} }

// online starts everything and waits until the cloud has the subscriptions.
func (r *rig) online(subs int) {
	r.t.Helper()
	r.run()
	r.cloud.await(r.t, "the subscriptions", func() bool { return len(r.cloud.subs) >= subs })
}

func TestCommandsComeDown(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			r := newRig(t, commands)
			r.start()
			dev := r.device("cmd/#")
			r.online(1)
			var props []byte
			props = packet.AppendStringProp(props, packet.PropResponseTopic, "back/here")
			props = packet.AppendStringProp(props, packet.PropCorrelationData, "\x07")
			props = packet.AppendUserProp(props, "a", "b")
			r.cloud.send("gw1", packet.Publish{
				Topic: "gw1/cmd/valve/1", Payload: []byte("open"), QoS: qos, Retain: true,
				Props: props, Expiry: 60, HasExpiry: true,
			})
			d := r.next(dev)
			if d.Topic != "cmd/valve/1" || string(d.Payload) != "open" || d.QoS != qos || !d.Retain ||
				string(d.Props) != string(props) || d.Expiry != 60 || d.Origin != "bridge/cloud" {
				t.Errorf("got %+v", d)
			}
			answer := map[byte]string{1: "PUBACK 1 00", 2: "PUBCOMP 1 00"}[qos]
			r.cloud.await(t, answer, func() bool { return slices.Contains(r.cloud.frames, answer) })
		})
	}
}

func TestQoS0ComesDown(t *testing.T) {
	r := newRig(t, commands)
	r.start()
	dev := r.device("cmd/#")
	r.online(1)
	r.cloud.send("gw1", packet.Publish{Topic: "gw1/cmd/x", Payload: []byte("zero")})
	if d := r.next(dev); string(d.Payload) != "zero" || d.Topic != "cmd/x" {
		t.Errorf("got %+v", d)
	}
}

func TestSubscriptionsAskForWhatTheRulesSay(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) {
		c.Down = []config.Down{down("a/#", "{topic}", 2), down("$share/g/b", "{topic}", 1)}
		c.Down[1].Retain = "never"
		for i := range 10 {
			c.Down = append(c.Down, down(fmt.Sprintf("many/%d", i), "{topic}", 0))
		}
	})
	r.start()
	r.online(12)
	want := []packet.Filter{
		{Filter: "a/#", QoS: 2, NoLocal: true, RetainAsIs: true, RetainHandling: 1},
		{Filter: "$share/g/b", QoS: 1, RetainHandling: 1},
	}
	if got := r.cloud.subs[:2]; !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	ids := slices.DeleteFunc(slices.Clone(r.cloud.frames), func(f string) bool { return !strings.HasPrefix(f, "SUBSCRIBE") })
	if !slices.Equal(ids, []string{"SUBSCRIBE 65533", "SUBSCRIBE 65533"}) {
		t.Errorf("12 filters went as %q", ids)
	}
}

func TestSubscriptionsThatNoRuleNamesAnyMoreEnd(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) {
		c.Down = []config.Down{down("old/#", "{topic}", 2), down("kept", "{topic}", 2)}
	})
	r.start()
	r.online(2)
	r.stop()
	r.cfg.Down = []config.Down{down("kept", "{topic}", 2), down("new", "{topic}", 2)}
	r.start()
	r.run()
	r.cloud.await(t, "UNSUBSCRIBE", func() bool { return slices.Contains(r.cloud.frames, "UNSUBSCRIBE old/#") })
	if _, held := r.cloud.sessions["gw1"].filters["new"]; !held || len(r.cloud.sessions["gw1"].filters) != 2 {
		t.Errorf("the session holds %v", r.cloud.sessions["gw1"].filters)
	}
}

func TestACommandIsAnsweredOnlyWhenItIsOnDisk(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			r := newRig(t, commands)
			r.start()
			dev := r.device("cmd/#")
			r.online(1)
			r.gate.shut()
			r.cloud.send("gw1", packet.Publish{Topic: "gw1/cmd/x", Payload: []byte("1"), QoS: qos})
			r.gate.awaitCaught(t)
			r.cloud.do(func() {
				if n := len(r.cloud.frames); r.cloud.frames[n-1] != "SUBSCRIBE 65533" {
					t.Errorf("answered before it was durable: %q", r.cloud.frames)
				}
			})
			r.gate.open()
			r.next(dev)
			answer := map[byte]string{1: "PUBACK 1 00", 2: "PUBREC 1 00"}[qos]
			r.cloud.await(t, answer, func() bool { return slices.Contains(r.cloud.frames, answer) })
		})
	}
}

func TestRepeatedQoS2CommandsAreTakenOnce(t *testing.T) {
	r := newRig(t, commands)
	r.start()
	dev := r.device("cmd/#")
	r.online(1)
	// The PUBREC gets lost with the connection; the cloud repeats.
	lost := false
	r.faults.set(func(up bool, typ byte, _ []byte) verdict {
		if up && typ == packet.PUBREC && !lost {
			lost = true
			return cutBefore
		}
		return pass
	})
	r.cloud.send("gw1", packet.Publish{Topic: "gw1/cmd/x", Payload: []byte("once"), QoS: 2})
	r.cloud.await(t, "PUBCOMP", func() bool { return slices.Contains(r.cloud.frames, "PUBCOMP 1 00") })
	r.cloud.send("gw1", packet.Publish{Topic: "gw1/cmd/x", Payload: []byte("then"), QoS: 2})
	if a, b := string(r.next(dev).Payload), string(r.next(dev).Payload); a != "once" || b != "then" {
		t.Errorf("got %s, %s", a, b)
	}
	if !lost {
		t.Error("nothing was cut")
	}
}

func TestCommandsOfANewSessionAreNotTakenForOldOnes(t *testing.T) {
	r := newRig(t, commands)
	r.start()
	dev := r.device("cmd/#")
	r.online(1)
	r.faults.set(func(up bool, typ byte, _ []byte) verdict {
		if up && typ == packet.PUBREC {
			return cutBefore
		}
		return pass
	})
	r.cloud.send("gw1", packet.Publish{Topic: "gw1/cmd/x", Payload: []byte("old"), QoS: 2})
	r.next(dev)
	r.cloud.await(t, "a cut", func() bool { return r.cloud.ends > 0 })
	r.cloud.do(func() { clear(r.cloud.sessions); r.cloud.subs = nil })
	r.faults.set(nil)
	r.cloud.cut()
	r.cloud.await(t, "the new session", func() bool { return len(r.cloud.subs) > 0 })
	r.cloud.send("gw1", packet.Publish{Topic: "gw1/cmd/x", Payload: []byte("new"), QoS: 2}) // identifier 1 again
	if d := r.next(dev); string(d.Payload) != "new" {
		t.Errorf("got %s", d.Payload)
	}
}

func TestAFullQueueWithholdsAnswersAndKeepsTheOrder(t *testing.T) {
	r := newRig(t, commands)
	r.start()
	dev := r.device("cmd/#")
	full := newFaults() // only as a lock
	isFull := true
	publish := r.bridge.publish
	r.bridge.publish = func(m *store.Message) (store.Receipt, error) {
		full.mu.Lock()
		defer full.mu.Unlock()
		if isFull {
			return store.Receipt{}, fmt.Errorf("publish: %w", store.ErrFull)
		}
		return publish(m)
	}
	r.online(1)
	for i := range 5 {
		r.cloud.send("gw1", packet.Publish{Topic: "gw1/cmd/x", Payload: fmt.Append(nil, i), QoS: 1 + byte(i%2)})
	}
	r.await("5 received", func() bool { return r.bridge.Stats().Received == 5 })
	full.mu.Lock()
	isFull = false
	full.mu.Unlock()
	for i := range 5 {
		if d := r.next(dev); string(d.Payload) != fmt.Sprint(i) {
			t.Fatalf("got %s, want %d", d.Payload, i)
		}
	}
	r.cloud.await(t, "all answers", func() bool { return len(r.cloud.sessions["gw1"].out) == 0 })
	for _, f := range r.cloud.frames {
		if strings.HasPrefix(f, "PUB") && !strings.HasSuffix(f, " 00") {
			t.Errorf("the cloud was refused: %s", f)
		}
	}
}

func TestWhatNoDownRuleTakesIsAcknowledgedAndCounted(t *testing.T) {
	r := newRig(t, commands)
	r.start()
	r.online(1)
	r.cloud.send("gw1", packet.Publish{Topic: "stray", Payload: []byte("x"), QoS: 1})
	r.cloud.await(t, "PUBACK", func() bool { return slices.Contains(r.cloud.frames, "PUBACK 1 00") })
	if s := r.bridge.Stats(); s.Unmatched != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestWhatCameDownDoesNotGoUpAgain(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) {
		c.Up = []config.Up{up("#", "{topic}")}
		c.Down = []config.Down{down("#", "{topic}", 2)}
	})
	r.start()
	dev := r.device("cmd")
	r.online(1)
	r.cloud.send("gw1", packet.Publish{Topic: "cmd", Payload: []byte("x"), QoS: 1})
	r.next(dev)
	r.publish(store.Message{Topic: "t", Payload: []byte("local"), QoS: 1})
	r.awaitIdle()
	if got := r.cloud.payloads(); !slices.Equal(got, []string{"local"}) {
		t.Errorf("got %v", got)
	}
}
