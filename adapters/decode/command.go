package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"packetboat/config"
)

// Command makes the bytes that a device is sent of a message. In its template
// stand {payload} (the whole of it), {topic}, and {field:NAME}: a member of the
// payload, which is then a JSON object; NAME may be a path with dots. A JSON
// string is written without its quotes, everything else as it stands in the
// payload. A Command is immutable.
type Command struct{ Template config.Template }

// Append appends the command's bytes. An error means that this message can
// never become a command: its payload is no JSON object or lacks a field.
func (c Command) Append(dst []byte, topic string, payload []byte) ([]byte, error) {
	var (
		start  = len(dst)
		object map[string]json.RawMessage
		first  error
	)
	dst = c.Template.Expand(dst, func(dst []byte, name string) []byte {
		switch name {
		case "payload":
			return append(dst, payload...)
		case "topic":
			return append(dst, topic...)
		}
		if first != nil {
			return dst
		}
		if object == nil {
			if err := json.Unmarshal(payload, &object); err != nil || object == nil {
				first = errors.New("payload is not a JSON object")
				return dst
			}
		}
		field := strings.TrimPrefix(name, "field:")
		raw, err := member(object, field)
		if err != nil {
			first = err
			return dst
		}
		var s string
		if raw[0] == '"' && json.Unmarshal(raw, &s) == nil {
			return append(dst, s...)
		}
		return append(dst, raw...)
	})
	if first != nil {
		return dst[:start], first
	}
	return dst, nil
}

// member finds a member by its name, or by a path with dots.
func member(object map[string]json.RawMessage, path string) (json.RawMessage, error) {
	if raw, ok := object[path]; ok {
		return bytes.TrimSpace(raw), nil
	}
	head, rest, dotted := strings.Cut(path, ".")
	raw, ok := object[head]
	if !dotted || !ok {
		return nil, fmt.Errorf("payload has no field %q", path)
	}
	var inner map[string]json.RawMessage
	if err := json.Unmarshal(raw, &inner); err != nil {
		return nil, fmt.Errorf("payload's field %q is not an object", head)
	}
	return member(inner, rest)
}
