package broker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"packetboat/broker/packet"
)

func pub(topic string, qos byte, id uint16, payload string) packet.Publish {
	return packet.Publish{Topic: topic, QoS: qos, ID: id, Payload: []byte(payload)}
}

// TestAnswersWaitForTheDisk is the table of DESIGN section 3, one row a case:
// while no sync ends, nothing is answered that promises something durable, and
// everything else goes on.
func TestAnswersWaitForTheDisk(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, r *rig, offline string)
	}{
		{"PUBACK and PUBREC, in their order, while live subscribers are served", func(t *testing.T, r *rig, _ string) {
			s, p := r.connect(packet.V5, "live"), r.connect(packet.V5, "p")
			s.subscribe(filter("#", 1))
			release := r.holdSyncs()
			defer release()
			p.publish(pub("d", 1, 1, "a"))
			p.publish(pub("d", 2, 2, "b"))
			p.publish(pub("other", 1, 3, "c")) // nothing durable about it, but behind the others
			p.publish(pub("d", 0, 0, "d"))
			for i, payload := range []string{"a", "b", "c", "d"} {
				if m := s.wantPublish(); string(m.Payload) != payload {
					t.Errorf("%d: %q", i, m.Payload)
				}
			}
			p.ping() // nothing is answered but this
			release()
			p.wantAck(packet.PUBACK, 1)
			p.wantAck(packet.PUBREC, 2)
			p.wantAck(packet.PUBACK, 3)
		}},
		{"a repeated QoS 2 publish gets the first receipt", func(t *testing.T, r *rig, _ string) {
			p := r.connect(packet.V311, "p")
			release := r.holdSyncs()
			defer release()
			p.publish(pub("d", 2, 1, "a"))
			p.publish(packet.Publish{Topic: "d", QoS: 2, ID: 1, Dup: true})
			p.ping()
			release()
			p.wantAck(packet.PUBREC, 1)
			p.wantAck(packet.PUBREC, 1)
		}},
		{"PUBCOMP waits for the forget", func(t *testing.T, r *rig, _ string) {
			p := r.connect(packet.V5, "p")
			p.publish(pub("d", 2, 1, "a"))
			p.wantAck(packet.PUBREC, 1)
			release := r.holdSyncs()
			defer release()
			p.sendAck(packet.PUBREL, 1)
			p.ping()
			release()
			p.wantAck(packet.PUBCOMP, 1)
		}},
		{"PUBCOMP waits for the forget on the next connection too", func(t *testing.T, r *rig, _ string) {
			p := r.connect(packet.V5, "p", persistent)
			p.publish(pub("d", 2, 1, "a"))
			p.wantAck(packet.PUBREC, 1)
			release := r.holdSyncs()
			defer release()
			p.sendAck(packet.PUBREL, 1)
			p.ping()
			r.drop(p, "p")
			p = r.connect(packet.V5, "p", persistent)
			p.sendAck(packet.PUBREL, 1)
			p.ping()
			release()
			p.wantAck(packet.PUBCOMP, 1)
		}},
		{"SUBACK for what is on its way to the disk already waits too", func(t *testing.T, r *rig, _ string) {
			s := r.connect(packet.V5, "s", persistent)
			release := r.holdSyncs()
			defer release()
			subscribe := packet.AppendSubscribe(nil, packet.V5, &packet.Subscribe{ID: 100, Filters: []packet.Filter{filter("t", 2)}})
			s.send(subscribe)
			s.ping()
			s.send(subscribe)
			s.ping()
			release()
			s.wantSuback(packet.SUBACK)
			s.wantSuback(packet.SUBACK)
		}},
		{"CONNACK waits for what a former connection of the session left", func(t *testing.T, r *rig, _ string) {
			connect := packet.AppendConnect(nil, &packet.Connect{Version: packet.V5, ClientID: "new", SessionExpiry: 3600})
			release := r.holdSyncs()
			defer release()
			first, second := r.dial(), r.dial()
			first.send(connect)
			<-r.gate.waits
			second.send(connect)
			first.wantEnd(0)
			// A client that is connected shows that the second has been handled
			// as far as it goes.
			r.connect(packet.V5, "live").ping()
			if n := len(second.peek()); n != 0 {
				t.Errorf("%d bytes before the sync", n)
			}
			release()
			if ack := second.wantConnack(); !ack.SessionPresent {
				t.Error("session not there")
			}
		}},
		{"PUBREL waits for the release", func(t *testing.T, r *rig, _ string) {
			s, p := r.connect(packet.V5, "s", persistent), r.connect(packet.V5, "p")
			s.subscribe(filter("t", 2))
			p.publishAll(pub("t", 2, 1, "a"))
			m := *s.wantPublish()
			release := r.holdSyncs()
			defer release()
			s.sendAck(packet.PUBREC, m.ID)
			s.ping()
			release()
			s.wantAck(packet.PUBREL, m.ID)
		}},
		{"a durable consumer gets a PUBLISH when it is durable", func(t *testing.T, r *rig, _ string) {
			s, p := r.connect(packet.V5, "s", persistent), r.connect(packet.V5, "p")
			s.subscribe(filter("t", 1))
			release := r.holdSyncs()
			defer release()
			p.publish(pub("t", 1, 1, "a"))
			p.ping()
			s.ping()
			release()
			s.wantMessage("t", "a", 1)
		}},
		{"SUBACK and UNSUBACK of a persistent session, but not when nothing changes", func(t *testing.T, r *rig, _ string) {
			s := r.connect(packet.V5, "s", persistent)
			s.subscribe(filter("t", 1))
			release := r.holdSyncs()
			defer release()
			s.subscribe(filter("t", 1))
			s.send(packet.AppendSubscribe(nil, packet.V5, &packet.Subscribe{ID: 100, Filters: []packet.Filter{filter("t", 2)}}))
			s.send(packet.AppendUnsubscribe(nil, packet.V5, &packet.Unsubscribe{ID: 100, Filters: []string{"t"}}))
			s.ping()
			release()
			s.wantSuback(packet.SUBACK)
			s.wantSuback(packet.UNSUBACK)
		}},
		{"CONNACK of a new persistent session, but not of one that is resumed", func(t *testing.T, r *rig, offline string) {
			release := r.holdSyncs()
			defer release()
			c := r.dial()
			c.send(packet.AppendConnect(nil, &packet.Connect{Version: packet.V5, ClientID: "new", SessionExpiry: 3600}))
			<-r.gate.waits
			if !r.connect(packet.V5, offline, persistent).ack.SessionPresent {
				t.Error("session not there")
			}
			r.connect(packet.V5, "live")
			release()
			c.wantConnack()
		}},
		{"a 3.1.1 client is not read beyond max_inflight waiting answers", func(t *testing.T, r *rig, _ string) {
			p := r.connect(packet.V311, "p")
			s := r.connect(packet.V5, "live")
			s.subscribe(filter("d", 0))
			release := r.holdSyncs()
			defer release()
			for id := range uint16(8) {
				p.publish(pub("d", 1, id+1, ""))
			}
			p.send([]byte{0xc0, 0}) // not read either
			for range 4 {
				s.wantPublish()
			}
			s.ping()
			release()
			for id := range uint16(4) {
				p.wantAck(packet.PUBACK, id+1)
			}
			seen := 4
			for typ := byte(0); typ != packet.PINGRESP; {
				var err error
				if typ, _, _, err = p.next(); err != nil {
					t.Fatal(err)
				}
				if typ == packet.PUBACK {
					seen++
				}
			}
			for ; seen < 8; seen++ {
				p.want(packet.PUBACK)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rigTCP(t, Options{MaxInflight: 4})
			c1 := r.connect(packet.V5, "offline", persistent)
			c1.subscribe(filter("d", 2))
			c1.disconnect(0)
			c.run(t, r, "offline")
		})
	}
}

