package topic

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNamesAndFiltersAreValidated(t *testing.T) {
	long := strings.Repeat("a", MaxLen)
	for _, c := range []struct {
		what         string
		s            string
		name, filter bool
	}{
		{"MQTT-4.7.3-1 empty", "", false, false},
		{"one level", "a", true, true},
		{"only a slash", "/", true, true},
		{"empty levels", "a//b/", true, true},
		{"a space is a character", "Accounts payable", true, true},
		{"MQTT-4.7.3-2 U+0000", "a\x00b", false, false},
		{"MQTT-1.5.4-1 not UTF-8", "a\xff", false, false},
		{"MQTT-1.5.4-1 a surrogate", "\xed\xa0\x80", false, false},
		{"MQTT-4.7.3-3 longest", long, true, true},
		{"MQTT-4.7.3-3 too long", long + "a", false, false},
		{"MQTT-4.7.0-1 wildcards in names", "a/+", false, true},
		{"MQTT-4.7.1-1 # alone", "#", false, true},
		{"MQTT-4.7.1-1 # last", "sport/tennis/#", false, true},
		{"MQTT-4.7.1-1 # not after a slash", "sport/tennis#", false, false},
		{"MQTT-4.7.1-1 # not last", "sport/#/ranking", false, false},
		{"MQTT-4.7.1-2 + alone", "+", false, true},
		{"MQTT-4.7.1-2 + with #", "+/tennis/#", false, true},
		{"MQTT-4.7.1-2 + in a level", "sport+", false, false},
		{"MQTT-4.8.2-1 shared", "$share/g/a/+", false, true},
		{"MQTT-4.8.2-1 no group", "$share//a", true, false},
		{"MQTT-4.8.2-2 wildcard in the group", "$share/g+/a", false, false},
		{"MQTT-4.8.2-2 no filter", "$share/g", true, false},
		{"MQTT-4.8.2-2 empty filter", "$share/g/", true, false},
		{"$share without a slash is a filter like any", "$share", true, true},
	} {
		if got := ValidName(c.s); got != c.name {
			t.Errorf("%s: ValidName = %v", c.what, got)
		}
		if got := ValidFilter(c.s); got != c.filter {
			t.Errorf("%s: ValidFilter = %v", c.what, got)
		}
	}
}

