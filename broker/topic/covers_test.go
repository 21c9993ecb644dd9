package topic

import (
	"strings"
	"testing"
)

// words gives all sequences of up to n of the levels, joined.
func words(n int, levels ...string) []string {
	var list []string
	for _, l := range levels {
		list = append(list, l)
		if n > 1 {
			for _, rest := range words(n-1, levels...) {
				list = append(list, l+"/"+rest)
			}
		}
	}
	return list
}

// TestCoversAgreesWithMatch tries every pair of short filters against every short
// name: one level more than the filters have, and one that occurs in none, so that
// no difference between two filters stays hidden.
func TestCoversAgreesWithMatch(t *testing.T) {
	var filters []string
	for _, f := range words(3, "a", "", "$b", "+", "#") {
		if ValidFilter(f) {
			filters = append(filters, f)
		}
	}
	var names []string
	for _, n := range words(4, "a", "", "$b", "x") {
		if ValidName(n) {
			names = append(names, n)
		}
	}
	for _, a := range filters {
		for _, b := range filters {
			want := ""
			for _, n := range names {
				if Match(b, n) && !Match(a, n) {
					want = n
					break
				}
			}
			if got := Covers(a, b); got != (want == "") {
				t.Fatalf("Covers(%q, %q) = %t; %q is matched by the second alone", a, b, got, want)
			}
		}
	}
}

func TestCoversAllocatesNothing(t *testing.T) {
	long := strings.Repeat("level/", 20) + "#"
	if n := testing.AllocsPerRun(100, func() { Covers(long, long) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
