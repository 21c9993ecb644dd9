package config

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// FuzzParse gives Parse any text: it must not panic, what it says must have a
// place in the text, and the scanner must agree with the TOML library about
// which keys there are and find each where it says it is.
func FuzzParse(f *testing.F) {
	contract, err := os.ReadFile("testdata/contract.toml")
	if err != nil {
		f.Fatal(err)
	}
	for section := range strings.SplitSeq(string(contract), "\n\n") {
		f.Add(section)
	}
	for _, s := range []string{
		bridge, serialWith(`frame = { type = "line" }`), bridgeUp(`filter = "a/+", topic = "{1}"`),
		"a.b.c = 1\n[a.d]\n[[a.e]]\nx = 1\n[a.e.f]\n[[a.e]]\n",
		"\"a\\u0062.\" . 'c' = [ 1, [2, {x.y = 3}], # comment ]\n]\n",
		"a = \"\"\"\"\" \\\" \"\"\"\"\"\nb = '''''x'''''\nc = \"\"\"\"\"\"\n",
		"[ a . \"b\" ]\r\nd = 1979-05-27 07:32:00Z # x\r\n[[ c ]]\r\n",
		"a = { b = 1, # comment\n c = [ ], }\n",
		"\uFEFF[a]\n", "a = 1\na = 2\n", "[a]\n[a]\n", "a = [{b=1},{b=2}]\n[[a]]\n", "[a.b]\n[a]\nb.c = 1\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := Parse("f", []byte(text), fixed)
		var errs Errors
		if err != nil && (!errors.As(err, &errs) || len(errs) == 0) {
			t.Fatalf("the error is no list: %v", err)
		}
		src := newSource("f", []byte(text))
		for _, e := range errs {
			if e.File != "f" || e.Msg == "" || strings.Contains(e.Msg, "contradict each other") {
				t.Errorf("error %+v", e)
			}
			if e.Line < 0 || e.Line > len(src.lines) || e.Line > 0 && e.Col < 1 {
				t.Errorf("error %+v is outside of the text", e)
			}
		}
		tree, wrong := src.parse()
		if wrong != nil {
			scan(src) // must end, whatever it finds
			return
		}
		checkPlaces(t, src, tree)
	})
}

// checkPlaces reads each key again from its place.
func checkPlaces(t *testing.T, src *source, n *node) {
	for name, kid := range n.kids {
		s := &scanner{src: src, text: src.text, i: offset(src, kid.key)}
		parts, ok := s.key()
		if !ok || parts[0].name != name {
			t.Errorf("%s is not at %s", kid.path, kid.key)
		}
		checkPlaces(t, src, kid)
		if kid.kind == kindScalar {
			checkValue(t, src, kid)
		}
	}
	for _, item := range n.items {
		checkPlaces(t, src, item)
		if item.kind == kindScalar {
			checkValue(t, src, item)
		}
	}
}

// checkValue reads a string again from its place.
func checkValue(t *testing.T, src *source, n *node) {
	want, ok := n.val.(string)
	if !ok {
		return
	}
	s := &scanner{src: src, text: src.text, i: offset(src, n.pos)}
	from := s.i
	if s.text[from] != '"' && s.text[from] != '\'' || !s.str() {
		t.Errorf("the value of %s is not at %s", n.path, n.pos)
		return
	}
	var again struct{ V string }
	if _, err := toml.Decode("V = "+src.text[from:s.i], &again); err != nil || again.V != want {
		t.Errorf("the value of %s at %s is %q, not %q (%v)", n.path, n.pos, again.V, want, err)
	}
}

// offset undoes source.at.
func offset(s *source, p Position) int {
	i := s.lines[p.Line-1]
	for col := range s.text[i:] {
		if p.Col--; p.Col == 0 {
			return i + col
		}
	}
	return len(s.text)
}
