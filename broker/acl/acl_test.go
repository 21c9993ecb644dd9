package acl

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"packetboat/broker/topic"
)

// patterns reads filters with {user} and {client}.
func patterns(filters ...string) (list []Pattern) {
	for _, f := range filters {
		var p Pattern
		for f != "" {
			text, rest, ok := strings.Cut(f, "{")
			if text != "" {
				p = append(p, Piece{Text: text})
			}
			if f = rest; ok {
				name, rest, _ := strings.Cut(rest, "}")
				p, f = append(p, Piece{Name: name}), rest
			}
		}
		list = append(list, p)
	}
	return list
}

func compiled(t testing.TB, list ...Rule) *Rules {
	t.Helper()
	r, err := Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheFirstRuleThatNamesAClientDecides(t *testing.T) {
	r := compiled(t,
		Rule{User: "meter-7", Publish: patterns("special/#")},
		Rule{User: "meter-*", Publish: patterns("meters/{user}/#"), Subscribe: patterns("cmd/{user}/+", "time")},
		Rule{Client: "panel-?", Subscribe: patterns("panels/{client}/#", "by/{user}")},
		Rule{User: "*", Publish: patterns("any/{client}")},
		Rule{Adapter: "scale*", Publish: patterns("scales/#")},
		Rule{Adapter: "bridge/*", Publish: patterns("cmd/#")},
	)
	for _, c := range []struct {
		name, user, id     string
		rule               int
		publish, subscribe []string
	}{
		{"an exact name before a glob", "meter-7", "x", 0, []string{"special/#"}, nil},
		{"a glob, and the name in its topics", "meter-8", "x", 1, []string{"meters/meter-8/#"}, []string{"cmd/meter-8/+", "time"}},
		{"a client identifier", "", "panel-1", 2, nil, []string{"panels/panel-1/#"}},
		{"the user name of one who is known by identifier", "bob", "panel-1", 2, nil, []string{"panels/panel-1/#", "by/bob"}},
		{"a rule for all users is none for who has no name", "", "x", -1, nil, nil},
		{"a star takes a / too", "a/b", "x", 3, []string{"any/x"}, nil},
		{"a + in a name widens nothing", "meter-+", "x", 1, nil, []string{"time"}},
		{"nor a #", "meter-#", "x", 1, nil, []string{"time"}},
		{"nor a / that adds levels", "meter-/x", "x", 1, nil, []string{"time"}},
		{"nor # as a whole client identifier", "bob", "#", 3, nil, nil},
		{"nor an empty client identifier", "bob", "", 3, nil, nil},
		{"nor $SYS", "bob", "$SYS", 3, nil, nil},
		{"an adapter's rule is not for clients", "", "scale1", -1, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := r.Client(c.user, c.id)
			if got.Rule != c.rule || !slices.Equal(got.Publish, c.publish) || !slices.Equal(got.Subscribe, c.subscribe) {
				t.Errorf("%+v", got)
			}
		})
	}
	for name, rule := range map[string]int{"adapter/scale": 4, "adapter/scale2": 4, "bridge/cloud": 5, "adapter/tank": -1, "bridge/": 5, "session/scale": -1} {
		for range 2 {
			got := r.Inside(name)
			if got == nil && rule < 0 {
				continue
			}
			if got == nil || got.Rule != rule {
				t.Errorf("%s: %+v", name, got)
			}
		}
	}
}

func TestAStarOfAdaptersMeansNoBridge(t *testing.T) {
	r := compiled(t, Rule{Adapter: "*", Publish: patterns("a")})
	if r.Inside("bridge/cloud") != nil || r.Inside("adapter/x") == nil {
		t.Error("it does, or no adapter")
	}
}

// TestNoNameWidensARule: whatever a client calls itself, what it may do lies within
// what its level stands for.
func TestNoNameWidensARule(t *testing.T) {
	r := compiled(t, Rule{User: "*", Subscribe: patterns("{user}", "{user}/x", "a/{user}/{client}/#", "p-{client}/y")})
	names := []string{"", "+", "#", "/", "a", "$SYS", "$share", "+/#", "a/#", "a/b", "a+", "\x00", "\xff", "*", "{client}"}
	for _, user := range names {
		for _, id := range names {
			for _, f := range r.Client(user, id).Subscribe {
				within := topic.ValidFilter(f) && !strings.HasPrefix(f, "$") &&
					(topic.Levels(f) == 1 || topic.Covers("+/x", f) || topic.Covers("+/y", f) || topic.Covers("a/+/+/#", f))
				if !within || strings.Contains(f, "+") || strings.Contains(strings.TrimSuffix(f, "/#"), "#") {
					t.Errorf("user %q, client %q: %q", user, id, f)
				}
			}
		}
	}
}

func TestFiltersDecide(t *testing.T) {
	l := Filters{"a/+", "b/#", "$SYS/broker/uptime"}
	for name, want := range map[string]bool{"a/x": true, "a/x/y": false, "b": true, "b/x/y": true, "c": false, "$SYS/broker/uptime": true, "$SYS/broker": false} {
		if l.Match(name) != want {
			t.Errorf("%s: not %t", name, want)
		}
	}
	for filter, want := range map[string]bool{
		"a/x": true, "a/+": true, "a/#": false, "a": false, "b/#": true, "b/+/c": true, "#": false, "+": false,
		"$share/g/a/+": true, "$share/g/a/#": false, "$share/g/#": false, "$share/g": false, "$share/+/a/x": false, "$SYS/#": false,
	} {
		if l.Covers(filter) != want {
			t.Errorf("%s: not %t", filter, want)
		}
	}
	if (Filters{"#"}).Covers("$SYS/#") || (Filters{"#"}).Match("$SYS/broker/uptime") {
		t.Error("# takes in the broker's own topics")
	}
}

