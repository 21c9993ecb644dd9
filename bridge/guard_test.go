package bridge

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/config"
)

func TestEachMessageSentCancelsOneThatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEchoes(30 * time.Second)
		cancels := func(want bool, topic, payload string) {
			t.Helper()
			if got := e.cancels(topic, []byte(payload)); got != want {
				t.Errorf("%s %s: cancelled %t", topic, payload, got)
			}
		}
		e.connected(true)
		cancels(false, "t", "1")
		e.note(echoKey{0, 1}, "t", []byte("1"), false)
		e.note(echoKey{0, 2}, "t", []byte("1"), false)
		e.note(echoKey{0, 2}, "t", []byte("1"), true) // sent again
		cancels(false, "t2", "1")
		cancels(false, "t", "2")
		cancels(true, "t", "1")
		cancels(true, "t", "1")
		cancels(false, "t", "1")

		e.note(echoKey{0, 3}, "t", []byte("3"), false)
		time.Sleep(29 * time.Second)
		e.connected(false)
		time.Sleep(time.Hour) // it cannot come back without a connection
		e.connected(true)
		e.connected(true)
		cancels(true, "t", "3")
		e.note(echoKey{0, 4}, "t", []byte("4"), false)
		time.Sleep(31 * time.Second)
		cancels(false, "t", "4")

		for i := range 3 * maxEchoes {
			e.note(echoKey{0, uint64(10 + i)}, "t", fmt.Append(nil, i), false)
		}
		cancels(false, "t", fmt.Sprint(2*maxEchoes-1))
		cancels(true, "t", fmt.Sprint(2*maxEchoes))
		cancels(true, "t", fmt.Sprint(3*maxEchoes-1))
		if len(e.sent) != maxEchoes-2 {
			t.Errorf("%d are remembered", len(e.sent))
		}
		time.Sleep(time.Hour)
		cancels(false, "t", "x")
		if e.n != 0 || len(e.sent) != 0 {
			t.Errorf("%d and %d are left", e.n, len(e.sent))
		}
	})
}

func TestAMessageThatWasHereIsKnown(t *testing.T) {
	via := func(ids ...string) (props []byte) {
		props = packet.AppendUserProp(props, "other", "gw1")
		for _, id := range ids {
			props = packet.AppendUserProp(props, viaProperty, id)
		}
		return props
	}
	for _, tt := range []struct {
		props []byte
		want  bool
	}{
		{nil, false},
		{via(), false},
		{via("gw2"), false},
		{via("gw2", "gw1", "gw3"), true},
		{via(slices.Repeat([]string{"x"}, maxHops-1)...), false},
		{via(slices.Repeat([]string{"x"}, maxHops)...), true},
	} {
		if got := wasHere(tt.props, "gw1"); got != tt.want {
			t.Errorf("%q: %t", tt.props, got)
		}
	}
}

// TestWhatComesBackIsNotTakenAgain, by the property or, in MQTT 3.1.1, since it is
// the same.
func TestWhatComesBackIsNotTakenAgain(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) {
		c.Gateway = "gw1"
		c.Up = []config.Up{up("#", "all/{1}")}
		c.Down = []config.Down{down("all/#", "{1}", 2)}
	})
	r.start()
	dev := r.device("#")
	r.online(1)
	r.publish(store.Message{Topic: "a", Payload: []byte("mine"), QoS: 1})
	r.cloud.await(t, "the message", func() bool { return len(r.cloud.got) == 1 })
	r.awaitIdle()
	var back packet.Publish
	r.cloud.do(func() { back = r.cloud.got[0] })
	back.QoS = 1
	r.cloud.send("gw1", back)
	r.cloud.send("gw1", packet.Publish{Topic: "all/a", Payload: []byte("other"), QoS: 1})
	for _, want := range []string{"mine", "other"} { // mine: from the local publisher
		if d := r.next(dev); string(d.Payload) != want {
			t.Errorf("got %s, want %s", d.Payload, want)
		}
	}
	if s := r.bridge.Stats(); s.Looped != 1 {
		t.Errorf("stats %+v", s)
	}
	r.cloud.await(t, "acknowledgements", func() bool { return len(r.cloud.sessions["gw1"].out) == 0 })
}

