package topic

import "testing"

func TestFiltersOverlapWhereANameMatchesBoth(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a/c", false},
		{"a/b", "a", false},
		{"a/+", "+/b", true},
		{"a/+", "a", false},
		{"a/#", "a", true},
		{"a/#", "a/b/c", true},
		{"a/#", "b/#", false},
		{"#", "bench/+", true},
		{"+/+", "bench/+", true},
		{"+", "bench/+", false},
		{"sensors/#", "bench/+", false},
		{"#", "$SYS/x", false},
		{"+/x", "$SYS/+", false},
		{"$SYS/#", "$SYS/+", true},
		{"a/+/c", "a/b/#", true},
	} {
		if Overlap(c.a, c.b) != c.want || Overlap(c.b, c.a) != c.want {
			t.Errorf("%s and %s: not %v", c.a, c.b, c.want)
		}
	}
}