func TestPersistentSessions(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, r *rig, again func())
	}{
		{"MQTT-3.1.2-5 of 3.1.1: QoS 1 and 2 wait for an offline client, in order", func(t *testing.T, r *rig, again func()) {
			s := r.connect(packet.V311, "s", persistent)
			s.subscribe(filter("t/#", 2))
			s.disconnect(0)
			p := r.connect(packet.V5, "p")
			for i := range 50 {
				p.publishAll(pub("t/x", byte(i%3), 1, fmt.Sprint(i)))
			}
			again()
			s = r.connect(packet.V311, "s", persistent)
			var want []string
			for i := range 50 {
				if i%3 > 0 {
					want = append(want, fmt.Sprintf("%d@%d", i, i%3))
				}
			}
			if got := s.wantAll(len(want)); !slices.Equal(got, want) {
				t.Errorf("got %q", got)
			}
			s.ping()
		}},
		{"MQTT-4.4.0-1 and MQTT-4.6.0-1 what is unacknowledged comes again in order, same id, DUP 1", func(t *testing.T, r *rig, again func()) {
			s := r.connect(packet.V5, "s", persistent)
			s.subscribe(filter("t", 2))
			p := r.connect(packet.V5, "p")
			for i := range 4 {
				p.publishAll(pub("t", byte(1+i%2), 1, fmt.Sprint(i)))
			}
			var ids []uint16
			for range 4 {
				m := s.wantPublish()
				if m.Dup {
					t.Error("DUP 1 the first time")
				}
				ids = append(ids, m.ID)
			}
			s.sendAck(packet.PUBREC, ids[3]) // released: only PUBREL again
			s.wantAck(packet.PUBREL, ids[3])
			r.drop(s, "s")
			again()
			s = r.connect(packet.V5, "s", persistent)
			s.wantAck(packet.PUBREL, ids[3])
			for i := range 3 {
				m := s.wantPublish()
				if !m.Dup || m.ID != ids[i] || string(m.Payload) != fmt.Sprint(i) {
					t.Errorf("%d: DUP %v, id %d, %q", i, m.Dup, m.ID, m.Payload)
				}
			}
			s.sendAck(packet.PUBCOMP, ids[3])
			s.ping()
		}},
		{"MQTT-4.3.3-10 a QoS 2 publish repeated on the next connection is routed once", func(t *testing.T, r *rig, again func()) {
			s := r.connect(packet.V5, "s", persistent)
			s.subscribe(filter("t", 2))
			p := r.connect(packet.V5, "p", persistent)
			p.publish(pub("t", 2, 9, "x"))
			p.wantAck(packet.PUBREC, 9)
			r.drop(p, "p")
			again()
			p = r.connect(packet.V5, "p", persistent)
			p.publish(packet.Publish{Topic: "t", QoS: 2, ID: 9, Dup: true, Payload: []byte("x")})
			p.wantAck(packet.PUBREC, 9)
			r.drop(p, "p")
			again()
			p = r.connect(packet.V5, "p", persistent)
			p.sendAck(packet.PUBREL, 9)
			if code := p.wantAck(packet.PUBCOMP, 9); code != packet.Success {
				t.Errorf("code %02x", code)
			}
			p.publishAll(pub("t", 2, 9, "y"))
			s.disconnectIfOpen()
			s = r.connect(packet.V5, "s", persistent)
			if got := s.wantAll(2); !slices.Equal(got, []string{"x@2", "y@2"}) {
				t.Errorf("got %q", got)
			}
			s.ping()
		}},
		{"subscriptions stay with all their options", func(t *testing.T, r *rig, again func()) {
			s := r.connect(packet.V5, "s", persistent)
			s.subscribeID(7, packet.Filter{Filter: "t/#", QoS: 1, NoLocal: true, RetainAsIs: true}, filter("gone", 1))
			s.subscribe(filter("$share/g/u", 1))
			s.unsubscribe("gone")
			again()
			s.disconnectIfOpen()
			s = r.connect(packet.V5, "s", persistent)
			p := r.connect(packet.V5, "p")
			s.publish(pub("t/x", 1, 1, "own"))
			s.wantAck(packet.PUBACK, 1)
			p.publishAll(pub("gone", 1, 1, ""))
			p.publishAll(packet.Publish{Topic: "t/x", QoS: 2, ID: 1, Retain: true, Payload: []byte("p")})
			m := s.wantMessage("t/x", "p", 1)
			if !m.Retain || len(m.SubscriptionIDs) != 1 || m.SubscriptionIDs[0] != 7 {
				t.Errorf("%+v", m)
			}
			p.publishAll(pub("u", 1, 1, "shared"))
			s.wantMessage("u", "shared", 1)
			s.ping()
		}},
		{"MQTT-3.1.2-4 Clean Start leaves nothing of a session", func(t *testing.T, r *rig, again func()) {
			s := r.connect(packet.V5, "s", persistent)
			s.subscribe(filter("t", 2))
			s.publish(pub("x", 2, 3, ""))
			s.disconnectIfOpen()
			p := r.connect(packet.V5, "p")
			p.publishAll(pub("t", 1, 1, "old"))
			again()
			s = r.connect(packet.V5, "s")
			if s.ack.SessionPresent {
				t.Error("session present")
			}
			s.disconnect(0)
			again()
			s = r.connect(packet.V5, "s", persistent)
			if s.ack.SessionPresent {
				t.Error("session present")
			}
			s.ping()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rigTCP(t, Options{})
			c.run(t, r, func() {})
		})
		t.Run(c.name+", over restarts", func(t *testing.T) {
			r := rigTCP(t, Options{})
			c.run(t, r, r.restart)
		})
		t.Run(c.name+", over crashes", func(t *testing.T) {
			r := rigTCP(t, Options{})
			rng := rand.New(rand.NewPCG(1, 2))
			c.run(t, r, func() { r.crash(rng, func() {}) })
		})
	}
}

