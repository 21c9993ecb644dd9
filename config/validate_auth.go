package config

import "strings"

// rulesOfAccess checks [[auth.rule]]. What globs mean, and which rule takes what
// another names, is known to who compiles them.
func (k *checker) rulesOfAccess() {
	for i := range k.c.Auth.Rules {
		r, path := &k.c.Auth.Rules[i], index("auth.rule", i)
		var who []string
		for _, x := range []struct{ key, glob string }{{"user", r.User}, {"client", r.Client}, {"adapter", r.Adapter}} {
			if x.glob != "" {
				who = append(who, x.key)
			}
		}
		switch {
		case len(who) == 0:
			k.fail(path, "names nobody: say user, client or adapter, such as user = \"meter-*\" (\"*\" is everyone who has a user name)")
		case len(who) > 1:
			k.fail(path+"."+who[1], "must not be given beside %s: a rule names users, clients or adapters; make two rules", who[0])
		}
		later := []string{"user", "client"}
		if r.Adapter != "" {
			later = nil // adapters and bridges are neither
		}
		for j := range r.Publish {
			key := index(path+".publish", j)
			if k.accessFilter(key, &r.Publish[j], later) && strings.HasPrefix(r.Publish[j].String(), "$SYS/") {
				k.fail(key, "must not be below $SYS, which is the broker's own")
			}
		}
		for j := range r.Subscribe {
			k.accessFilter(index(path+".subscribe", j), &r.Subscribe[j], later)
		}
	}
}

// accessFilter checks a filter of a rule and puts in what is known.
func (k *checker) accessFilter(key string, t *Template, later []string) bool {
	if strings.HasPrefix(t.src, "$share/") {
		k.fail(key, "must be the filter itself, without $share/GROUP/: who may subscribe to it may do so in any group")
		return false
	}
	parsed, ok := k.template(key, *t, known{"gateway": k.c.Gateway.ID}, later)
	if !ok {
		return false
	}
	*t = parsed
	// A name has no wildcard: with one it stands for nothing.
	sample := string(parsed.Expand(nil, func(dst []byte, _ string) []byte { return append(dst, 'x') }))
	if _, msg := filterProblem(sample); msg != "" {
		k.fail(key, "%q %s", t.src, msg)
		return false
	}
	return true
}
