package bridge

import (
	"cmp"
	"net"
	"net/url"
	"slices"
	"strings"

	"packetboat/config"
)

// A bridge never sends up what it has received, but another one does: when two
// are connected to one server, what the first brings down and the second takes up
// again under a topic that the first brings down goes round for ever.
//
// Whether rules do that is found out by sending topics around, one for each rule,
// through the rules as they are: what comes back to where it was is a loop without
// doubt. Loops that only topics of a special form run into may be missed.

// RuleOf names a rule: that of a bridge, both by their place in the configuration.
type RuleOf struct{ Bridge, Rule int }

// Turn is a part of a loop: a topic at the cloud, which a down rule of one bridge
// makes local, and an up rule of another sends to the cloud.
type Turn struct {
	Topic string // at the cloud
	Down  RuleOf
	Local string
	Up    RuleOf
}

// Loops finds ways on which messages go round for ever, between bridges that are
// enabled; each ends with its last up rule, and goes on with its first turn. Rules
// with mistakes, which [Check] reports, have none.
func Loops(bridges []config.Bridge) [][]Turn {
	f := &loopFinder{seen: map[arrival]bool{}}
	for i := range bridges {
		m := member{hears: hearers(bridges, i)}
		if r, err := compileRules(bridges[i].Up, bridges[i].Down); err == nil && bridges[i].Enabled {
			m.rules, m.way.rules = &r, &r
		}
		f.bridges = append(f.bridges, m)
	}
	if !slices.ContainsFunc(f.bridges, func(m member) bool { return len(m.hears) > 0 }) {
		return nil
	}
	for i := range f.bridges {
		f.try(i)
	}
	return f.loops
}

// member is a bridge among others.
type member struct {
	rules *rules // nil: it takes no part
	way   router
	hears []int // bridges that may be connected to the same server, which gets what this one sends
}

// hearers are the others that have a server in common with the i-th bridge.
func hearers(bridges []config.Bridge, i int) (list []int) {
	for j := range bridges {
		common := func(s string) bool {
			return slices.ContainsFunc(bridges[i].Servers, func(t string) bool { return hostPort(s) == hostPort(t) })
		}
		if j != i && slices.ContainsFunc(bridges[j].Servers, common) {
			list = append(list, j)
		}
	}
	return list
}

// hostPort is the address of a server's URL.
func hostPort(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// arrival is a topic that a bridge gets from its cloud.
type arrival struct {
	bridge int
	topic  string
}

// Bounds of a search: rules may make topics longer and longer, or ever new ones.
const (
	maxArrivals = 20_000
	maxTurns    = 64
	maxFollowed = 1 << 10 // bytes of a topic
)

// loopFinder follows topics.
type loopFinder struct {
	bridges []member
	seen    map[arrival]bool // and followed to all ends
	way     []Turn           // to where the search is
	loops   [][]Turn
}

// try sends around a topic for each rule of the i-th bridge.
func (f *loopFinder) try(i int) {
	m := &f.bridges[i]
	if m.rules == nil {
		return
	}
	for _, d := range m.rules.down {
		f.follow(arrival{i, sample(d.filter)})
	}
	for _, u := range m.rules.up {
		if to := m.way.route(sample(u.filter)); to.topic != "" {
			for _, j := range m.hears {
				f.follow(arrival{j, to.topic})
			}
		}
	}
}

// follow goes on from an arrival to those that follow from it.
func (f *loopFinder) follow(a arrival) {
	if i := slices.IndexFunc(f.way, func(t Turn) bool { return t.Topic == a.topic && t.Down.Bridge == a.bridge }); i >= 0 {
		f.found(f.way[i:])
		return
	}
	m := &f.bridges[a.bridge]
	if m.rules == nil || f.seen[a] || len(f.seen) >= maxArrivals || len(f.way) >= maxTurns {
		return
	}
	f.seen[a] = true
	rule, local := m.rules.local(a.topic)
	if local == "" {
		return
	}
	t := Turn{Topic: a.topic, Down: RuleOf{a.bridge, slices.IndexFunc(m.rules.down, func(d downRule) bool { return d.filter == rule.filter })}, Local: local}
	for k := range f.bridges {
		next := &f.bridges[k]
		if k == a.bridge || next.rules == nil {
			continue
		}
		to := next.way.route(local)
		if to.topic == "" || len(to.topic) > maxFollowed {
			continue
		}
		t.Up = RuleOf{k, slices.IndexFunc(next.rules.up, func(u upRule) bool { return u.filter == to.rule.filter })}
		f.way = append(f.way, t)
		for _, j := range next.hears {
			f.follow(arrival{j, to.topic})
		}
		f.way = f.way[:len(f.way)-1]
	}
}

// found keeps a loop, unless it has the same rules as another.
func (f *loopFinder) found(turns []Turn) {
	last := 0
	for i := range turns {
		if compareRules(turns[i].Up, turns[last].Up) > 0 {
			last = i
		}
	}
	loop := append(slices.Clone(turns[last+1:]), turns[:last+1]...)
	same := func(a, b Turn) bool { return a.Down == b.Down && a.Up == b.Up }
	if !slices.ContainsFunc(f.loops, func(l []Turn) bool { return slices.EqualFunc(l, loop, same) }) {
		f.loops = append(f.loops, loop)
	}
}

func compareRules(a, b RuleOf) int {
	return cmp.Or(cmp.Compare(a.Bridge, b.Bridge), cmp.Compare(a.Rule, b.Rule))
}

// sample is a topic that a filter matches.
func sample(filter string) string {
	levels := strings.Split(filter, "/")
	n := 0
	for i, l := range levels {
		if l == "+" || l == "#" {
			levels[i] = string(rune('x' + n%3))
			n++
		}
	}
	return strings.Join(levels, "/")
}
