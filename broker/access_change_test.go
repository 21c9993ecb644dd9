package broker

import (
	"fmt"
	"strings"
	"testing"

	"packetboat/broker/acl"
	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// What other rules, or another user, mean for sessions that there are.

func TestOtherRulesDisconnectNobody(t *testing.T) {
	for _, stays := range []bool{false, true} {
		r := rigTCP(t, Options{Authenticate: believing})
		w := r.connect(packet.V5, "watch")
		change := []func(*packet.Connect){as("bob")}
		if stays {
			change = append(change, persistent)
		}
		var clients []*client
		for _, v := range versions {
			c := r.connect(v, fmt.Sprint("c", v), change...)
			c.subscribe(filter("a/#", 1), filter("b/+", 1), filter("$share/g/c", 1))
			clients = append(clients, c)
		}
		send := func(topics ...string) {
			for _, topic := range topics {
				w.publish(packet.Publish{Topic: topic, QoS: 1, ID: 1, Payload: []byte("m")})
				w.wantAck(packet.PUBACK, 1)
			}
		}
		send("a/1", "b/1")
		for _, c := range clients {
			c.wantMessage("a/1", "m", 1)
			c.wantMessage("b/1", "m", 1)
		}
		r.b.SetRules(rulesOf(t,
			acl.Rule{User: "bob", Publish: allow("p"), Subscribe: allow("b/#")},
			acl.Rule{Client: "watch", Publish: allow("#"), Subscribe: allow("#")},
		))
		send("a/2", "b/2", "c")
		for _, c := range clients {
			c.wantMessage("b/2", "m", 1)
			if c.version == packet.V5 {
				if got := c.unsubscribe("a/#", "b/+", "$share/g/c"); fmt.Sprint(got) != fmt.Sprint([]byte{packet.NoSubscriptionExisted, 0, packet.NoSubscriptionExisted}) {
					t.Errorf("%x", got)
				}
				c.publish(packet.Publish{Topic: "q", QoS: 1, ID: 9})
				if code := c.wantAck(packet.PUBACK, 9); code != packet.NotAuthorized {
					t.Errorf("0x%02X", code)
				}
				c.publish(packet.Publish{Topic: "p", QoS: 1, ID: 9})
				if code := c.wantAck(packet.PUBACK, 9); code != packet.NoMatchingSubscribers {
					t.Errorf("0x%02X", code)
				}
			}
			c.ping()
		}
		r.b.SetRules(nil)
		clients[1].subscribe(filter("a/#", 1))
		send("a/3")
		clients[1].wantMessage("a/3", "m", 1)
	}
}

// TestWhatIsQueuedIsDecidedAboutWhenItIsSent: messages wait for a session that is
// offline while its rights change, or for another user.
func TestWhatIsQueuedIsDecidedAboutWhenItIsSent(t *testing.T) {
	old := []acl.Rule{{User: "*", Subscribe: allow("a/# b/#")}, {Client: "watch", Publish: allow("#")}}
	for _, c := range []struct {
		name    string
		now     []acl.Rule // nil: as they were
		restart bool       // they change while the gateway is down
		user    string
	}{
		{"other rules", []acl.Rule{{User: "*", Subscribe: allow("b/#")}, old[1]}, false, "bob"},
		{"other rules after a restart", []acl.Rule{{User: "*", Subscribe: allow("b/#")}, old[1]}, true, "bob"},
		{"another user", []acl.Rule{{User: "bob", Subscribe: allow("a/# b/#")}, {User: "eve", Subscribe: allow("b/#")}, old[1]}, false, "eve"},
	} {
		for _, version := range versions[1:] {
			for qos := byte(1); qos <= 2; qos++ {
				t.Run(fmt.Sprintf("%s, version %d, QoS %d", c.name, version, qos), func(t *testing.T) {
					r := rigTCP(t, Options{Rules: rulesOf(t, old...), Authenticate: believing})
					s := r.connect(version, "s", as("bob"), persistent)
					s.subscribe(filter("a/#", 2), filter("b/#", 2))
					s.disconnect(0)
					w := r.connect(packet.V5, "watch")
					send := func(topics ...string) {
						for _, topic := range topics {
							w.publishAll(packet.Publish{Topic: topic, QoS: qos, ID: 1, Payload: []byte("m")})
						}
					}
					send("a/1", "b/1", "a/2", "b/2")
					if c.restart {
						r.opt.Rules = rulesOf(t, c.now...)
						r.restart()
						w = r.connect(packet.V5, "watch")
					} else {
						r.b.SetRules(rulesOf(t, c.now...))
					}
					s = r.connect(version, "s", as(c.user), persistent)
					if !s.ack.SessionPresent {
						t.Fatal("the session is gone")
					}
					if got := wantTopics(s, 2); fmt.Sprint(got) != "[b/1 b/2]" {
						t.Errorf("%q", got)
					}
					send("a/3", "b/3")
					if got := wantTopics(s, 1); fmt.Sprint(got) != "[b/3]" {
						t.Errorf("%q", got)
					}
					s.ping()
					if n := r.b.Stats().Withheld; n != 2 {
						t.Errorf("%d are counted as withheld", n)
					}
					lag := r.store.Lookup("session/s").Lag()
					if lag.Lost[store.Denied] != 2 {
						t.Errorf("ledger: %+v", lag)
					}
				})
			}
		}
	}
}

// wantTopics reads so many PUBLISH packets, goes through with all exchanges, also of
// a QoS 2 message that may have been sent once, and returns the topics.
func wantTopics(c *client, n int) (got []string) {
	c.t.Helper()
	open := map[uint16]bool{}
	for len(got) < n || len(open) > 0 {
		typ, flags, body, err := c.next()
		if err != nil {
			c.t.Fatalf("%v after %q", err, got)
		}
		if typ == packet.PUBREL {
			a, _ := packet.ParseAck(typ, flags, body, c.version)
			delete(open, a.ID)
			c.sendAck(packet.PUBCOMP, a.ID)
			continue
		}
		if err := packet.ParsePublish(flags, body, c.version, &c.pub); err != nil || typ != packet.PUBLISH {
			c.t.Fatalf("packet type %d: %v", typ, err)
		}
		got = append(got, strings.Clone(c.pub.Topic))
		if c.pub.QoS == 2 {
			open[c.pub.ID] = true
			c.sendAck(packet.PUBREC, c.pub.ID)
		} else {
			c.sendAck(packet.PUBACK, c.pub.ID)
		}
	}
	return got
}

// TestSubscriptionsThatWereTakenAwayStayAway over a restart, also of a client that
// has not come back.
func TestSubscriptionsThatWereTakenAwayStayAway(t *testing.T) {
	r := rigTCP(t, Options{Authenticate: believing})
	s := r.connect(packet.V5, "s", as("bob"), persistent)
	s.subscribe(filter("a", 1), filter("b", 1))
	s.disconnect(0)
	r.b.SetRules(rulesOf(t, acl.Rule{User: "bob", Subscribe: allow("b")}))
	if n := r.b.Stats().Subscriptions; n != 1 {
		t.Errorf("%d subscriptions", n)
	}
	r.restart() // without rules
	if n := r.b.Stats().Subscriptions; n != 1 {
		t.Errorf("%d subscriptions after a restart", n)
	}
	s = r.connect(packet.V5, "s", as("bob"), persistent)
	if got := s.unsubscribe("a", "b"); fmt.Sprint(got) != fmt.Sprint([]byte{packet.NoSubscriptionExisted, 0}) {
		t.Errorf("%x", got)
	}
}

func TestRulesCostAPublishNoMemory(t *testing.T) {
	r := rigTCP(t, Options{Rules: site(t), Authenticate: believing})
	c := &conn{b: r.b, user: "meter-1", session: &session{id: "x"}}
	ask := func() {
		if !c.mayPublish("meters/meter-1/kwh") || c.mayPublish("meters/meter-2/kwh") {
			t.Fatal("a wrong answer")
		}
	}
	ask()
	if n := testing.AllocsPerRun(100, ask); n >= allowedAllocs {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkFanInWithRules is BenchmarkFanIn with a rule for everybody.
func BenchmarkFanInWithRules(b *testing.B) {
	for qos := range byte(2) {
		b.Run(fmt.Sprintf("QoS%d", qos), func(b *testing.B) {
			r := rigTCP(b, Options{MaxOutput: 1 << 30, Rules: rulesOf(b,
				acl.Rule{Client: "nobody", Publish: allow("#")},
				acl.Rule{Client: "p*", Publish: allow("a/{client}/# b/+/c bench/#")},
				acl.Rule{Client: "*", Subscribe: allow("bench/#")},
			)})
			benchmarkFlow(b, r, 4, 1, qos)
		})
	}
}

// BenchmarkMayPublish is what the hot path pays for.
func BenchmarkMayPublish(b *testing.B) {
	for _, c := range []struct {
		name  string
		rules *acl.Rules
	}{{"without rules", nil}, {"with rules", site(b)}} {
		b.Run(c.name, func(b *testing.B) {
			r := rigTCP(b, Options{Rules: c.rules})
			c := &conn{b: r.b, user: "meter-1", session: &session{id: "x"}}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if !c.mayPublish("meters/meter-1/kwh") {
					b.Fatal("no")
				}
			}
		})
	}
}
