package mosquitto

import (
	"fmt"
	"strings"

	"packetboat/broker/topic"
)

// rule is one [[bridge.up]] or [[bridge.down]].
type rule struct {
	at       option
	up       bool
	filter   string
	topic    string // a template; "": as it is
	qos      string // in TOML; "": as it is
	noRetain bool
}

func (r rule) write(d *doc) {
	header := "[[bridge.down]]"
	if r.up {
		header = "[[bridge.up]]"
	}
	d.raw(header)
	d.str("filter", literal(r.filter))
	if r.topic != "" {
		d.str("topic", r.topic)
	}
	switch {
	case r.qos == "0" && r.up:
		d.remark("qos", "0", `without an acknowledgement; "keep": as it was published`)
	case r.qos != "":
		d.set("qos", r.qos)
	}
	if r.noRetain {
		d.str("retain", "never")
	}
}

// rulesOf makes rules of a bridge's topic lines, of which the first that matches
// decides. With Mosquitto it is the first that changes the topic, so these come
// first; among the others narrower ones go before wider ones.
func (im *importer) rulesOf(b *bridge) []rule {
	var all []rule
	for _, o := range b.topics {
		all = append(all, im.rulesOfTopic(b, o)...)
	}
	var up, down []rule
	for _, changing := range []bool{true, false} {
		for _, r := range all {
			switch {
			case r.topic != "" != changing:
			case r.up:
				up = im.insert(up, r)
			default:
				down = im.insert(down, r)
			}
		}
	}
	raised := false
	for _, r := range up {
		switch {
		case r.qos == "1" && !raised:
			raised = true // once for a bridge
			im.changed(r.at, "what was published at QoS 0 goes up at 1 here, by this line and the bridge's others at QoS 1: it is acknowledged, and may come twice; Mosquitto sends it at 0")
		case r.qos == "0":
			im.changed(r.at, `goes up at QoS 0, as before: what is on the way when the link breaks is lost, and nobody knows. qos = "keep" sends what was published at QoS 1 or 2 until it is acknowledged`)
		}
	}
	return append(up, down...)
}

// insert puts a rule where it counts, unless it never would.
func (im *importer) insert(rules []rule, r rule) []rule {
	for i, first := range rules {
		if !topic.Covers(first.filter, r.filter) {
			continue
		}
		same := first.topic == r.topic && first.qos == r.qos
		switch {
		case same && (first.filter == r.filter || r.topic == ""):
			im.notNeeded(r.at, first.at.at()+" takes the same topics")
			return rules
		case first.topic != "":
			im.notNeeded(r.at, "its topics go the way of "+first.at.at()+", as with Mosquitto: the first line that changes a topic counts")
			return rules
		}
		if first.filter == r.filter {
			im.changed(r.at, "its topics go at the QoS of "+first.at.at()+", which is the first with them")
			return rules
		}
		im.notNeeded(r.at, "it stands before the wider one of "+first.at.at()+", since the first rule that matches decides")
		return append(rules[:i:i], append([]rule{r}, rules[i:]...)...)
	}
	return append(rules, r)
}

// rulesOfTopic reads "pattern [[[out|in|both] qos] local-prefix remote-prefix]".
func (im *importer) rulesOfTopic(b *bridge, o option) []rule {
	f := strings.Fields(o.value)
	at := func(i int, usual string) string {
		if i >= len(f) {
			return usual
		}
		if f[i] == `""` {
			return ""
		}
		return f[i]
	}
	pattern, direction, level, local, remote := at(0, ""), at(1, "out"), at(2, "0"), at(3, ""), at(4, "")
	switch {
	case len(f) > 5:
		im.lost(o, "has more than five words; it was left out")
		return nil
	case direction != "out" && direction != "in" && direction != "both":
		im.lost(o, direction+" is no direction: out, in or both; it was left out")
		return nil
	case level != "0" && level != "1" && level != "2":
		im.lost(o, level+" is no QoS; it was left out")
		return nil
	case pattern == "" && (local == "" || remote == ""):
		im.lost(o, "without a pattern it needs a local and a remote topic; it was left out")
		return nil
	case !topic.ValidFilter(local+pattern) || !topic.ValidFilter(remote+pattern) || strings.ContainsAny(local+remote, "+#"):
		im.lost(o, "is no topic filter; it was left out")
		return nil
	}
	level = im.level(b, o, level)
	var rules []rule
	if direction != "in" {
		r := rule{at: o, up: true, filter: local + pattern, topic: remap(pattern, local, remote), qos: level}
		if r.topic == "" && b.profileOf() == "azure-iot-hub" && strings.HasSuffix(pattern, "/#") {
			r.topic = spell(pattern, local) // # takes in the topic above, which the hub does not have
		}
		if level == "2" {
			r.qos = "" // at most 2: as published
		}
		if keep, ok := b.retain.bool(); ok && !keep {
			r.noRetain = true
		}
		rules = append(rules, r)
	}
	if direction != "out" {
		rules = append(rules, rule{at: o, filter: remote + pattern, topic: remap(pattern, remote, local), qos: level})
	}
	return rules
}

// level is the QoS, within what the service has.
func (im *importer) level(b *bridge, o option, level string) string {
	if profile := b.profileOf(); profile != "" && level == "2" {
		im.changed(o, profile+" has QoS 1 at most")
		return "1"
	}
	return level
}

// remap is the template that puts one prefix in the place of another; "" when they
// are the same.
func remap(pattern, from, to string) string {
	if from == to {
		return ""
	}
	return spell(pattern, to)
}

// spell is the template of a pattern below a prefix.
func spell(pattern, prefix string) string {
	levels := strings.Split(pattern, "/")
	n := 0
	for i, l := range levels {
		if l == "+" || l == "#" {
			n++
			levels[i] = fmt.Sprintf("{%d}", n)
		} else {
			levels[i] = literal(l)
		}
	}
	return literal(prefix) + strings.Join(levels, "/")
}
