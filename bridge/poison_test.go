package bridge

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/config"
)

// poisonous has the cloud end the connection on messages of that payload, with
// DISCONNECT and code if it is not 0.
func (r *rig) poisonous(payload string, code byte) (attempts func() int) {
	n := 0
	r.cloud.onPublish = func(p *packet.Publish) (byte, bool) {
		if string(p.Payload) != payload {
			return 0, true
		}
		n++
		r.cloud.hangUp = &packet.Disconnect{Code: code}
		return 0x80, false
	}
	return func() (k int) {
		r.cloud.do(func() { k = n })
		return k
	}
}

func TestAMessageOnWhichTheServerDisconnectsBlocksNothing(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		for _, code := range []byte{0, packet.MalformedPacket} {
			if code != 0 && rigVersion != 5 {
				continue
			}
			t.Run(fmt.Sprintf("QoS %d, code %02x", qos, code), func(t *testing.T) {
				r := newRig(t, func(c *config.Bridge) { c.DeadLetterSize = 1 << 20 })
				attempts := r.poisonous("17", code)
				r.start()
				r.publishMany("t", 0, 40, qos)
				r.run()
				r.awaitIdle()
				want := slices.DeleteFunc(numbers(0, 40), func(s string) bool { return s == "17" })
				if got := firsts(r.cloud.payloads()); !slices.Equal(got, want) {
					t.Errorf("got %v", got)
				}
				if n := attempts(); n > suspectAfter+proofs+1 {
					t.Errorf("sent %d times", n)
				}
				r.deadLetters("poison: 3 times, while it was in flight alone: ", "17")
				if l := r.bridge.Lag()[0]; l.Lost[store.Poison] != 1 || l.Accepted != l.Delivered+1 {
					t.Errorf("ledger %+v", l)
				}
				if r.bridge.isProbing() {
					r.publish(store.Message{Topic: "t", Payload: []byte("more"), QoS: qos})
					r.awaitIdle()
				}
			})
		}
	}
}

// TestEndsThatNoMessageCausesAreNoProof: the server goes away in the middle of each
// exchange, but says why, or answers no PINGREQ.
func TestEndsThatNoMessageCausesAreNoProof(t *testing.T) {
	for name, misbehave := range map[string]func(*rig){
		"it shuts down": func(r *rig) { r.poisonous("0", packet.ServerShuttingDown) },
		"no answer to PINGREQ": func(r *rig) {
			r.poisonous("0", 0)
			r.faults.set(func(up bool, typ byte, _ []byte) verdict {
				if !up && typ == packet.PINGRESP {
					return cutBefore
				}
				return pass
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *config.Bridge) { c.DeadLetterSize = 1 << 20 })
			misbehave(r)
			r.start()
			r.publish(store.Message{Topic: "t", Payload: []byte("0"), QoS: 1})
			r.run()
			r.cloud.await(t, "20 connections", func() bool { return len(r.cloud.connects) > 20 })
			if l := r.bridge.Lag()[0]; l.Messages != 1 {
				t.Errorf("ledger %+v", l)
			}
			r.cloud.do(func() { r.cloud.onPublish = nil })
			r.faults.set(nil)
			r.awaitIdle()
			if got := r.cloud.payloads(); !slices.Equal(firsts(got), []string{"0"}) {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestDeadLettersSayWhy for each way in which a message becomes one.
func TestDeadLettersSayWhy(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) { c.DeadLetterSize = 1 << 20; c.Retries = 0 })
	r.cloud.onConnect = func(_ *packet.Connect, a *packet.Connack) { a.MaxPacketSize = 500 }
	r.cloud.onPublish = func(p *packet.Publish) (byte, bool) {
		if strings.HasPrefix(p.Topic, "no/") {
			return packet.NotAuthorized, true
		}
		return 0, true
	}
	r.start()
	r.publish(store.Message{Topic: "no/1", Payload: []byte("forbidden"), QoS: 1})
	r.publish(store.Message{Topic: "no/2", Payload: []byte("forbidden too"), QoS: 2})
	r.publish(store.Message{Topic: "t", Payload: []byte(strings.Repeat("x", 500)), QoS: 1})
	r.publish(store.Message{Topic: "t", Payload: []byte("fine"), QoS: 1, Props: packet.AppendUserProp(nil, "k", "v")})
	r.run()
	r.awaitIdle()
	if got := r.cloud.payloads(); !slices.Equal(got, []string{"fine"}) {
		t.Errorf("got %v", got)
	}
	r.deadLetters("refused: not authorized (0x87)", "forbidden", "forbidden too")
	r.deadLetters("too large: ", strings.Repeat("x", 500))
	r.halt()
	r.stop()
	r.start() // they are durable, and the next life has them
	r.deadLetters("refused: not authorized (0x87)", "forbidden", "forbidden too")
}

// userProperty is the last value under a key.
func userProperty(props []byte, key string) (value string) {
	_ = packet.EachProp(props, func(id byte, name, val []byte) bool {
		if id == packet.PropUser && string(name) == key {
			value = string(val)
		}
		return true
	})
	return value
}

// deadLetters checks which dead letters have a reason that begins like that.
func (r *rig) deadLetters(reason string, want ...string) {
	r.t.Helper()
	dead := r.store.Lookup("bridge/cloud/dead")
	if dead == nil {
		r.t.Fatal("no dead letters")
	}
	var got []string
	v := dead.View()
	var d store.Delivery
	for {
		ok, err := v.Next(&d)
		if err != nil {
			r.t.Fatal(err)
		}
		if !ok {
			break
		}
		if why := userProperty(d.Props, store.DeadReason); strings.HasPrefix(why, reason) {
			got = append(got, short(string(d.Payload)))
		}
		if userProperty(d.Props, store.DeadQueue) != "bridge/cloud/0" || userProperty(d.Props, store.DeadReceived) == "" {
			r.t.Errorf("properties % x", d.Props)
		}
	}
	for i := range want {
		want[i] = short(want[i])
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		r.t.Errorf("dead letters %q, want %q", got, want)
	}
}

// short is a payload as errors show it.
func short(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%.20s… %d", s, len(s))
	}
	return s
}
