// Package frame cuts byte streams into frames, and makes frames of payloads.
//
// A device's bytes arrive in chunks of any size: half a frame, three frames
// and a piece, one byte. A Decoder is fed these chunks and gives the same
// frames and the same counters however the stream was split. Each kind of
// framing is one file: a configuration struct that implements Framing, and
// its decoder.
//
//	Line, Delimiter  an ending           line.go, delimiter.go
//	StartEnd         two markers         startend.go
//	SLIP, COBS       a marker, stuffing  slip.go, cobs.go
//	Fixed, Length    a size              fixed.go, length.go, both on sized.go
//	Idle, ModbusRTU  silence             idle.go, modbusrtu.go
//	Checked          any, and check sum  crc.go, sum.go
package frame

import (
	"errors"
	"fmt"
	"time"
)

// DefaultMax is the longest frame where a framing does not say otherwise.
const DefaultMax = 4 << 10

// ErrEncode is wrapped by Framing.Append when a payload cannot be a frame of
// its kind: too long, or it holds what ends a frame.
var ErrEncode = errors.New("not encodable as a frame")

// Framing is a kind of framing with its parameters: line, delimiter, fixed …
// It is immutable and may be shared by all connections.
type Framing interface {
	// Check says what is wrong with the parameters: nil or a *ParamError.
	// A Framing that has not passed must not be used.
	Check() error

	// NewDecoder makes the decoder of one stream.
	NewDecoder() Decoder

	// Append appends the frame that carries payload: what a Decoder of the
	// same Framing gives back as payload, or passes over when it is empty. Its
	// error wraps ErrEncode.
	Append(dst, payload []byte) ([]byte, error)
}

// ParamError says which parameter of a Framing is wrong.
type ParamError struct {
	Param   string // as in the configuration: "flush_after"
	Problem string // "must be positive"
}

// Error implements error.
func (e *ParamError) Error() string { return e.Param + " " + e.Problem }

// Decoder cuts one stream into frames. Its duties:
//
//   - Any split of the stream into chunks gives the same frames, in order, and
//     the same Counters once all is fed and Next has returned false.
//   - It holds at most about max bytes of an unfinished frame. What is longer
//     is dropped up to where the next frame can begin, and counted once.
//   - In the steady state it allocates nothing.
//
// A Decoder belongs to one goroutine.
type Decoder interface {
	// Push hands in the next chunk. Next must have returned false since the
	// last Push; chunk must stay unchanged until it does again.
	Push(chunk []byte)

	// Next returns the next complete frame; false: more bytes are needed. The
	// frame aliases the chunk or the decoder's buffer and is valid until the
	// next call of Push, Next, Flush or Reset.
	Next() (frame []byte, ok bool)

	// Idle is how long a silence ends an unfinished frame; 0 is never. After
	// such a silence the owner calls Flush, until it returns false.
	Idle() time.Duration

	// Flush returns what a silence completes, as Next does. A silence may also
	// be where a decoder that has lost its place finds it again.
	Flush() (frame []byte, ok bool)

	// Reset forgets an unfinished frame, and counts it: the stream has ended,
	// the next bytes are those of another one. Counters go on.
	Reset()

	// Counters since the decoder was made.
	Counters() Counters
}

// Counters of a Decoder. Bytes = those of frames, all markers (ends, headers,
// check sums, escapes) that are not in Discarded, Discarded, and what is still
// unfinished.
//
// Between two good frames a decoder that looks for its place byte by byte counts
// one bad frame: how many there were nobody knows.
type Counters struct {
	Bytes      uint64 // pushed
	Frames     uint64 // returned by Next and Flush
	Blank      uint64 // empty ones, passed over without being bad
	TooLong    uint64 // bad: longer than max
	Unfinished uint64 // bad: cut short by the stream's end, a silence or the next frame's start
	Checksum   uint64 // bad: CRC or length field wrong
	Garbage    uint64 // bad: runs of bytes that belong to no frame, escapes that mean nothing
	Discarded  uint64 // bytes of all that was bad
}

// Bad is the number of bad frames, of any kind.
func (c Counters) Bad() uint64 {
	return c.TooLong + c.Unfinished + c.Checksum + c.Garbage
}

// Minus is what was counted since o.
func (c Counters) Minus(o Counters) Counters {
	return Counters{
		Bytes:      c.Bytes - o.Bytes,
		Frames:     c.Frames - o.Frames,
		Blank:      c.Blank - o.Blank,
		TooLong:    c.TooLong - o.TooLong,
		Unfinished: c.Unfinished - o.Unfinished,
		Checksum:   c.Checksum - o.Checksum,
		Garbage:    c.Garbage - o.Garbage,
		Discarded:  c.Discarded - o.Discarded,
	}
}

// Plus is the sum of two decoders' counters.
func (c Counters) Plus(o Counters) Counters {
	return c.Minus(Counters{}.Minus(o)) // unsigned numbers wrap around, and back
}

// maxMarker is how long an ending, a start or an end may be.
const maxMarker = 16

// checkMarker says what is wrong with the marker that is given as param.
func checkMarker(param, marker string) error {
	switch {
	case marker == "":
		return &ParamError{param, "is missing"}
	case len(marker) > maxMarker:
		return &ParamError{param, fmt.Sprintf("must be at most %d bytes", maxMarker)}
	}
	return nil
}

// checkMax says what is wrong with a longest frame.
func checkMax(n int) error {
	if n < 0 {
		return &ParamError{"max", "must be positive"}
	}
	return nil
}

func tooLong(n, most int) error {
	return fmt.Errorf("%w: %d bytes, at most %d", ErrEncode, n, most)
}
