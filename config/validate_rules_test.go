package config

import (
	"strings"
	"testing"

	"packetboat/broker/topic"
)

// words gives every text of 1 to most levels.
func words(levels []string, most int) (list []string) {
	last := []string{""}
	for n := range most {
		var next []string
		for _, w := range last {
			for _, l := range levels {
				if n > 0 {
					l = w + "/" + l
				}
				next = append(next, l)
			}
		}
		list, last = append(list, next...), next
	}
	return list
}

// TestCoversIsExact compares it with all short topics. A level that no filter
// names stands for all others.
func TestCoversIsExact(t *testing.T) {
	var names, filters []string
	for _, n := range words([]string{"a", "$b", "", "other"}, 4) {
		if topic.ValidName(n) {
			names = append(names, n)
		}
	}
	for _, f := range words([]string{"a", "$b", "", "+", "#"}, 3) {
		if topic.ValidFilter(f) && !strings.Contains(f, "#/") {
			filters = append(filters, f)
		}
	}
	matches := make([][]bool, len(filters))
	for i, f := range filters {
		for _, n := range names {
			matches[i] = append(matches[i], topic.Match(f, n))
		}
	}
	covered := 0
	for i, a := range filters {
		for j, b := range filters {
			want := true
			for k := range names {
				want = want && (matches[i][k] || !matches[j][k])
			}
			if got := covers(a, b); got != want {
				t.Errorf("covers(%q, %q) is %v", a, b, got)
			}
			if want {
				covered++
			}
		}
	}
	if covered <= len(filters) || len(filters) < 100 {
		t.Errorf("%d filters, %d covered", len(filters), covered)
	}
}
