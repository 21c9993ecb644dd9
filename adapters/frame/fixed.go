package frame

import (
	"fmt"
	"time"
)

// Fixed is the framing of devices whose frames all have one size. A byte that
// is lost shifts all frames after it, until a silence of FlushAfter, or a check
// sum of two bytes or more (Checked), shows where one begins.
type Fixed struct {
	Size int

	// FlushAfter is the silence that ends a frame which is not complete: it is
	// dropped, and the next byte begins a new one. 0 is never.
	FlushAfter time.Duration

	Max int // the largest Size that passes; 0 is DefaultMax
}

var _ Framing = Fixed{}

// Check implements Framing.
func (f Fixed) Check() error {
	most := f.Max
	if most == 0 {
		most = DefaultMax
	}
	switch {
	case f.Size == 0:
		return &ParamError{"size", "is missing"}
	case f.Size < 0:
		return &ParamError{"size", "must be positive"}
	case most > 0 && f.Size > most:
		return &ParamError{"size", fmt.Sprintf("must be at most %d, the longest frame (max)", most)}
	case f.FlushAfter < 0:
		return &ParamError{"flush_after", "must not be negative"}
	}
	return checkMax(f.Max)
}

// NewDecoder implements Framing.
func (f Fixed) NewDecoder() Decoder { return f.newChecked(NoSum) }

func (f Fixed) newChecked(s Sum) Decoder {
	size := uint64(f.Size)
	return &sizedDecoder{
		measure: func([]byte) uint64 { return size },
		max:     f.Size,
		sum:     s,
		idle:    f.FlushAfter,
	}
}

// Append implements Framing.
func (f Fixed) Append(dst, payload []byte) ([]byte, error) {
	if len(payload) != f.Size {
		return dst, fmt.Errorf("%w: %d bytes, must be %d", ErrEncode, len(payload), f.Size)
	}
	return append(dst, payload...), nil
}
