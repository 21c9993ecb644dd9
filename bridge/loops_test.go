package bridge

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"packetboat/config"
)

// to is an enabled bridge to servers.
func to(servers string, up []config.Up, down ...config.Down) config.Bridge {
	return config.Bridge{Enabled: true, Servers: strings.Fields(servers), Up: up, Down: down}
}

func ups(list ...config.Up) []config.Up { return list }

func TestLoopsBetweenBridges(t *testing.T) {
	all := up("#", "{topic}")
	for _, tt := range []struct {
		name    string
		bridges []config.Bridge
		want    []string // topics and rules
	}{
		{"one bridge alone never sends back", []config.Bridge{to("mqtt://s", ups(all), down("#", "{topic}", 2))}, nil},
		{"one takes down what another takes up", []config.Bridge{
			to("mqtt://s", nil, down("cmd/#", "{topic}", 2)), to("mqtt://s", ups(all)),
		}, []string{"cmd/x d0.0 cmd/x u1.0"}},
		{"the same, with a default port, in capitals and as one of several", []config.Bridge{
			to("mqtt://a mqtt://S:1883", nil, down("cmd/#", "{topic}", 2)), to("mqtt://s", ups(all)),
		}, []string{"cmd/x d0.0 cmd/x u1.0"}},
		{"another server", []config.Bridge{
			to("mqtt://s", nil, down("cmd/#", "{topic}", 2)), to("mqtt://s:1884", ups(all)),
		}, nil},
		{"it is not enabled", []config.Bridge{
			to("mqtt://s", nil, down("cmd/#", "{topic}", 2)), {Servers: []string{"mqtt://s"}, Up: ups(all)},
		}, nil},
		{"what goes up is not what comes down", []config.Bridge{
			to("mqtt://s", nil, down("sites/gw/cmd/#", "cmd/{1}", 2)), to("mqtt://s", ups(up("#", "sites/gw/data/{1}"))),
		}, nil},
		{"the topic is made again", []config.Bridge{
			to("mqtt://s", nil, down("sites/gw/#", "{1}", 2)), to("mqtt://s", ups(up("#", "sites/gw/{1}"))),
		}, []string{"sites/gw/x d0.0 x u1.0"}},
		{"only a topic of the up rule goes round", []config.Bridge{
			to("mqtt://s", nil, down("a/+", "{1}", 2)), to("mqtt://s", ups(up("valve", "a/valve"))),
		}, []string{"a/valve d0.0 valve u1.0"}},
		{"an earlier rule takes it elsewhere", []config.Bridge{
			to("mqtt://s", nil, down("cmd/#", "{topic}", 2)), to("mqtt://s", ups(up("cmd/#", "other/{1}"), all)),
		}, nil},
		{"both ways", []config.Bridge{
			to("mqtt://s", ups(all), down("#", "{topic}", 2)), to("mqtt://s", ups(all), down("#", "{topic}", 2)),
		}, []string{"x d0.0 x u1.0", "x d1.0 x u0.0"}},
		{"in two turns", []config.Bridge{
			to("mqtt://s", nil, down("a/#", "x/{1}", 2), down("b/#", "y/{1}", 2)), to("mqtt://s", ups(up("x/#", "b/{1}"), up("y/#", "a/{1}"))),
		}, []string{"a/x d0.0 x/x u1.0, b/x d0.1 y/x u1.1"}},
		{"by two servers", []config.Bridge{
			to("mqtt://s", nil, down("a/#", "{topic}", 2)), to("mqtt://t", ups(up("a/#", "b/{1}"))),
			to("mqtt://t", nil, down("b/#", "{topic}", 2)), to("mqtt://s", ups(up("b/#", "a/{1}"))),
		}, []string{"a/x d0.0 a/x u1.0, b/x d2.0 b/x u3.0"}},
		{"two bridges between two servers, each both ways", []config.Bridge{
			to("mqtt://s", ups(all), down("#", "{topic}", 2)), to("mqtt://t", ups(all), down("#", "{topic}", 2)),
		}, nil},
		{"topics that grow are not followed for ever", []config.Bridge{
			to("mqtt://s", nil, down("#", "{topic}", 2)), to("mqtt://s", ups(up("#", "{topic}/{topic}"))),
		}, nil},
		{"rules with mistakes are left to others", []config.Bridge{
			to("mqtt://s", nil, down("#", "{topic}", 2)), to("mqtt://s", ups(up("a/#/b", "{topic}"), all)),
		}, nil},
		{"servers that are no URL", []config.Bridge{to("::", nil, down("#", "{topic}", 2)), to("::", ups(up("a", "b")))}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, l := range Loops(tt.bridges) {
				var turns []string
				for _, x := range l {
					turns = append(turns, fmt.Sprintf("%s d%d.%d %s u%d.%d", x.Topic, x.Down.Bridge, x.Down.Rule, x.Local, x.Up.Bridge, x.Up.Rule))
				}
				got = append(got, strings.Join(turns, ", "))
			}
			slices.Sort(got)
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestLoopsOfManyRulesAreFoundSoon: the search is bounded by rules, not by ways.
func TestLoopsOfManyRulesAreFoundSoon(t *testing.T) {
	var bridges []config.Bridge
	for i := range 10 {
		b := to("mqtt://s", nil)
		for j := range 50 {
			b.Up = append(b.Up, up(fmt.Sprintf("l%d/#", j), fmt.Sprintf("c%d/{1}/%d", (j+1)%50, i)))
			b.Down = append(b.Down, down(fmt.Sprintf("c%d/#", j), fmt.Sprintf("l%d/{1}", j), 2))
		}
		bridges = append(bridges, b)
	}
	if loops := Loops(bridges); len(loops) > 0 {
		t.Errorf("%d loops of topics that grow", len(loops))
	}
}
