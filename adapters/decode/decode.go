// Package decode turns a device's frames into values and payloads, and
// commands into the bytes that a device is sent.
package decode

import (
	"unicode/utf8"
)

// Decoder turns one frame after the other into a Value. Its duties:
//
//   - It sets all of v: the same v is used for every frame.
//   - What v then holds may alias the frame or the decoder's own buffers and
//     is valid until the frame's or the next Decode.
//   - An error means that the frame is not of the expected form. It says what
//     was wrong without quoting all of the frame, is counted as a bad frame, and
//     the stream goes on.
//
// A Decoder belongs to one goroutine; each connection has its own.
type Decoder interface {
	Decode(frame []byte, v *Value) error
}

// Value is what a frame means.
type Value struct {
	// Payload is what is published where no expression reshapes the value.
	Payload []byte

	// Text says that Payload is valid UTF-8 and meant as text.
	Text bool

	// Fields are the named parts of a structured value, in the frame's order;
	// empty for text and raw. Templates name them {field:NAME}.
	Fields []Field
}

// Field is a named part of a structured value.
type Field struct {
	Name string

	// Value is a string, float64 (finite), int64, uint64 (where int64 is too
	// small), bool, nil or JSON.
	Value any
}

// JSON is a value that has parts of its own, or is a number that no type of Go
// holds: the text of it.
type JSON string

// Text publishes the frame's bytes as they are and, when they are valid UTF-8,
// says so. Bytes that are not (a degree sign in Latin-1) are published all the
// same: a reading with an odd character is worth more than none.
type Text struct{}

// Decode implements Decoder; it never fails.
func (Text) Decode(frame []byte, v *Value) error {
	*v = Value{Payload: frame, Text: utf8.Valid(frame), Fields: v.Fields[:0]}
	return nil
}

// Raw publishes the frame's bytes as they are and says nothing about them.
type Raw struct{}

// Decode implements Decoder; it never fails.
func (Raw) Decode(frame []byte, v *Value) error {
	*v = Value{Payload: frame, Fields: v.Fields[:0]}
	return nil
}
