package bridge

import (
	"encoding/json"
	"fmt"
	"testing"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/config"
)

// told are the messages on the gaps topic that the cloud has got.
func (c *cloud) told(t testing.TB) (list []gapMessage) {
	t.Helper()
	for _, p := range c.got {
		if p.Topic != "gw1/gaps" {
			continue
		}
		var m gapMessage
		if err := json.Unmarshal(p.Payload, &m); err != nil {
			t.Fatalf("%s: %v", p.Payload, err)
		}
		if p.QoS != 1 || p.Retain || len(userProps(t, p.Props)) > 0 {
			t.Errorf("told as %+v", p)
		}
		list = append(list, m)
	}
	return list
}

func withGaps(c *config.Bridge) {
	c.Gaps, c.Stamp, c.Gateway = "gw1/gaps", "properties", "gw1"
	c.Up = []config.Up{up("#", "{topic}", func(u *config.Up) { u.Priority = 1 })}
}

// lose gives the given messages of lane 1 up, while the bridge is offline.
func (r *rig) lose(seqs ...uint64) {
	r.t.Helper()
	for _, seq := range seqs {
		r.bridge.lanes[1].consumer.GiveUp(seq, store.Dropped, "")
	}
	r.publish(store.Message{Topic: "later", QoS: 1}) // and durable
}

func (r *rig) awaitTold(n int) []gapMessage {
	r.t.Helper()
	r.cloud.await(r.t, fmt.Sprintf("%d gaps", n), func() bool { return len(r.cloud.told(r.t)) >= n })
	r.awaitIdle()
	r.halt()
	return r.cloud.told(r.t)
}

func TestTheCloudIsToldWhatItDidNotGet(t *testing.T) {
	r := newRig(t, withGaps)
	r.start()
	r.publishMany("t", 0, 20, 1)
	r.lose(3, 4, 5)
	r.lose(11)
	r.run()
	got := r.awaitTold(2)
	if len(got) != 2 {
		t.Fatalf("told %+v", got)
	}
	first := got[0]
	if first.Consumer != "bridge/cloud/1" || first.Bridge != "cloud" || first.Lane != "1" || first.Reason != "dropped" ||
		first.Count != 3 || first.Bytes == 0 || first.FirstSeq != 3 || first.LastSeq != 5 || first.From == "" || first.To < first.From {
		t.Errorf("told %+v", first)
	}
	if got[1].FirstSeq != 11 || got[1].Count != 1 {
		t.Errorf("told %+v", got[1])
	}
	if n := len(r.cloud.got); n != 2+20+2-4 {
		t.Errorf("the cloud got %d messages", n)
	}

	// The next life tells only what is new, also while it is connected.
	r.stop()
	r.start()
	r.publishMany("t", 20, 3, 1)
	r.lose(22)
	r.run()
	r.cloud.await(t, "another gap", func() bool { return len(r.cloud.told(t)) >= 3 })
	r.cloud.do(func() {
		r.cloud.onPublish = func(p *packet.Publish) (byte, bool) {
			if p.Topic == "bad" {
				return packet.NotAuthorized, true
			}
			return 0, true
		}
	})
	r.publish(store.Message{Topic: "bad", QoS: 1})
	got = r.awaitTold(4)
	if len(got) != 4 || got[2].FirstSeq != 22 || got[3].Reason != "refused" || got[3].Count != 1 {
		t.Errorf("told %+v", got)
	}
}

func TestGapsAreToldOnceOverCutsAndPowerCuts(t *testing.T) {
	r := newRig(t, withGaps)
	r.start()
	r.publishMany("t", 0, 200, 1)
	want := 0
	for seq := uint64(0); seq < 200; seq += 20 {
		r.lose(seq)
		want++
	}
	// distinct gaps that the cloud was told of; at QoS 1 a power cut makes repeats.
	distinct := func() int {
		seqs := map[uint64]bool{}
		for _, m := range r.cloud.told(t) {
			seqs[m.FirstSeq] = true
			if m.FirstSeq%20 != 0 || m.Count != 1 {
				t.Errorf("told %+v", m)
			}
		}
		return len(seqs)
	}
	for life := range int64(6) {
		r.run()
		n := 0
		r.cloud.do(func() { n = distinct() })
		r.cloud.await(t, "a gap", func() bool { return distinct() > min(n, want-1) })
		r.crash(life)
		r.start()
	}
	r.run()
	r.cloud.await(t, "all gaps", func() bool { return distinct() == want })
	r.awaitIdle()
	r.halt()
	if l := r.bridge.Lag()[gapsLane]; l.Accepted != uint64(want) {
		t.Errorf("told %d gaps with the messages of %+v", want, l)
	}
}

func TestTellingEndsWhenTheCloudRefusesIt(t *testing.T) {
	for _, mixed := range []bool{false, true} {
		r := newRig(t, withGaps)
		if mixed { // real messages stand between those that tell
			r.cfg.Up[0].Priority = gapsLane
		}
		refused := 0
		r.cloud.onPublish = func(p *packet.Publish) (byte, bool) {
			if p.Topic == "gw1/gaps" {
				refused++
				return packet.NotAuthorized, true
			}
			return 0, true
		}
		r.start()
		r.publishMany("t", 0, 20, 1)
		for seq := uint64(0); seq < 10; seq += 2 {
			r.bridge.lanes[r.cfg.Up[0].Priority].consumer.GiveUp(seq, store.Dropped, "")
		}
		r.run()
		for n := 1; n <= 5; n++ {
			r.cloud.await(t, "a refusal", func() bool { return refused >= n })
			r.publish(store.Message{Topic: "t", QoS: 1})
		}
		r.awaitIdle()
		r.publish(store.Message{Topic: "t", QoS: 1})
		r.awaitIdle()
		r.halt()
		if refused != 5 {
			t.Errorf("told %d times", refused)
		}
		if l := r.bridge.Lag()[gapsLane]; l.Lost[store.Refused] != 5 {
			t.Errorf("the ledger has %+v", l)
		}
		r.stop()
	}
}

func TestNothingIsToldWithoutAGapsTopic(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) { withGaps(c); c.Gaps = "" })
	r.start()
	r.publishMany("t", 0, 5, 1)
	r.lose(1)
	r.run()
	r.awaitIdle()
	r.publish(store.Message{Topic: "t", QoS: 1})
	r.awaitIdle()
	r.halt()
	if l := r.bridge.Lag()[gapsLane]; l.Accepted != 0 {
		t.Errorf("the highest lane had %+v", l)
	}
}
