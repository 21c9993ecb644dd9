package mosquitto

import (
	"slices"
	"strings"

	"packetboat/broker/users"
)

// usersFile is the name of the users' file in the result.
const usersFile = "users"

// writeAccess writes who may log in, and who may do what.
func (im *importer) writeAccess(open []*door) {
	passwords := im.passwords(open)
	if passwords != nil {
		im.doc.section("[auth]")
		im.doc.str("users", im.secret(usersFile, passwords))
	}
	im.writeRules(open)
}

// each gives the different lines of the listeners' securities.
func each(open []*door, of func(*security) option) []option {
	var all []option
	for _, d := range open {
		o := of(d.security)
		if o.set() && !slices.ContainsFunc(all, func(x option) bool { return x.value == o.value }) {
			all = append(all, o)
		}
	}
	return all
}

// passwords are the lines of all password files, nil when there is none.
func (im *importer) passwords(open []*door) []byte {
	var all []byte
	seen := map[string]option{}
	files := each(open, func(s *security) option { return s.passwords })
	for _, o := range files {
		data, err := im.readFile(o.value)
		if err != nil {
			im.lost(o, "its users are not carried over: "+reason(err)+". Add its lines to the file "+usersFile)
			all = append(all, "# "+o.value+" could not be read\n"...)
			continue
		}
		all = append(all, im.usersOf(o, data, seen)...)
	}
	if len(files) > 1 {
		im.changed(files[1], "there is one file of users for all listeners: those of this one may log in at each")
	}
	return all
}

// usersOf takes the lines that can be used over, as they are.
func (im *importer) usersOf(o option, data []byte, seen map[string]option) (kept []byte) {
	bad := map[int]string{}
	for _, p := range users.Parse(data).Problems {
		bad[p.Line] = p.Err.Error()
	}
	n := 0
	for text := range strings.Lines(string(data)) {
		n++
		text = strings.TrimRight(text, "\r\n")
		if text == "" || text[0] == '#' {
			continue
		}
		name, _, _ := strings.Cut(text, ":")
		at := option{file: o.value, line: n, key: "user " + name}
		if why := bad[n]; why != "" {
			im.lost(at, why)
			continue
		}
		if first, twice := seen[name]; twice {
			im.lost(at, "there is one file of users for all listeners, and this name was in "+first.file+" already: that one counts")
			continue
		}
		seen[name] = at
		kept = append(kept, text+"\n"...)
	}
	return kept
}

// writeRules writes the rules of the ACL files. When there is one, somebody that no
// rule names may do nothing, as with Mosquitto.
func (im *importer) writeRules(open []*door) {
	acls := each(open, func(s *security) option { return s.acl })
	if len(acls) == 0 {
		return
	}
	all := im.readACLs(acls)
	named := map[string]string{}
	for i, r := range all {
		for _, u := range r.users {
			if first, twice := named[u.name]; twice {
				im.lost(acls[i], "the user "+u.name+" has rights in "+first+" already, and rules are the same at all listeners: those count")
				continue
			}
			named[u.name] = acls[i].value
			f := im.allow(append(slices.Clone(u.grants), r.patterns...), r.isPattern)
			im.writeRule("user", glob(u.name), f)
		}
	}
	im.tellACLs(open, acls)
	im.writeOthers(open, acls, all)
}

// readACLs reads them. One that cannot be read allows nothing.
func (im *importer) readACLs(acls []option) []*rights {
	var all []*rights
	for _, o := range acls {
		data, err := im.readFile(o.value)
		if err != nil {
			im.lost(o, "its rights are not carried over, so that they are nobody's: "+reason(err))
			all = append(all, new(rights))
			continue
		}
		r := im.parseACL(o.value, data)
		if len(r.users)+len(r.anonymous)+len(r.patterns) > 0 {
			im.changed(o, "who subscribes to more than he may read (#, say) is refused; Mosquitto accepts that and sends what he may read")
		}
		all = append(all, r)
	}
	return all
}

// isPattern reports whether a grant stands in a pattern line.
func (r *rights) isPattern(g *grant) bool {
	return g.at.key == "pattern"
}

// tellACLs tells what becomes of ACLs that were those of single listeners.
func (im *importer) tellACLs(open []*door, acls []option) {
	for _, d := range open {
		if !d.security.acl.set() && !d.anonymous {
			im.changed(d.at, "rules are the same at all listeners: users have the rights of "+acls[0].value+" here, too, where they had all")
		}
	}
}

// writeOthers writes the rules of users that the file does not name, and of clients
// without a user name.
func (im *importer) writeOthers(open []*door, acls []option, all []*rights) {
	var forUsers []grant
	if len(all) == 1 {
		forUsers = all[0].patterns
	} else {
		for i, r := range all {
			if len(r.patterns) > 0 {
				im.lost(acls[i], "its patterns hold for the users that it names; for others it cannot be known at which listener they are")
			}
		}
	}
	im.writeRule("user", "*", im.allow(forUsers, all[0].isPattern))

	var of []string // the ACLs of those who let in anybody; "" is none
	for _, d := range open {
		if d.anonymous && !slices.Contains(of, d.security.acl.value) {
			of = append(of, d.security.acl.value)
		}
	}
	switch {
	case len(of) == 0:
		return
	case len(of) > 1:
		im.lost(acls[0], "clients without a user name have different rights at different listeners, and rules are the same at all: they have none. Give them an [[auth.rule]] with client = \"*\"")
		return
	case of[0] == "":
		im.writeRule("client", "*", filters{[]string{"#"}, []string{"#", "$SYS/#"}})
		return
	}
	r := all[slices.IndexFunc(acls, func(o option) bool { return o.value == of[0] })]
	grants := slices.Clone(r.anonymous)
	for _, p := range r.patterns {
		if !strings.Contains(p.filter, "%u") { // they have no user name
			grants = append(grants, p)
		}
	}
	if f := im.allow(grants, r.isPattern); len(f.publish)+len(f.subscribe) > 0 {
		im.writeRule("client", "*", f)
	}
}

func (im *importer) writeRule(who, pattern string, f filters) {
	remarks := []string{}
	if len(f.publish)+len(f.subscribe) == 0 {
		remarks = append(remarks, "no topics: nothing is allowed")
	}
	im.doc.section("[[auth.rule]]", remarks...)
	im.doc.str(who, pattern)
	if len(f.publish) > 0 {
		im.doc.set("publish", list(f.publish))
	}
	if len(f.subscribe) > 0 {
		im.doc.set("subscribe", list(f.subscribe))
	}
}

// glob is a name as a pattern that means it alone.
func glob(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}
