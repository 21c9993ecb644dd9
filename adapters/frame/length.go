package frame

import (
	"fmt"
	"math"
	"time"
)

// Length is the framing of devices whose frames have a header with a length in
// it:
//
//	| Offset bytes | length, Size bytes | … | payload |
//	|<------------- Header ---------------->|
//
// A frame is the payload behind the header; empty ones are passed over. Append
// fills what else the header has with zeros.
//
// A length that cannot be is counted in Checksum. When a byte was lost or a
// length was wrong, a silence of FlushAfter, or a check sum of two bytes or more
// (Checked), shows where a frame begins.
type Length struct {
	Offset         int  // bytes before the length
	Size           int  // of the length: 1, 2, 4 or 8 bytes
	Little         bool // its low byte comes first
	IncludesHeader bool // it counts the header too, not the payload alone
	Header         int  // bytes before the payload; 0: it ends with the length

	// FlushAfter is the silence that ends a frame which is not complete: it is
	// dropped, and the next byte begins a new one. 0 is never.
	FlushAfter time.Duration

	Max int // bytes of a payload; 0 is DefaultMax
}

// maxHeader keeps headers small.
const maxHeader = 1 << 10

var _ Framing = Length{}

func (f Length) withDefaults() Length {
	if f.Header == 0 {
		f.Header = f.Offset + f.Size
	}
	if f.Max == 0 {
		f.Max = DefaultMax
	}
	return f
}

// Check implements Framing.
func (f Length) Check() error {
	switch {
	case f.Size == 0:
		return &ParamError{"size", "is missing"}
	case f.Size != 1 && f.Size != 2 && f.Size != 4 && f.Size != 8:
		return &ParamError{"size", "must be 1, 2, 4 or 8 bytes for a length"}
	case f.Offset < 0 || f.Offset > maxHeader-8:
		return &ParamError{"offset", fmt.Sprintf("must be from 0 to %d", maxHeader-8)}
	case f.Header < 0 || f.Header > maxHeader:
		return &ParamError{"header", fmt.Sprintf("must be from 0 to %d", maxHeader)}
	case f.Header > 0 && f.Header < f.Offset+f.Size:
		return &ParamError{"header", fmt.Sprintf("must be at least %d: the length is a part of it", f.Offset+f.Size)}
	case f.FlushAfter < 0:
		return &ParamError{"flush_after", "must not be negative"}
	}
	return checkMax(f.Max)
}

// NewDecoder implements Framing.
func (f Length) NewDecoder() Decoder { return f.newChecked(NoSum) }

func (f Length) newChecked(s Sum) Decoder {
	f = f.withDefaults()
	return &sizedDecoder{
		head:    f.Offset + f.Size,
		measure: f.measure,
		header:  f.Header,
		max:     f.Max,
		sum:     s,
		idle:    f.FlushAfter,
	}
}

// measure gives the size of a frame with its header, 0 for a length that cannot
// be.
func (f Length) measure(head []byte) uint64 {
	field := head[f.Offset : f.Offset+f.Size]
	var v uint64
	for i, b := range field {
		if f.Little {
			v |= uint64(b) << (8 * i)
		} else {
			v = v<<8 | uint64(b)
		}
	}
	switch {
	case f.IncludesHeader && v < uint64(f.Header), v > math.MaxInt64:
		return 0
	case f.IncludesHeader:
		return v
	}
	return v + uint64(f.Header)
}

// Append implements Framing.
func (f Length) Append(dst, payload []byte) ([]byte, error) {
	f = f.withDefaults()
	if len(payload) > f.Max {
		return dst, tooLong(len(payload), f.Max)
	}
	v := uint64(len(payload))
	if f.IncludesHeader {
		v += uint64(f.Header)
	}
	if f.Size < 8 && v>>(8*f.Size) != 0 {
		return dst, fmt.Errorf("%w: a length of %d does not fit into %d bytes", ErrEncode, v, f.Size)
	}
	start := len(dst)
	dst = append(dst, make([]byte, f.Header)...)
	field := dst[start+f.Offset:][:f.Size]
	for i := range field {
		shift := 8 * i
		if !f.Little {
			shift = 8 * (f.Size - 1 - i)
		}
		field[i] = byte(v >> shift)
	}
	return append(dst, payload...), nil
}
