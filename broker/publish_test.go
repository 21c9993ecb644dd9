package broker

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
)

func filter(f string, qos byte) packet.Filter { return packet.Filter{Filter: f, QoS: qos} }

func TestEveryVersionDeliversAtTheLowerQoS(t *testing.T) {
	// [MQTT-3.8.4-8] [MQTT-4.3.1-1] [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.3.3-11]
	r := rigTCP(t, Options{})
	for _, version := range []byte{packet.V31, packet.V311, packet.V5} {
		for published := range byte(3) {
			for granted := range byte(3) {
				for _, durable := range []bool{false, true} {
					name := fmt.Sprintf("version %d, published at %d, subscribed at %d, persistent %v", version, published, granted, durable)
					t.Run(name, func(t *testing.T) {
						var change []func(*packet.Connect)
						if durable {
							change = append(change, persistent)
						}
						s := r.connect(version, "s", change...)
						s.subscribe(filter("a/+", granted))
						p := r.connect(packet.V5, "p")
						p.publishAll(packet.Publish{Topic: "a/b", QoS: published, ID: 7, Payload: []byte("x")})
						s.wantMessage("a/b", "x", min(published, granted))
						s.ping()
						s.unsubscribe("a/+")
						s.disconnect(0)
						p.disconnect(0)
					})
				}
			}
		}
	}
}

