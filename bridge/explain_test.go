package bridge

import (
	"reflect"
	"testing"
	"time"

	"packetboat/broker"
	"packetboat/config"
)

func TestExplainSaysWhichRuleTakesATopic(t *testing.T) {
	cfg := config.Bridge{
		Name: "b",
		Up: []config.Up{
			up("sensors/+/temp", "sites/gw/{1}/t", func(u *config.Up) {
				u.Priority, u.QoS, u.MaxAge, u.WhenFull, u.MaxSize = 3, 1, time.Minute, config.Reject, 1<<20
			}),
			up("sensors/#", "all/{1}", func(u *config.Up) { u.MinQoS, u.Retain = 1, "never" }),
			up("+/raw", "{1}"),
			up("#", "{topic}"),
		},
		Down: []config.Down{down("sites/gw/cmd/+", "cmd/{1}", 1), down("sites/gw/#", "other/{1}", 2), down("+/x", "{1}", 0)},
	}
	cfg.Down[0].Retain = "never"
	for _, tt := range []struct {
		name, topic string
		explain     func(config.Bridge, string) (Route, error)
		want        Route
	}{
		{"the first rule takes it, later ones are not reached", "sensors/a/temp", Explain,
			Route{Rule: 0, Topic: "sites/gw/a/t", QoS: [3]byte{1, 1, 1}, Retain: true, Lane: 3, MaxAge: time.Minute, WhenFull: config.Reject, MaxSize: 1 << 20, Unreached: []int{1, 3}}},
		{"QoS is raised, RETAIN left out", "sensors/a", Explain, Route{Rule: 1, Topic: "all/a", QoS: [3]byte{1, 1, 2}, Unreached: []int{3}}},
		{"QoS and RETAIN as published", "x", Explain, Route{Rule: 3, Topic: "x", QoS: [3]byte{0, 1, 2}, Retain: true}},
		{"taken, and no topic comes of it", "/raw", Explain, Route{Rule: 2, QoS: [3]byte{0, 1, 2}, Retain: true, Unreached: []int{3}}},
		{"taken by none", "$SYS/x", Explain, Route{Rule: -1}},
		{"down: the rule asks for QoS 1 at most", "sites/gw/cmd/a", ExplainDown, Route{Rule: 0, Topic: "cmd/a", QoS: [3]byte{0, 1, 1}, Unreached: []int{1}}},
		{"down: the second rule", "sites/gw/a/b", ExplainDown, Route{Rule: 1, Topic: "other/a/b", QoS: [3]byte{0, 1, 2}, Retain: true}},
		{"down: no topic comes of it", "/x", ExplainDown, Route{Rule: 2, Retain: true}},
		{"down: taken by none", "a", ExplainDown, Route{Rule: -1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := tt.explain(cfg, tt.topic); err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
			for _, wrong := range []string{"", "a/+", "#", "a\x00", "\xff"} {
				if got, err := tt.explain(cfg, wrong); err == nil {
					t.Errorf("%q: %+v", wrong, got)
				}
			}
		})
	}
	cfg.Up[0].Filter = "a/#/b"
	if _, err := Explain(cfg, "x"); err == nil {
		t.Error("rules with a mistake are explained")
	}
}

// TestExplainAgreesWithTheBroker: the QoS that it tells is that of the queue.
func TestExplainAgreesWithTheBroker(t *testing.T) {
	rules := []config.Up{
		up("keep", "{topic}"),
		up("two", "{topic}", func(u *config.Up) { u.QoS = 2 }),
		up("zero", "{topic}", func(u *config.Up) { u.QoS = 0 }),
		up("raised", "{topic}", func(u *config.Up) { u.MinQoS = 1 }),
	}
	r := newRig(t, func(c *config.Bridge) { c.Up = rules })
	r.start() // the bridge does not run: all is queued
	for _, u := range rules {
		for qos := range byte(3) {
			if _, err := r.broker.Publish(&broker.Message{Topic: u.Filter, QoS: qos}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, u := range rules {
		e, err := Explain(r.cfg, u.Filter)
		if err != nil || e.Rule != i {
			t.Fatalf("%s: %+v, %v", u.Filter, e, err)
		}
		for qos := range byte(3) {
			d := r.next(r.store.Lookup("bridge/cloud/0"))
			if d.Topic != u.Filter || d.QoS != e.QoS[qos] {
				t.Errorf("%s at QoS %d is queued at %d (%s), explained as %d", u.Filter, qos, d.QoS, d.Topic, e.QoS[qos])
			}
		}
	}
}
