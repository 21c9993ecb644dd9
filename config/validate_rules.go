package config

import (
	"fmt"
	"strings"
)

func (k *checker) rules(path string, b *Bridge, now known) {
	up := order{k: k, path: path + ".up"}
	for j := range b.Up {
		p := index(path+".up", j)
		u := &b.Up[j]
		captures, ok := k.filterText(p+".filter", &u.Filter, now)
		if ok {
			u.Topic = k.topic(p+".topic", u.Topic, now, append([]string{"topic"}, captures...), false)
		}
		if u.QoS != Keep && u.MinQoS > int(u.QoS) {
			k.fail(p+".min_qos", "%d contradicts qos = %d", u.MinQoS, u.QoS)
		}
		up.add(u.Filter, ok, u.Priority)
	}
	down := order{k: k, path: path + ".down"}
	for j := range b.Down {
		p := index(path+".down", j)
		d := &b.Down[j]
		captures, ok := k.filterText(p+".filter", &d.Filter, now)
		if ok {
			d.Topic = k.topic(p+".topic", d.Topic, now, append([]string{"topic"}, captures...), false)
		}
		down.add(d.Filter, ok, 0)
	}
}

// order finds rules that never carry a message, because one that comes before
// takes all that they match. Filters that overlap in part are no mistake, also with
// different priorities: the first rule that matches decides.
type order struct {
	k     *checker
	path  string // of the list of rules
	rules []orderedRule
}

type orderedRule struct {
	filter string
	ok     bool // it is a filter
	lane   int
}

// add checks the next rule.
func (o *order) add(filter string, ok bool, lane int) {
	for i, r := range o.rules {
		if ok && r.ok && covers(r.filter, filter) {
			o.fail(i, filter, lane)
			break
		}
	}
	o.rules = append(o.rules, orderedRule{filter, ok, lane})
}

// fail reports that the next rule comes too late behind the i-th.
func (o *order) fail(i int, filter string, lane int) {
	r, first := o.rules[i], index(o.path, i)
	is := fmt.Sprintf("is the same as %s's (at %s), which comes first", first, o.k.c.At(first+".filter"))
	remedy := ""
	if r.filter != filter {
		is = fmt.Sprintf("matches only what %s (%s, at %s) takes, which comes first", first, r.filter, o.k.c.At(first+".filter"))
		remedy = "; put it before that one"
	}
	lanes := ""
	if r.lane != lane {
		lanes = fmt.Sprintf(", and its priority %d never counts (that one has %d)", lane, r.lane)
	}
	o.k.fail(index(o.path, len(o.rules))+".filter", "%s: this rule never carries a message%s%s", is, lanes, remedy)
}

// covers reports whether filter a matches every topic that filter b matches.
func covers(a, b string) bool {
	x, y := filterLevels(a), filterLevels(b)
	if isWildcard(x[0]) && strings.HasPrefix(y[0], "$") {
		return false // a leading wildcard does not match such topics [MQTT-4.7.2-1]
	}
	for i, l := range x {
		switch {
		case l == "#":
			return true // also what ends one level before it
		case i == len(y), y[i] == "#":
			return false
		case l != "+" && l != y[i]:
			return false
		}
	}
	return len(x) == len(y)
}

// filterLevels takes a filter apart. There is no empty topic, so that # matches
// what +/# does, and /# what /+/# does; they are given as these.
func filterLevels(filter string) []string {
	if filter == "#" || filter == "/#" {
		filter = strings.TrimSuffix(filter, "#") + "+/#"
	}
	return strings.Split(filter, "/")
}

func isWildcard(level string) bool { return level == "+" || level == "#" }
