package broker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/acl"
	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// allow makes a list of filters with {user} and {client}, separated by spaces.
func allow(filters string) (list []acl.Pattern) {
	for _, f := range strings.Fields(filters) {
		var p acl.Pattern
		for f != "" {
			text, rest, ok := strings.Cut(f, "{")
			p = append(p, acl.Piece{Text: text})
			if f = rest; ok {
				var name string
				name, f, _ = strings.Cut(rest, "}")
				p = append(p, acl.Piece{Name: name})
			}
		}
		list = append(list, p)
	}
	return list
}

func rulesOf(t testing.TB, list ...acl.Rule) *acl.Rules {
	t.Helper()
	r, err := acl.Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// site are the rules of most of these tests. Who watches is without a user name.
func site(t testing.TB) *acl.Rules {
	return rulesOf(t,
		acl.Rule{User: "meter-*", Publish: allow("meters/{user}/# shared"), Subscribe: allow("cmd/{user}/# time")},
		acl.Rule{Client: "panel-*", Subscribe: allow("by/{user}/{client}/# meters/#")},
		acl.Rule{Client: "watch*", Publish: allow("#"), Subscribe: allow("# $SYS/#")},
		acl.Rule{Adapter: "scale", Publish: allow("scales/#"), Subscribe: allow("scales/set/a")},
		acl.Rule{Adapter: "bridge/cloud", Publish: allow("cmd/#"), Subscribe: allow("meters/#")},
	)
}

var versions = []byte{packet.V31, packet.V311, packet.V5}

func eachVersion(t *testing.T, f func(t *testing.T, version byte)) {
	for _, v := range versions {
		t.Run(fmt.Sprint("version ", v), func(t *testing.T) { f(t, v) })
	}
}

func TestWhoMayPublishWhat(t *testing.T) {
	eachVersion(t, func(t *testing.T, version byte) {
		for _, c := range []struct {
			name, user, id, topic string
			ok                    bool
		}{
			{"below its own name", "meter-1", "x", "meters/meter-1/kwh", true},
			{"the level of its own name", "meter-1", "x", "meters/meter-1", true},
			{"a topic for all", "meter-1", "x", "shared", true},
			{"below another's name", "meter-1", "x", "meters/meter-2/kwh", false},
			{"what it may subscribe to", "meter-1", "x", "cmd/meter-1/a", false},
			{"a name that is a wildcard", "meter-+", "x", "meters/meter-1/kwh", false},
			{"a name that is a wildcard, as it is for all", "meter-+", "x", "shared", true},
			{"a name with a level more", "meter-1/kwh", "x", "meters/meter-1/kwh/a", false},
			{"a client whose rule has no publish", "bob", "panel-1", "meters/meter-1/kwh", false},
			{"a client that no rule names", "bob", "x", "shared", false},
			{"a client without a name", "", "x", "shared", false},
			{"by client identifier", "", "watch-2", "any", true},
		} {
			t.Run(c.name, func(t *testing.T) {
				r := rigTCP(t, Options{Rules: site(t), Authenticate: believing})
				w := r.connect(packet.V5, "watch")
				w.subscribe(filter("#", 2))
				p := r.connect(version, c.id, as(c.user))
				denied := byte(packet.Success)
				if !c.ok && version == packet.V5 {
					denied = packet.NotAuthorized
				}
				p.publish(packet.Publish{Topic: c.topic, Payload: []byte("0")})
				if c.ok {
					w.wantMessage(c.topic, "0", 0)
				}
				for qos := byte(1); qos <= 2; qos++ {
					p.publish(packet.Publish{Topic: c.topic, QoS: qos, ID: 5, Payload: []byte{'0' + qos}})
					if code := p.wantAck([]byte{1: packet.PUBACK, 2: packet.PUBREC}[qos], 5); code != denied {
						t.Errorf("QoS %d: reason 0x%02X, want 0x%02X", qos, code, denied)
					}
					if qos == 2 && denied == 0 {
						p.sendAck(packet.PUBREL, 5)
						if p.wantAck(packet.PUBCOMP, 5) != 0 {
							t.Error("the publish was not held")
						}
					}
					if c.ok {
						w.wantMessage(c.topic, string('0'+rune(qos)), qos)
					}
				}
				p.ping()
				w.ping() // nothing else has come
				want := uint64(0)
				if !c.ok {
					want = 3
				}
				if got := r.b.Stats().Denied; got != want {
					t.Errorf("%d are counted, not %d", got, want)
				}
			})
		}
	})
}

func TestAReasonIsGivenForAPublishThatIsNotAllowed(t *testing.T) {
	r := rigTCP(t, Options{Rules: site(t)})
	c := r.connect(packet.V5, "x")
	c.publish(packet.Publish{Topic: "a", QoS: 1, ID: 5})
	if code, why := c.wantReason(packet.PUBACK); code != packet.NotAuthorized || why != whyDenied {
		t.Errorf("0x%02X %q", code, why)
	}
}

func TestAnAliasIsNoWayRoundTheRules(t *testing.T) {
	r := rigTCP(t, Options{Rules: site(t), Authenticate: believing})
	c := r.connect(packet.V5, "x", as("meter-1"))
	for i, p := range []packet.Publish{{Topic: "cmd/meter-1/x", Alias: 1}, {Alias: 1}, {Topic: "shared", Alias: 1}, {Alias: 1}} {
		p.QoS, p.ID = 1, 5
		c.publish(p)
		if code := c.wantAck(packet.PUBACK, 5); (code == packet.NotAuthorized) != (i < 2) {
			t.Errorf("publish %d: 0x%02X", i, code)
		}
	}
}

func TestWhoMaySubscribeToWhat(t *testing.T) {
	for _, version := range versions[1:] { // MQTT 3.1 has no words for a refusal
		for _, c := range []struct {
			user, id, filter string
			ok               bool
		}{
			{"meter-1", "x", "cmd/meter-1/#", true},
			{"meter-1", "x", "cmd/meter-1/+/a", true},
			{"meter-1", "x", "cmd/meter-1", true},
			{"meter-1", "x", "time", true},
			{"meter-1", "x", "cmd/#", false},
			{"meter-1", "x", "cmd/+/a", false},
			{"meter-1", "x", "cmd/meter-2/a", false},
			{"meter-1", "x", "meters/meter-1/a", false},
			{"meter-1", "x", "#", false},
			{"meter-+", "x", "cmd/meter-1/a", false},
			{"meter-1", "x", "$share/g/cmd/meter-1/#", true},
			{"meter-1", "x", "$share/g/cmd/+/a", false},
			{"meter-1", "x", "$share/g/#", false},
			{"bob", "panel-1", "by/bob/panel-1/x", true},
			{"eve", "panel-1", "by/bob/panel-1/x", false},
			{"", "panel-1", "meters/+/kwh", true},
			{"", "panel-1", "by/+/panel-1/x", false},
			{"", "panel-1", "$SYS/#", false},
			{"", "watch", "$SYS/broker/uptime", true},
			{"", "x", "time", false},
		} {
			t.Run(fmt.Sprintf("version %d, %s as %q to %s", version, c.id, c.user, c.filter), func(t *testing.T) {
				r := rigTCP(t, Options{Rules: site(t), Authenticate: believing})
				want := byte(1)
				if !c.ok {
					want = 0x80
					if version == packet.V5 {
						want = packet.NotAuthorized
					}
				}
				s := r.connect(version, c.id, as(c.user))
				if codes := s.subscribe(filter(c.filter, 1), filter(c.filter, 1)); codes[0] != want || codes[1] != want {
					t.Errorf("%x, want %x", codes, want)
				}
			})
		}
	}
	r := rigTCP(t, Options{Rules: site(t)})
	c := r.connect(packet.V31, "x")
	c.send(packet.AppendSubscribe(nil, c.version, &packet.Subscribe{ID: 100, Filters: []packet.Filter{filter("no", 0)}}))
	c.wantEnd(0)
}

func TestRetainedMessagesComeOnlyWithAFilterThatIsAllowed(t *testing.T) {
	for _, version := range versions[1:] {
		for _, stays := range []bool{false, true} {
			r := rigTCP(t, Options{Rules: site(t), Authenticate: believing})
			w := r.connect(packet.V5, "watch")
			for _, topic := range []string{"cmd/meter-1/a", "cmd/meter-2/a", "time"} {
				w.publishAll(packet.Publish{Topic: topic, QoS: 1, ID: 1, Retain: true, Payload: []byte("kept")})
			}
			change := []func(*packet.Connect){as("meter-1")}
			if stays {
				change = append(change, persistent)
			}
			c := r.connect(version, "x", change...)
			c.subscribe(filter("cmd/+/a", 1), filter("#", 1), filter("cmd/meter-1/#", 1))
			c.wantMessage("cmd/meter-1/a", "kept", 1)
			c.ping()
			m := r.connect(version, "y", as("meter-3"))
			m.publishAll(packet.Publish{Topic: "time", QoS: 1, ID: 1, Retain: true}) // would remove it
			m.publishAll(packet.Publish{Topic: "cmd/meter-3/a", QoS: 1, ID: 1, Retain: true, Payload: []byte("new")})
			if n := r.b.Stats().Retained; n != 3 {
				t.Errorf("%d messages are retained, not 3", n)
			}
		}
	}
}

func TestSharedSubscriptionsTakeOnlyWhatTheirMembersMay(t *testing.T) {
	r := rigTCP(t, Options{Rules: site(t), Authenticate: believing})
	w := r.connect(packet.V5, "watch")
	a, b := r.connect(packet.V5, "panel-1"), r.connect(packet.V311, "x", as("meter-1"))
	a.subscribe(filter("$share/g/meters/#", 1))
	if code := b.subscribe(filter("$share/g/meters/#", 1))[0]; code != 0x80 {
		t.Errorf("0x%02X", code)
	}
	for i := range 4 { // none goes to the one that was refused
		w.publishAll(packet.Publish{Topic: "meters/m/kwh", QoS: 1, ID: 1, Payload: []byte{'0' + byte(i)}})
		a.wantMessage("meters/m/kwh", string('0'+rune(i)), 1)
	}
	b.ping()
	r.b.SetRules(rulesOf(t, acl.Rule{Client: "watch", Publish: allow("#")}))
	w.publish(packet.Publish{Topic: "meters/m/kwh", QoS: 1, ID: 1})
	if code := w.wantAck(packet.PUBACK, 1); code != packet.NoMatchingSubscribers {
		t.Errorf("reason 0x%02X after the member's right has gone", code)
	}
	a.ping()
}

func TestAWillThatIsNotAllowed(t *testing.T) {
	will := func(topic string) func(*packet.Connect) {
		return func(p *packet.Connect) { p.Will = &packet.Will{Topic: topic, Payload: []byte("gone"), QoS: 1} }
	}
	eachVersion(t, func(t *testing.T, version byte) {
		r := rigTCP(t, Options{Rules: site(t), Authenticate: believing})
		w := r.connect(packet.V5, "watch")
		w.subscribe(filter("#", 1))
		c := r.connect(version, "x", as("meter-1"), will("meters/meter-1/state"))
		r.drop(c, "x")
		w.wantMessage("meters/meter-1/state", "gone", 1)

		p := &packet.Connect{Version: version, ClientID: "x", CleanStart: true}
		as("meter-1")(p)
		will("meters/meter-2/state")(p)
		d := r.dial()
		ack := d.connect(p)
		if version == packet.V5 {
			if ack.Code != packet.NotAuthorized || ack.ReasonString != whyDeniedWill {
				t.Errorf("CONNACK 0x%02X %q", ack.Code, ack.ReasonString)
			}
			d.wantEnd(0)
		} else { // as Mosquitto
			if ack.Code != packet.Success {
				t.Errorf("CONNACK 0x%02X", ack.Code)
			}
			r.drop(d, "x")
			if n := r.b.Stats().Denied; n != 1 {
				t.Errorf("%d are counted", n)
			}
		}
		w.ping()
	})
}

func TestAWillIsLookedAtAgainWhenItIsPublished(t *testing.T) {
	r := rigTCP(t, Options{Rules: site(t), Authenticate: believing})
	w := r.connect(packet.V5, "watch")
	w.subscribe(filter("#", 1))
	will := func(p *packet.Connect) {
		p.Will = &packet.Will{Topic: "meters/meter-1/state", Payload: []byte("gone"), QoS: 1}
	}
	c := r.connect(packet.V5, "x", as("meter-1"), will)
	r.b.SetRules(rulesOf(t, acl.Rule{Client: "watch", Subscribe: allow("#")}))
	r.drop(c, "x")
	w.ping()
	r.b.SetRules(nil)
	c = r.connect(packet.V5, "x", as("meter-1"), will)
	r.drop(c, "x")
	w.wantMessage("meters/meter-1/state", "gone", 1)
}

// TestAWillOfAFormerLifeIsItsUsers: after a restart, too, it is known who the client
// was, with a session that stayed and with one that did not.
func TestAWillOfAFormerLifeIsItsUsers(t *testing.T) {
	for _, change := range [][]func(*packet.Connect){{persistent}, {}} {
		for user, want := range map[string]bool{"meter-1": true, "meter-2": false} {
			synctest.Test(t, func(t *testing.T) {
				r := rigPipes(t, Options{Authenticate: believing}) // without rules yet
				r.connect(packet.V5, "x", append(change, as(user), func(p *packet.Connect) {
					p.Will = &packet.Will{Topic: "meters/meter-1/state", Payload: []byte("gone"), QoS: 1, Retain: true}
				})...)
				r.disk.Fault = nil
				disk := r.disk.Clone() // as it is while the client is connected
				r.stop()
				r.disk, r.opt.Rules = disk, site(t)
				r.start()
				w := r.connect(packet.V5, "watch")
				w.subscribe(filter("meters/#", 1))
				time.Sleep(time.Minute)
				if want {
					w.wantMessage("meters/meter-1/state", "gone", 1)
				}
				w.ping()
				r.stop()
			})
		}
	}
}

func TestAdaptersAndBridgesKeepToTheirRules(t *testing.T) {
	r := rigTCP(t, Options{Rules: site(t)})
	for _, c := range []struct {
		origin, topic string
		ok            bool
	}{
		{"adapter/scale", "scales/a", true},
		{"adapter/scale", "meters/a", false},
		{"adapter/other", "meters/a", true}, // its own section says where
		{"bridge/cloud", "cmd/a", true},
		{"bridge/cloud", "scales/set/a", false},
		{"bridge/other", "scales/set/a", true},
		{"", "any", true},
	} {
		_, err := r.b.Publish(&Message{Topic: c.topic, Origin: c.origin})
		if errors.Is(err, ErrDenied) == c.ok || c.ok && err != nil {
			t.Errorf("%s to %s: %v", c.origin, c.topic, err)
		}
	}
	if n := r.b.Stats().Denied; n != 2 {
		t.Errorf("%d are counted", n)
	}
}

func TestAdaptersAndBridgesGetWhatTheirRulesAllow(t *testing.T) {
	r := rigTCP(t, Options{Rules: site(t)})
	w := r.connect(packet.V5, "watch")
	w.publishAll(packet.Publish{Topic: "meters/1", QoS: 1, ID: 1, Retain: true, Payload: []byte("r")})
	w.publishAll(packet.Publish{Topic: "scales/1", QoS: 1, ID: 1, Retain: true, Payload: []byte("r")})
	attach := func(name, filter string) *store.Consumer {
		a, err := r.b.Attach(name, 0, []Subscription{{Filter: filter, QoS: 2, MinQoS: 1}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(a.Close)
		return a.Lane(0)
	}
	cloud, other := attach("bridge/cloud", "#"), attach("bridge/other", "#")
	scale, valve := attach("adapter/scale", "scales/set/+"), attach("adapter/valve", "scales/set/+")
	publish := func(topic string) {
		receipt, err := r.b.Publish(&Message{Topic: topic, QoS: 1, Payload: []byte("m")})
		if err == nil {
			err = r.store.Wait(t.Context(), receipt)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	publish("meters/2")
	publish("scales/set/a")
	publish("scales/set/b")
	for _, c := range []struct {
		who  string
		of   *store.Consumer
		want []string
	}{
		{"bridge with a rule", cloud, []string{"meters/1 r 1", "meters/2 m 1"}},
		{"bridge without", other, []string{"meters/1 r 1", "scales/1 r 1", "meters/2 m 1", "scales/set/a m 1", "scales/set/b m 1"}},
		{"adapter with a rule", scale, []string{"scales/set/a m 1"}},
		{"adapter without", valve, []string{"scales/set/a m 1", "scales/set/b m 1"}},
	} {
		if got := drain(c.of); len(got) != len(c.want) || c.who != "bridge without" && fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %q", c.who, got)
		}
	}

	publish("scales/set/a") // waits in both queues while the rules change
	publish("scales/set/b")
	r.b.SetRules(rulesOf(t, acl.Rule{Adapter: "valve", Subscribe: allow("scales/set/b")}))
	got := drain(valve)
	if err := r.store.Wait(t.Context(), r.store.Set("x", []byte("x"))); err != nil { // what is given up comes first
		t.Fatal(err)
	}
	if got = append(got, drain(valve)...); fmt.Sprint(got) != "[scales/set/b m 1]" {
		t.Errorf("a command that is not allowed any more is written: %q", got)
	}
	if got := drain(scale); fmt.Sprint(got) != "[scales/set/a m 1]" {
		t.Errorf("%q", got)
	}
	if lag := valve.Lag(); lag.Lost[store.Denied] != 1 || r.b.Stats().Withheld != 1 {
		t.Errorf("%+v", lag)
	}
	r.b.SetRules(nil)
	publish("scales/set/a")
	if got := drain(valve); fmt.Sprint(got) != "[scales/set/a m 1]" {
		t.Errorf("without rules: %q", got)
	}
}