var matches = []struct {
	filter, name string
	captures     []string // nil: no match
}{
	{"a", "a", []string{}},
	{"a", "b", nil},
	{"a", "a/b", nil},
	{"a/b", "a", nil},
	{"a/b", "a/b", []string{}},
	{"#", "a/b", []string{"a/b"}},
	{"#", "/", []string{"/"}},
	{"sport/tennis/player1/#", "sport/tennis/player1", []string{""}},
	{"sport/tennis/player1/#", "sport/tennis/player1/ranking", []string{"ranking"}},
	{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", []string{"score/wimbledon"}},
	{"sport/tennis/player1/#", "sport/tennis/player2", nil},
	{"sport/#", "sport", []string{""}},
	{"sport/#", "sports", nil},
	{"sport/tennis/+", "sport/tennis/player1", []string{"player1"}},
	{"sport/tennis/+", "sport/tennis/player1/ranking", nil},
	{"sport/+", "sport", nil},
	{"sport/+", "sport/", []string{""}},
	{"+/+", "/finance", []string{"", "finance"}},
	{"/+", "/finance", []string{"finance"}},
	{"+", "/finance", nil},
	{"+/b/+/#", "a/b/c/d/e", []string{"a", "c", "d/e"}},
	{"+/b/+/#", "a/b/c", []string{"a", "c", ""}},
	{"#", "$SYS/x", nil}, // [MQTT-4.7.2-1]
	{"+/monitor/Clients", "$SYS/monitor/Clients", nil},
	{"$SYS/#", "$SYS/monitor", []string{"monitor"}},
	{"$SYS/+", "$SYS/monitor", []string{"monitor"}},
	{"+/$x", "a/$x", []string{"a"}},
	{"ACCOUNTS", "Accounts", nil},
}

func TestFiltersMatchNames(t *testing.T) {
	for _, c := range matches {
		want := c.captures != nil
		if got := Match(c.filter, c.name); got != want {
			t.Errorf("Match(%q, %q) = %v", c.filter, c.name, got)
		}
		got, ok := MatchCaptures(c.filter, c.name, []string{"before"})
		if ok != want || !slices.Equal(got[1:], c.captures) {
			t.Errorf("MatchCaptures(%q, %q) = %q, %v; want %q", c.filter, c.name, got, ok, c.captures)
		}
		var tree Tree[int, string]
		tree.Insert(c.filter, 1, c.filter)
		n := 0
		tree.Match(c.name, func(string) { n++ })
		if n == 1 != want || n > 1 {
			t.Errorf("Tree with %q finds %q %d times", c.filter, c.name, n)
		}
		var names Names[int]
		names.Set(c.name, 7)
		n = 0
		names.Match(c.filter, func(name string, v int) bool { n++; return name == c.name && v == 7 })
		if n == 1 != want || n > 1 {
			t.Errorf("Names with %q finds %q %d times", c.name, c.filter, n)
		}
	}
}

func TestTheTreeForgetsWhatIsRemoved(t *testing.T) {
	var tree Tree[int, string]
	for _, c := range matches {
		for k := range 40 { // beyond indexFrom
			tree.Insert(c.filter, k, c.filter)
		}
	}
	if old, replaced := tree.Insert("a", 3, "new"); !replaced || old != "a" {
		t.Errorf("Insert again = %q, %v", old, replaced)
	}
	if v, ok := tree.Get("a", 3); !ok || v != "new" {
		t.Errorf("Get = %q, %v", v, ok)
	}
	if _, ok := tree.Remove("a", 99); ok {
		t.Error("an unknown key was removed")
	}
	if _, ok := tree.Remove("no/such/filter", 1); ok {
		t.Error("an unknown filter was removed")
	}
	seen := map[string]bool{}
	for _, c := range matches {
		for k := range 40 {
			if _, ok := tree.Remove(c.filter, k); ok == seen[c.filter] {
				t.Fatalf("Remove(%q, %d) = %v", c.filter, k, ok)
			}
		}
		seen[c.filter] = true
	}
	if tree.Len() != 0 || !tree.root.empty() {
		t.Errorf("%d left, root empty: %v", tree.Len(), tree.root.empty())
	}
}

func TestNamesForgetsWhatIsDeleted(t *testing.T) {
	var n Names[int]
	for i, name := range []string{"a", "a/b", "a/b/c", "/", "a//"} {
		n.Set(name, i)
	}
	if v, ok := n.Get("a/b"); !ok || v != 1 {
		t.Errorf("Get = %d, %v", v, ok)
	}
	if _, ok := n.Get("a/x"); ok {
		t.Error("Get finds what is not there")
	}
	if _, ok := n.Delete("a/b/x"); ok {
		t.Error("Delete finds what is not there")
	}
	for _, name := range []string{"a/b", "a", "a//", "a/b/c", "/"} {
		if _, ok := n.Delete(name); !ok {
			t.Errorf("%q is not there", name)
		}
	}
	if n.Len() != 0 || len(n.root.children) != 0 {
		t.Errorf("%d left, %d children", n.Len(), len(n.root.children))
	}
}

func FuzzTheTreesAgreeWithMatch(f *testing.F) {
	for _, c := range matches {
		f.Add(c.filter, c.name)
	}
	f.Fuzz(func(t *testing.T, filter, name string) {
		if !ValidFilter(filter) || !ValidName(name) {
			return
		}
		if _, rest, shared := CutShare(filter); shared {
			filter = rest
		}
		want := 0
		if Match(filter, name) {
			want = 1
		}
		if _, ok := MatchCaptures(filter, name, nil); ok != (want == 1) {
			t.Errorf("MatchCaptures(%q, %q) = %v", filter, name, ok)
		}
		var tree Tree[int, int]
		tree.Insert(filter, 1, 1)
		n := 0
		tree.Match(name, func(int) { n++ })
		var names Names[int]
		names.Set(name, 1)
		m := 0
		names.Match(filter, func(string, int) bool { m++; return true })
		if n != want || m != want {
			t.Errorf("%q, %q: Match %d, Tree %d, Names %d", filter, name, want, n, m)
		}
	})
}

// FuzzFiltersAreValid holds the checks against section 4.7 and 4.8.2, word by word.
func FuzzFiltersAreValid(f *testing.F) {
	for _, c := range matches {
		f.Add(c.filter)
		f.Add("$share/g/" + c.filter)
	}
	for _, s := range []string{"", "$share", "$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "a\x00", "\xff", "\ufeffa", "\xed\xa0\x80", "#/", "a#", "+a/#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ok := s != "" && len(s) <= 65535 && utf8.ValidString(s) && !strings.Contains(s, "\x00")
		if got := ValidName(s); got != (ok && !strings.Contains(s, "+") && !strings.Contains(s, "#")) {
			t.Errorf("ValidName(%q) = %v", s, got)
		}
		levels := strings.Split(s, "/")
		if levels[0] == "$share" && len(levels) > 1 {
			ok = ok && len(levels) > 2 && levels[1] != "" && !strings.ContainsAny(levels[1], "+#") && len(strings.Join(levels[2:], "/")) > 0
			group, rest, shared := CutShare(s)
			if !shared || ok && (group != levels[1] || rest != strings.Join(levels[2:], "/")) {
				t.Errorf("CutShare(%q) = %q, %q, %v", s, group, rest, shared)
			}
			levels = levels[min(2, len(levels)):]
		}
		for i, l := range levels {
			ok = ok && (l == "+" || l == "#" && i == len(levels)-1 || !strings.ContainsAny(l, "+#"))
		}
		if got := ValidFilter(s); got != ok {
			t.Errorf("ValidFilter(%q) = %v", s, got)
		}
	})
}

func bigTree() *Tree[int, int] {
	var tree Tree[int, int]
	for i := range 1000 {
		id := strings.Repeat("x", i%7) + string(rune('a'+i%26))
		tree.Insert("sensors/"+id+"/temp", i, i)
	}
	tree.Insert("sensors/+/temp", -1, -1)
	tree.Insert("#", -2, -2)
	return &tree
}

func TestMatchingDoesNotAllocate(t *testing.T) {
	tree := bigTree()
	sum := 0
	f := func(v int) { sum += v }
	if n := testing.AllocsPerRun(100, func() { tree.Match("sensors/xa/temp", f) }); n != 0 {
		t.Errorf("Match allocates %v times", n)
	}
}

func BenchmarkMatch(b *testing.B) {
	tree := bigTree()
	sum := 0
	b.ReportAllocs()
	for b.Loop() {
		tree.Match("sensors/xa/temp", func(v int) { sum += v })
	}
}
