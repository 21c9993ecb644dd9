package broker

import (
	"testing"

	"packetboat/broker/packet"
)

func TestUnrouted(t *testing.T) {
	under := func(prefix, suffix string) Options {
		return Options{Unrouted: func(dst []byte, topic string) []byte {
			return append(append(append(dst, prefix...), topic...), suffix...)
		}}
	}
	for _, c := range []struct {
		name string
		opt  Options
		run  func(t *testing.T, r *rig, s *client)
	}{
		{"what nobody subscribes to goes there, as it was", under("lost/", ""), func(t *testing.T, r *rig, s *client) {
			s.subscribe(filter("lost/#", 2), filter("known", 2))
			p := r.connect(packet.V5, "p")
			for qos := range byte(3) {
				m := pub("a/b", qos, uint16(qos), "x")
				m.Props = packet.AppendUserProp(nil, "k", "v")
				p.publish(m)
				if got := s.wantMessage("lost/a/b", "x", qos); string(got.Props) != string(m.Props) || got.Retain {
					t.Errorf("QoS %d: %+v", qos, got)
				}
			}
			if code := p.wantAck(packet.PUBACK, 1); code != packet.NoMatchingSubscribers {
				t.Errorf("PUBACK %02x", code)
			}
			if code := p.wantAck(packet.PUBREC, 2); code != packet.NoMatchingSubscribers {
				t.Errorf("PUBREC %02x", code)
			}
			p.publish(pub("known", 1, 3, "y"))
			s.wantMessage("known", "y", 1)
			if n := r.b.Stats().Unrouted; n != 3 {
				t.Errorf("%d were counted", n)
			}
		}},
		{"a queued one is on disk before it is acknowledged", under("lost/", ""), func(t *testing.T, r *rig, s *client) {
			d := r.connect(packet.V311, "d", persistent)
			d.subscribe(filter("lost/#", 2))
			d.disconnect(0)
			p := r.connect(packet.V311, "p")
			release := r.holdSyncs()
			defer release()
			p.publish(pub("a", 2, 1, "x"))
			p.publish(packet.Publish{Topic: "a", QoS: 2, ID: 1, Dup: true, Payload: []byte("x")})
			p.ping()
			release()
			p.wantAck(packet.PUBREC, 1)
			p.wantAck(packet.PUBREC, 1)
			d = r.connect(packet.V311, "d", persistent)
			d.wantMessage("lost/a", "x", 2)
			d.ping()
		}},
		{"a bridge may carry it, but not back to where it came from", under("lost/", ""), func(t *testing.T, r *rig, s *client) {
			a, err := r.b.Attach("bridge/cloud", 0, []Subscription{{Filter: "lost/#", QoS: 2}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			for _, origin := range []string{"bridge/cloud", "adapter/x"} {
				rc, err := r.b.Publish(&Message{Topic: origin, QoS: 1, Origin: origin})
				if err != nil {
					t.Fatal(err)
				}
				if err := r.store.Wait(t.Context(), rc); err != nil {
					t.Fatal(err)
				}
			}
			if got := drain(a.Lane(0)); len(got) != 1 || got[0] != "lost/adapter/x  1" {
				t.Errorf("got %q", got)
			}
		}},
		{"what came from there does not go there again", under("lost/", "/end"), func(t *testing.T, r *rig, s *client) {
			s.subscribe(filter("lost/lost/#", 0))
			p := r.connect(packet.V5, "p")
			p.publishAll(pub("lost/a/end", 0, 0, "circle"))
			p.publishAll(pub("lost/a", 0, 0, "another topic"))
			s.wantMessage("lost/lost/a/end", "another topic", 0)
			s.ping()
		}},
		{"one topic for all", Options{Unrouted: func(dst []byte, _ string) []byte { return append(dst, "lost"...) }}, func(t *testing.T, r *rig, s *client) {
			p := r.connect(packet.V5, "p")
			p.publishAll(pub("a", 0, 0, "nobody there either"))
			s.subscribe(filter("lost", 0))
			p.publishAll(pub("lostandfound", 0, 0, "x"))
			s.wantMessage("lost", "x", 0)
			s.ping()
		}},
		{"a message that is retained is not lost", under("lost/", ""), func(t *testing.T, r *rig, s *client) {
			s.subscribe(filter("lost/#", 0))
			p := r.connect(packet.V5, "p")
			p.publishAll(packet.Publish{Topic: "a", Retain: true, Payload: []byte("x")})
			s.ping()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rigTCP(t, c.opt)
			c.run(t, r, r.connect(packet.V5, "s"))
		})
	}
}
