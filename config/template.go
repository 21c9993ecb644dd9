package config

import (
	"fmt"
	"slices"
	"strings"
)

// A Template is text with placeholders: "sites/{gateway}/{1}/t". A literal brace
// is written twice. The zero Template is the empty text. A Template is immutable
// and may be used concurrently.
type Template struct {
	src   string
	parts []part
}

// A part is a placeholder, or text when name is empty.
type part struct {
	text string
	name string
}

// ParseTemplate reads src. allowed are the names of the placeholders that have a
// meaning here; one that ends in a colon, such as "field:", takes an argument:
// {field:NAME}. The error says what is wrong and which names there are.
func ParseTemplate(src string, allowed ...string) (Template, error) {
	t := Template{src: src}
	var text strings.Builder
	for rest := src; rest != ""; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			text.WriteString(rest)
			break
		}
		text.WriteString(rest[:i])
		c := rest[i]
		rest = rest[i+1:]
		switch {
		case rest != "" && rest[0] == c:
			text.WriteByte(c)
			rest = rest[1:]
			continue
		case c == '}':
			return Template{}, fmt.Errorf("has a } without its {; a literal } is written }}")
		}
		end := strings.IndexAny(rest, "{}")
		if end < 0 || rest[end] != '}' {
			return Template{}, fmt.Errorf("has a { without its }; a literal { is written {{")
		}
		name := rest[:end]
		rest = rest[end+1:]
		if !placeholderAllowed(name, allowed) {
			return Template{}, unknownPlaceholder(name, allowed)
		}
		if text.Len() > 0 {
			t.parts = append(t.parts, part{text: text.String()})
			text.Reset()
		}
		t.parts = append(t.parts, part{name: name})
	}
	if text.Len() > 0 {
		t.parts = append(t.parts, part{text: text.String()})
	}
	return t, nil
}

func placeholderAllowed(name string, allowed []string) bool {
	if name == "" {
		return false
	}
	if prefix, arg, ok := strings.Cut(name, ":"); ok {
		return arg != "" && slices.Contains(allowed, prefix+":")
	}
	return slices.Contains(allowed, name)
}

func unknownPlaceholder(name string, allowed []string) error {
	shown := make([]string, len(allowed))
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = strings.TrimSuffix(a, ":")
		shown[i] = "{" + a + "}"
		if strings.HasSuffix(a, ":") {
			shown[i] = "{" + a + "NAME}"
		}
	}
	base, _, _ := strings.Cut(name, ":")
	hint := ""
	if i := slices.Index(names, nearest(base, names)); i >= 0 && base != "" {
		hint = " (did you mean " + shown[i] + "?)"
	}
	if len(shown) == 0 {
		return fmt.Errorf("{%s} means nothing here, no placeholders do; a literal { is written {{", name)
	}
	return fmt.Errorf("{%s} means nothing here; there are %s%s", name, strings.Join(shown, " "), hint)
}

// Bind gives the template with each {name} replaced by value, which is not
// looked at for placeholders again.
func (t Template) Bind(name, value string) Template {
	if !t.Uses(name) {
		return t
	}
	bound := Template{src: t.src}
	for _, p := range t.parts {
		if p.name == name {
			p = part{text: value}
		}
		n := len(bound.parts)
		switch {
		case p.name == "" && p.text == "":
		case p.name == "" && n > 0 && bound.parts[n-1].name == "":
			bound.parts[n-1].text += p.text
		default:
			bound.parts = append(bound.parts, p)
		}
	}
	return bound
}

// Expand appends the template's text to dst. For each placeholder it calls
// value, which appends what the placeholder stands for; name is what stands
// between the braces ("topic", "1", "field:temperature"). Expand itself
// allocates nothing but room in dst; value may be nil for a template without
// placeholders.
func (t Template) Expand(dst []byte, value func(dst []byte, name string) []byte) []byte {
	for i := range t.parts {
		if p := &t.parts[i]; p.name == "" {
			dst = append(dst, p.text...)
		} else {
			dst = value(dst, p.name)
		}
	}
	return dst
}

// A Piece is a part of a template: a placeholder's name, or else text.
type Piece struct{ Text, Name string }

// Pieces gives the template in its parts.
func (t Template) Pieces() []Piece {
	list := make([]Piece, len(t.parts))
	for i, p := range t.parts {
		list[i] = Piece{p.text, p.name}
	}
	return list
}

// Literal gives the text of a template that has no placeholders, or no more.
func (t Template) Literal() (text string, ok bool) {
	switch {
	case len(t.parts) == 0:
		return "", true
	case len(t.parts) == 1 && t.parts[0].name == "":
		return t.parts[0].text, true
	}
	return "", false
}

// Uses reports whether {name} occurs. A name that ends in a colon stands for
// {name:ANYTHING}.
func (t Template) Uses(name string) bool {
	for i := range t.parts {
		p := t.parts[i].name
		if p == name && p != "" || strings.HasSuffix(name, ":") && strings.HasPrefix(p, name) {
			return true
		}
	}
	return false
}

// IsZero reports whether the template is the empty text.
func (t Template) IsZero() bool { return len(t.parts) == 0 }

// String gives the template as it was written.
func (t Template) String() string { return t.src }

// fromTOML keeps the text; it is parsed when the names that have a meaning are
// known.
func (t *Template) fromTOML(v any) error {
	s, ok := v.(string)
	if !ok {
		return errWrongType{"a string"}
	}
	*t = Template{src: s}
	return nil
}