// TestMessagesOfABridgeCarryTheirWay through this gateway, on to another cloud.
func TestMessagesOfABridgeCarryTheirWay(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) { c.Gateway = "gw1" })
	r.start()
	r.run()
	r.awaitState(Online)
	props := packet.AppendUserProp(nil, viaProperty, "gw0")
	r.publish(store.Message{Topic: "a", Payload: []byte("1"), QoS: 1, Props: props, Origin: "bridge/other"})
	r.publish(store.Message{Topic: "a", Payload: []byte("2"), QoS: 1})
	r.publish(store.Message{Topic: "a", Payload: []byte("3"), Props: props, Origin: "bridge/other"})
	r.cloud.await(t, "three messages", func() bool { return len(r.cloud.got) == 3 })
	r.cloud.do(func() {
		for _, p := range r.cloud.got {
			var got []string
			_ = packet.EachProp(p.Props, func(_ byte, name, value []byte) bool {
				if string(name) == viaProperty {
					got = append(got, string(value))
				}
				return true
			})
			want := []string{"gw0", "gw1"}
			if string(p.Payload) == "2" { // nothing comes down by this bridge
				want = nil
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: by way of %q", p.Payload, got)
			}
		}
	})
}

func TestResponseTopicsLeadBack(t *testing.T) {
	rules, err := compileRules(
		[]config.Up{up("replies/+/#", "cloud/{2}/of/{1}"), up("dev/+", "x={1}/y"), up("plain/#", "{topic}"), up("#", "rest/{topic}")},
		[]config.Down{down("cloud/cmd/+", "cmd/{1}", 1), down("same/#", "{topic}", 1), down("lost/+/x", "gone/x", 1)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, up, down string }{
		{"cmd/1", "cloud/cmd/1", "cmd/1"}, // going up, the answer comes down by the first rule
		{"cmd/1/2", "cmd/1/2", "cmd/1/2"},
		{"same/a", "same/a", "same/a"},
		{"gone/x", "gone/x", "gone/x"}, // several topics lead there
		{"cloud/a/b/of/c", "cloud/a/b/of/c", "replies/c/a/b"},
		{"x=7/y", "x=7/y", "dev/7"},
		{"plain/a", "plain/a", "plain/a"},
		{"rest/other", "rest/other", "other"},
		{"rest/plain/a", "rest/plain/a", "rest/plain/a"}, // what goes there goes by another rule
	} {
		props := packet.AppendUserProp(packet.AppendByteProp(nil, packet.PropPayloadFormat, 1), "k", "v")
		props = packet.AppendStringProp(props, packet.PropResponseTopic, tt.name)
		props = packet.AppendStringProp(props, packet.PropCorrelationData, "\x01")
		check := func(way, got, want string) {
			if got != want {
				t.Errorf("%s, %s: %q, want %q", tt.name, way, got, want)
			}
		}
		upward := remapResponse(props, rules.back.up, rules.firstDown)
		check("up", string(responseTopic(upward)), tt.up)
		downward := remapResponse(props, rules.back.down, rules.firstUp)
		check("down", string(responseTopic(downward)), tt.down)
		if len(downward)-len(tt.down) != len(props)-len(tt.name) {
			t.Errorf("%s: other properties were lost: % x", tt.name, downward)
		}
	}
}

// TestARequestGoesUpAndItsAnswerComesDown, each on the topic that the other end
// knows.
func TestARequestGoesUpAndItsAnswerComesDown(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) {
		c.Up = []config.Up{up("ask/#", "site/ask/{1}")}
		c.Down = []config.Down{down("site/answer/#", "answer/{1}", 1)}
	})
	r.start()
	dev := r.device("answer/#")
	r.online(1)
	props := packet.AppendStringProp(nil, packet.PropResponseTopic, "answer/7")
	r.publish(store.Message{Topic: "ask/now", Payload: []byte("?"), QoS: 1, Props: props})
	r.cloud.await(t, "the request", func() bool { return len(r.cloud.got) == 1 })
	var to string
	r.cloud.do(func() { to = string(responseTopic(r.cloud.got[0].Props)) })
	r.cloud.send("gw1", packet.Publish{Topic: to, Payload: []byte("!"), QoS: 1})
	if d := r.next(dev); d.Topic != "answer/7" || string(d.Payload) != "!" {
		t.Errorf("got %+v", d)
	}
}
