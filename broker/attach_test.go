package broker

import (
	"fmt"
	"testing"

	"packetboat/broker/store"
)

// liveRecorder takes QoS 0 messages while on is true.
type liveRecorder struct {
	on  bool
	got []string
}

func (l *liveRecorder) Deliver(m *Message, sub int, qos byte) bool {
	if l.on {
		l.got = append(l.got, fmt.Sprintf("%s %s %d %d", m.Topic, m.Payload, sub, qos))
	}
	return l.on
}

// drain takes everything out of a consumer.
func drain(c *store.Consumer) (got []string) {
	var d store.Delivery
	for c.TryNext(&d) {
		s := fmt.Sprintf("%s %s %d", d.Topic, d.Payload, d.QoS)
		if d.Retain {
			s += " retained"
		}
		got = append(got, s)
		c.Done(d.Seq)
	}
	return got
}

func TestAttachedSubscribers(t *testing.T) {
	r := rigTCP(t, Options{})
	publish := func(m Message) {
		t.Helper()
		receipt, err := r.b.Publish(&m)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.store.Wait(t.Context(), receipt); err != nil {
			t.Fatal(err)
		}
	}
	settle := func() { // what is staged without anybody who waits
		if err := r.store.Wait(t.Context(), r.store.Set("x", []byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, got []string, want ...string) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	publish(Message{Topic: "old/r", QoS: 1, Retain: true, Payload: []byte("r")})
	publish(Message{Topic: "cmd/r", QoS: 1, Retain: true, Payload: []byte("r")})

	live := &liveRecorder{on: true}
	rules := []Subscription{
		{Filter: "a/+", Lane: 1, QoS: 1},
		{Filter: "a/#", Lane: 2, QoS: 2, KeepRetain: true},
		{Filter: "old/#", Lane: 0, QoS: 2, KeepRetain: true},
		{Filter: "fixed", Lane: 3, QoS: 0, Fixed: true},
	}
	a, err := r.b.Attach("bridge/b", 4, rules, live)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.b.Attach("bridge/b", 4, rules, live); err == nil {
		t.Error("attached twice")
	}
	for _, bad := range []Subscription{{Filter: "a/#/b"}, {Filter: "a", Lane: 4}} {
		if _, err := r.b.Attach("bridge/x", 4, []Subscription{bad}, nil); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
	cmd, err := r.b.Attach("adapter/s", 0, []Subscription{{Filter: "cmd/#", QoS: 2, MinQoS: 1, NoRetained: true}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	settle()
	want("a new rule gets the retained ones", drain(a.Lane(0)), "old/r r 1 retained")
	want("unless it does not want them", drain(cmd.Lane(0)))

	publish(Message{Topic: "a/b", QoS: 2, Payload: []byte("1")})
	publish(Message{Topic: "a/b/c", QoS: 2, Payload: []byte("2"), Retain: true})
	publish(Message{Topic: "a/b", QoS: 2, Payload: []byte("3"), Origin: "bridge/b"})
	publish(Message{Topic: "a/b", Payload: []byte("4")})
	publish(Message{Topic: "fixed", QoS: 2, Payload: []byte("5")})
	publish(Message{Topic: "cmd/x", Payload: []byte("6")})
	settle()
	want("the first rule that matches carries", drain(a.Lane(1)), "a/b 1 1")
	want("into its lane", drain(a.Lane(2)), "a/b/c 2 2 retained")
	want("QoS 0 goes directly while online", live.got, "a/b 4 0 0", "fixed 5 3 0")
	want("a low QoS is raised", drain(cmd.Lane(0)), "cmd/x 6 1")

	live.on = false
	publish(Message{Topic: "a/b", Payload: []byte("7")})
	settle()
	live.on, live.got = true, nil
	publish(Message{Topic: "a/b", Payload: []byte("8")})
	settle()
	want("QoS 0 is queued while offline, and what follows stays behind it", drain(a.Lane(1)), "a/b 7 0", "a/b 8 0")
	want("and is not delivered twice", live.got)
	publish(Message{Topic: "a/b", Payload: []byte("9")})
	want("then it goes directly again", live.got, "a/b 9 0 0")

	a.Close()
	a.Close()
	publish(Message{Topic: "a/b", QoS: 1})
	rules = append(rules, Subscription{Filter: "cmd/#", Lane: 3, QoS: 1})
	if a, err = r.b.Attach("bridge/b", 4, rules, live); err != nil {
		t.Fatal(err)
	}
	settle()
	want("only the new rule gets retained ones after that", drain(a.Lane(3)), "cmd/r r 1")
	want("the old ones do not", drain(a.Lane(0)))
}

// TestReplacedSubscriptionsTakeEachMessageOnce, also while it is published.
func TestReplacedSubscriptionsTakeEachMessageOnce(t *testing.T) {
	r := rigTCP(t, Options{})
	a, err := r.b.Attach("bridge/x", 4, []Subscription{{Filter: "t", Lane: 0, QoS: 2}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const n, times = 3000, 200
	published := make(chan error, 1)
	go func() {
		var last store.Receipt
		for i := range n {
			receipt, err := r.b.Publish(&Message{Topic: "t", QoS: 1, Payload: fmt.Appendf(nil, "%d", i)})
			if err != nil {
				published <- err
				return
			}
			last = last.After(receipt)
		}
		published <- r.store.Wait(t.Context(), last)
	}()
	for i := range times {
		old := a
		if a, err = old.Replace([]Subscription{{Filter: []string{"t", "#"}[i%2], Lane: i % 2, QoS: 2}}, nil); err != nil {
			t.Fatal(err)
		}
		old.Close() // ends nothing any more
		if _, err := old.Replace(nil, nil); err == nil {
			t.Fatal("replaced twice")
		}
	}
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for lane := range 2 {
		for _, s := range drain(a.Lane(lane)) {
			got[s]++
		}
	}
	for i := range n {
		if k := got[fmt.Sprintf("t %d 1", i)]; k != 1 {
			t.Fatalf("%d was taken %d times", i, k)
		}
	}
}
