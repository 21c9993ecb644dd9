package config

import (
	"testing"
)

func TestTemplates(t *testing.T) {
	allowed := []string{"gateway", "topic", "1", "field:"}
	tests := []struct {
		name, src, want, err string
	}{
		{"text", "a/b", "a/b", ""},
		{"nothing", "", "", ""},
		{"placeholders side by side", "{gateway}{topic}/{1}", "<gateway><topic>/<1>", ""},
		{"literal braces", "{{{topic}}}{{}}", "{<topic>}{}", ""},
		{"JSON", `{{"v":{field:a b}}}`, `{"v":<field:a b>}`, ""},
		{"an argument with a colon", "{field:a:b}", "<field:a:b>", ""},
		{"no end", "a{topic", "", "has a { without its }; a literal { is written {{"},
		{"another beginning before the end", "{to{pic}", "", "has a { without its }; a literal { is written {{"},
		{"no beginning", "a}b", "", "has a } without its {; a literal } is written }}"},
		{"no name", "{}", "", "{} means nothing here; there are {gateway} {topic} {1} {field:NAME}"},
		{"an unknown name", "{topc}", "", "{topc} means nothing here; there are {gateway} {topic} {1} {field:NAME} (did you mean {topic}?)"},
		{"an argument where none is taken", "{topic:x}", "", "{topic:x} means nothing here; there are {gateway} {topic} {1} {field:NAME} (did you mean {topic}?)"},
		{"no argument", "{field:}", "", "{field:} means nothing here; there are {gateway} {topic} {1} {field:NAME} (did you mean {field:NAME}?)"},
		{"a list item that ends in a colon is no name", "{field}", "", "{field} means nothing here; there are {gateway} {topic} {1} {field:NAME} (did you mean {field:NAME}?)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tpl, err := ParseTemplate(tt.src, allowed...)
			if err != nil {
				if err.Error() != tt.err {
					t.Errorf("got %v", err)
				}
				return
			}
			if got := string(tpl.Expand([]byte("="), angle)); tt.err != "" || got != "="+tt.want || tpl.String() != tt.src {
				t.Errorf("got %s", got)
			}
		})
	}
	if _, err := ParseTemplate("{x}"); err == nil || err.Error() != "{x} means nothing here, no placeholders do; a literal { is written {{" {
		t.Errorf("got %v", err)
	}
}

func angle(dst []byte, name string) []byte {
	return append(append(append(dst, '<'), name...), '>')
}

func TestBindingATemplate(t *testing.T) {
	tpl, err := ParseTemplate("a{x}b{y}{x}{x}", "x", "y")
	if err != nil {
		t.Fatal(err)
	}
	bound := tpl.Bind("x", "{y}")
	if got := string(bound.Expand(nil, angle)); got != "a{y}b<y>{y}{y}" {
		t.Errorf("bound: %s", got)
	}
	if !tpl.Uses("x") || bound.Uses("x") || !bound.Uses("y") || bound.Uses("") {
		t.Error("Uses does not follow")
	}
	if _, ok := bound.Literal(); ok {
		t.Error("a template with a placeholder is a literal")
	}
	if got, ok := bound.Bind("y", "").Literal(); !ok || got != "a{y}b{y}{y}" {
		t.Errorf("literal %q, %v", got, ok)
	}
	if got := string(tpl.Expand(nil, angle)); got != "a<x>b<y><x><x>" {
		t.Errorf("the unbound template changed: %s", got)
	}
	fieldsOnly, err := ParseTemplate("{field:v}", "field:")
	if err != nil || !fieldsOnly.Uses("field:") || fieldsOnly.Bind("field:v", "").IsZero() == false {
		t.Errorf("%+v, %v", fieldsOnly, err)
	}
}

func TestExpandingATemplateAllocatesNothing(t *testing.T) {
	tpl, err := ParseTemplate("sites/{gateway}/{1}/t", "gateway", "1")
	if err != nil {
		t.Fatal(err)
	}
	tpl = tpl.Bind("gateway", "gw")
	buf := make([]byte, 0, 64)
	captures := []string{"kitchen"}
	allocs := testing.AllocsPerRun(100, func() {
		buf = tpl.Expand(buf[:0], func(dst []byte, _ string) []byte { return append(dst, captures[0]...) })
	})
	if allocs != 0 || string(buf) != "sites/gw/kitchen/t" {
		t.Errorf("%v allocations, %s", allocs, buf)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"a/{gateway}/{1}", "{{{topic}}}", "{field:a}", "}", "{", "{{}}{}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		tpl, err := ParseTemplate(src, "gateway", "topic", "1", "field:")
		if err != nil {
			return
		}
		// What braces around every placeholder and doubled braces in the text
		// give is the template again.
		var again []byte
		for _, p := range tpl.parts {
			if p.name != "" {
				again = append(append(append(again, '{'), p.name...), '}')
				continue
			}
			for _, c := range []byte(p.text) {
				again = append(again, c)
				if c == '{' || c == '}' {
					again = append(again, c)
				}
			}
		}
		if string(again) != src {
			t.Errorf("%q became %q", src, again)
		}
		if _, ok := tpl.Bind("gateway", "").Bind("topic", "{").Bind("1", "}").Literal(); !ok && !tpl.Uses("field:") {
			t.Errorf("%q keeps a placeholder", src)
		}
	})
}
