package topic

import "strings"

// Covers reports whether filter a matches every name that filter b matches. Both
// have to be valid and no shared subscriptions.
func Covers(a, b string) bool {
	a, b = spelled(a), spelled(b)
	if hidden(b) && (a[0] == '+' || a[0] == '#') { // [MQTT-4.7.2-1]
		return false
	}
	amore, bmore := true, true
	var x, y string
	for amore {
		x, a, amore = strings.Cut(a, "/")
		if x == "#" {
			return true // also when b ended: a/# matches a
		}
		if !bmore {
			return false
		}
		y, b, bmore = strings.Cut(b, "/")
		if y == "#" || x != "+" && x != y {
			return false
		}
	}
	return !bmore
}

// spelled gives a filter another form: no name is empty, so that # matches what
// +/# does, and /# what /+/# does.
func spelled(filter string) string {
	switch filter {
	case "#":
		return "+/#"
	case "/#":
		return "/+/#"
	}
	return filter
}