func TestMistakesAreFound(t *testing.T) {
	type mistake struct {
		rule int
		key  string
		by   int
	}
	for _, c := range []struct {
		name  string
		rules []Rule
		want  []mistake
	}{
		{"nobody is named", []Rule{{}}, []mistake{{0, "", -1}}},
		{"two are named", []Rule{{User: "a", Client: "b"}}, []mistake{{0, "", -1}}},
		{"a glob that does not end", []Rule{{User: "a"}, {Client: "[a"}}, []mistake{{1, "client", -1}}},
		{"no filter", []Rule{{User: "a", Publish: patterns("ok", "a/#/b"), Subscribe: patterns("$share/g/a")}}, []mistake{{0, "publish[1]", -1}, {0, "subscribe[0]", -1}}},
		{"a placeholder beside a wildcard", []Rule{{User: "a", Publish: patterns("{user}+")}}, []mistake{{0, "publish[0]", -1}}},
		{"the same twice", []Rule{{User: "a"}, {User: "a"}}, []mistake{{1, "user", 0}}},
		{"all before one", []Rule{{User: "*"}, {User: "a"}}, []mistake{{1, "user", 0}}},
		{"a glob before a name", []Rule{{User: "b"}, {User: "meter-*"}, {User: "meter-7"}}, []mistake{{2, "user", 1}}},
		{"a wider glob first", []Rule{{User: "m*"}, {User: "meter-*-?"}}, []mistake{{1, "user", 0}}},
		{"every client before a user", []Rule{{Client: "*"}, {User: "a"}}, []mistake{{1, "user", 0}}},
		{"every user before a client is none", []Rule{{User: "*"}, {Client: "*"}}, nil},
		{"a name before its glob is none", []Rule{{User: "meter-7"}, {User: "meter-*"}}, nil},
		{"a ? before a * is none", []Rule{{User: "a?"}, {User: "a*"}}, nil},
		{"globs that overlap are none", []Rule{{User: "a*"}, {User: "*b"}}, nil},
		{"every adapter before a bridge is none", []Rule{{Adapter: "*"}, {Adapter: "bridge/*"}}, nil},
		{"every adapter before one", []Rule{{Adapter: "*"}, {Adapter: "scale"}}, []mistake{{1, "adapter", 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Compile(c.rules)
			var got []mistake
			if all, ok := err.(interface{ Unwrap() []error }); ok {
				for _, e := range all.Unwrap() {
					var x *Error
					if !errors.As(e, &x) {
						t.Fatalf("%v", e)
					}
					got = append(got, mistake{x.Rule, x.Key, x.By})
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v: %v", got, err)
			}
		})
	}
	if r, err := Compile(nil); r != nil || err != nil {
		t.Error("no rules are some")
	}
}

func TestQuoteMeansTheNameAlone(t *testing.T) {
	r := compiled(t, Rule{Adapter: Quote(`a*[b]?\`)})
	if r.Inside(`adapter/a*[b]?\`) == nil || r.Inside(`adapter/ax[b]?\`) != nil {
		t.Error("it does not")
	}
}

func TestAMemoAnswersAsItsFilters(t *testing.T) {
	l := Filters{"a/+/ok"}
	var m Memo
	for round := range 3 {
		for i := range 20 {
			for _, ok := range []bool{true, false} {
				name := "a/" + strings.Repeat("x", i*20) + map[bool]string{true: "/ok", false: "/no"}[ok]
				for range 2 { // found out, then remembered
					if m.Allows(l, name) != ok {
						t.Fatalf("round %d: %s: not %t", round, name, ok)
					}
				}
			}
		}
	}
	m = Memo{}
	if m.Allows(nil, "a/x/ok") {
		t.Error("what was forgotten is known")
	}
}

func TestAKnownTopicCostsNoMemory(t *testing.T) {
	l := Filters{"meters/a/#", "meters/b/#"}
	var m Memo
	names := []string{"meters/a/1", "meters/b/2", "c"}
	ask := func() {
		for _, n := range names {
			m.Allows(l, n)
		}
	}
	ask()
	if n := testing.AllocsPerRun(100, ask); n != 0 {
		t.Errorf("%v allocations", n)
	}
	r := compiled(t, Rule{Adapter: "a"})
	if n := testing.AllocsPerRun(100, func() { r.Inside("adapter/a") }); n != 0 {
		t.Errorf("%v allocations for an adapter's rights", n)
	}
}

func BenchmarkMemo(b *testing.B) {
	l := Filters{"sites/x/meters/+/in/#", "sites/x/meters/+/out/#", "meters/a/#"}
	topics := make([]string, 16)
	for i := range topics {
		topics[i] = "meters/a/" + strings.Repeat("r", i) + "/value"
	}
	for _, c := range []struct {
		name string
		n    int
	}{{"one topic", 1}, {"eight topics in turn", 8}, {"sixteen", 16}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var m Memo
			for i := range b.N {
				m.Allows(l, topics[i%c.n])
			}
		})
	}
	b.Run("without a memo", func(b *testing.B) {
		for range b.N {
			l.Match(topics[0])
		}
	})
}