func TestPublish(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  Options
		run  func(t *testing.T, r *rig)
	}{
		{"MQTT-3.3.1-12 and MQTT-3.3.1-13 RETAIN is kept with retain as published only", Options{}, func(t *testing.T, r *rig) {
			a, b, p := r.connect(packet.V5, "a"), r.connect(packet.V5, "b"), r.connect(packet.V5, "p")
			a.subscribe(packet.Filter{Filter: "t", RetainAsIs: true})
			b.subscribe(packet.Filter{Filter: "t"})
			p.publish(packet.Publish{Topic: "t", Retain: true, Payload: []byte("x")})
			if !a.wantPublish().Retain || b.wantPublish().Retain {
				t.Error("wrong RETAIN")
			}
		}},
		{"MQTT-4.3.3-10 a repeat of what nobody subscribed to is answered so, whoever has subscribed meanwhile", Options{}, func(t *testing.T, r *rig) {
			for _, change := range []func(*packet.Connect){func(*packet.Connect) {}, persistent} {
				p, s := r.connect(packet.V5, "p", change), r.connect(packet.V5, "s")
				m := packet.Publish{Topic: "t", QoS: 2, ID: 1, Payload: []byte("x")}
				for i := range 3 {
					p.publish(m)
					if code := p.wantAck(packet.PUBREC, 1); code != packet.NoMatchingSubscribers {
						t.Errorf("PUBREC %d: %02x", i, code)
					}
					s.subscribe(filter("t", 2))
					m.Dup = true
				}
				p.send(packet.AppendAck(nil, packet.V5, packet.PUBREL, 1, 0))
				if code := p.wantAck(packet.PUBCOMP, 1); code != packet.Success {
					t.Errorf("PUBCOMP %02x", code)
				}
				p.publish(packet.Publish{Topic: "t", QoS: 2, ID: 1, Payload: []byte("y")})
				if code := p.wantAck(packet.PUBREC, 1); code != packet.Success {
					t.Errorf("PUBREC of another message %02x", code)
				}
				s.wantMessage("t", "y", 2)
				s.disconnect(0)
			}
		}},
		{"MQTT-3.8.3-3 no local keeps one's own messages away", Options{}, func(t *testing.T, r *rig) {
			a, b := r.connect(packet.V5, "a"), r.connect(packet.V5, "b")
			a.subscribe(packet.Filter{Filter: "t", NoLocal: true})
			a.publish(packet.Publish{Topic: "t"})
			a.ping()
			b.publish(packet.Publish{Topic: "t", Payload: []byte("b")})
			a.wantMessage("t", "b", 0)
		}},
		{"MQTT-3.3.4-2 and MQTT-3.3.4-4 overlapping subscriptions give one copy with all identifiers", Options{}, func(t *testing.T, r *rig) {
			for _, change := range []func(*packet.Connect){func(*packet.Connect) {}, persistent} {
				s, p := r.connect(packet.V5, "s", change), r.connect(packet.V5, "p")
				s.subscribeID(1, filter("a/#", 0))
				s.subscribeID(2, filter("a/+", 2))
				s.subscribeID(200_000, filter("+/b", 1))
				s.subscribe(filter("a/b", 1))
				s.subscribeID(9, filter("x", 1))
				p.publishAll(packet.Publish{Topic: "a/b", QoS: 2, ID: 1})
				m := s.wantMessage("a/b", "", 2)
				slices.Sort(m.SubscriptionIDs)
				if !slices.Equal(m.SubscriptionIDs, []uint32{1, 2, 200_000}) {
					t.Errorf("identifiers %d", m.SubscriptionIDs)
				}
				s.ping()
				p.publishAll(packet.Publish{Topic: "x", QoS: 1, ID: 1})
				if m := s.wantMessage("x", "", 1); !slices.Equal(m.SubscriptionIDs, []uint32{9}) {
					t.Errorf("identifiers %d", m.SubscriptionIDs)
				}
				s.disconnect(0)
				p.disconnect(0)
			}
		}},
		{"MQTT-3.8.4-3 the same filter again replaces the subscription", Options{}, func(t *testing.T, r *rig) {
			s, p := r.connect(packet.V5, "s"), r.connect(packet.V5, "p")
			s.subscribeID(1, filter("t", 2))
			s.subscribeID(2, filter("t", 1))
			p.publishAll(packet.Publish{Topic: "t", QoS: 2, ID: 1})
			if m := s.wantMessage("t", "", 1); !slices.Equal(m.SubscriptionIDs, []uint32{2}) {
				t.Errorf("identifiers %d", m.SubscriptionIDs)
			}
			s.ping()
		}},
		{"MQTT-3.10.4-2 nothing more after UNSUBSCRIBE, and MQTT-3.10.4-5 an answer in any case", Options{}, func(t *testing.T, r *rig) {
			s, p := r.connect(packet.V5, "s"), r.connect(packet.V5, "p")
			s.subscribe(filter("t", 1))
			if codes := s.unsubscribe("t", "u"); !slices.Equal(codes, []byte{0, packet.NoSubscriptionExisted}) {
				t.Errorf("codes %x", codes)
			}
			p.publish(packet.Publish{Topic: "t", QoS: 1, ID: 1})
			if code := p.wantAck(packet.PUBACK, 1); code != packet.NoMatchingSubscribers {
				t.Errorf("PUBACK %02x", code)
			}
			s.ping()
		}},
		{"MQTT-3.9.3-1 codes come in the order of the filters", Options{MaxSubscriptions: 2, MaxTopicLevels: 3}, func(t *testing.T, r *rig) {
			filters := []packet.Filter{filter("a", 0), filter("a/#/b", 1), filter("b", 2), filter("c", 0), filter("a/b/c/d", 0), filter("a", 1)}
			want := []byte{0, packet.TopicFilterInvalid, 2, packet.QuotaExceeded, packet.TopicFilterInvalid, 1}
			if codes := r.connect(packet.V5, "s").subscribe(filters...); !slices.Equal(codes, want) {
				t.Errorf("codes %x", codes)
			}
			want = []byte{0, 0x80, 2, 0x80, 0x80, 1}
			if codes := r.connect(packet.V311, "t").subscribe(filters...); !slices.Equal(codes, want) {
				t.Errorf("codes %x", codes)
			}
		}},
		{"MQTT-3.8.3-4 no local on a shared subscription is a protocol error", Options{}, func(t *testing.T, r *rig) {
			s := r.connect(packet.V5, "s")
			s.send(packet.AppendSubscribe(nil, packet.V5, &packet.Subscribe{ID: 1, Filters: []packet.Filter{{Filter: "$share/g/a", NoLocal: true}}}))
			s.wantEnd(packet.ProtocolError)
		}},
		{"4.8.2 a shared subscription gives each message to one member", Options{}, func(t *testing.T, r *rig) {
			a, b, p := r.connect(packet.V5, "a"), r.connect(packet.V311, "b"), r.connect(packet.V5, "p")
			a.subscribe(filter("$share/g/t", 1))
			b.subscribe(filter("$share/g/t", 1))
			for i := range 4 {
				p.publishAll(packet.Publish{Topic: "t", QoS: 1, ID: uint16(i + 1)})
			}
			for range 2 {
				a.wantMessage("t", "", 1)
				b.wantMessage("t", "", 1)
			}
			a.ping()
			b.disconnect(0)
			p.publishAll(packet.Publish{Topic: "t", QoS: 1, ID: 1})
			a.wantMessage("t", "", 1)
		}},
		{"MQTT-3.3.2-12 topic aliases of a client are resolved", Options{TopicAliasMax: 2}, func(t *testing.T, r *rig) {
			s, p := r.connect(packet.V5, "s"), r.connect(packet.V5, "p")
			s.subscribe(filter("#", 0))
			p.publish(packet.Publish{Topic: "a", Alias: 2})
			p.publish(packet.Publish{Alias: 2})
			p.publish(packet.Publish{Topic: "b", Alias: 2})
			p.publish(packet.Publish{Alias: 2})
			for _, topic := range []string{"a", "a", "b", "b"} {
				if m := s.wantMessage(topic, "", 0); m.Alias != 0 {
					t.Errorf("alias %d", m.Alias)
				}
			}
			p.publish(packet.Publish{Topic: "a", Alias: 3})
			p.wantEnd(packet.TopicAliasInvalid)
			p = r.connect(packet.V5, "p")
			p.publish(packet.Publish{Alias: 2}) // [MQTT-3.3.2-7]
			p.wantEnd(packet.ProtocolError)
		}},
		{"MQTT-3.3.4-6 a client sends no subscription identifier", Options{}, func(t *testing.T, r *rig) {
			p := r.connect(packet.V5, "p")
			p.publish(packet.Publish{Topic: "a", SubscriptionIDs: []uint32{1}})
			p.wantEnd(packet.ProtocolError)
		}},
		{"MQTT-3.3.2-15 to MQTT-3.3.2-20 properties go on unaltered and in order", Options{}, func(t *testing.T, r *rig) {
			props := packet.AppendUserProp(nil, "b", "1")
			props = packet.AppendByteProp(props, packet.PropPayloadFormat, 1)
			props = packet.AppendStringProp(props, packet.PropCorrelationData, []byte{0, 0xff})
			props = packet.AppendStringProp(props, packet.PropResponseTopic, "r")
			props = packet.AppendStringProp(props, packet.PropContentType, "text/plain")
			props = packet.AppendUserProp(props, "a", "2")
			for _, change := range []func(*packet.Connect){func(*packet.Connect) {}, persistent} {
				s, p := r.connect(packet.V5, "s", change), r.connect(packet.V5, "p")
				s.subscribe(filter("t", 1))
				p.publishAll(packet.Publish{Topic: "t", QoS: 1, ID: 1, Props: props, Expiry: 100, HasExpiry: true})
				m := s.wantMessage("t", "", 1)
				if string(m.Props) != string(props) || !m.HasExpiry || m.Expiry != 100 {
					t.Errorf("%x, expiry %d", m.Props, m.Expiry)
				}
				s.disconnect(0)
			}
		}},
		{"MQTT-3.3.4-9 the client's receive maximum is kept", Options{}, func(t *testing.T, r *rig) {
			for _, change := range []func(*packet.Connect){func(*packet.Connect) {}, persistent} {
				s := r.connect(packet.V5, "s", change, func(p *packet.Connect) { p.ReceiveMaximum = 2 })
				s.subscribe(filter("t", 2))
				p := r.connect(packet.V5, "p")
				for i := range 5 {
					p.publishAll(packet.Publish{Topic: "t", QoS: byte(1 + i%2), ID: uint16(i + 1), Payload: []byte{byte('0' + i)}})
				}
				first, second := *s.wantPublish(), *s.wantPublish()
				s.ping() // nothing more
				s.sendAck(packet.PUBREC, second.ID)
				s.wantAck(packet.PUBREL, second.ID)
				s.ping()
				s.sendAck(packet.PUBACK, first.ID)
				s.wantMessage("t", "2", 1)
				s.sendAck(packet.PUBCOMP, second.ID)
				s.wantMessage("t", "3", 2)
				s.wantMessage("t", "4", 1)
				s.disconnect(0)
			}
		}},
		{"MQTT-3.3.4-7 more in flight than our receive maximum closes with 0x93", Options{MaxInflight: 2}, func(t *testing.T, r *rig) {
			p := r.connect(packet.V5, "p")
			if p.ack.ReceiveMaximum != 2 {
				t.Errorf("announced %d", p.ack.ReceiveMaximum)
			}
			for id := range uint16(3) {
				p.publish(packet.Publish{Topic: "t", QoS: 2, ID: id + 1})
			}
			p.wantAck(packet.PUBREC, 1)
			p.wantAck(packet.PUBREC, 2)
			p.wantEnd(packet.ReceiveMaximumExceeded)
		}},
		{"MQTT-3.1.2-24 and MQTT-3.1.2-25 what is too large for the client is left out", Options{}, func(t *testing.T, r *rig) {
			for _, change := range []func(*packet.Connect){func(*packet.Connect) {}, persistent} {
				s := r.connect(packet.V5, "s", change, func(p *packet.Connect) { p.MaxPacketSize = 50 })
				p := r.connect(packet.V5, "p")
				s.subscribe(filter("t", 1))
				p.publishAll(packet.Publish{Topic: "t", QoS: 1, ID: 1, Payload: make([]byte, 50)})
				p.publishAll(packet.Publish{Topic: "t", QoS: 1, ID: 1, Payload: []byte("x")})
				s.wantMessage("t", "x", 1)
				s.disconnect(0)
			}
		}},
		{"clients do not publish to $SYS", Options{}, func(t *testing.T, r *rig) {
			p := r.connect(packet.V5, "p")
			p.publish(packet.Publish{Topic: "$SYS/broker/x", QoS: 1, ID: 1})
			if code := p.wantAck(packet.PUBACK, 1); code != packet.NotAuthorized {
				t.Errorf("code %02x", code)
			}
		}},
		{"too many levels are refused", Options{MaxTopicLevels: 2}, func(t *testing.T, r *rig) {
			p := r.connect(packet.V5, "p")
			p.publish(packet.Publish{Topic: "a/b/c", QoS: 2, ID: 1})
			if code := p.wantAck(packet.PUBREC, 1); code != packet.TopicNameInvalid {
				t.Errorf("code %02x", code)
			}
			p.publishAll(packet.Publish{Topic: "a/b", QoS: 2, ID: 1}) // [MQTT-4.3.3-9]
		}},
		{"MQTT-4.3.3-10 a repeated QoS 2 publish is routed once, and MQTT-4.3.3-12 then its id is free", Options{}, func(t *testing.T, r *rig) {
			for _, change := range []func(*packet.Connect){func(*packet.Connect) {}, persistent} {
				s := r.connect(packet.V5, "s", change)
				s.subscribe(filter("t", 0))
				p := r.connect(packet.V311, "p")
				p.publish(packet.Publish{Topic: "t", QoS: 2, ID: 5, Payload: []byte("1")})
				p.wantAck(packet.PUBREC, 5)
				p.publish(packet.Publish{Topic: "t", QoS: 2, ID: 5, Dup: true, Payload: []byte("1")})
				p.wantAck(packet.PUBREC, 5)
				p.sendAck(packet.PUBREL, 5)
				p.wantAck(packet.PUBCOMP, 5)
				p.publishAll(packet.Publish{Topic: "t", QoS: 2, ID: 5, Payload: []byte("2")})
				s.wantMessage("t", "1", 0)
				s.wantMessage("t", "2", 0)
				s.ping()
				s.disconnect(0)
			}
		}},
		{"PUBREL for an unknown id is answered with 0x92", Options{}, func(t *testing.T, r *rig) {
			p := r.connect(packet.V5, "p")
			p.sendAck(packet.PUBREL, 5)
			if code := p.wantAck(packet.PUBCOMP, 5); code != packet.PacketIDNotFound {
				t.Errorf("code %02x", code)
			}
			p.sendAck(packet.PUBREC, 6)
			if code := p.wantAck(packet.PUBREL, 6); code != packet.PacketIDNotFound {
				t.Errorf("code %02x", code)
			}
		}},
		{"MQTT-4.7.2-1 $SYS goes to its own subscribers only", Options{SysInterval: time.Millisecond, Version: "1"}, func(t *testing.T, r *rig) {
			s := r.connect(packet.V5, "s")
			s.subscribe(filter("$SYS/broker/version", 0))
			s.wantMessage("$SYS/broker/version", "packetboat version 1", 0)
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, rigTCP(t, c.opt)) })
	}
}

