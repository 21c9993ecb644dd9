package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// docRow is a row of a table in docs/configuration.md.
type docRow struct{ value, meaning string }

// docTables gives the rows by section and key: "[[bridge]]", "name". A table
// belongs to all sections that the heading above it names.
func docTables(t *testing.T) map[string]map[string]docRow {
	t.Helper()
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	section := regexp.MustCompile("`(\\[[^`]+\\])`")
	key := regexp.MustCompile("^\\| `([a-z0-9_]+)` \\| (.*?) \\| (.*) \\|$")
	tables := map[string]map[string]docRow{}
	var at []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			at = nil
			for _, m := range section.FindAllStringSubmatch(line, -1) {
				at = append(at, m[1])
				if tables[m[1]] == nil {
					tables[m[1]] = map[string]docRow{}
				}
			}
		}
		if m := key.FindStringSubmatch(line); m != nil {
			for _, s := range at {
				if _, twice := tables[s][m[1]]; twice {
					t.Errorf("%s %s is described twice", s, m[1])
				}
				tables[s][m[1]] = docRow{m[2], m[3]}
			}
		}
	}
	return tables
}

// supported reports whether this version acts on the key.
func supported(pattern string, pending map[string]rule) bool {
	_, ok := pending[pattern]
	return !ok
}

func TestTheDocumentationHasEveryKeyWithItsDefaultAndNoOther(t *testing.T) {
	tables := docTables(t)
	pending := pendingRules()
	var walk func(v reflect.Value, pattern string)
	walk = func(v reflect.Value, pattern string) {
		section := sectionName(pattern)
		for _, f := range fields(v) {
			p := strings.TrimPrefix(pattern+"."+f.name, ".")
			if !supported(p, pending) {
				continue
			}
			row, ok := tables[section][f.name]
			if pattern != "" && !ok {
				t.Errorf("%s: %s is not described", section, f.name)
				continue
			}
			delete(tables[section], f.name)
			e := f.v.Type()
			if e.Kind() == reflect.Slice || e.Kind() == reflect.Pointer {
				if e.Kind() == reflect.Slice {
					p += "[]"
				}
				e = e.Elem()
			}
			if isSection(e) {
				sub := reflect.New(e).Elem()
				preset(sub)
				walk(sub, p)
				continue
			}
			_, hasDefault := f.tag.Lookup("default")
			text, quoted := strings.CutPrefix(row.value, "`")
			switch text, ended := strings.CutSuffix(text, "`"); {
			case quoted && ended:
				if shown := decodeText(text, f); !reflect.DeepEqual(shown.Interface(), f.v.Interface()) {
					t.Errorf("%s: the default of %s is %v, not %s", section, f.name, f.v, text)
				}
			case hasDefault:
				t.Errorf("%s: %s has a default, it is not %q", section, f.name, row.value)
			}
		}
	}
	c := reflect.New(reflect.TypeFor[Config]()).Elem()
	preset(c)
	walk(c, "")
	for section, rows := range tables {
		for key := range rows {
			t.Errorf("%s: %s is described and not supported", section, key)
		}
	}
}
