package broker

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// failed breaks the disk under a staged publish to d of its own connection, and
// waits until the store knows.
func (r *rig) failed() {
	r.t.Helper()
	r.breakDisk(true)
	if _, err := r.b.Publish(&Message{Topic: "d", QoS: 1, Payload: []byte("first")}); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
	if r.store.Failed() == nil {
		r.t.Fatal("not failed")
	}
}

func TestAFailedStore(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, r *rig, d *client)
	}{
		{"MQTT 3.1.1 is parked, and goes on without a reconnect when the disk is well again", func(t *testing.T, r *rig, d *client) {
			p := r.connect(packet.V311, "p")
			r.failed()
			p.publish(pub("d", 1, 1, "a"))
			p.publish(pub("d", 2, 2, "b"))
			p.publish(pub("d", 0, 0, "now"))
			p.ping()
			d.wantMessage("d", "now", 0)
			time.Sleep(5 * time.Second)
			p.ping()
			r.breakDisk(false)
			if flags, body := p.wantLate(packet.PUBACK, time.Minute); flags != 0 || body[1] != 1 {
				t.Errorf("PUBACK %x", body)
			}
			p.wantAck(packet.PUBREC, 2)
			if got := d.wantAll(3); !slices.Equal(got, []string{"first@1", "a@1", "b@2"}) {
				t.Errorf("got %q", got)
			}
		}},
		{"MQTT 5 is refused with 0x83, and goes on without a reconnect when the disk is well again", func(t *testing.T, r *rig, d *client) {
			p := r.connect(packet.V5, "p")
			r.failed()
			p.publish(pub("d", 2, 2, "a"))
			if code := p.wantAck(packet.PUBREC, 2); code != packet.ImplementationSpecificError {
				t.Errorf("PUBREC %02x", code)
			}
			p.publish(packet.Publish{Topic: "live", QoS: 1, ID: 3, Retain: true, Payload: []byte("x")})
			if code := p.wantAck(packet.PUBACK, 3); code != packet.ImplementationSpecificError {
				t.Errorf("PUBACK %02x", code)
			}
			r.breakDisk(false)
			time.Sleep(time.Minute)
			p.publishAll(pub("d", 2, 2, "b"))
			if got := d.wantAll(2); !slices.Equal(got, []string{"first@1", "b@2"}) {
				t.Errorf("got %q", got)
			}
		}},
		{"a reader that waits for answers goes on when a hanging disk counts as failed", func(t *testing.T, r *rig, d *client) {
			p := r.connect(packet.V311, "p")
			release := r.holdSyncs()
			defer release()
			began := time.Now()
			for id := range uint16(6) {
				p.publish(pub("d", 1, id+1, "")) // the last one is not read at once
			}
			p.send([]byte{0xc0, 0})
			p.wantLate(packet.PINGRESP, time.Minute)
			if time.Since(began) < 30*time.Second {
				t.Error("read at once")
			}
			if n := r.b.Stats().Parked; n != 2 {
				t.Errorf("%d are parked", n)
			}
			p.subscribeWhileFailed(filter("live", 0))
			p.publish(pub("live", 0, 0, "x"))
			p.wantMessage("live", "x", 0)
			release()
			for id := range uint16(4) {
				p.wantAck(packet.PUBACK, id+1)
			}
			p.wantSuback(packet.SUBACK)
			p.wantAck(packet.PUBACK, 5)
			p.wantAck(packet.PUBACK, 6)
			d.wantAll(6)
		}},
		{"twice max_inflight answers may wait", func(t *testing.T, r *rig, _ *client) {
			p := r.connect(packet.V311, "p")
			release := r.holdSyncs()
			defer release()
			for id := range uint16(5) {
				p.publish(pub("d", 1, id+1, ""))
			}
			time.Sleep(time.Minute)
			for range 4 {
				p.subscribeWhileFailed(filter("live", 0))
			}
			p.ping()
			p.subscribeWhileFailed(filter("live", 0))
			p.wantEnd(0)
		}},
		{"SUBSCRIBE of a persistent session is granted when nothing changes, else refused", func(t *testing.T, r *rig, d *client) {
			old := r.connect(packet.V311, "old", persistent)
			old.subscribe(filter("a", 1))
			d.subscribeID(3, filter("a", 1))
			r.failed()
			if codes := old.subscribe(filter("a", 1), filter("a", 2), filter("b", 0)); !slices.Equal(codes, []byte{1, 0x80, 0x80}) {
				t.Errorf("3.1.1: SUBACK %x", codes)
			}
			if codes := d.subscribeID(3, filter("a", 1), filter("b", 1)); !slices.Equal(codes, []byte{1, packet.ImplementationSpecificError}) {
				t.Errorf("5.0: SUBACK %x", codes)
			}
			if codes := d.subscribeID(4, filter("a", 1)); !slices.Equal(codes, []byte{packet.ImplementationSpecificError}) {
				t.Errorf("5.0: SUBACK %x", codes)
			}
			p := r.connect(packet.V5, "p")
			p.publishAll(pub("b", 0, 0, "refused"))
			p.publishAll(pub("a", 0, 0, "x"))
			old.wantMessage("a", "x", 0)
			if m := d.wantMessage("a", "x", 0); !slices.Equal(m.SubscriptionIDs, []uint32{3}) {
				t.Errorf("subscription identifiers %d", m.SubscriptionIDs)
			}
		}},
		{"a new persistent session is live-only, a known one is resumed or ended", func(t *testing.T, r *rig, d *client) {
			r.failed()
			n := r.connect(packet.V5, "new", persistent)
			if !n.ack.HasSessionExpiry || n.ack.SessionExpiry != 0 {
				t.Errorf("5.0: %+v", n.ack)
			}
			n.subscribe(filter("live", 1))
			n.publish(pub("live", 1, 1, "x"))
			n.wantMessage("live", "x", 1)
			n.wantAck(packet.PUBACK, 1)
			old := r.dial()
			if ack := old.connect(&packet.Connect{Version: packet.V311, ClientID: "old"}); ack.Code != packet.ServerUnavailable {
				t.Errorf("3.1.1: CONNACK %02x", ack.Code)
			}
			if ack := r.connect(packet.V5, "d", persistent).ack; !ack.SessionPresent || ack.HasSessionExpiry {
				t.Errorf("resumed: %+v", ack)
			}
			clean := r.connect(packet.V5, "d", func(p *packet.Connect) { p.SessionExpiry = 3600 })
			if ack := clean.ack; ack.SessionPresent || !ack.HasSessionExpiry || ack.SessionExpiry != 0 {
				t.Errorf("ended: %+v", ack)
			}
			r.breakDisk(false)
			time.Sleep(time.Minute)
			r.restart()
			for _, id := range []string{"d", "new"} {
				if r.connect(packet.V5, id, persistent).ack.SessionPresent {
					t.Errorf("session %s is there", id)
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rigPipes(t, Options{MaxInflight: 4})
				d := r.connect(packet.V5, "d", persistent)
				d.subscribe(filter("d", 2))
				c.run(t, r, d)
				r.breakDisk(false)
				r.stop()
			})
		})
	}
}

