package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// Object takes JSON. The payload is the frame as it came; the members of an
// object are its fields, arrays and other values have none. Make one for each
// link.
//
// A member's name that comes twice gives two fields; as with most readers of
// JSON, the last counts.
type Object struct {
	fields []Field
	names  names
}

// Decode implements Decoder.
func (d *Object) Decode(frame []byte, v *Value) error {
	if !json.Valid(frame) {
		return notJSON(frame)
	}
	d.fields = d.fields[:0]
	s := jsonScanner{text: frame}
	if s.space(); s.text[s.i] == '{' {
		s.i++
		for s.space(); s.text[s.i] != '}'; s.space() {
			name := s.value()
			s.space() // and behind it is the colon
			s.i++
			s.space()
			d.fields = append(d.fields, Field{d.name(name), jsonValue(s.value())})
			if s.space(); s.text[s.i] == ',' {
				s.i++
			}
		}
	}
	*v = Value{Payload: frame, Text: utf8.Valid(frame), Fields: d.fields}
	return nil
}

func (d *Object) name(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return d.names.of(quoted[1 : len(quoted)-1])
	}
	return unquote(quoted)
}

// notJSON says where the frame stops being JSON.
func notJSON(frame []byte) error {
	if len(bytes.TrimSpace(frame)) == 0 {
		return errors.New("is empty, not JSON")
	}
	var all json.RawMessage
	err := json.Unmarshal(frame, &all)
	var e *json.SyntaxError
	if errors.As(err, &e) {
		return errors.New("is not JSON: " + e.Error() + ", at byte " + strconv.FormatInt(e.Offset, 10))
	}
	return errors.New("is not JSON")
}

// jsonScanner finds the ends of values in text that is valid JSON, which is
// why it looks at so little.
type jsonScanner struct {
	text []byte
	i    int
}

func (s *jsonScanner) space() {
	for s.i < len(s.text) {
		switch s.text[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return
		}
	}
}

// value returns the text of the value that begins here, and goes behind it.
func (s *jsonScanner) value() []byte {
	from := s.i
	for depth := 0; s.i < len(s.text); {
		switch s.text[s.i] {
		case '"':
			s.str()
		case '{', '[':
			depth++
			s.i++
			continue
		case '}', ']':
			depth--
			s.i++
		case ' ', '\t', '\r', '\n', ',', ':':
			s.i++
			continue // only within arrays and objects
		default:
			s.word()
		}
		if depth == 0 {
			break
		}
	}
	return s.text[from:s.i]
}

func (s *jsonScanner) str() {
	for s.i++; s.text[s.i] != '"'; s.i++ {
		if s.text[s.i] == '\\' {
			s.i++
		}
	}
	s.i++
}

// word goes behind a number, true, false or null.
func (s *jsonScanner) word() {
	for s.i < len(s.text) && bytes.IndexByte([]byte(" \t\r\n,:]}"), s.text[s.i]) < 0 {
		s.i++
	}
}

// jsonValue gives the value of valid JSON.
func jsonValue(text []byte) any {
	switch text[0] {
	case '"':
		return unquote(text)
	case 't':
		return true
	case 'f':
		return false
	case 'n':
		return nil
	case '{', '[':
		return JSON(text)
	}
	if bytes.ContainsAny(text, ".eE") {
		if x, err := strconv.ParseFloat(string(text), 64); err == nil {
			return x
		}
		return JSON(text)
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return n
	}
	if n, err := strconv.ParseUint(string(text), 10, 64); err == nil {
		return n
	}
	return JSON(text)
}

func unquote(quoted []byte) string {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return string(inner) // cannot be: it is valid
	}
	return s
}
