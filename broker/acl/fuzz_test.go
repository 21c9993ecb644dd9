package acl

import (
	"strings"
	"testing"

	"packetboat/broker/topic"
)

// FuzzRights: no user name or client identifier gives more than the rules say. The
// level that stands for a name matches that name alone, and what a filter may cover
// it may match.
func FuzzRights(f *testing.F) {
	f.Add("bob", "panel-1", "users/bob/x", "users/bob/#")
	f.Add("+", "#", "users/alice/x", "users/+/#")
	f.Add("$SYS", "a/b", "users/$SYS/x", "$share/g/users/$SYS/#")
	f.Add("", "", "users//x", "#")
	f.Add("b\x00b", "\xff", "clients/\xff", "clients/+")
	r, err := Compile([]Rule{
		{User: "?*", Publish: patterns("users/{user}/#"), Subscribe: patterns("users/{user}/#", "all/+")},
		{Client: "*", Publish: patterns("clients/{client}")},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, user, id, name, filter string) {
		rights := r.Client(user, id)
		if topic.ValidName(name) && rights.Publish.Match(name) {
			levels := strings.Split(name, "/")
			own := levels[0] == "users" && len(levels) > 1 && levels[1] == user || levels[0] == "clients" && len(levels) == 2 && levels[1] == id && user == ""
			if !own {
				t.Errorf("user %q, client %q may publish to %q", user, id, name)
			}
		}
		if !topic.ValidFilter(filter) || !rights.Subscribe.Covers(filter) {
			return
		}
		_, rest, shared := topic.CutShare(filter)
		if !shared {
			rest = filter
		}
		levels := strings.Split(rest, "/")
		if levels[0] != "all" && (levels[0] != "users" || len(levels) > 1 && levels[1] != user) {
			t.Errorf("user %q, client %q may subscribe to %q", user, id, filter)
		}
		if topic.ValidName(name) && topic.Match(rest, name) && !rights.Subscribe.Match(name) {
			t.Errorf("user %q may subscribe to %q, which brings %q", user, filter, name)
		}
	})
}
