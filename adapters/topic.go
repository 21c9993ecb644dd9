package adapters

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"packetboat/adapters/decode"
	"packetboat/broker/topic"
	"packetboat/config"
)

// Names in a topic template, beside {gateway} and {name}, which are bound
// already when it comes here:
//
//	{remote}      the peer's address as it is, so that an IPv6 address has its
//	              colons (which mean nothing in topics) and no brackets
//	{port}        which of our ports: a device file's last part, a TCP port's number
//	{time}        when the frame came: RFC 3339, UTC, milliseconds
//	{field:NAME}  a field of the value as it is published
//
// In what the world outside gives for them, the characters that have a meaning
// in topics (/ + # and zero) become "_", and so does nothing at all. A field is
// stricter: without it, or when it is nothing, null, an array or an object, there
// is no topic, as readings of many devices would come together under one.

// fixedTopic reports whether all frames of a link have the same topic.
func fixedTopic(t config.Template) bool { return !t.Uses("time") && !t.Uses("field:") }

// expandTopic gives the topic of a frame that came now, with "_" for fields.
func expandTopic(t config.Template, at Place, now time.Time) string {
	return string(t.Expand(nil, func(dst []byte, name string) []byte {
		return appendPlace(dst, name, at, now)
	}))
}

// Level is s as {remote} has it, a part of one topic level.
func Level(s string) string { return string(appendLevel(nil, s)) }

// frameTopic gives the topic of a frame that came now with these fields.
func frameTopic(t config.Template, at Place, now time.Time, fields []decode.Field) (string, error) {
	var first error
	name := string(t.Expand(nil, func(dst []byte, name string) []byte {
		field, ok := strings.CutPrefix(name, "field:")
		if !ok {
			return appendPlace(dst, name, at, now)
		}
		dst, err := appendField(dst, field, fields)
		if err != nil && first == nil {
			first = err
		}
		return dst
	}))
	switch {
	case first != nil:
		return "", first
	case !topic.ValidName(name):
		return "", fmt.Errorf("the topic would have %d bytes", len(name))
	}
	return name, nil
}

// appendPlace appends what a name stands for that the frame has no part in.
func appendPlace(dst []byte, name string, at Place, now time.Time) []byte {
	switch name {
	case "remote":
		return appendLevel(dst, at.Remote)
	case "port":
		return appendLevel(dst, at.Port)
	case "time":
		return now.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z07:00")
	}
	return append(dst, '_')
}

// appendField appends a field's value as a part of one topic level.
func appendField(dst []byte, name string, fields []decode.Field) ([]byte, error) {
	for i := len(fields) - 1; i >= 0; i-- {
		if fields[i].Name != name {
			continue
		}
		switch v := fields[i].Value.(type) {
		case nil:
			return dst, fmt.Errorf("field %q is null", name)
		case decode.JSON:
			return dst, fmt.Errorf("field %q is an array or an object", name)
		case string:
			if v == "" || !utf8.ValidString(v) {
				return dst, fmt.Errorf("field %q is empty or not UTF-8", name)
			}
			if len(dst) == 0 && v[0] == '$' {
				v = "_" + v[1:] // below $SYS a device has nothing to say
			}
			return appendLevel(dst, v), nil
		default:
			return decode.AppendText(dst, v), nil
		}
	}
	return dst, fmt.Errorf("there is no field %q", name)
}

// appendLevel appends s as a part of one topic level.
func appendLevel(dst []byte, s string) []byte {
	if s == "" || !utf8.ValidString(s) {
		return append(dst, '_')
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '/', '+', '#', 0:
			dst = append(dst, '_')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// checkTopic says what is wrong with a topic template, whatever its names
// stand for.
func checkTopic(t config.Template) error {
	switch sample := expandTopic(t, Place{Remote: "r", Port: "p"}, time.Time{}); {
	case strings.ContainsAny(sample, "+#"):
		return errors.New("wildcards + and # cannot stand in a topic")
	case !topic.ValidName(sample):
		return errors.New("not a topic: 1 to 65535 bytes of UTF-8 without zero bytes")
	}
	return nil
}

// checkFields says which {field:NAME} no frame will ever have.
func checkFields(t config.Template, d *decode.Decoding, s *decode.Shape) error {
	if d.Open {
		return nil
	}
	names := s.Sets()
	for _, f := range d.Fields {
		names = append(names, f.Name)
	}
	for _, p := range t.Pieces() {
		if field, ok := strings.CutPrefix(p.Name, "field:"); ok && !slices.Contains(names, field) {
			return fmt.Errorf("{%s}: there is no such field; there are %s", p.Name, strings.Join(names, ", "))
		}
	}
	return nil
}

// commandFilter is the subscription that gets an adapter's commands. {remote},
// as a level of its own, becomes "+", and level is where it stands (else -1):
// there a command's topic names the peer that it is for.
func commandFilter(t config.Template) (filter string, level int, err error) {
	const mark = "\x00" // cannot stand in a topic
	level = -1
	levels := strings.Split(string(t.Expand(nil, func(dst []byte, _ string) []byte {
		return append(dst, mark...)
	})), "/")
	for i, l := range levels {
		switch {
		case l == mark && level < 0:
			levels[i], level = "+", i
		case strings.Contains(l, mark):
			return "", -1, errors.New("{remote} must be a level of its own, once")
		}
	}
	filter = strings.Join(levels, "/")
	if !topic.ValidFilter(filter) || strings.HasPrefix(filter, "$share/") {
		return "", -1, fmt.Errorf("%q is not a topic filter", filter)
	}
	return filter, level, nil
}

// levelOf returns a topic's level; "" for -1.
func levelOf(topic string, level int) string {
	if level < 0 {
		return ""
	}
	for range level {
		_, topic, _ = strings.Cut(topic, "/")
	}
	l, _, _ := strings.Cut(topic, "/")
	return l
}
