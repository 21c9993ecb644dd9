package frame

import "time"

// Idle is the framing of devices that mark their frames by nothing but the
// silence after them: what comes without a gap of Gap is one frame.
//
// Operating systems, USB adapters (often 16 ms) and networks delay bytes and
// hand them over in lumps. A Gap below that cuts frames apart, one that is
// longer than the device's silence joins them.
//
// What its stream's end cuts off is not a frame.
type Idle struct {
	Gap time.Duration // 0 is DefaultGap
	Max int           // bytes of a frame; 0 is DefaultMax
}

// DefaultGap is the silence that ends a frame where a framing does not say
// otherwise.
const DefaultGap = 20 * time.Millisecond

var _ Framing = Idle{}

func (f Idle) withDefaults() Idle {
	if f.Gap == 0 {
		f.Gap = DefaultGap
	}
	if f.Max == 0 {
		f.Max = DefaultMax
	}
	return f
}

// Check implements Framing.
func (f Idle) Check() error {
	if f.Gap < 0 {
		return &ParamError{"gap", "must be positive"}
	}
	return checkMax(f.Max)
}

// NewDecoder implements Framing.
func (f Idle) NewDecoder() Decoder {
	f = f.withDefaults()
	return &idleDecoder{gap: f.Gap, max: f.Max}
}

// Append implements Framing. The silence is the writer's duty.
func (f Idle) Append(dst, payload []byte) ([]byte, error) {
	f = f.withDefaults()
	if len(payload) > f.Max {
		return dst, tooLong(len(payload), f.Max)
	}
	return append(dst, payload...), nil
}

type idleDecoder struct {
	gap time.Duration
	max int

	buf      []byte
	skipping bool // within a frame that is too long
	c        Counters
}

func (d *idleDecoder) Push(chunk []byte) {
	d.c.Bytes += uint64(len(chunk))
	if !d.skipping && len(d.buf)+len(chunk) > d.max {
		d.skipping = true
		d.c.TooLong++
		d.c.Discarded += uint64(len(d.buf))
		d.buf = d.buf[:0]
	}
	if d.skipping {
		d.c.Discarded += uint64(len(chunk))
		return
	}
	d.buf = append(d.buf, chunk...)
}

func (d *idleDecoder) Next() ([]byte, bool) { return nil, false }

func (d *idleDecoder) Idle() time.Duration { return d.gap }

func (d *idleDecoder) Flush() ([]byte, bool) {
	f := d.buf
	d.buf, d.skipping = d.buf[:0], false
	if len(f) == 0 {
		return nil, false
	}
	d.c.Frames++
	return f, true
}

func (d *idleDecoder) Reset() {
	if len(d.buf) > 0 {
		d.c.Unfinished++
		d.c.Discarded += uint64(len(d.buf))
	}
	d.buf, d.skipping = d.buf[:0], false
}

func (d *idleDecoder) Counters() Counters { return d.c }
