package frame

import (
	"bytes"
	"time"
)

// COBS is Consistent Overhead Byte Stuffing: frames end with a zero byte, and
// zeros within are replaced by the distances between them. Empty frames are
// passed over. A distance that leads beyond the end of its frame is counted in
// Checksum.
type COBS struct {
	Max int // bytes of a frame, decoded; 0 is DefaultMax
}

var _ Framing = COBS{}

func (f COBS) withDefaults() COBS {
	if f.Max == 0 {
		f.Max = DefaultMax
	}
	return f
}

// Check implements Framing.
func (f COBS) Check() error { return checkMax(f.Max) }

// NewDecoder implements Framing.
func (f COBS) NewDecoder() Decoder { return &cobsDecoder{max: f.withDefaults().Max} }

// cobsRun is how many bytes a block can have; it has no zero behind it then.
const cobsRun = 254

// Append implements Framing.
func (f COBS) Append(dst, payload []byte) ([]byte, error) {
	if m := f.withDefaults().Max; len(payload) > m {
		return dst, tooLong(len(payload), m)
	}
	for {
		n := min(len(payload), cobsRun)
		zero := bytes.IndexByte(payload[:n], 0)
		if zero >= 0 {
			n = zero
		}
		dst = append(dst, byte(n+1))
		dst = append(dst, payload[:n]...)
		payload = payload[n:]
		switch {
		case zero >= 0:
			payload = payload[1:] // what comes after it, if only nothing, is a block
		case len(payload) == 0:
			return append(dst, 0), nil
		}
	}
}

type cobsDecoder struct {
	max int

	in       []byte // what Next has not looked at of the chunk
	buf      []byte // decoded
	raw      uint64 // bytes of the stream that buf was made of
	left     int    // of the block
	zero     bool   // the block stands before a zero, if another block follows
	skipping bool   // within a bad frame, which is counted
	c        Counters
}

func (d *cobsDecoder) Push(chunk []byte) {
	d.in = chunk
	d.c.Bytes += uint64(len(chunk))
}

func (d *cobsDecoder) Next() ([]byte, bool) {
	for len(d.in) > 0 {
		b := d.in[0]
		switch {
		case b == 0:
			d.in = d.in[1:]
			if f, ok := d.end(); ok {
				return f, true
			}
		case d.skipping:
			d.run(len(d.in))
		case d.left > 0:
			d.run(min(len(d.in), d.left))
		default:
			d.block(b)
		}
	}
	return nil, false
}

// block takes the first byte of a block.
func (d *cobsDecoder) block(b byte) {
	d.in = d.in[1:]
	d.raw++
	if d.zero {
		zero := [1]byte{}
		d.add(zero[:])
	}
	d.left, d.zero = int(b)-1, b <= cobsRun
}

// run takes up to n bytes of a block.
func (d *cobsDecoder) run(n int) {
	p := d.in[:n]
	if i := bytes.IndexByte(p, 0); i >= 0 {
		p = p[:i]
	}
	d.in = d.in[len(p):]
	d.left -= len(p)
	d.raw += uint64(len(p))
	d.add(p)
}

// add adds decoded bytes.
func (d *cobsDecoder) add(p []byte) {
	if !d.skipping && len(d.buf)+len(p) > d.max {
		d.c.TooLong++
		d.skipping = true
	}
	if d.skipping {
		d.discard()
		return
	}
	d.buf = append(d.buf, p...)
}

func (d *cobsDecoder) discard() {
	d.c.Discarded += d.raw
	d.raw, d.buf = 0, d.buf[:0]
}

// end gives the frame that ends here, if it is one.
func (d *cobsDecoder) end() ([]byte, bool) {
	defer d.begin()
	switch {
	case d.skipping:
		return nil, false
	case d.left > 0:
		d.c.Checksum++
		d.discard()
		return nil, false
	case len(d.buf) == 0:
		d.c.Blank++
		return nil, false
	}
	d.c.Frames++
	return d.buf, true
}

func (d *cobsDecoder) begin() {
	d.raw, d.buf, d.left, d.zero, d.skipping = 0, d.buf[:0], 0, false, false
}

func (d *cobsDecoder) Idle() time.Duration { return 0 }

func (d *cobsDecoder) Flush() ([]byte, bool) { return nil, false }

func (d *cobsDecoder) Reset() {
	d.raw += uint64(len(d.in))
	if !d.skipping && d.raw > 0 {
		d.c.Unfinished++
	}
	d.discard()
	d.in = nil
	d.begin()
}

func (d *cobsDecoder) Counters() Counters { return d.c }
