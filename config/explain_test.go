package config

import (
	"flag"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/configuration.md from the code")

// defaults gives how the documentation shows the default of each key, by section
// and key; "" when it has none.
func defaults() map[string]map[string]string {
	pending := pendingRules()
	all := map[string]map[string]string{}
	var walk func(v reflect.Value, pattern string)
	walk = func(v reflect.Value, pattern string) {
		section := sectionName(pattern)
		for _, f := range fields(v) {
			p := strings.TrimPrefix(pattern+"."+f.name, ".")
			if !supported(p, pending) {
				continue
			}
			if pattern != "" {
				if all[section] == nil {
					all[section] = map[string]string{}
				}
				all[section][f.name] = shownDefault(f)
			}
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
			}
		}
	}
	c := reflect.New(reflect.TypeFor[Config]()).Elem()
	preset(c)
	walk(c, "")
	return all
}

// shownDefault is the default as a file would have it, in code marks.
func shownDefault(f field) string {
	text, ok := f.tag.Lookup("default")
	if f.v.Kind() == reflect.Float64 && !strings.Contains(text, ".") {
		text += ".0"
	}
	number := f.v.Kind() == reflect.Int || f.v.Kind() == reflect.Float64 || f.v.Kind() == reflect.Bool
	_, own := f.v.Addr().Interface().(fromTOML)
	switch {
	case !ok && f.tag.Get("required") == "" && (f.v.Kind() == reflect.String || own):
		return "`\"\"`"
	case !ok && f.v.Kind() == reflect.Bool:
		return "`false`"
	case !ok:
		return ""
	case f.v.Type() == reflect.TypeFor[Version]() || number && !own && f.v.Type() != durationType && f.v.Type() != sizeType:
		return "`" + text + "`"
	}
	return "`" + quote(text) + "`"
}

func TestEveryKeyIsExplainedOnce(t *testing.T) {
	left := defaults()
	for _, e := range explanations {
		for section := range strings.FieldsSeq(e.sections) {
			for _, k := range e.keys {
				if _, ok := left[section][k.key]; !ok {
					t.Errorf("%s: %s is explained twice, or is no key", section, k.key)
				}
				delete(left[section], k.key)
				if k.meaning == "" || strings.Contains(k.meaning, "\n") {
					t.Errorf("%s: %s needs one line", section, k.key)
				}
			}
		}
	}
	for section, keys := range left {
		for key := range keys {
			t.Errorf("%s: %s is not explained", section, key)
		}
	}
}

// TestTheReferenceIsMadeFromTheCode: each row of the tables of docs/configuration.md.
// With -update they are written.
func TestTheReferenceIsMadeFromTheCode(t *testing.T) {
	const file = "../docs/configuration.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	shown := defaults()
	section := regexp.MustCompile("`(\\[[^`]+\\])`")
	key := regexp.MustCompile("^\\| `([a-z0-9_]+)` \\|")
	tables := map[string][]explanation{}
	for _, e := range explanations {
		tables[e.sections] = e.keys
	}
	var out strings.Builder
	at, row, lines := "", 0, strings.SplitAfter(string(text), "\n")
	for _, line := range lines {
		rows := tables[at]
		switch {
		case strings.HasPrefix(line, "#"):
			var names []string
			for _, m := range section.FindAllStringSubmatch(line, -1) {
				names = append(names, m[1])
			}
			at, row = strings.Join(names, " "), 0
		case rows != nil && key.MatchString(line) && row <= len(rows):
			if row == 0 {
				for _, k := range rows {
					out.WriteString(docLine(k, shown[strings.Fields(at)[0]][k.key]))
				}
			}
			row++
			continue
		}
		out.WriteString(line)
	}
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if made := out.String(); made != string(text) {
		want := strings.SplitAfter(made, "\n")
		for i := range min(len(want), len(lines)) {
			if want[i] != lines[i] {
				t.Fatalf("%s:%d is\n%snot\n%s(go test ./config -run %s -update writes it)", file, i+1, lines[i], want[i], t.Name())
			}
		}
		t.Fatalf("%s is shorter or longer than what the code makes of it (-update)", file)
	}
}

// docLine is a row of a table.
func docLine(k explanation, shown string) string {
	if k.shown != "" {
		shown = k.shown
	}
	return "| `" + k.key + "` | " + shown + " | " + k.meaning + " |\n"
}

func TestKeysSayWhereTheyAreSet(t *testing.T) {
	c, err := Parse("/etc/f", []byte(everyKind), Options{})
	if err != nil {
		t.Fatal(err)
	}
	printed := string(c.AppendTOML(nil))
	keys := map[string]Key{}
	for _, k := range c.Keys() {
		keys[k.Key] = k
		if !strings.Contains(printed, " = "+k.Value+"\n") {
			t.Errorf("%s is not printed", k.Key)
		}
		if k.Explanation == "" || strings.Contains(k.Explanation, "](") {
			t.Errorf("%s: %q", k.Key, k.Explanation)
		}
	}
	if n := strings.Count(printed, " = ") - strings.Count(printed, `scale = `); len(keys) < n/2 {
		t.Errorf("%d keys", len(keys))
	}
	for key, want := range map[string]Key{
		"queue.max_size":        {Value: `"3GiB"`, Set: true, At: Position{File: "/etc/f", Line: 5}},
		"queue.min_free":        {Value: `"auto"`},
		"bridge[0].name":        {Value: `"cloud"`, Set: true},
		"bridge[0].up[1].topic": {Value: `"b"`, Set: true},
		"serial[0].frame.start": {Value: `"hex:02"`, Set: true},
	} {
		k, ok := keys[key]
		if !ok || k.Value != want.Value || k.Set != want.Set || want.At.Line != 0 && (k.At.File != want.At.File || k.At.Line != want.At.Line) {
			t.Errorf("%s: %+v", key, k)
		}
	}
}
