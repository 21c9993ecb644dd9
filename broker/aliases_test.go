package broker

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
)

func takesAliases(n uint16) func(*packet.Connect) {
	return func(p *packet.Connect) { p.TopicAliasMax = n }
}

// aliased follows the topic aliases that a server gives.
type aliased struct {
	topics map[uint16]string
	given  int
}

// topic is the topic of p, told or remembered.
func (a *aliased) topic(t testing.TB, p *packet.Publish, most uint16) string {
	t.Helper()
	if p.Alias > most {
		t.Fatalf("alias %d, at most %d", p.Alias, most) // [MQTT-3.1.2-26]
	}
	if a.topics == nil {
		a.topics = map[uint16]string{}
	}
	switch {
	case p.Topic == "" && a.topics[p.Alias] == "":
		t.Fatalf("alias %d was not told", p.Alias)
	case p.Topic == "":
		a.given++
		return a.topics[p.Alias]
	case p.Alias != 0:
		a.topics[p.Alias] = string([]byte(p.Topic))
	}
	return p.Topic
}

func TestTopicAliasesOfTheServer(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  Options
		run  func(t *testing.T, r *rig)
	}{
		{"a topic is told the second time, and then its alias stands for it", Options{}, func(t *testing.T, r *rig) {
			for _, how := range []func(*packet.Connect){takesAliases(10), persistent} {
				s := r.connect(packet.V5, "s", takesAliases(10), how)
				s.subscribe(filter("#", 2))
				p := r.connect(packet.V311, "p")
				for i := range 9 {
					p.publishAll(pub("long/enough", byte(i%3), 1, "x"))
					m := s.wantPublish()
					want := packet.Publish{Topic: "long/enough"}
					switch {
					case i == 1:
						want.Alias = 1
					case i > 1:
						want = packet.Publish{Alias: 1}
					}
					if m.Topic != want.Topic || m.Alias != want.Alias || string(m.Payload) != "x" || m.QoS != byte(i%3) {
						t.Errorf("%d: %+v", i, m)
					}
					switch m.QoS {
					case 1:
						s.sendAck(packet.PUBACK, m.ID)
					case 2:
						s.sendAck(packet.PUBREC, m.ID)
						s.wantAck(packet.PUBREL, m.ID)
						s.sendAck(packet.PUBCOMP, m.ID)
					}
				}
				s.disconnect(0)
			}
		}},
		{"MQTT-3.1.2-27 none for a client that takes none", Options{}, func(t *testing.T, r *rig) {
			s, old, p := r.connect(packet.V5, "s"), r.connect(packet.V311, "old"), r.connect(packet.V311, "p")
			s.subscribe(filter("#", 0))
			old.subscribe(filter("#", 0))
			for range 4 {
				p.publishAll(pub("long/enough", 0, 0, "x"))
				if m := s.wantPublish(); m.Topic == "" || m.Alias != 0 {
					t.Errorf("%+v", m)
				}
				if m := old.wantPublish(); m.Topic == "" {
					t.Errorf("%+v", m)
				}
			}
		}},
		{"ours is the limit when it is lower", Options{TopicAliasMax: 1}, func(t *testing.T, r *rig) {
			s, p := r.connect(packet.V5, "s", takesAliases(10)), r.connect(packet.V311, "p")
			s.subscribe(filter("#", 0))
			var a aliased
			for i := range 12 {
				topic := fmt.Sprint("topic", i%2)
				p.publishAll(pub(topic, 0, 0, "x"))
				if got := a.topic(t, s.wantPublish(), 1); got != topic {
					t.Errorf("%d: %q", i, got)
				}
			}
		}},
		{"MQTT-3.3.2-7 what is sent again has its topic", Options{}, func(t *testing.T, r *rig) {
			s := r.connect(packet.V5, "s", takesAliases(10), persistent)
			s.subscribe(filter("#", 1))
			p := r.connect(packet.V311, "p")
			for id := range uint16(4) {
				p.publishAll(pub("long/enough", 1, id+1, "x"))
				s.wantPublish()
			}
			r.drop(s, "s")
			s = r.connect(packet.V5, "s", takesAliases(10), persistent)
			var a aliased
			for i := range 4 {
				flags, body := s.want(packet.PUBLISH)
				var m packet.Publish
				if err := packet.ParsePublish(flags, body, packet.V5, &m); err != nil {
					t.Fatal(err)
				}
				if got := a.topic(t, &m, 10); got != "long/enough" || !m.Dup || i < 2 && m.Topic == "" {
					t.Errorf("%d: %q, %+v", i, got, m)
				}
			}
		}},
		{"MQTT-3.1.2-24 an alias does not make a packet too large", Options{}, func(t *testing.T, r *rig) {
			size := packet.PublishSize(packet.V5, &packet.Publish{Topic: "long/enough", Payload: make([]byte, 40)})
			s := r.connect(packet.V5, "s", takesAliases(10), func(p *packet.Connect) { p.MaxPacketSize = uint32(size) })
			s.subscribe(filter("#", 0))
			p := r.connect(packet.V311, "p")
			for range 4 {
				p.publishAll(packet.Publish{Topic: "long/enough", Payload: make([]byte, 40)})
				if m := s.wantPublish(); m.Topic == "" || m.Alias != 0 {
					t.Errorf("%+v", m)
				}
			}
		}},
		{"whatever is published, the topic that arrives is right", Options{}, func(t *testing.T, r *rig) {
			const most = 5
			s := r.connect(packet.V5, "s", takesAliases(most), func(p *packet.Connect) { p.ReceiveMaximum = 3 })
			s.subscribeID(7, filter("a/#", 2), filter("b/+", 1))
			p := r.connect(packet.V5, "p")
			rng := rand.New(rand.NewPCG(1, 2))
			var a aliased
			for i := range 2000 {
				topic := fmt.Sprintf("%c/%d", "ab"[rng.IntN(2)], int(rng.ExpFloat64()*4))
				m := pub(topic, byte(rng.IntN(3)), 1, topic)
				m.HasExpiry, m.Expiry = rng.IntN(2) == 0, 100
				p.publishAll(m)
				got := s.wantPublish()
				if name := a.topic(t, got, most); name != topic || string(got.Payload) != topic || got.HasExpiry != m.HasExpiry || len(got.SubscriptionIDs) != 1 {
					t.Fatalf("%d: %q: %+v, want %q", i, name, got, topic)
				}
				switch got.QoS {
				case 1:
					s.sendAck(packet.PUBACK, got.ID)
				case 2:
					s.sendAck(packet.PUBREC, got.ID)
					s.wantAck(packet.PUBREL, got.ID)
					s.sendAck(packet.PUBCOMP, got.ID)
				}
			}
			if a.given == 0 {
				t.Error("no alias was used")
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, rigTCP(t, c.opt)) })
	}
}

