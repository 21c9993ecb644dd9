package broker

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
)

func TestSharedSubscriptions(t *testing.T) {
	const share = "$share/g/t/#"
	short := func(p *packet.Connect) { p.SessionExpiry = 60 }
	for _, c := range []struct {
		name string
		run  func(t *testing.T, r *rig)
	}{
		{"connected members take turns, and persistent ones when nobody is connected", func(t *testing.T, r *rig) {
			p := r.connect(packet.V311, "p")
			a, b, d := r.connect(packet.V5, "a"), r.connect(packet.V311, "b"), r.connect(packet.V5, "d", persistent)
			for _, m := range []*client{a, b, d} {
				m.subscribe(filter(share, 1))
			}
			d.disconnect(0)
			for i := range 6 {
				p.publishAll(pub("t/x", 1, 1, fmt.Sprint(i)))
			}
			got := append(a.wantAll(3), b.wantAll(3)...)
			slices.Sort(got)
			if want := []string{"0@1", "1@1", "2@1", "3@1", "4@1", "5@1"}; !slices.Equal(got, want) {
				t.Errorf("got %q", got)
			}
			a.disconnect(0)
			b.disconnect(0)
			p.publishAll(pub("t/x", 1, 1, "later"))
			r.connect(packet.V5, "d", persistent).wantMessage("t/x", "later", 1)
		}},
		{"when a session expires, what it has not finished goes to another member", func(t *testing.T, r *rig) {
			p := r.connect(packet.V5, "p")
			d := r.connect(packet.V5, "d", persistent, short)
			d.subscribe(filter(share, 2), filter("plain", 2))
			p.publishAll(pub("t/x", 1, 1, "sent at 1"))
			p.publishAll(pub("t/x", 2, 1, "sent at 2"))
			p.publishAll(pub("t/x", 1, 1, "finished"))
			for i := range 3 {
				if m := d.wantPublish(); i == 2 {
					d.sendAck(packet.PUBACK, m.ID)
				}
			}
			d.ping()
			r.drop(d, "d")
			later := pub("t/y", 2, 1, "never sent")
			later.HasExpiry, later.Expiry = true, 100
			p.publishAll(later)
			p.publishAll(pub("plain", 1, 1, "not shared"))
			m := r.connect(packet.V5, "m", persistent)
			m.subscribeID(9, filter(share, 2))
			time.Sleep(61 * time.Second)
			m.wantMessage("t/x", "sent at 1", 1)
			got := m.wantMessage("t/y", "never sent", 2) // [MQTT-4.8.2-5]: not the other one
			if !slices.Equal(got.SubscriptionIDs, []uint32{9}) || got.Expiry != 40 {
				t.Errorf("%+v", got)
			}
			m.ping()
			synctest.Wait()
			if left := r.store.Consumers(); !slices.Equal(left, []string{"session/m"}) {
				t.Errorf("consumers %q", left)
			}
		}},
		{"Clean Start ends a session too, and a live member gets what it leaves", func(t *testing.T, r *rig) {
			p, m := r.connect(packet.V311, "p"), r.connect(packet.V311, "m")
			d := r.connect(packet.V5, "d", persistent)
			d.subscribe(filter(share, 1))
			d.disconnect(0)
			for i := range 3 {
				p.publishAll(pub("t/x", 1, 1, fmt.Sprint(i)))
			}
			m.subscribe(filter(share, 1))
			d = r.connect(packet.V5, "d")
			if got := m.wantAll(3); !slices.Equal(got, []string{"0@1", "1@1", "2@1"}) {
				t.Errorf("got %q", got)
			}
			d.ping()
		}},
		{"a member that is offline gets it with its session", func(t *testing.T, r *rig) {
			p := r.connect(packet.V311, "p")
			d := r.connect(packet.V5, "d", persistent)
			d.subscribe(filter(share, 1))
			d.disconnect(0)
			p.publishAll(pub("t/x", 1, 1, "x"))
			m := r.connect(packet.V5, "m", persistent)
			m.subscribe(filter(share, 0), filter("$share/other/#", 1))
			m.disconnect(0)
			r.connect(packet.V5, "d").disconnect(0)
			synctest.Wait()
			m = r.connect(packet.V5, "m", persistent)
			m.ping() // at QoS 0, for which nothing is queued
			p.publishAll(pub("t/x", 1, 1, "y"))
			if got := m.wantAll(2); !slices.Contains(got, "y@1") || !slices.Contains(got, "y@0") {
				t.Errorf("got %q", got)
			}
		}},
		{"a handover goes on after a crash", func(t *testing.T, r *rig) {
			p := r.connect(packet.V311, "p")
			d := r.connect(packet.V5, "d", persistent)
			d.subscribe(filter(share, 1))
			d.disconnect(0)
			m := r.connect(packet.V5, "m", persistent)
			m.subscribe(filter(share, 1))
			m.disconnect(0)
			for i := range 4 {
				p.publishAll(pub("t/x", 1, 1, fmt.Sprint(i)))
			}
			// As a crash leaves it that comes before the first message is moved.
			r.store.Delete(subKey("d", share))
			r.store.Delete(sessionKey("d"))
			rc, err := r.store.Rename("session/d", handoverPrefix+"x")
			if err == nil {
				err = r.store.Wait(t.Context(), rc)
			}
			if err != nil {
				t.Fatal(err)
			}
			r.crash(rand.New(rand.NewPCG(1, 2)), func() {})
			m = r.connect(packet.V5, "m", persistent)
			got := m.wantAll(4)
			slices.Sort(got)
			if !slices.Equal(got, []string{"0@1", "1@1", "2@1", "3@1"}) {
				t.Errorf("got %q", got)
			}
			synctest.Wait()
			for _, name := range r.store.Consumers() {
				if strings.HasPrefix(name, handoverPrefix) {
					t.Errorf("%s is left", name)
				}
			}
		}},
		{"it waits for a disk that has failed", func(t *testing.T, r *rig) {
			p := r.connect(packet.V311, "p")
			d := r.connect(packet.V5, "d", persistent, short)
			d.subscribe(filter(share, 1), filter("d", 1))
			d.disconnect(0)
			m := r.connect(packet.V5, "m", persistent)
			m.subscribe(filter(share, 1))
			p.publishAll(pub("t/x", 1, 1, "m"))
			m.wantMessage("t/x", "m", 1)
			m.disconnect(0)
			for range 2 {
				p.publishAll(pub("t/x", 1, 1, "x"))
			}
			r.failed()
			time.Sleep(2 * time.Minute)
			r.breakDisk(false)
			time.Sleep(time.Minute)
			m = r.connect(packet.V5, "m", persistent)
			m.wantMessage("t/x", "x", 1)
			m.wantMessage("t/x", "x", 1)
			m.ping()
		}},
		{"a clean session's messages go on too, those in flight first", func(t *testing.T, r *rig) {
			p := r.connect(packet.V5, "p")
			a := r.connect(packet.V5, "a", takesAliases(5), func(p *packet.Connect) { p.ReceiveMaximum = 3 })
			a.subscribe(filter(share, 2))
			a.subscribe(filter("plain", 1))
			p.publishAll(pub("plain", 1, 1, "not shared"))
			for i := range 5 {
				p.publishAll(pub("t/x", 1, 1, fmt.Sprint(i)))
			}
			p.publishAll(pub("t/x", 2, 1, "never sent"))
			a.wantPublish()
			a.wantMessage("t/x", "0", 1)
			a.ping2(packet.PUBLISH, packet.PUBLISH)
			m := r.connect(packet.V311, "m")
			m.subscribe(filter(share, 2))
			a.nc.Close()
			if got := m.wantAll(5); !slices.Equal(got, []string{"1@1", "2@1", "3@1", "4@1", "never sent@2"}) {
				t.Errorf("got %q", got)
			}
		}},
		{"MQTT-4.8.2-5 and MQTT-4.8.2-6 not what was sent at QoS 2, or refused", func(t *testing.T, r *rig) {
			p := r.connect(packet.V5, "p")
			a := r.connect(packet.V5, "a")
			a.subscribe(filter(share, 2))
			p.publishAll(pub("t/x", 2, 1, "sent"))
			a.wantPublish()
			p.publishAll(pub("t/x", 1, 1, "refused"))
			a.send(packet.AppendAck(nil, packet.V5, packet.PUBACK, a.wantPublish().ID, packet.UnspecifiedError))
			a.ping()
			m := r.connect(packet.V311, "m")
			m.subscribe(filter(share, 2))
			r.drop(a, "a")
			p.ping()
			m.ping()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rigPipes(t, Options{})
				c.run(t, r)
				r.stop()
			})
		})
	}
}

