// Package topic knows MQTT topic names and filters: their rules (section 4.7
// of the specification), how they match, and the two trees that find filters
// by name and names by filter.
//
// Strings are compared byte by byte, without normalisation [MQTT-4.7.3-4].
package topic

import (
	"strings"
	"unicode/utf8"
)

// MaxLen is the longest name or filter in bytes [MQTT-4.7.3-3].
const MaxLen = 65535

// ValidName reports whether name can be published to: 1 to 65,535 bytes of
// UTF-8 without wildcards and U+0000.
func ValidName(name string) bool {
	return valid(name) && !strings.ContainsAny(name, "+#")
}

func valid(s string) bool {
	return len(s) > 0 && len(s) <= MaxLen && strings.IndexByte(s, 0) < 0 && utf8.ValidString(s)
}

// ValidFilter reports whether filter can be subscribed to. A filter that
// begins with $share/ has to be a well-formed shared subscription.
func ValidFilter(filter string) bool {
	if !valid(filter) {
		return false
	}
	if _, rest, shared := CutShare(filter); shared {
		if rest == "" {
			return false
		}
		filter = rest
	}
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		switch {
		case level == "#":
			if more { // [MQTT-4.7.1-1]
				return false
			}
		case level == "+":
		case strings.ContainsAny(level, "+#"): // [MQTT-4.7.1-2]
			return false
		}
	}
	return true
}

// CutShare splits a shared subscription $share/GROUP/FILTER. shared tells that
// filter begins like one; when it is malformed [MQTT-4.8.2-1] [MQTT-4.8.2-2],
// rest is empty.
func CutShare(filter string) (group, rest string, shared bool) {
	s, shared := strings.CutPrefix(filter, "$share/")
	if !shared {
		return "", filter, false
	}
	group, rest, ok := strings.Cut(s, "/")
	if !ok || group == "" || strings.ContainsAny(group, "+#") {
		return "", "", true
	}
	return group, rest, true
}

// Levels is the number of levels of a name or filter.
func Levels(s string) int { return strings.Count(s, "/") + 1 }

// hidden: a leading wildcard does not match it [MQTT-4.7.2-1].
func hidden(name string) bool { return len(name) > 0 && name[0] == '$' }

// Match reports whether filter matches name. Both have to be valid; filter is
// no shared subscription.
func Match(filter, name string) bool {
	if hidden(name) && filter != "" && (filter[0] == '+' || filter[0] == '#') {
		return false
	}
	fmore, nmore := true, true
	var f, n string
	for fmore {
		f, filter, fmore = strings.Cut(filter, "/")
		if f == "#" {
			return true // also when the name ended: a/# matches a
		}
		if !nmore {
			return false
		}
		n, name, nmore = strings.Cut(name, "/")
		if f != "+" && f != n {
			return false
		}
	}
	return !nmore
}

// MatchCaptures is Match that appends to dst what each wildcard of filter
// stood for, in order: a level for +, all the rest for # (empty when # matched
// the parent level). Without a match dst is returned as it was.
func MatchCaptures(filter, name string, dst []string) ([]string, bool) {
	if !Match(filter, name) {
		return dst, false
	}
	fmore := true
	var f, n string
	for fmore {
		f, filter, fmore = strings.Cut(filter, "/")
		if f == "#" {
			return append(dst, name), true
		}
		n, name, _ = strings.Cut(name, "/")
		if f == "+" {
			dst = append(dst, n)
		}
	}
	return dst, true
}
