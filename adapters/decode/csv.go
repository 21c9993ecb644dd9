package decode

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// CSV takes values in a fixed order. A value may stand in double quotes, in
// which "" is one of them; spaces around values without quotes go. A frame must
// have as many values as there are names: half a line of a device is an error,
// not a reading. Make one for each link.
type CSV struct {
	Names []string // of the values in their order; "" is one that is not wanted

	// Types are string, float, int, bool or "" for each name, or none at all. ""
	// is a number where it looks like one. Of all but string, a value of nothing
	// is null.
	Types []string

	Comma string // between values; " " is any run of spaces and tabs

	object   object
	unquoted []byte
}

var csvTypes = []string{"string", "float", "int", "bool"}

// Check says what is wrong with names, types and comma: nil or a *KeyError.
func (d *CSV) Check() error {
	wrong := func(key, format string, args ...any) error {
		return &KeyError{"decode." + key, fmt.Errorf(format, args...)}
	}
	if strings.Join(d.Names, "") == "" {
		return wrong("names", `is missing: give the values' names in their order, such as ["t", "h"]`)
	}
	for i, n := range d.Names {
		if n != "" && slices.Index(d.Names, n) < i {
			return wrong(fmt.Sprintf("names[%d]", i), "%q is the name of another value already", n)
		}
	}
	for i, t := range d.Types {
		if t != "" && !slices.Contains(csvTypes, t) {
			return wrong(fmt.Sprintf("types[%d]", i), `%q is none of %s (or "": a number where it looks like one)`, t, strings.Join(csvTypes, ", "))
		}
	}
	if len(d.Types) > 0 && len(d.Types) != len(d.Names) {
		return wrong("types", "has %d items, names has %d; give one for each, or leave types out", len(d.Types), len(d.Names))
	}
	if d.Comma == "" || strings.ContainsAny(d.Comma, "\"\n") {
		return wrong("comma", `%q cannot stand between values; use "," ";" "\t" or " "`, d.Comma)
	}
	return nil
}

// Decode implements Decoder.
func (d *CSV) Decode(frame []byte, v *Value) error {
	d.object.begin()
	n := 0
	for rest, more := frame, true; more; n++ {
		value, quoted, after, last, err := d.next(rest)
		if err != nil {
			return fmt.Errorf("value %d %w", n+1, err)
		}
		rest, more = after, !last
		if n >= len(d.Names) || d.Names[n] == "" {
			continue
		}
		x, err := d.typed(n, value, quoted)
		if err != nil {
			return fmt.Errorf("value %d, %s: %w", n+1, d.Names[n], err)
		}
		d.object.add(d.Names[n], x)
	}
	if n != len(d.Names) {
		return fmt.Errorf(`has %d values, there are %d names (one that is not wanted has the name "")`, n, len(d.Names))
	}
	d.object.end(v)
	return nil
}

// next takes the first value off text; last says that there is none behind it.
func (d *CSV) next(text []byte) (value []byte, quoted bool, rest []byte, last bool, err error) {
	sep := []byte(d.Comma)
	start := bytes.TrimLeft(text, " ")
	if len(start) == 0 || start[0] != '"' {
		value, rest, found := cut(text, sep)
		return bytes.TrimSpace(value), false, rest, !found, nil
	}
	d.unquoted = d.unquoted[:0]
	for start = start[1:]; ; start = start[1:] {
		i := bytes.IndexByte(start, '"')
		if i < 0 {
			return nil, true, nil, true, errors.New("has no closing quote")
		}
		d.unquoted = append(d.unquoted, start[:i]...)
		if start = start[i+1:]; len(start) == 0 || start[0] != '"' {
			break
		}
		d.unquoted = append(d.unquoted, '"')
	}
	if d.Comma == " " {
		trimmed := bytes.TrimLeft(start, " \t")
		if len(trimmed) > 0 && len(trimmed) == len(start) {
			return nil, true, nil, true, errors.New("has text behind its closing quote")
		}
		return d.unquoted, true, trimmed, len(trimmed) == 0, nil
	}
	start = bytes.TrimLeft(start, " ")
	rest, found := bytes.CutPrefix(start, sep)
	if !found && len(bytes.TrimSpace(start)) > 0 {
		return nil, true, nil, true, errors.New("has text behind its closing quote")
	}
	return d.unquoted, true, rest, !found, nil
}

// typed gives the n-th value in its type.
func (d *CSV) typed(n int, b []byte, quoted bool) (any, error) {
	kind := ""
	if len(d.Types) > 0 {
		kind = d.Types[n]
	}
	if kind == "string" || kind == "" && quoted {
		return string(b), nil
	}
	if len(b) == 0 {
		return nil, nil
	}
	switch kind {
	case "float":
		return float(b)
	case "int":
		if x, ok := integer(b); ok {
			return x, nil
		}
		return nil, fmt.Errorf("%q is not a whole number", show(b))
	case "bool":
		return boolean(b)
	}
	return Guess(b), nil
}

// float parses a number; "nan" is what sensors say that have none.
func float(b []byte) (any, error) {
	switch x, _ := number(b); x := x.(type) {
	case float64:
		return x, nil
	case int64:
		return float64(x), nil
	}
	if bytes.EqualFold(b, []byte("nan")) {
		return nil, nil
	}
	return nil, fmt.Errorf("%q is not a number", show(b))
}

func boolean(b []byte) (any, error) {
	switch strings.ToLower(string(b)) {
	case "1", "true", "on", "yes":
		return true, nil
	case "0", "false", "off", "no":
		return false, nil
	}
	return nil, fmt.Errorf("%q is none of true, false, on, off, yes, no, 1, 0", show(b))
}