func TestTheBusiestTopicsHaveAliases(t *testing.T) {
	a := newAliases(4)
	rng := rand.New(rand.NewPCG(1, 2))
	hits, busy := 0, 0
	for i := range 20000 {
		// Four topics have 80 % of the messages, and others in the second half.
		name := fmt.Sprintf("rare/%d", rng.IntN(10000))
		if rng.IntN(5) > 0 {
			name = fmt.Sprintf("busy/%d", rng.IntN(4)+i/10000*4)
			busy++
		}
		if n, tell := a.of(name, true); n != 0 && !tell {
			hits++
		}
	}
	if share := float64(hits) / float64(busy); share < 0.95 {
		t.Errorf("of %d busy publishes %d have an alias", busy, hits)
	}
}

func TestTopicsThatNeverComeAgainCostNoAlias(t *testing.T) {
	a := newAliases(64)
	names := make([]string, 5000)
	for i := range names {
		names[i] = fmt.Sprint("once/", i)
	}
	i := 0
	if n := testing.AllocsPerRun(len(names)-1, func() { a.of(names[i], true); i++ }); n > 0 || len(a.places) > 0 {
		t.Errorf("%v allocations, %d places", n, len(a.places))
	}
}

// TestAliasesDoNotAllocate: clients with and without aliases share one encoding.
func TestAliasesDoNotAllocate(t *testing.T) {
	r := rigTCP(t, Options{})
	for i := range 3 {
		c := r.connect(packet.V5, fmt.Sprint("s", i), takesAliases(uint16(i*10)))
		c.subscribe(filter("sensors/#", 0))
		go func() { _, _ = io.Copy(io.Discard, c.nc) }()
	}
	m := &Message{Topic: "sensors/plant-7/line-2/temperature", Payload: []byte("21.5"), Origin: "adapter/x"}
	publish := func() {
		if _, err := r.b.Publish(m); err != nil {
			t.Error(err)
		}
	}
	for range 100 {
		publish()
	}
	if n := testing.AllocsPerRun(1000, publish); n >= allowedAllocs {
		t.Errorf("a publish allocates %v times", n)
	}
}

// TestAliasesSaveBytes shows what aliases are worth for the readings of 50
// sensors.
func TestAliasesSaveBytes(t *testing.T) {
	sent := func(most uint16) uint64 {
		r := rigTCP(t, Options{})
		s, p := r.connect(packet.V5, "s", takesAliases(most)), r.connect(packet.V311, "p")
		s.subscribe(filter("sensors/#", 0))
		before := r.b.Stats().BytesSent
		for i := range 5000 {
			p.publish(pub(fmt.Sprintf("sensors/plant-7/line-2/meter-%02d/temperature", i%50), 0, 0, `{"t":21.53}`))
			s.wantPublish()
		}
		return r.b.Stats().BytesSent - before
	}
	without, with := sent(0), sent(64)
	t.Logf("%d bytes without aliases, %d with: %d %%", without, with, 100*with/without)
	if with > without/2 {
		t.Errorf("%d bytes with aliases, %d without", with, without)
	}
}

func TestWhatWaitsForASlowClientExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rigPipes(t, Options{})
		s, p := r.connect(packet.V5, "s", func(p *packet.Connect) { p.ReceiveMaximum = 1 }), r.connect(packet.V5, "p")
		s.subscribe(filter("t", 1))
		for id, seconds := range []uint32{0, 10, 30, 0} {
			m := pub("t", 1, uint16(id)+1, fmt.Sprint(seconds))
			m.HasExpiry, m.Expiry = seconds > 0, seconds
			p.publishAll(m)
		}
		first := s.wantPublish().ID
		time.Sleep(20 * time.Second)
		s.sendAck(packet.PUBACK, first)
		if m := s.wantMessage("t", "30", 1); !m.HasExpiry || m.Expiry != 10 {
			t.Errorf("%+v", m)
		}
		s.wantMessage("t", "0", 1)
		s.ping()
		if n := r.b.Stats().Expired; n != 1 {
			t.Errorf("%d have expired", n)
		}
		r.stop()
	})
}
