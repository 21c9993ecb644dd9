package bridge

import (
	"errors"
	"testing"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/config"
)

func TestEachLaneHasItsOwnPolicyWhenThereIsNoRoom(t *testing.T) {
	const bound = 64 << 10
	for _, tt := range []struct {
		name     string
		whenFull string
		refused  bool
		dropped  bool // told in the ledger
		first    string
	}{
		{"reject refuses the publish", config.Reject, true, false, "first"},
		{"drop-newest leaves it out and counts", config.DropNewest, false, true, "first"},
		{"drop-oldest lets the first go", config.DropOldest, false, true, ""},
		{"nothing said is drop-oldest", "", false, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(c *config.Bridge) {
				c.Up = []config.Up{
					up("bulk/#", "{topic}", func(u *config.Up) { u.WhenFull, u.MaxSize = tt.whenFull, bound }),
					up("#", "{topic}", func(u *config.Up) { u.Priority = 3 }),
				}
			})
			r.start()
			r.publish(store.Message{Topic: "bulk/x", Payload: []byte("first"), QoS: 1})
			var err error
			for range 70 {
				if _, err = r.broker.Publish(&store.Message{Topic: "bulk/x", Payload: make([]byte, 1<<10), QoS: 1}); err != nil {
					break
				}
			}
			if errors.Is(err, store.ErrFull) != tt.refused || err != nil && !tt.refused {
				t.Fatalf("publish: %v", err)
			}
			r.publish(store.Message{Topic: "other", Payload: []byte("x"), QoS: 1}) // another lane, another policy
			lag := r.bridge.Lag()
			if (lag[0].Lost[store.Dropped] > 0) != tt.dropped || lag[0].Bytes > bound+2<<10 || lag[0].Messages < 50 || lag[3].Messages != 1 {
				t.Fatalf("lag %+v", lag)
			}
			var got []string
			r.cloud.onPublish = func(p *packet.Publish) (byte, bool) {
				if p.Topic == "bulk/x" && len(p.Payload) < 100 {
					got = append(got, string(p.Payload))
				}
				return 0, true
			}
			r.run()
			r.awaitIdle()
			r.halt()
			if (len(got) == 1 && got[0] == tt.first) != (tt.first != "") {
				t.Errorf("the cloud got %q", got)
			}
			// There is room again.
			r.publish(store.Message{Topic: "bulk/x", Payload: []byte("again"), QoS: 1})
		})
	}
}
