package config

import (
	"strings"
	"unicode"
)

// maxTopic is the length of a topic or filter in bytes, since it is sent as an
// MQTT string.
const maxTopic = 65535

// topicProblem says what is wrong with the name of a topic, "" when nothing is.
func topicProblem(s string) string {
	switch {
	case s == "":
		return "must not be empty"
	case len(s) > maxTopic:
		return "is longer than 65535 bytes"
	case strings.ContainsAny(s, "+#"):
		return "must not have a wildcard (+ or #): it is a topic, not a filter"
	case strings.ContainsRune(s, 0):
		return "must not have a NUL character"
	}
	return ""
}

// filterProblem says what is wrong with a topic filter, "" when nothing is, and
// how many wildcards it has.
func filterProblem(s string) (wildcards int, problem string) {
	switch {
	case s == "":
		return 0, "must not be empty"
	case len(s) > maxTopic:
		return 0, "is longer than 65535 bytes"
	case strings.ContainsRune(s, 0):
		return 0, "must not have a NUL character"
	case strings.HasPrefix(s, "$share/"):
		return 0, "must not be a shared subscription: every message is wanted here"
	}
	levels := strings.Split(s, "/")
	for i, l := range levels {
		switch {
		case l == "#" && i < len(levels)-1:
			return 0, "has a # that is not the last level"
		case l == "+" || l == "#":
			wildcards++
		case strings.ContainsAny(l, "+#"):
			return 0, "has a wildcard that is not a level of its own, in " + strings.TrimSpace(l)
		}
	}
	return wildcards, ""
}

// levelProblem says what is wrong with a name that becomes one level of topics
// and part of keys, "" when nothing is.
func levelProblem(s string) string {
	if len(s) > 128 {
		return "is longer than 128 bytes"
	}
	for _, r := range s {
		if strings.ContainsRune("/+#{}", r) || unicode.IsSpace(r) || unicode.IsControl(r) {
			return `must not have "/", "+", "#", braces, spaces or control characters`
		}
	}
	return ""
}