func TestRetained(t *testing.T) {
	retain := func(p *client, topic, payload string) {
		p.publishAll(packet.Publish{Topic: topic, Payload: []byte(payload), Retain: true, QoS: 1, ID: 1})
	}
	for _, c := range []struct {
		name string
		opt  Options
		run  func(t *testing.T, r *rig)
	}{
		{"MQTT-3.3.1-5 to MQTT-3.3.1-8 set, replaced, removed", Options{}, func(t *testing.T, r *rig) {
			p := r.connect(packet.V5, "p")
			retain(p, "a", "1")
			retain(p, "a", "2")
			retain(p, "b", "x")
			p.publishAll(packet.Publish{Topic: "a", QoS: 1, ID: 1, Payload: []byte("not retained")})
			retain(p, "b", "")
			for _, change := range []func(*packet.Connect){func(*packet.Connect) {}, persistent} {
				s := r.connect(packet.V311, "s", change)
				s.subscribe(filter("#", 1))
				if m := s.wantMessage("a", "2", 1); !m.Retain {
					t.Error("RETAIN 0")
				}
				s.ping()
				s.disconnect(0)
			}
		}},
		{"MQTT-3.3.1-9 to MQTT-3.3.1-11 retain handling", Options{}, func(t *testing.T, r *rig) {
			p, s := r.connect(packet.V5, "p"), r.connect(packet.V5, "s")
			retain(p, "a", "1")
			s.subscribe(packet.Filter{Filter: "a", RetainHandling: 2})
			s.ping()
			s.subscribe(packet.Filter{Filter: "a", RetainHandling: 1})
			s.ping() // it is not new
			s.subscribe(packet.Filter{Filter: "a", RetainHandling: 0})
			s.wantMessage("a", "1", 0)
			s.unsubscribe("a")
			s.subscribe(packet.Filter{Filter: "a", RetainHandling: 1})
			s.wantMessage("a", "1", 0)
			s.subscribe(filter("$share/g/a", 0))
			s.ping()
		}},
		{"they survive a restart, with QoS and properties", Options{}, func(t *testing.T, r *rig) {
			p := r.connect(packet.V5, "p")
			props := packet.AppendUserProp(nil, "k", "v")
			p.publishAll(packet.Publish{Topic: "a", QoS: 2, ID: 1, Retain: true, Payload: []byte("1"), Props: props})
			retain(p, "b", "2")
			retain(p, "b", "")
			r.restart()
			s := r.connect(packet.V5, "s")
			s.subscribeID(4, filter("#", 2))
			m := s.wantMessage("a", "1", 2)
			if !m.Retain || string(m.Props) != string(props) || !slices.Equal(m.SubscriptionIDs, []uint32{4}) {
				t.Errorf("%+v", m)
			}
			s.ping()
		}},
		{"above the limit 5.0 is refused, 3.1.1 delivered but not retained", Options{MaxRetained: 1}, func(t *testing.T, r *rig) {
			p, old, s := r.connect(packet.V5, "p"), r.connect(packet.V311, "old"), r.connect(packet.V5, "s")
			s.subscribe(filter("#", 0))
			retain(p, "a", "1")
			retain(p, "a", "2")
			p.publish(packet.Publish{Topic: "b", QoS: 1, ID: 1, Retain: true, Payload: []byte("x")})
			if code := p.wantAck(packet.PUBACK, 1); code != packet.QuotaExceeded {
				t.Errorf("code %02x", code)
			}
			retain(old, "b", "x")
			s.wantMessage("a", "1", 0)
			s.wantMessage("a", "2", 0)
			s.wantMessage("b", "x", 0)
			s.subscribe(filter("b", 0))
			s.ping()
			retain(p, "a", "")
			retain(p, "b", "y")
		}},
		{"switched off: CONNACK says so and RETAIN closes with 0x9A", Options{NoRetain: true}, func(t *testing.T, r *rig) {
			p := r.connect(packet.V5, "p")
			if !p.ack.RetainUnavailable {
				t.Error("not announced")
			}
			p.publish(packet.Publish{Topic: "a", Retain: true})
			p.wantEnd(packet.RetainNotSupported)
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, rigTCP(t, c.opt)) })
	}
}

func TestMessageExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rigPipes(t, Options{MaxRetained: 2})
		s := r.connect(packet.V5, "s", persistent)
		s.subscribe(filter("t/#", 2))
		s.disconnect(0)
		p := r.connect(packet.V5, "p")
		p.publishAll(packet.Publish{Topic: "t/short", QoS: 1, ID: 1, HasExpiry: true, Expiry: 10})
		p.publishAll(packet.Publish{Topic: "t/long", QoS: 2, ID: 2, HasExpiry: true, Expiry: 100, Retain: true, Payload: []byte("x")})
		p.publishAll(packet.Publish{Topic: "t/short", QoS: 1, ID: 1, HasExpiry: true, Expiry: 10, Retain: true, Payload: []byte("x")})
		time.Sleep(30 * time.Second)
		// [MQTT-3.3.2-5] [MQTT-3.3.2-6]
		s = r.connect(packet.V5, "s", persistent)
		if m := s.wantMessage("t/long", "x", 2); m.Expiry != 70 {
			t.Errorf("%d s left", m.Expiry)
		}
		q := r.connect(packet.V5, "q")
		q.subscribe(filter("#", 0))
		if m := q.wantMessage("t/long", "x", 0); m.Expiry != 70 {
			t.Errorf("%d s left of the retained one", m.Expiry)
		}
		q.ping()
		s.ping()
		// An expired one makes room for another.
		p.publishAll(packet.Publish{Topic: "r", QoS: 1, ID: 1, Retain: true, Payload: []byte("x")})
		p.publish(packet.Publish{Topic: "r2", QoS: 1, ID: 1, Retain: true, Payload: []byte("x")})
		if code := p.wantAck(packet.PUBACK, 1); code != packet.QuotaExceeded {
			t.Errorf("PUBACK %02x", code)
		}
		r.stop()
	})
}

