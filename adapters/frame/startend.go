package frame

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// StartEnd is the framing of devices whose frames stand between Start and End.
// Empty ones are passed over; what stands between frames is garbage (where
// devices send a line ending after each End, it is a part of End).
//
// With Escape, the byte after it is taken as it is, so that frames can hold the
// markers. Start and End may themselves begin with Escape, as in DLE STX … DLE
// ETX: then these two come first.
//
// Resynchronisation: a Start within a frame begins another; the former, whose
// End was lost, is bad. In a frame that is too long its End, or the next Start,
// is looked for.
type StartEnd struct {
	Start, End string
	Escape     string // one byte; "": none

	// FlushAfter is the silence after which a frame without its End comes out
	// as it is, however much there is of it. 0 is never.
	FlushAfter time.Duration

	Max int // bytes of a frame, without markers and escapes; 0 is DefaultMax
}

var _ Framing = StartEnd{}

func (f StartEnd) withDefaults() StartEnd {
	if f.Max == 0 {
		f.Max = DefaultMax
	}
	return f
}

// Check implements Framing.
func (f StartEnd) Check() error {
	if err := checkMarker("start", f.Start); err != nil {
		return err
	}
	if err := checkMarker("end", f.End); err != nil {
		return err
	}
	switch {
	case f.Start == f.End:
		return &ParamError{"end", "must not be the same as start; use type delimiter, which passes over the empty frames between"}
	case strings.HasPrefix(f.Start, f.End):
		return &ParamError{"end", "must not be what start begins with"}
	case strings.HasPrefix(f.End, f.Start):
		return &ParamError{"end", "must not begin with start"}
	case len(f.Escape) > 1:
		return &ParamError{"escape", "must be one byte"}
	case f.Escape != "" && (f.Escape == f.Start || f.Escape == f.End):
		return &ParamError{"escape", "must not be a marker"}
	case f.FlushAfter < 0:
		return &ParamError{"flush_after", "must not be negative"}
	}
	return checkMax(f.Max)
}

// NewDecoder implements Framing.
func (f StartEnd) NewDecoder() Decoder {
	f = f.withDefaults()
	d := &startEndDecoder{start: []byte(f.Start), end: []byte(f.End), idle: f.FlushAfter, max: f.Max}
	for _, marker := range []string{f.Start, f.End, f.Escape} {
		if marker != "" {
			d.special[marker[0]] = true
		}
	}
	if f.Escape != "" {
		d.escapes, d.escape = true, f.Escape[0]
	}
	return d
}

// Append implements Framing.
func (f StartEnd) Append(dst, payload []byte) ([]byte, error) {
	f = f.withDefaults()
	if len(payload) > f.Max {
		return dst, tooLong(len(payload), f.Max)
	}
	start := len(dst)
	dst = append(dst, f.Start...)
	for _, b := range payload {
		if f.Escape != "" && (b == f.Escape[0] || b == f.Start[0] || b == f.End[0]) {
			dst = append(dst, f.Escape[0])
		}
		dst = append(dst, b)
	}
	dst = append(dst, f.End...)
	if !f.holds(dst[start:], payload) {
		return dst[:start], fmt.Errorf("%w: it holds the start %q or the end %q", ErrEncode, f.Start, f.End)
	}
	return dst, nil
}

// holds reports whether the stream is payload as a frame, and nothing else.
func (f StartEnd) holds(stream, payload []byte) bool {
	d := f.NewDecoder()
	d.Push(stream)
	got, ok := d.Next()
	if ok != (len(payload) > 0) || !bytes.Equal(got, payload) {
		return false
	}
	_, more := d.Next()
	d.Reset() // counts what is left
	return !more && d.Counters().Bad() == 0
}

// startEndDecoder:
//
//	             start              end: a frame
//	outside ───────────▶ within ───────────────▶ outside
//	                     │  ▲ start: the former is bad
//	            too long ▼  │ start
//	                   skipping ───────────────▶ outside
//	                                end
type startEndDecoder struct {
	start, end []byte
	escapes    bool
	escape     byte
	special    [256]bool // what a marker begins with, the escape
	idle       time.Duration
	max        int

	in    []byte // what Next has not looked at of the chunk
	held  []byte // before in: too few bytes to say whether they are a marker
	buf   []byte // the frame, without escapes
	raw   uint64 // bytes of the stream that it was made of, with its start
	state startEndState
	noise bool // outside, after garbage that is counted
	c     Counters
}

type startEndState int

const (
	outside startEndState = iota
	within
	skipping
)

// token is what a stream goes on with.
type token int

const (
	tokenPart  token = iota // not to be said yet
	tokenPlain              // bytes that are no marker
	tokenEscaped
	tokenStart
	tokenEnd
)

func (d *startEndDecoder) Push(chunk []byte) {
	d.in = chunk
	d.c.Bytes += uint64(len(chunk))
}

