package bridge

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"packetboat/broker"
	"packetboat/config"
)

func TestUpRules(t *testing.T) {
	rules, err := compileRules([]config.Up{
		up("sensors/+/temp", "sites/gw/{1}/t", func(u *config.Up) { u.Priority = 3; u.QoS = 1 }),
		up("sensors/#", "all/{1}", func(u *config.Up) { u.MinQoS = 1 }),
		up("a/+/b/#", "{2}/{1}", func(u *config.Up) { u.Retain = "never" }),
		up("plain", "{{x}}"),
		up("+/raw", "{1}"),
		up("#", "{topic}"),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := router{rules: &rules}
	for _, tt := range []struct {
		name, topic string
		rule        int // -1: none
		want        string
	}{
		{"the first rule that matches carries the message", "sensors/s1/temp", 0, "sites/gw/s1/t"},
		{"a later rule takes what the first does not", "sensors/s1/hum", 1, "all/s1/hum"},
		{"# that matched the parent level leaves no slash behind", "sensors", 1, "all"},
		{"# that matched an empty level keeps it", "sensors/", 1, "all/"},
		{"captures may change places", "a/1/b/2/3", 2, "2/3/1"},
		{"an empty level is captured as it is", "a//b/c", 2, "c/"},
		{"braces written twice are braces", "plain", 3, "{x}"},
		{"an empty capture alone is no topic", "/raw", 4, ""},
		{"{topic} is the whole topic", "other/thing", 5, "other/thing"},
		{"a leading wildcard does not match $ topics", "$SYS/x", -1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // the second from the cache
				got := r.route(tt.topic)
				if tt.rule < 0 {
					if got.rule != nil {
						t.Fatalf("taken by %q", got.rule.filter)
					}
					continue
				}
				if got.rule != &rules.up[tt.rule] || got.topic != tt.want {
					t.Errorf("got %+v, want rule %d and %q", got, tt.rule, tt.want)
				}
			}
		})
	}
	subs := rules.subscriptions()
	want := []broker.Subscription{
		{Filter: "sensors/+/temp", Lane: 3, QoS: 1, Fixed: true, KeepRetain: true},
		{Filter: "sensors/#", QoS: 2, MinQoS: 1, KeepRetain: true},
		{Filter: "a/+/b/#", QoS: 2, KeepRetain: true},
	}
	for i := range want {
		if !reflect.DeepEqual(subs[i], want[i]) {
			t.Errorf("subscription %d is %+v, want %+v", i, subs[i], want[i])
		}
	}
	if rules.topLane() != 3 {
		t.Errorf("top lane %d, want 3", rules.topLane())
	}
}

func TestRoutesOfManyTopicsTakeBoundedMemory(t *testing.T) {
	rules, err := compileRules([]config.Up{up("#", "{topic}")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := router{rules: &rules}
	for i := range 3 * maxRoutes {
		r.route(strings.Repeat("x", i%7+1) + numbers(i, 1)[0])
	}
	if len(r.cache) > maxRoutes {
		t.Errorf("%d routes are kept", len(r.cache))
	}
}

func TestDownRules(t *testing.T) {
	rules, err := compileRules(nil, []config.Down{
		down("sites/gw/cmd/#", "cmd/{1}", 2),
		down("$share/g/work/+", "work/{1}", 1),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, topic, want string }{
		{"captures go into the local topic", "sites/gw/cmd/valve/1", "cmd/valve/1"},
		{"a shared subscription matches without its prefix", "work/7", "work/7"},
		{"what no rule names is not taken", "other", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := rules.local(tt.topic); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMistakesInTheSectionAreReportedByKey(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  func(*config.Bridge)
		want string
	}{
		{"a capture that the filter does not make", func(c *config.Bridge) {
			c.Up = []config.Up{up("a/+", "b/{2}")}
		}, "up[0].topic: {2} has nothing to stand for: the filter has 1 wildcards"},
		{"a placeholder that means nothing", func(c *config.Bridge) {
			c.Up = []config.Up{up("a/+", "b/{x}")}
		}, "up[0].topic: {x} means nothing here"},
		{"a template that is no topic", func(c *config.Bridge) {
			c.Down = []config.Down{down("a", "b/+", 1)}
		}, `down[0].topic: "b/+" is no topic to publish to`},
		{"a filter that is none", func(c *config.Bridge) {
			c.Up = []config.Up{up("#", "{topic}"), up("a/#/b", "{topic}")}
		}, `up[1].filter: "a/#/b" is not a topic filter`},
		{"a shared subscription that feeds a bridge", func(c *config.Bridge) {
			c.Up = []config.Up{up("$share/g/a", "{topic}")}
		}, "up[0].filter: a shared subscription"},
		{"an age below a second", func(c *config.Bridge) {
			c.Up = []config.Up{up("a", "{topic}", func(u *config.Up) { u.MaxAge = time.Millisecond })}
		}, "up[0].max_age: 1ms"},
		{"no server", func(c *config.Bridge) { c.Servers = nil }, "servers: is missing"},
		{"an unknown scheme", func(c *config.Bridge) {
			c.Servers = []string{"mqtt://a", "quic://b"}
		}, "servers[1]: has the scheme quic"},
		{"a password in a URL", func(c *config.Bridge) {
			c.Servers = []string{"mqtt://a", "wss://user:secret@b"}
		}, "servers[1]: must not have a user name"},
		{"a proxy that is none", func(c *config.Bridge) { c.Proxy = "socks5://user:secret@p:1" }, "proxy:"},
		{"a key without its certificate", func(c *config.Bridge) { c.TLS.Key = "k.pem" }, "tls.cert:"},
		{"no client id", func(c *config.Bridge) { c.ClientID = "" }, "client_id: empty"},
		{"a status topic with a wildcard", func(c *config.Bridge) { c.Status = "a/#" }, "status:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config.Bridge{Name: "b", Servers: []string{"mqtt://h"}, ClientID: "c"}
			tt.cfg(&cfg)
			err := Check(cfg)
			var bad *ConfigError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestPausesStayWithinTheirBounds(t *testing.T) {
	p := pauses{Backoff: config.Backoff{Min: time.Second, Max: time.Minute, Stable: 30 * time.Second}}
	longest := time.Duration(0)
	for range 1000 {
		before := max(p.last, time.Second)
		d := p.next()
		if d < time.Second || d > time.Minute || d > 3*before {
			t.Fatalf("a pause of %v after one of %v", d, before)
		}
		longest = max(longest, d)
	}
	if longest < 30*time.Second {
		t.Errorf("1,000 failures and no pause above %v", longest)
	}
	p.last = time.Minute
	if p.ended(29 * time.Second); p.last != time.Minute {
		t.Error("a connection that was not stable reset the pauses")
	}
	if p.ended(30 * time.Second); p.next() > 3*time.Second {
		t.Error("a stable connection did not reset the pauses")
	}
	fixed := pauses{Backoff: config.Backoff{Min: time.Second, Max: time.Second}}
	if fixed.next(); fixed.next() != time.Second {
		t.Error("equal bounds do not give a fixed pause")
	}
}
