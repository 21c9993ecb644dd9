package config

import (
	"strings"

	"github.com/BurntSushi/toml"
)

// The TOML library tells which keys a file has and what their values are, but
// not where they stand. The scanner finds that out: it walks over text that the
// library has accepted and builds the tree of keys with their places, without
// the values. On text that was not accepted it stops somewhere, early.

type scanner struct {
	src   *source
	text  string
	i     int // offset of the next byte
	root  *node
	twice Errors
}

// A keyPart is one part of a dotted key, and the offset where it begins.
type keyPart struct {
	name string
	at   int
}

// scan reads the text. twice names the first key that was set twice, with both
// places; ok says that the text was understood to the end.
func scan(src *source) (root *node, twice Errors, ok bool) {
	s := &scanner{src: src, text: src.text, root: newTable(Position{File: src.file}, "")}
	ok = s.document()
	return s.root, s.twice, ok
}

// document = { [table] | [[array]] | key = value }
func (s *scanner) document() bool {
	cur := s.root
	for {
		s.blank()
		if s.i == len(s.text) {
			return true
		}
		if s.text[s.i] != '[' {
			if !s.pair(cur) {
				return false
			}
			continue
		}
		s.i++
		array := s.accept('[')
		parts, ok := s.key()
		if !ok || !s.accept(']') || array && !s.accept(']') {
			return false
		}
		if cur, ok = s.header(parts, array); !ok {
			return false
		}
	}
}

// header finds the table that the pairs after [parts] or [[parts]] belong to.
func (s *scanner) header(parts []keyPart, array bool) (*node, bool) {
	t, ok := s.descend(s.root, parts[:len(parts)-1], false)
	if !ok {
		return nil, false
	}
	last := parts[len(parts)-1]
	pos := s.src.at(last.at)
	have := t.kids[last.name]
	switch {
	case have == nil && array:
		have = &node{kind: kindArray, key: pos, pos: pos, path: join(t.path, last.name), open: true}
		t.put(last.name, have)
	case have == nil:
		have = newTable(pos, join(t.path, last.name))
		have.defined = true
		t.put(last.name, have)
		return have, true
	case array && (have.kind != kindArray || !have.open), !array && (have.kind != kindTable || !have.open || have.defined):
		s.again(t, last, have)
		return nil, false
	case !array:
		have.key, have.pos, have.defined = pos, pos, true
		return have, true
	}
	item := newTable(pos, index(have.path, len(have.items)))
	item.defined = true
	have.items = append(have.items, item)
	return item, true
}

// pair = key "=" value
func (s *scanner) pair(t *node) bool {
	parts, ok := s.key()
	if !ok || !s.accept('=') {
		return false
	}
	t, ok = s.descend(t, parts[:len(parts)-1], true)
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	pos := s.src.at(last.at)
	if have := t.kids[last.name]; have != nil {
		s.again(t, last, have)
		return false
	}
	s.space()
	v, ok := s.value(join(t.path, last.name))
	if !ok {
		return false
	}
	v.key = pos
	t.put(last.name, v)
	return true
}

// descend goes from t to the table that parts name and creates what is missing.
// Tables that dotted keys made count as defined: a later [table] may not add to
// them.
func (s *scanner) descend(t *node, parts []keyPart, dotted bool) (*node, bool) {
	for _, p := range parts {
		next := t.kids[p.name]
		switch {
		case next == nil:
			next = newTable(s.src.at(p.at), join(t.path, p.name))
			next.defined = dotted
			t.put(p.name, next)
		case !next.open:
			s.again(t, p, next)
			return nil, false
		case next.kind == kindArray:
			next = next.items[len(next.items)-1]
		}
		t = next
	}
	return t, true
}

func (s *scanner) again(t *node, p keyPart, first *node) {
	s.twice = append(s.twice, Error{Position: s.src.at(p.at), Key: join(t.path, p.name), Msg: setTwice(first.key)})
}

func setTwice(first Position) string {
	return "is set twice; the first time at " + first.String()
}