// ping2 is ping behind packets of these types.
func (c *client) ping2(types ...byte) {
	c.t.Helper()
	c.send([]byte{0xc0, 0})
	for _, typ := range append(types, packet.PINGRESP) {
		c.want(typ)
	}
}

func TestWhatIsToBeHandedOverIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rigPipes(t, Options{})
		for _, id := range []string{"m", "d"} { // m keeps the group
			c := r.connect(packet.V5, id, persistent)
			c.subscribe(filter("$share/g/t/#", 1))
			c.disconnect(0)
		}
		p := r.connect(packet.V5, "p")
		for i := range 4 {
			p.publishAll(pub("t/x", 1, 1, fmt.Sprint(i)))
		}
		r.b.mu.Lock()
		r.b.heritage = make([]string, maxHeritage) // nobody has told runHandover
		r.b.mu.Unlock()
		again := r.connect(packet.V5, "d")
		again.ping()
		for _, name := range r.store.Consumers() {
			if name != "session/m" {
				t.Errorf("there is %s", name)
			}
		}
		_, _ = again.nc.Close(), p.nc.Close()
	})
}

func TestSharesDoNotAllocate(t *testing.T) {
	r := rigTCP(t, Options{})
	s := r.connect(packet.V311, "s")
	s.subscribe(filter("$share/g/t", 1))
	d := r.connect(packet.V311, "d", persistent)
	d.subscribe(filter("$share/h/t", 1))
	d.disconnect(0)
	acked := make(chan struct{}, 1)
	go func() {
		for {
			typ, _, body, err := s.next()
			if err != nil || typ != packet.PUBLISH {
				return
			}
			_, _ = s.nc.Write(packet.AppendAck(nil, packet.V311, packet.PUBACK, uint16(body[3])<<8|uint16(body[4]), 0))
			acked <- struct{}{}
		}
	}()
	m := &Message{Topic: "t", QoS: 1, Payload: []byte("21.5"), Origin: "adapter/x"}
	c := r.b.sessions["s"].conn.Load()
	var g *group = r.b.groups["$share/g/t"]
	frame := packet.AppendPublish(nil, packet.V311, &packet.Publish{Topic: "t", QoS: 1})
	for range 100 {
		if _, err := r.b.Publish(m); err != nil {
			t.Fatal(err)
		}
		<-acked
	}
	if n := testing.AllocsPerRun(1000, func() {
		c.out.mu.Lock()
		c.out.shares.keep(60000, g, frame)
		c.out.shares.drop(60000)
		c.out.mu.Unlock()
	}); n != 0 {
		t.Errorf("keeping a share allocates %v times", n)
	}
	_ = s.nc.Close()
	_, _ = io.Copy(io.Discard, d.nc)
}
