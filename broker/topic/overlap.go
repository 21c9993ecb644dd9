package topic

import "strings"

// Overlap reports whether some name matches both filters. Both have to be valid and
// no shared subscriptions.
func Overlap(a, b string) bool {
	if hidden(a) && (b[0] == '+' || b[0] == '#') || hidden(b) && (a[0] == '+' || a[0] == '#') { // [MQTT-4.7.2-1]
		return false
	}
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	for i := 0; ; i++ {
		switch {
		case i < len(as) && as[i] == "#", i < len(bs) && bs[i] == "#":
			return true // also where the other has ended: a/# matches a
		case i == len(as) || i == len(bs):
			return len(as) == len(bs)
		case as[i] != "+" && bs[i] != "+" && as[i] != bs[i]:
			return false
		}
	}
}
