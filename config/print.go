package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AppendTOML appends the configuration as a file would have it: every key that
// this version acts on and that has a meaning where it stands, the defaults too,
// with names and environment variables put in. Secrets are stars, also those
// within URLs (see [HideSecrets]): what is appended may be shown to anybody. But
// for these it gives the same configuration when it is parsed.
func (c *Config) AppendTOML(dst []byte) []byte {
	p := &printer{dst: dst, pending: pendingRules(), cfg: c}
	p.sections(reflect.ValueOf(c).Elem(), "", "", "")
	return p.dst
}

// A printer is the decoder's counterpart.
type printer struct {
	dst     []byte
	keys    []Key
	pending map[string]rule
	cfg     *Config
}

// section prints the table at path under its header. name is as in a header,
// pattern as the decoder's.
func (p *printer) section(v reflect.Value, header, name, path, pattern string) {
	if len(p.dst) > 0 {
		p.dst = append(p.dst, '\n')
	}
	p.dst = append(append(p.dst, header...), '\n')
	for _, f := range p.known(v, pattern) {
		text, ok := written(f)
		if !ok {
			continue
		}
		name := f.name
		if key := join(path, name); f.v.Type() == secretType && p.cfg.isSet(key+"_file") && p.cfg.SecretFile(key) != "" {
			name, text = name+"_file", quote(p.cfg.SecretFile(key))
		}
		p.dst = fmt.Appendf(p.dst, "%s = %s\n", name, text)
		p.note(path, pattern, name, f.name, text)
	}
	p.sections(v, name, path, pattern)
}

// sections prints the tables within one, which come behind its values.
func (p *printer) sections(v reflect.Value, name, path, pattern string) {
	for _, f := range p.known(v, pattern) {
		name := strings.TrimPrefix(name+"."+f.name, ".")
		path, pattern := join(path, f.name), strings.TrimPrefix(pattern+"."+f.name, ".")
		switch t := f.v.Type(); {
		case isSection(t):
			p.section(f.v, "["+name+"]", name, path, pattern)
		case t.Kind() == reflect.Pointer && !f.v.IsNil():
			p.section(f.v.Elem(), "["+name+"]", name, path, pattern)
		case t.Kind() == reflect.Slice && isSection(t.Elem()):
			for i := range f.v.Len() {
				p.section(f.v.Index(i), "[["+name+"]]", name, index(path, i), pattern+"[]")
			}
		}
	}
}

// known lists the keys that mean something in a section: those that its type
// has, and that this version supports.
func (p *printer) known(v reflect.Value, pattern string) []field {
	return slices.DeleteFunc(fields(v), func(f field) bool {
		_, pending := p.pending[strings.TrimPrefix(pattern+"."+f.name, ".")]
		return pending || !meant(v.Addr().Interface(), f.name)
	})
}

// meant reports whether a section has a key, as it is.
func meant(section any, key string) bool {
	ofType := func(kind string, keys map[string][]string) bool {
		if slices.Contains(keys[kind], key) {
			return true
		}
		for _, others := range keys {
			if slices.Contains(others, key) {
				return false
			}
		}
		return true
	}
	switch s := section.(type) {
	case *Frame:
		return ofType(s.Type, frameKeys)
	case *Decode:
		return ofType(s.Type, decodeKeys)
	case *TCP:
		return s.Connect == "" || key != "max_connections" && key != "identity"
	case *Modbus:
		return s.Connect == "" || key != "port" && key != "match" && key != "baud" && key != "mode"
	case *ModbusRead:
		return !s.bits() || key != "type"
	}
	return true
}

// written gives the value of a key as a file has it; false for a section.
func written(f field) (string, bool) {
	switch x := f.v.Interface().(type) {
	case time.Duration:
		return quote(showDuration(x)), true
	case Size:
		if x == 0 && f.tag.Get("empty") != "" {
			return `""`, true
		}
		return quote(x.String()), true
	case Secret:
		return quote(x.String()), true
	case Template:
		return quote(x.bound()), true
	case Mode:
		return quote(x.String()), true
	case Version:
		if x == 5 {
			return "5", true
		}
		return quote(x.String()), true
	case UpQoS:
		if x == Keep {
			return quote(x.String()), true
		}
		return x.String(), true
	case Bytes:
		return quote(x.written()), true
	case map[string]string:
		return inline(x), true
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64), true
	case int, bool:
		return fmt.Sprint(x), true
	case string:
		return quote(plain(x, f.tag)), true
	}
	if f.v.Kind() != reflect.Slice || isSection(f.v.Type().Elem()) {
		return "", false
	}
	items := make([]string, f.v.Len())
	for i := range items {
		items[i], _ = written(field{v: f.v.Index(i)})
	}
	return "[" + strings.Join(items, ", ") + "]", true
}

// plain is a text as the file has it; one that was a template when it was read
// has its braces twice.
func plain(s string, tag reflect.StructTag) string {
	if tag.Get("expanded") != "" {
		return doubled.Replace(s)
	}
	return HideSecrets(s)
}

var doubled = strings.NewReplacer("{", "{{", "}", "}}")

// bound is the template as it would be written by now.
func (t Template) bound() string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.name != "" {
			b.WriteString("{" + p.name + "}")
		} else {
			_, _ = doubled.WriteString(&b, p.text)
		}
	}
	return b.String()
}

// inline is a table of words in one line.
func inline(m map[string]string) string {
	var items []string
	for name, text := range m {
		items = append(items, quoteKey(name)+" = "+quote(text))
	}
	slices.Sort(items)
	if items == nil {
		return "{}"
	}
	return "{ " + strings.Join(items, ", ") + " }"
}

// quote makes a string of TOML, in which no environment variable is looked for.
func quote(s string) string {
	b := []byte{'"'}
	for i, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < ' ' || r == 0x7f:
			b = fmt.Appendf(b, `\u%04x`, r)
		case r == '$' && strings.HasPrefix(s[i+1:], "{"):
			b = append(b, "$$"...)
		default:
			b = append(b, string(r)...)
		}
	}
	return string(append(b, '"'))
}
