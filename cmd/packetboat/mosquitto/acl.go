package mosquitto

import (
	"slices"
	"strings"

	"packetboat/broker/topic"
)

// grant is a line of an ACL file.
type grant struct {
	at          option
	read, write bool
	deny        bool
	filter      string // with %u and %c in patterns
}

// rights are an ACL file.
type rights struct {
	anonymous []grant
	users     []userRights // in the order of the file
	patterns  []grant      // of everybody
}

type userRights struct {
	name   string
	grants []grant
}

// parseACL reads an ACL file.
func (im *importer) parseACL(file string, data []byte) *rights {
	r := new(rights)
	to := &r.anonymous
	for _, o := range im.lines(file, data) {
		switch o.key {
		case "user":
			if o.value == "" {
				im.lost(o, "names nobody; what follows was left out")
				to = new([]grant)
				continue
			}
			i := slices.IndexFunc(r.users, func(u userRights) bool { return u.name == o.value })
			if i < 0 {
				i = len(r.users)
				r.users = append(r.users, userRights{name: o.value})
			}
			to = &r.users[i].grants
		case "topic":
			im.addGrant(to, o)
		case "pattern":
			im.addGrant(&r.patterns, o)
		default:
			im.lost(o, "there are user, topic and pattern; it was left out")
		}
	}
	return r
}

func (im *importer) addGrant(to *[]grant, o option) {
	g := grant{at: o, read: true, write: true, filter: o.value}
	if access, rest, ok := strings.Cut(o.value, " "); ok {
		known := true
		switch access {
		case "read":
			g.write = false
		case "write":
			g.read = false
		case "readwrite":
		case "deny":
			g.deny = true
		default:
			known = false
		}
		if known {
			g.filter = strings.TrimSpace(rest)
		}
	}
	if !topic.ValidFilter(sample(g.filter)) {
		im.lost(o, "is no topic filter; it was left out")
		return
	}
	*to = append(*to, g)
}

// sample is a filter with names in the place of patterns.
func sample(filter string) string {
	return strings.NewReplacer("%u", "u", "%c", "c").Replace(filter)
}

// filters are what a rule allows: one list to publish, one to subscribe.
type filters struct{ publish, subscribe []string }

// allow makes a rule's lists of grants; patterns among them are filled in by placeholders.
// A rule cannot take away, so what a deny would take a part of is left out.
func (im *importer) allow(grants []grant, pattern func(*grant) bool) filters {
	var f filters
	for i := range grants {
		g := &grants[i]
		if g.deny || im.denied(g, grants) {
			continue
		}
		text := literal(g.filter)
		if pattern(g) {
			text = strings.NewReplacer("%u", "{user}", "%c", "{client}").Replace(text)
		}
		if g.write {
			if strings.HasPrefix(g.filter, "$SYS/") {
				im.notNeeded(g.at, "topics below $SYS are the broker's own: nobody publishes there. A Mosquitto that bridges to here works without (notifications false)")
			} else {
				f.publish = add(f.publish, text)
			}
		}
		if g.read {
			f.subscribe = add(f.subscribe, text)
		}
	}
	return f
}

// add appends a filter, unless one before it allows all of it.
func add(list []string, s string) []string {
	if slices.ContainsFunc(list, func(f string) bool { return topic.Covers(f, s) }) {
		return list
	}
	return append(list, s)
}

// denied reports whether a deny takes from what a grant gives, and tells when that is
// only a part.
func (im *importer) denied(g *grant, grants []grant) bool {
	for i := range grants {
		d := &grants[i]
		if !d.deny || !overlap(strings.Split(sample(d.filter), "/"), strings.Split(sample(g.filter), "/")) {
			continue
		}
		if !topic.Covers(d.filter, g.filter) {
			im.lost(d.at, "a rule cannot take away, so "+g.filter+" ("+g.at.at()+") is left out as well; allow its parts that do not match "+d.filter)
		}
		return true
	}
	return false
}

// overlap reports whether a topic can match both filters.
func overlap(a, b []string) bool {
	for i := 0; ; i++ {
		switch {
		case i < len(a) && a[i] == "#", i < len(b) && b[i] == "#":
			return true
		case i == len(a) || i == len(b):
			return len(a) == len(b)
		case a[i] != b[i] && a[i] != "+" && b[i] != "+":
			return false
		}
	}
}
