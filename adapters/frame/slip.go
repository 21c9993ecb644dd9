package frame

import (
	"bytes"
	"time"
)

// SLIP is the framing of RFC 1055: frames end with END, and END and ESC within
// are written as two bytes. Empty frames are passed over; Append begins with an
// END, as the RFC advises, so that what noise has left on the line ends there.
//
// An ESC before anything but its two partners is a violation of the protocol:
// the RFC leaves open what to do, here the frame is bad, counted as Garbage and
// dropped up to its END.
type SLIP struct {
	Max int // bytes of a frame, decoded; 0 is DefaultMax
}

// RFC 1055.
const (
	slipEnd    = 0xC0
	slipEsc    = 0xDB
	slipEscEnd = 0xDC
	slipEscEsc = 0xDD
)

var _ Framing = SLIP{}

func (f SLIP) withDefaults() SLIP {
	if f.Max == 0 {
		f.Max = DefaultMax
	}
	return f
}

// Check implements Framing.
func (f SLIP) Check() error { return checkMax(f.Max) }

// NewDecoder implements Framing.
func (f SLIP) NewDecoder() Decoder { return &slipDecoder{max: f.withDefaults().Max} }

// Append implements Framing.
func (f SLIP) Append(dst, payload []byte) ([]byte, error) {
	if m := f.withDefaults().Max; len(payload) > m {
		return dst, tooLong(len(payload), m)
	}
	dst = append(dst, slipEnd)
	for _, b := range payload {
		switch b {
		case slipEnd:
			dst = append(dst, slipEsc, slipEscEnd)
		case slipEsc:
			dst = append(dst, slipEsc, slipEscEsc)
		default:
			dst = append(dst, b)
		}
	}
	return append(dst, slipEnd), nil
}

// slipDecoder decodes into buf; a frame that is whole in the chunk and has no
// ESC it gives from there.
type slipDecoder struct {
	max int

	in       []byte // what Next has not looked at of the chunk
	buf      []byte // decoded
	raw      uint64 // bytes of the stream that buf was made of, with an ESC that waits
	escaped  bool   // an ESC waits for its partner
	skipping bool   // within a bad frame, which is counted
	c        Counters
}

func (d *slipDecoder) Push(chunk []byte) {
	d.in = chunk
	d.c.Bytes += uint64(len(chunk))
}

func (d *slipDecoder) Next() ([]byte, bool) {
	for len(d.in) > 0 {
		if d.escaped {
			d.partner(d.in[0])
			continue
		}
		run, end := d.in, bytes.IndexByte(d.in, slipEnd)
		if end >= 0 {
			run = run[:end]
		}
		if esc := bytes.IndexByte(run, slipEsc); esc >= 0 && !d.skipping {
			d.plain(run[:esc])
			d.in = d.in[esc:]
			if !d.skipping {
				d.in = d.in[1:]
				d.raw++
				d.escaped = true
			}
			continue
		}
		if end < 0 {
			d.plain(run)
			d.in = nil
			return nil, false
		}
		d.in = d.in[end+1:]
		if f, ok := d.end(run); ok {
			return f, true
		}
	}
	return nil, false
}

// partner takes b, the byte after an ESC.
func (d *slipDecoder) partner(b byte) {
	d.escaped = false
	switch b {
	case slipEscEnd:
		b = slipEnd
	case slipEscEsc:
		b = slipEsc
	default:
		d.reject(&d.c.Garbage)
		return // b may be an END
	}
	d.in = d.in[1:]
	one := [1]byte{b}
	d.plain(one[:])
}

// plain takes bytes that stand for themselves.
func (d *slipDecoder) plain(p []byte) {
	d.raw += uint64(len(p))
	switch {
	case d.skipping:
		d.discard()
	case len(d.buf)+len(p) > d.max:
		d.reject(&d.c.TooLong)
	default:
		d.buf = append(d.buf, p...)
	}
}

// reject counts the frame as bad and drops it, up to its END.
func (d *slipDecoder) reject(counter *uint64) {
	*counter++
	d.skipping = true
	d.discard()
}

func (d *slipDecoder) discard() {
	d.c.Discarded += d.raw
	d.raw, d.buf = 0, d.buf[:0]
}

// end gives the frame that ends with rest, if it is one.
func (d *slipDecoder) end(rest []byte) ([]byte, bool) {
	f := rest
	if d.raw > 0 || d.skipping || len(rest) > d.max {
		d.plain(rest)
		f = d.buf
	}
	skipped := d.skipping
	d.raw, d.buf, d.skipping = 0, d.buf[:0], false
	switch {
	case skipped:
		return nil, false
	case len(f) == 0:
		d.c.Blank++
		return nil, false
	}
	d.c.Frames++
	return f, true
}

func (d *slipDecoder) Idle() time.Duration { return 0 }

func (d *slipDecoder) Flush() ([]byte, bool) { return nil, false }

func (d *slipDecoder) Reset() {
	d.raw += uint64(len(d.in))
	if !d.skipping && d.raw > 0 {
		d.c.Unfinished++
	}
	d.discard()
	d.in, d.escaped, d.skipping = nil, false, false
}

func (d *slipDecoder) Counters() Counters { return d.c }
