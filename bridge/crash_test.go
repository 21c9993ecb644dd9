package bridge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// Power cuts at random moments, on a bad link, with publishers that look at
// receipts: what was durable arrives exactly once and in order.
func TestQoS2IsExactlyOnceOverPowerCuts(t *testing.T) {
	lives := 40
	if testing.Short() {
		lives = 10
	}
	if wrong := livesOf(t, lives, 3); wrong != "" {
		t.Error(wrong)
	}
}

// A power cut between PUBREC and the sync that remembers it does nothing,
// because PUBREL waits for that. The control: without waiting, what the disk
// forgot is sent again to a cloud that has released it.
func TestAPowerCutBeforeTheReleaseIsOnDisk(t *testing.T) {
	repeated := 0
	for seed := range int64(20) {
		if got := cutBeforeRelease(t, seed, ""); !slices.Equal(got, []string{"x"}) {
			t.Errorf("seed %d: got %v", seed, got)
		}
		if len(cutBeforeRelease(t, seed, "pubrel_after_durable")) > 1 {
			repeated++
		}
	}
	if repeated == 0 {
		t.Error("a rule was switched off and nothing went wrong")
	}
}

func cutBeforeRelease(t *testing.T, seed int64, withoutRule string) []string {
	r := newRig(t, nil)
	r.withoutRule = withoutRule
	defer r.stop()
	r.start()
	r.run()
	r.awaitState(Online)
	r.cloud.do(func() {
		r.cloud.onPublish = func(*packet.Publish) (byte, bool) {
			r.gate.shut() // from the PUBREC on
			return 0, true
		}
	})
	r.publish(store.Message{Topic: "t", Payload: []byte("x"), QoS: 2})
	r.gate.awaitCaught(t)
	if withoutRule != "" {
		r.cloud.await(t, "PUBREL", func() bool { return slices.Contains(r.cloud.frames, "PUBREL 1 00") })
	}
	r.cloud.do(func() { r.cloud.onPublish = nil })
	r.crash(seed)
	r.start()
	r.run()
	r.awaitIdle()
	return r.cloud.payloads()
}

// livesOf runs a gateway that loses its power again and again, and says what
// is wrong with what arrived.
func livesOf(t *testing.T, lives int, seed uint64) (wrong string) {
	r := newRig(t, nil)
	r.gate.slow = 500 * time.Microsecond
	defer r.stop()
	rng := rand.New(rand.NewPCG(seed, 4))
	link := rand.New(rand.NewPCG(seed, 6)) // used under the proxy's lock
	n := 0
	promised := map[string]bool{}
	r.faults.set(func(bool, byte, []byte) verdict {
		if link.IntN(200) == 0 {
			return cutAfter
		}
		return pass
	})
	for range lives {
		r.start()
		r.run()
		const batch = 40
		receipts := make([]store.Receipt, 0, batch)
		for range batch {
			receipt, err := r.broker.Publish(&store.Message{Topic: "t", Payload: fmt.Append(nil, n), QoS: 2})
			if err != nil {
				t.Fatal(err)
			}
			receipts = append(receipts, receipt)
			n++
		}
		for range rng.IntN(60) { // some time passes
			<-time.After(100 * time.Microsecond)
		}
		for i, receipt := range receipts {
			if r.store.IsDurable(receipt) {
				promised[fmt.Sprint(n-batch+i)] = true
			}
		}
		r.crash(rng.Int64())
	}
	r.faults.set(nil)
	r.start()
	r.run()
	r.awaitIdle()
	got := r.cloud.payloads()
	if f := firsts(got); len(f) != len(got) {
		return fmt.Sprintf("%d of %d arrived twice", len(got)-len(f), len(got))
	}
	if !slices.IsSortedFunc(got, func(a, b string) int { return number(a) - number(b) }) {
		return fmt.Sprintf("not in order: %v", got)
	}
	for _, s := range got {
		delete(promised, s)
	}
	if len(promised) > 0 {
		return fmt.Sprintf("%d promised messages are missing: %v", len(promised), promised)
	}
	t.Logf("%d of %d arrived", len(got), n)
	return ""
}

func number(s string) int {
	n := 0
	_, _ = fmt.Sscan(s, &n)
	return n
}

// The same downwards: the cloud sends commands at QoS 2, the gateway loses its
// power again and again.
func TestQoS2CommandsAreExactlyOnceOverPowerCuts(t *testing.T) {
	lives := 25
	if testing.Short() {
		lives = 8
	}
	r := newRig(t, commands)
	rng := rand.New(rand.NewPCG(5, 6))
	var got []string
	n := 0
	for life := range lives {
		r.start()
		dev := r.device("cmd/#")
		r.run()
		if life == 0 {
			r.cloud.await(t, "the subscription", func() bool { return len(r.cloud.subs) > 0 })
		} else {
			r.awaitState(Online)
		}
		for range 10 {
			r.cloud.send("gw1", packet.Publish{Topic: "gw1/cmd/x", Payload: fmt.Append(nil, n), QoS: 2})
			n++
		}
		for range rng.IntN(20) {
			<-time.After(100 * time.Microsecond)
		}
		_ = dev // the device is away: what is queued for it is read at the end
		r.crash(rng.Int64())
	}
	r.start()
	dev := r.device("cmd/#")
	r.run()
	r.cloud.await(t, "the end of all exchanges", func() bool {
		s := r.cloud.sessions["gw1"]
		return s.conn != nil && len(s.out) == 0
	})
	var d store.Delivery
	for dev.TryNext(&d) {
		got = append(got, string(d.Payload))
		dev.Done(d.Seq)
	}
	if !slices.Equal(got, numbers(0, n)) {
		t.Errorf("got %d of %d commands: %v", len(got), n, got)
	}
}
