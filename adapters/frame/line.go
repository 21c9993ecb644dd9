package frame

import (
	"bytes"
	"fmt"
	"time"
)

// Line is the framing of text devices: frames end with Ending.
//
// With Trim, white space (also a "\r" before the "\n") is cut off both ends
// of a frame and blank lines are passed over; without, a frame is exactly
// what stands between two endings, also if that is nothing.
//
// A line that its stream's end cuts short is not a frame: nobody knows
// whether "t=12" would have become "t=121".
type Line struct {
	Ending string // "" is "\n"
	Trim   bool
	Max    int // bytes of a frame before it is trimmed, without the ending; 0 is DefaultMax
}

var _ Framing = Line{}

func (l Line) withDefaults() Line {
	if l.Ending == "" {
		l.Ending = "\n"
	}
	if l.Max == 0 {
		l.Max = DefaultMax
	}
	return l
}

// Check implements Framing.
func (l Line) Check() error {
	l = l.withDefaults()
	if err := checkMarker("ending", l.Ending); err != nil {
		return err
	}
	return checkMax(l.Max)
}

// NewDecoder implements Framing.
func (l Line) NewDecoder() Decoder {
	l = l.withDefaults()
	return &lineDecoder{ending: []byte(l.Ending), trim: l.Trim, noBlanks: l.Trim, max: l.Max}
}

// Append implements Framing.
func (l Line) Append(dst, payload []byte) ([]byte, error) {
	l = l.withDefaults()
	return appendEnded(dst, payload, l.Ending, l.Max)
}

// appendEnded appends payload and its ending.
func appendEnded(dst, payload []byte, ending string, most int) ([]byte, error) {
	if len(payload) > most {
		return dst, tooLong(len(payload), most)
	}
	start := len(dst)
	dst = append(dst, payload...)
	dst = append(dst, ending...)
	// The ending may also come about where payload and ending meet.
	if bytes.Index(dst[start:], []byte(ending)) != len(payload) {
		return dst[:start], fmt.Errorf("%w: it holds the ending %q", ErrEncode, ending)
	}
	return dst, nil
}

// lineDecoder looks for the ending in the chunk itself while nothing is held
// over, else in buf, to which just enough of the chunk is appended.
type lineDecoder struct {
	ending   []byte
	trim     bool
	noBlanks bool // empty frames are passed over
	max      int

	in       []byte // what Next has not looked at of the chunk
	buf      []byte // held over: no complete ending in it; at most max + len(ending)
	skipping bool   // within a frame that is too long: buf is only a possible start of the ending

	c Counters
}

func (d *lineDecoder) Push(chunk []byte) {
	d.in = chunk
	d.c.Bytes += uint64(len(chunk))
}

func (d *lineDecoder) Next() ([]byte, bool) {
	for len(d.in) > 0 {
		line, ok := d.nextLine()
		if !ok {
			continue
		}
		if d.skipping {
			d.skipping = false
			d.c.Discarded += uint64(len(line))
			continue
		}
		if len(line) > d.max {
			d.c.TooLong++
			d.c.Discarded += uint64(len(line))
			continue
		}
		if d.trim {
			line = bytes.TrimSpace(line)
		}
		if len(line) == 0 && d.noBlanks {
			d.c.Blank++
			continue
		}
		d.c.Frames++
		return line, true
	}
	return nil, false
}

// nextLine takes a line, or as much as can be said to hold no ending, off the
// chunk.
func (d *lineDecoder) nextLine() ([]byte, bool) {
	if len(d.buf) == 0 {
		if i := bytes.Index(d.in, d.ending); i >= 0 {
			line := d.in[:i]
			d.in = d.in[i+len(d.ending):]
			return line, true
		}
		d.in = d.hold(d.in)
		return nil, false
	}

	held := len(d.buf)
	n := min(len(d.in), d.max+len(d.ending)-held)
	d.buf = append(d.buf, d.in[:n]...)
	from := max(0, held-len(d.ending)+1)
	if i := bytes.Index(d.buf[from:], d.ending); i >= 0 {
		i += from
		d.in = d.in[i+len(d.ending)-held:]
		line := d.buf[:i]
		d.buf = d.buf[:0] // line stays as it is until the next append
		return line, true
	}
	d.in = d.in[n:]
	kept := d.buf
	d.buf = d.buf[:0]
	d.hold(kept)
	return nil, false
}

// hold keeps p, in which there is no ending, for later; of a frame that is
// too long only what may be the start of its ending. It returns p's rest, nil.
func (d *lineDecoder) hold(p []byte) []byte {
	tail := min(len(p), len(d.ending)-1)
	if !d.skipping && len(p)-tail > d.max {
		d.skipping = true
		d.c.TooLong++
	}
	if d.skipping {
		d.c.Discarded += uint64(len(p) - tail)
		p = p[len(p)-tail:]
	}
	d.buf = append(d.buf, p...)
	return nil
}

func (d *lineDecoder) Idle() time.Duration { return 0 }

func (d *lineDecoder) Flush() ([]byte, bool) { return nil, false }

func (d *lineDecoder) Reset() {
	left := append(d.buf, d.in...)
	if !d.skipping && len(left) > 0 && !(d.trim && len(bytes.TrimSpace(left)) == 0) {
		d.c.Unfinished++
	}
	d.c.Discarded += uint64(len(left))
	d.in, d.buf, d.skipping = nil, d.buf[:0], false
}

func (d *lineDecoder) Counters() Counters { return d.c }