func TestIdentifiersOfACleanSessionDoNotOutliveACrash(t *testing.T) {
	r := rigTCP(t, Options{})
	s := r.connect(packet.V5, "s", persistent)
	s.subscribe(filter("t", 2))
	p := r.connect(packet.V311, "p")
	p.publish(pub("t", 2, 1, "old"))
	p.wantAck(packet.PUBREC, 1)
	r.crash(rand.New(rand.NewPCG(1, 2)), func() {})
	p = r.connect(packet.V311, "p")
	p.publishAll(pub("t", 2, 1, "new"))
	s = r.connect(packet.V5, "s", persistent)
	if got := s.wantAll(2); !slices.Equal(got, []string{"old@2", "new@2"}) {
		t.Errorf("got %q", got)
	}
}

func (c *client) disconnectIfOpen() {
	_, _ = c.nc.Write(packet.AppendDisconnect(nil, c.version, &packet.Disconnect{}))
	for {
		if _, _, _, err := c.next(); err != nil {
			return
		}
	}
}

func TestAFailedStoreStillServesWhatIsNotDurable(t *testing.T) {
	r := rigTCP(t, Options{})
	d := r.connect(packet.V5, "d", persistent)
	d.subscribe(filter("d", 1))
	r.breakDisk(true)
	p := r.connect(packet.V5, "p")
	// The first one finds out; it was staged and waits.
	p.publish(pub("d", 1, 1, ""))
	for r.store.Failed() == nil {
		p.ping()
	}
	p.publish(pub("d", 1, 2, ""))
	p.ping()
	s := r.connect(packet.V5, "s")
	s.subscribe(filter("live", 2))
	q := r.connect(packet.V5, "q")
	q.publishAll(pub("live", 2, 1, "x"))
	s.wantMessage("live", "x", 2)
	q.publish(pub("d", 1, 5, ""))
	if code := q.wantAck(packet.PUBACK, 5); code != packet.ImplementationSpecificError {
		t.Errorf("PUBACK %02x", code)
	}
	if codes := d.subscribe(filter("d", 1), filter("d", 2)); codes[0] != 1 || codes[1] != packet.ImplementationSpecificError {
		t.Errorf("SUBACK %x", codes)
	}
	n := r.connect(packet.V5, "new", persistent)
	if !n.ack.HasSessionExpiry || n.ack.SessionExpiry != 0 {
		t.Errorf("a new session: %+v", n.ack)
	}
	old := r.dial()
	if ack := old.connect(&packet.Connect{Version: packet.V311, ClientID: "old"}); ack.Code != packet.ServerUnavailable {
		t.Errorf("CONNACK %02x", ack.Code)
	}
	if !r.connect(packet.V5, "d", persistent).ack.SessionPresent {
		t.Error("a known session is not resumed")
	}
}

