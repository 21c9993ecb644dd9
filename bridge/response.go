package bridge

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"packetboat/broker/packet"
	"packetboat/broker/topic"
)

// Response topics. A request that goes up names a local topic on which it waits for
// the answer; at the cloud that has to be the topic which a down rule brings there.
// One that comes down names a topic of the cloud; here it has to be the one that an
// up rule sends there. So the rules of the other direction are read backwards. A
// response topic that no rule leads to is left as it is.

// backwards finds the topic from which a rule makes another.
type backwards struct {
	filter string
	remap  *remap
	made   *regexp.Regexp // what the rule makes, with the captures as groups
	groups []string       // the placeholder of each group
}

// newBackwards reads a rule backwards; nil when what its wildcards took does not
// show in what it makes.
func newBackwards(filter string, m *remap) *backwards {
	b := &backwards{filter: filter, remap: m}
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for _, p := range m.template.Pieces() {
		switch {
		case p.Name == "":
			pattern.WriteString(regexp.QuoteMeta(p.Text))
			continue
		case p.Name == "topic" || p.Name == m.hash:
			pattern.WriteString(`(.*)`)
		default:
			pattern.WriteString(`([^/]*)`)
		}
		b.groups = append(b.groups, p.Name)
	}
	b.made = regexp.MustCompile(pattern.String() + `\z`)
	return b
}

// topic is one from which the rule makes name; "" when there is none.
func (b *backwards) topic(name string) string {
	found := b.made.FindStringSubmatch(name)
	if found == nil {
		return ""
	}
	captures := map[string]string{}
	for i, g := range b.groups {
		if v, ok := captures[g]; ok && v != found[i+1] {
			return ""
		}
		captures[g] = found[i+1]
	}
	from, whole := captures["topic"]
	if !whole {
		from = b.fill(captures)
	}
	took, ok := topic.MatchCaptures(b.filter, from, nil)
	if !ok || !topic.ValidName(from) || b.remap.topic(from, took) != name {
		return ""
	}
	return from
}

// fill puts captures in the place of the filter's wildcards; one that is not known
// leaves a filter that matches no topic.
func (b *backwards) fill(captures map[string]string) string {
	levels := strings.Split(b.filter, "/")
	k := 0
	for i, l := range levels {
		if l != "+" && l != "#" {
			continue
		}
		k++
		v, ok := captures[strconv.Itoa(k)]
		if !ok {
			return ""
		}
		levels[i] = v
	}
	return strings.Join(levels, "/")
}

// answers are where answers go, by the rules of the other direction.
type answers struct {
	up   []*backwards // down rules, for requests that go up
	down []*backwards // up rules, for requests that come down
}

func (r *rules) answers() (a answers) {
	for i := range r.down {
		a.up = append(a.up, newBackwards(r.down[i].filter, &r.down[i].remap))
	}
	for i := range r.up {
		a.down = append(a.down, newBackwards(r.up[i].filter, &r.up[i].remap))
	}
	return a
}

// remapResponse returns props with the response topic that leads back by the rules;
// props itself when there is none, or no rule does. first is the rule that takes a
// topic, in the direction of the answer.
func remapResponse(props []byte, rules []*backwards, first func(name string) int) []byte {
	at := responseTopic(props)
	if at == nil {
		return props
	}
	for i, b := range rules {
		to := b.topic(string(at))
		if to == "" || first(to) != i {
			continue
		}
		if to == string(at) {
			return props
		}
		return replaceResponse(props, to)
	}
	return props
}

// responseTopic finds it; nil for none.
func responseTopic(props []byte) (name []byte) {
	if bytes.IndexByte(props, packet.PropResponseTopic) < 0 {
		return nil
	}
	_ = packet.EachProp(props, func(id byte, value, _ []byte) bool {
		if id == packet.PropResponseTopic {
			name = value
		}
		return name == nil
	})
	return name
}

// replaceResponse copies props with another response topic.
func replaceResponse(props []byte, to string) []byte {
	out := make([]byte, 0, len(props)+len(to))
	_ = packet.EachProp(props, func(id byte, value, second []byte) bool {
		switch id {
		case packet.PropResponseTopic:
			out = packet.AppendStringProp(out, id, to)
		case packet.PropPayloadFormat:
			out = packet.AppendByteProp(out, id, value[0])
		case packet.PropUser:
			out = packet.AppendUserProp(out, string(value), string(second))
		default: // the other ones that are forwarded are strings or data
			out = packet.AppendStringProp(out, id, value)
		}
		return true
	})
	return out
}
