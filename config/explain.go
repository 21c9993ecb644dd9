package config

import (
	"reflect"
	"regexp"
	"strings"
)

// A Key is one of the configuration, with its value.
type Key struct {
	Key         string   // path: bridge[0].name
	Value       string   // as a file has it; secrets are stars
	Set         bool     // a file has it; else it is the default
	At          Position // where it is set
	Explanation string   // one line
}

// Keys lists every key that AppendTOML writes, in the same order.
func (c *Config) Keys() []Key {
	p := &printer{pending: pendingRules(), cfg: c}
	p.sections(reflect.ValueOf(c).Elem(), "", "", "")
	return p.keys
}

// note takes down the key called name of the section at path; field is what it is
// called in the table of explanations.
func (p *printer) note(path, pattern, name, field, value string) {
	k := Key{Key: join(path, name), Value: value, Explanation: plainText(explanationOf(pattern, field))}
	if p.cfg.isSet(k.Key) {
		k.Set, k.At = true, p.cfg.At(k.Key)
	}
	p.keys = append(p.keys, k)
}

// explanationOf finds what the table says of a key in the section with that
// pattern.
func explanationOf(pattern, key string) string {
	section := sectionName(pattern)
	for i := range explanations {
		e := &explanations[i]
		for name := range strings.FieldsSeq(e.sections) {
			if name != section {
				continue
			}
			for j := range e.keys {
				if e.keys[j].key == key {
					return e.keys[j].meaning
				}
			}
		}
	}
	return ""
}

// sectionName is how a file has the header of the section with that pattern:
// [gateway], [[bridge]], [bridge.backoff], [[bridge.up]].
func sectionName(pattern string) string {
	name := "[" + strings.ReplaceAll(pattern, "[]", "") + "]"
	if strings.HasSuffix(pattern, "[]") {
		name = "[" + name + "]"
	}
	return name
}

var markdownLink = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

// plainText is Markdown without links and emphasis. Code keeps its marks.
func plainText(s string) string {
	return strings.ReplaceAll(markdownLink.ReplaceAllString(s, "$1"), "**", "")
}
