package acl

import (
	"path"
	"strings"
)

// Globs are those of package path, but that a / is a character like any other: it
// may stand in client identifiers, and one who is meant by "*" must not slip
// through by putting one into his. NUL stands in for it, which is in no MQTT name.

// matches reports whether the name is one that a glob from prepared means.
func matches(glob, name string) bool {
	ok, _ := path.Match(glob, noSlash(name))
	return ok
}

func prepared(glob string) (string, error) {
	glob = noSlash(glob)
	_, err := path.Match(glob, "")
	return glob, err
}

func noSlash(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

// Quote gives the glob that means this name alone.
func Quote(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// globCovers reports whether a means all that b means, as far as that is easy to
// see.
func globCovers(a, b string) bool {
	switch {
	case a == b || everybody(a):
		return true
	case !strings.ContainsAny(b, `*?[\`):
		return matches(a, b)
	case strings.ContainsAny(a, `?[\`) || strings.ContainsAny(b, `[\`):
		return false
	}
	// Only the stars of a can take the wildcards of b, read as text.
	ok, _ := path.Match(a, b)
	return ok
}

func everybody(glob string) bool { return glob != "" && strings.Trim(glob, "*") == "" }