func (d *startEndDecoder) Next() ([]byte, bool) {
	for {
		p := d.in
		if len(d.held) > 0 {
			p = d.held
		} else if len(p) == 0 {
			return nil, false
		}
		t, n := d.token(p)
		if t == tokenPart {
			if !d.hold() {
				return nil, false
			}
			continue
		}
		ended := d.take(t, p[:n])
		d.consume(n)
		if ended {
			return d.buf, true
		}
	}
}

// hold holds over what may be the beginning of a marker, with a byte more than
// before; false: there is none.
func (d *startEndDecoder) hold() bool {
	if len(d.in) == 0 {
		return false
	}
	d.held = append(d.held, d.in[0])
	d.in = d.in[1:]
	return true
}

func (d *startEndDecoder) consume(n int) {
	if len(d.held) > 0 {
		d.held = d.held[:copy(d.held, d.held[n:])]
		return
	}
	d.in = d.in[n:]
}

// token says what p begins with, and how many bytes that are.
func (d *startEndDecoder) token(p []byte) (token, int) {
	if d.state == outside {
		switch i := bytes.IndexByte(p, d.start[0]); {
		case i < 0:
			return tokenPlain, len(p)
		case i > 0:
			return tokenPlain, i
		case bytes.HasPrefix(p, d.start):
			return tokenStart, len(d.start)
		case bytes.HasPrefix(d.start, p):
			return tokenPart, 0
		}
		return tokenPlain, 1
	}
	if !d.special[p[0]] {
		n := 1
		for n < len(p) && !d.special[p[n]] {
			n++
		}
		return tokenPlain, n
	}
	switch {
	case bytes.HasPrefix(p, d.end):
		return tokenEnd, len(d.end)
	case bytes.HasPrefix(p, d.start):
		return tokenStart, len(d.start)
	case bytes.HasPrefix(d.end, p), bytes.HasPrefix(d.start, p):
		return tokenPart, 0
	case !d.escapes || p[0] != d.escape:
		return tokenPlain, 1
	case len(p) < 2:
		return tokenPart, 0
	}
	return tokenEscaped, 2
}

// take takes a token; true: it ends the frame in buf.
func (d *startEndDecoder) take(t token, p []byte) bool {
	if d.state == outside && t != tokenStart {
		d.garbage(len(p))
		return false
	}
	switch t {
	case tokenStart:
		if d.state == within {
			d.c.Unfinished++
			d.c.Discarded += d.raw
		}
		d.state, d.noise = within, false
		d.raw, d.buf = uint64(len(p)), d.buf[:0]
	case tokenEnd:
		return d.ended(len(p))
	case tokenEscaped:
		d.add(len(p), p[1:])
	default:
		d.add(len(p), p)
	}
	return false
}

func (d *startEndDecoder) garbage(n int) {
	if !d.noise {
		d.c.Garbage++
	}
	d.noise = true
	d.c.Discarded += uint64(n)
}

// add adds bytes to the frame that n of the stream stand for.
func (d *startEndDecoder) add(n int, p []byte) {
	d.raw += uint64(n)
	if d.state == within && len(d.buf)+len(p) > d.max {
		d.c.TooLong++
		d.state = skipping
	}
	if d.state == skipping {
		d.c.Discarded += d.raw
		d.raw = 0
		return
	}
	d.buf = append(d.buf, p...)
}

// ended reports whether there is a frame where one of n bytes ends.
func (d *startEndDecoder) ended(n int) bool {
	state := d.state
	d.state = outside
	switch {
	case state == skipping:
		d.c.Discarded += uint64(n)
	case len(d.buf) == 0:
		d.c.Blank++
	default:
		d.c.Frames++
		return true
	}
	return false
}

func (d *startEndDecoder) Idle() time.Duration { return d.idle }

// Flush gives a frame whose end does not come. What may have been the
// beginning of its end is taken as such.
func (d *startEndDecoder) Flush() ([]byte, bool) {
	if d.idle == 0 {
		return nil, false
	}
	state, held := d.state, len(d.held)
	d.state, d.held = outside, d.held[:0]
	switch {
	case state == within && len(d.buf) > 0:
		d.c.Frames++
		return d.buf, true
	case state == within:
		d.c.Unfinished++
		d.c.Discarded += d.raw + uint64(held)
	case state == skipping:
		d.c.Discarded += uint64(held)
	case held > 0:
		d.garbage(held)
	}
	d.noise = false
	return nil, false
}

func (d *startEndDecoder) Reset() {
	left := len(d.held) + len(d.in)
	switch {
	case d.state == within:
		d.c.Unfinished++
		d.c.Discarded += d.raw + uint64(left)
	case d.state == skipping:
		d.c.Discarded += uint64(left)
	case left > 0:
		d.garbage(left)
	}
	d.in, d.held, d.state, d.noise = nil, d.held[:0], outside, false
}

func (d *startEndDecoder) Counters() Counters { return d.c }