// subscribeWhileFailed sends a SUBSCRIBE whose answer may have to wait.
func (c *client) subscribeWhileFailed(f packet.Filter) {
	c.t.Helper()
	c.send(packet.AppendSubscribe(nil, c.version, &packet.Subscribe{ID: 100, Filters: []packet.Filter{f}}))
}

func TestAttachingToAFullQueueLeavesRetainedMessagesForLater(t *testing.T) {
	r := rigTCP(t, Options{})
	r.connect(packet.V5, "p").publishAll(packet.Publish{Topic: "up/r", QoS: 1, ID: 1, Retain: true, Payload: []byte("r")})
	attach := func(filter string) *Attachment {
		t.Helper()
		a, err := r.b.Attach("bridge/b", 0, []Subscription{{Filter: filter, QoS: 1}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := attach("other")
	a.Lane(0).SetPolicy(store.Reject, 1)
	a.Close()
	a = attach("up/#")
	if n := a.Lane(0).Lag().Messages; n != 0 {
		t.Errorf("%d are queued", n)
	}
	a.Lane(0).SetPolicy(store.DropOldest, 0)
	a.Close()
	a = attach("up/#")
	if n := a.Lane(0).Lag().Messages; n != 1 {
		t.Errorf("%d are queued", n)
	}
	a.Close()
}