func TestASlowSubscriberIsCutNotThePublisher(t *testing.T) {
	r := rigTCP(t, Options{MaxOutput: 1, MaxPacketSize: 16 << 10})
	s := r.connect(packet.V5, "slow")
	d := r.connect(packet.V5, "durable", persistent)
	s.subscribe(filter("t", 0))
	d.subscribe(filter("t", 0))
	p := r.connect(packet.V5, "p")
	for r.b.Stats().Cut == 0 || r.b.Stats().DroppedQoS0 == 0 {
		p.publish(packet.Publish{Topic: "t", Payload: make([]byte, 8<<10)})
		p.ping()
	}
	for {
		if typ, _, _, err := s.next(); err != nil || typ != packet.PUBLISH {
			break
		}
	}
	if n := r.b.Stats().Cut; n != 1 {
		t.Errorf("%d were cut", n)
	}
	p.ping()
}

func TestPublishAnswersWithTheStoresReceipt(t *testing.T) {
	r := rigTCP(t, Options{})
	s := r.connect(packet.V5, "s", persistent)
	s.subscribe(filter("t", 2))
	live := r.connect(packet.V5, "live")
	live.subscribe(filter("#", 1))
	m := &Message{Topic: "t", QoS: 2, Payload: []byte("x"), Origin: "bridge/b", PacketID: 4}
	for range 2 { // [MQTT-4.3.3-10]
		receipt, err := r.b.Publish(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.store.Wait(t.Context(), receipt); err != nil {
			t.Fatal(err)
		}
	}
	s.wantMessage("t", "x", 2)
	live.wantMessage("t", "x", 1)
	s.ping()
	live.ping()
	if receipt, err := r.b.Publish(&Message{Topic: "live/only", QoS: 1}); err != nil || !receipt.IsZero() {
		t.Errorf("receipt %v, %v", receipt, err)
	}
	live.wantMessage("live/only", "", 1)
	for _, bad := range []string{"", "a/#", "a\x00"} {
		if _, err := r.b.Publish(&Message{Topic: bad}); !errors.Is(err, ErrTopic) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
