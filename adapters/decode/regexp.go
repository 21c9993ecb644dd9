package decode

import (
	"errors"
	"fmt"
	"regexp"
)

// Regexp takes what a pattern's named groups match: what looks like a number
// as one, nothing as null. Make one for each link.
type Regexp struct {
	pattern *regexp.Regexp
	names   []string // by group; "" is not wanted
	object  object
}

// NewRegexp compiles a pattern of Go's (RE2) syntax. Its error is a *KeyError.
func NewRegexp(pattern string) (*Regexp, error) {
	wrong := func(format string, args ...any) (*Regexp, error) {
		return nil, &KeyError{"decode.pattern", fmt.Errorf(format, args...)}
	}
	if pattern == "" {
		return wrong(`is missing: give one with named groups, such as "T=(?P<t>[0-9.]+)"`)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return wrong("is not a regular expression: %w", err)
	}
	d := &Regexp{pattern: re, names: re.SubexpNames()}
	if len(d.fields()) == 0 {
		return wrong(`has no named groups, which become the fields; write (?P<t>[0-9.]+) instead of ([0-9.]+)`)
	}
	return d, nil
}

func (d *Regexp) fields() (list []string) {
	for _, n := range d.names {
		if n != "" {
			list = append(list, n)
		}
	}
	return list
}

var errNoMatch = errors.New("does not match the pattern")

// Decode implements Decoder.
func (d *Regexp) Decode(frame []byte, v *Value) error {
	m := d.pattern.FindSubmatchIndex(frame)
	if m == nil {
		return fmt.Errorf("%q %w", show(frame), errNoMatch)
	}
	d.object.begin()
	for i, name := range d.names {
		if name == "" {
			continue
		}
		var value any
		if m[2*i] >= 0 {
			value = Guess(frame[m[2*i]:m[2*i+1]])
		}
		d.object.add(name, value)
	}
	d.object.end(v)
	return nil
}
