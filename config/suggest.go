package config

import "strings"

// nearest gives the candidate that s was probably meant to be, or "".
func nearest(s string, candidates []string) string {
	best, least := "", 0 // one letter is near to nothing else
	if len(s) > 1 {
		least = 1 + (len(s)-2)/3
	}
	for _, c := range candidates {
		if d := distance(strings.ToLower(s), strings.ToLower(c)); d < least || d == least && best == "" {
			best, least = c, d
		}
	}
	return best
}

// didYouMean is the end of a message about s, or "" when no candidate is near.
func didYouMean(s string, candidates []string) string {
	if c := nearest(s, candidates); c != "" {
		return " (did you mean " + c + "?)"
	}
	return ""
}

// distance is the number of characters to insert, delete, replace or swap with
// their neighbour to get from a to b.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 64 || len(y) > 64 {
		return max(len(x), len(y)) // no key is that long
	}
	d := make([][]int, len(x)+1)
	for i := range d {
		d[i] = make([]int, len(y)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(x)][len(y)]
}