// value reads the value of the key path at s.i.
func (s *scanner) value(path string) (*node, bool) {
	n := &node{kind: kindScalar, pos: s.src.at(s.i), path: path}
	rest := s.text[s.i:]
	switch {
	case rest == "":
		return nil, false
	case rest[0] == '[':
		n.kind = kindArray
		return n, s.array(n)
	case rest[0] == '{':
		n.kind, n.kids = kindTable, map[string]*node{}
		return n, s.inline(n)
	case rest[0] == '"' || rest[0] == '\'':
		return n, s.str()
	}
	// Numbers, booleans and dates: a date may hold a space.
	end := strings.IndexAny(rest, ",]}#\r\n")
	if end < 0 {
		end = len(rest)
	}
	s.i += end
	return n, end > 0
}

func (s *scanner) array(n *node) bool {
	s.i++
	for {
		s.blank()
		if s.accept(']') {
			return true
		}
		item, ok := s.value(index(n.path, len(n.items)))
		if !ok {
			return false
		}
		item.key = item.pos
		n.items = append(n.items, item)
		s.blank()
		if !s.accept(',') {
			return s.accept(']')
		}
	}
}

func (s *scanner) inline(n *node) bool {
	s.i++
	for {
		s.blank()
		if s.accept('}') {
			n.closeTables()
			return true
		}
		if !s.pair(n) {
			return false
		}
		s.blank()
		if !s.accept(',') {
			n.closeTables()
			return s.accept('}')
		}
	}
}

// str passes over a string of any of the four kinds.
func (s *scanner) str() bool {
	q := s.text[s.i : s.i+1]
	if !strings.HasPrefix(s.text[s.i:], q+q+q) {
		s.i++
		for ; s.i < len(s.text) && s.text[s.i] != '\n'; s.i++ {
			switch {
			case s.text[s.i] == q[0]:
				s.i++
				return true
			case s.text[s.i] == '\\' && q == `"`:
				s.i++
			}
		}
		return false
	}
	for s.i += 3; s.i < len(s.text); s.i++ {
		switch {
		case s.text[s.i] == '\\' && q == `"`:
			s.i++
		case strings.HasPrefix(s.text[s.i:], q+q+q):
			s.i += 3
			// One or two more quotes belong to the string's end.
			for n := 0; n < 2 && s.accept(q[0]); n++ {
			}
			return true
		}
	}
	return false
}

// key reads a dotted key and the space after it.
func (s *scanner) key() ([]keyPart, bool) {
	var parts []keyPart
	for {
		s.space()
		p := keyPart{at: s.i}
		if s.i < len(s.text) && (s.text[s.i] == '"' || s.text[s.i] == '\'') {
			if !s.str() {
				return nil, false
			}
			name, ok := unquote(s.text[p.at:s.i])
			if !ok {
				return nil, false
			}
			p.name = name
		} else {
			for s.i < len(s.text) && bareKeyByte(s.text[s.i]) {
				s.i++
			}
			p.name = s.text[p.at:s.i]
			if p.name == "" {
				return nil, false
			}
		}
		parts = append(parts, p)
		s.space()
		if !s.accept('.') {
			return parts, true
		}
	}
}

// unquote gives the value of a quoted key.
func unquote(quoted string) (string, bool) {
	if strings.HasPrefix(quoted, `"""`) || strings.HasPrefix(quoted, "'''") {
		return "", false
	}
	body := quoted[1 : len(quoted)-1]
	if quoted[0] == '\'' || !strings.Contains(body, `\`) {
		return body, true
	}
	var v struct{ K string }
	_, err := toml.Decode("K = "+quoted, &v)
	return v.K, err == nil
}

// blank passes over spaces, line ends and comments.
func (s *scanner) blank() {
	for s.i < len(s.text) {
		switch s.text[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		case '#':
			if end := strings.IndexByte(s.text[s.i:], '\n'); end >= 0 {
				s.i += end
			} else {
				s.i = len(s.text)
			}
		default:
			return
		}
	}
}

func (s *scanner) space() {
	for s.i < len(s.text) && (s.text[s.i] == ' ' || s.text[s.i] == '\t') {
		s.i++
	}
}

func (s *scanner) accept(c byte) bool {
	if s.i < len(s.text) && s.text[s.i] == c {
		s.i++
		return true
	}
	return false
}

func bareKeyByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}
