package bridge

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/config"
)

// A server may count what it holds of QoS 2 against the receive maximum from the
// first packet of a connection on, also what has not gone again yet. So messages
// of a higher lane must not take its room, nor may those that look after a power
// cut as if they went again.
func TestMessagesOfAHigherLaneLeaveRoomForWhatGoesAgain(t *testing.T) {
	for _, end := range []string{"cut", "power cut"} {
		t.Run(end, func(t *testing.T) {
			r := newRig(t, func(c *config.Bridge) {
				c.Inflight = 16
				c.Up = []config.Up{up("low", "{topic}"), up("high", "{topic}", func(u *config.Up) { u.Priority = 1 })}
			})
			most := 0
			r.cloud.onPublish = func(p *packet.Publish) (byte, bool) {
				held := r.cloud.sessions["gw1"].held
				most = max(most, len(held))
				if p.QoS == 2 && !held[p.ID] {
					most = max(most, len(held)+1)
				}
				return 0, true
			}
			r.faults.set(func(up bool, typ byte, _ []byte) verdict {
				if typ == packet.PUBREC {
					return swallow
				}
				return pass
			})
			r.start()
			r.publishMany("high", 100, 4, 2)
			r.publishMany("low", 0, 30, 2)
			r.run()
			r.cloud.await(t, "what both may have in flight", func() bool { return len(r.cloud.got) == 12 })
			r.publishMany("high", 104, 16, 2)
			r.cloud.await(t, "some more of the higher lane", func() bool { return len(r.cloud.got) == 14 })
			if end == "cut" {
				r.faults.cut(true)
			} else {
				r.crash(1)
				r.faults.cut(true)
				r.start()
				r.run()
			}
			r.publishMany("high", 120, 10, 2)
			r.faults.set(nil)
			r.faults.cut(false)
			r.awaitIdle()
			if most > 16 {
				t.Errorf("the server held %d at a time; 16 may be in flight", most)
			}
			if n := len(r.cloud.payloads()); n != 60 {
				t.Errorf("%d messages", n)
			}
		})
	}
}

// Whatever is cut, and when the power goes, a server never holds more of two lanes
// than may be in flight.
func TestAServerNeverHoldsMoreThanTheWindow(t *testing.T) {
	const window = 16
	for seed := range uint64(10) {
		r := newRig(t, func(c *config.Bridge) {
			c.Inflight = window
			c.Up = []config.Up{up("low", "{topic}"), up("high", "{topic}", func(u *config.Up) { u.Priority = 1 })}
		})
		rng, link := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
		most := 0
		r.cloud.onPublish = func(p *packet.Publish) (byte, bool) {
			held := r.cloud.sessions["gw1"].held
			if n := len(held); p.QoS == 2 && !held[p.ID] {
				most = max(most, n+1)
			}
			return 0, true
		}
		r.faults.set(func(bool, byte, []byte) verdict { // with mu held, as link is used
			if link.IntN(60) == 0 {
				return cutAfter
			}
			return pass
		})
		for life := range 12 {
			r.start()
			for i := range 40 {
				topic := []string{"low", "high"}[rng.IntN(2)]
				if _, err := r.broker.Publish(&store.Message{Topic: topic, Payload: fmt.Append(nil, life, i), QoS: 2}); err != nil {
					t.Fatal(err)
				}
			}
			r.run()
			for range rng.IntN(60) { // some time passes
				<-time.After(100 * time.Microsecond)
			}
			r.crash(rng.Int64())
		}
		r.faults.set(nil)
		r.start()
		r.run()
		r.awaitIdle()
		if most > window {
			t.Errorf("seed %d: the server held %d at a time; %d may be in flight", seed, most, window)
		}
		r.stop()
	}
}