func TestWills(t *testing.T) {
	will := func(delay uint32) func(*packet.Connect) {
		return func(p *packet.Connect) {
			p.Will = &packet.Will{Topic: "will", Payload: []byte("gone"), QoS: 1, Delay: delay, Props: packet.AppendUserProp(nil, "k", "v")}
		}
	}
	for _, c := range []struct {
		name string
		run  func(t *testing.T, r *rig, s *client)
	}{
		{"MQTT-3.1.2-8 a broken connection publishes it", func(t *testing.T, r *rig, s *client) {
			r.connect(packet.V5, "w", will(0)).nc.Close()
			if m := s.wantMessage("will", "gone", 1); string(m.Props) != string(packet.AppendUserProp(nil, "k", "v")) { // [MQTT-3.1.3-10]
				t.Errorf("properties %x", m.Props)
			}
		}},
		{"MQTT-3.14.4-3 DISCONNECT discards it", func(t *testing.T, r *rig, s *client) {
			r.connect(packet.V5, "w", will(0)).disconnect(0)
			r.connect(packet.V311, "w", will(0)).disconnect(0)
			s.ping()
		}},
		{"DISCONNECT 0x04 publishes it", func(t *testing.T, r *rig, s *client) {
			r.connect(packet.V5, "w", will(0)).disconnect(packet.DisconnectWithWill)
			s.wantMessage("will", "gone", 1)
		}},
		{"a takeover publishes it", func(t *testing.T, r *rig, s *client) {
			r.connect(packet.V5, "w", will(0))
			r.connect(packet.V5, "w")
			s.wantMessage("will", "gone", 1)
		}},
		{"a delayed one waits", func(t *testing.T, r *rig, s *client) {
			r.connect(packet.V5, "w", will(10), persistent).nc.Close()
			time.Sleep(9 * time.Second)
			s.ping()
			time.Sleep(2 * time.Second)
			s.wantMessage("will", "gone", 1)
		}},
		{"MQTT-3.1.3-9 coming back in time discards a delayed one", func(t *testing.T, r *rig, s *client) {
			r.connect(packet.V5, "w", will(10), persistent).nc.Close()
			time.Sleep(9 * time.Second)
			r.connect(packet.V5, "w", persistent)
			time.Sleep(9 * time.Second)
			s.ping()
		}},
		{"the end of the session publishes a delayed one", func(t *testing.T, r *rig, s *client) {
			r.connect(packet.V5, "w", will(1000), persistent).nc.Close()
			time.Sleep(9 * time.Second)
			r.connect(packet.V5, "w")
			s.wantMessage("will", "gone", 1)
		}},
		{"without a session the delay means nothing", func(t *testing.T, r *rig, s *client) {
			r.connect(packet.V5, "w", will(1000)).nc.Close()
			s.wantMessage("will", "gone", 1)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rigPipes(t, Options{})
				s := r.connect(packet.V5, "s")
				s.subscribe(filter("will", 1))
				c.run(t, r, s)
				r.stop()
			})
		})
	}
}
