package acl

import (
	"strings"
	"testing"

	"packetboat/broker/topic"
)

// FuzzNames is TestNoNameWidensARule with any names.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"meter-1", "+", "a/#", "$SYS", "", "\x00", "[", `\`, "*"} {
		f.Add(s, s)
		f.Add("bob", s)
	}
	r := compiled(f,
		Rule{User: "meter-[0-9]*", Subscribe: patterns("meters/{user}/{client}/x")},
		Rule{Client: "*-?", Subscribe: patterns("clients/{client}/x")},
		Rule{User: "*", Subscribe: patterns("users/{user}/x/#")},
	)
	f.Fuzz(func(t *testing.T, user, id string) {
		rights := r.Client(user, id)
		for _, filter := range rights.Subscribe {
			wide := []string{"meters/+/+/x", "clients/+/x", "users/+/x/#"}[rights.Rule]
			if !topic.ValidFilter(filter) || !topic.Covers(wide, filter) || topic.Levels(filter) != topic.Levels(wide) || strings.Contains(strings.TrimSuffix(filter, "/#"), "#") || strings.Contains(filter, "+") {
				t.Errorf("user %q, client %q: %q", user, id, filter)
			}
		}
		var m Memo
		if topic.ValidName(id) && m.Allows(rights.Subscribe, id) != rights.Subscribe.Match(id) {
			t.Errorf("a memo says other than its filters of %q", id)
		}
	})
}

// FuzzGlobs looks for a glob that is said to cover another and does not mean all
// that the other means: a rule that counts would be refused.
func FuzzGlobs(f *testing.F) {
	for _, s := range [][3]string{{"a*", "ab", "ab"}, {"*", "[a-z]", "x"}, {"m*-?", "m*", "m-"}, {`a\*`, "a*", "a*"}, {"**b", "*?b", "/b"}, {"a", "a", "a"}} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, a, b, name string) {
		a, errA := prepared(a)
		b, errB := prepared(b)
		if errA == nil && errB == nil && globCovers(a, b) && matches(b, name) && !matches(a, name) {
			t.Errorf("%q does not cover %q: %q", a, b, name)
		}
		if q, err := prepared(Quote(name)); err != nil || !matches(q, name) {
			t.Errorf("%q does not mean %q: %v", q, name, err)
		}
	})
}
