package frame

import "time"

const (
	// believedTooLong times max is the longest frame that is taken at its word
	// and passed over; a length field that says more is taken for garbage.
	believedTooLong = 16

	// slideMax is the longest frame after which, with its check sum wrong, the
	// decoder looks for another at the very next byte; longer ones are dropped
	// whole. It bounds the work: each byte may be the beginning of one.
	slideMax = 1 << 10
)

// sizedDecoder cuts frames whose first bytes, or whose kind, say how long they
// are. There are no markers, so once a byte is lost or a length is wrong the
// decoder is lost too. It finds its place again
//
//   - by a silence: what comes after it is the beginning of a frame;
//   - by a check sum of at least two bytes: after a wrong one it looks for a
//     frame at the next byte, and so on. One byte would be right by chance too
//     often, so with that one bad frames are dropped whole;
//   - after a length that cannot be, at the next byte.
type sizedDecoder struct {
	head    int                      // bytes that measure looks at
	measure func(head []byte) uint64 // of the frame with its header; 0: there is no such frame
	header  int                      // bytes before the payload
	max     int                      // of the payload
	sum     Sum                      // at the payload's end
	idle    time.Duration

	in   []byte // what Next has not looked at of the chunk
	buf  []byte // from off on held over: what comes before in
	off  int
	skip uint64 // bytes to pass over: the rest of a frame that is too long
	lost bool   // looking for a frame byte by byte, which is counted
	c    Counters
}

func (d *sizedDecoder) Push(chunk []byte) {
	d.in = chunk
	d.c.Bytes += uint64(len(chunk))
}

func (d *sizedDecoder) Next() ([]byte, bool) {
	for d.passOver() {
		f, ok := d.frame()
		if !ok {
			break
		}
		if p, ok := d.judge(f); ok {
			return p, true
		}
	}
	return nil, false
}

// Flush drops what is left of a frame; with a check sum to recognise them by,
// there may be others behind its beginning.
func (d *sizedDecoder) Flush() ([]byte, bool) {
	if d.idle == 0 {
		return nil, false
	}
	for {
		if p, ok := d.Next(); ok {
			return p, true
		}
		left := len(d.buf) - d.off
		if left == 0 {
			d.skip, d.lost = 0, false
			return nil, false
		}
		if d.slides(uint64(left)) {
			d.slide(&d.c.Unfinished)
		} else {
			d.drop(&d.c.Unfinished, left)
		}
	}
}

// passOver passes over the rest of a frame that is too long; false: more is to come.
func (d *sizedDecoder) passOver() bool {
	if d.skip > 0 {
		n := min(d.skip, uint64(len(d.buf)-d.off+len(d.in)))
		d.skip -= n
		d.c.Discarded += n
		d.consume(int(n))
	}
	return d.skip == 0
}

// frame gives the next bytes that are as long as a frame says it is; false:
// more bytes are needed.
func (d *sizedDecoder) frame() ([]byte, bool) {
	for {
		head, ok := d.window(d.head)
		if !ok {
			return nil, false
		}
		n := d.measure(head)
		switch {
		case n == 0 || n > uint64(d.header+believedTooLong*d.max):
			d.slide(&d.c.Checksum)
		case n <= uint64(d.header+d.max):
			return d.window(int(n))
		case d.sum.Size() > 1:
			d.slide(&d.c.TooLong)
		default:
			d.c.TooLong++
			d.skip, d.lost = n, false
			if !d.passOver() {
				return nil, false
			}
		}
	}
}

// judge consumes f, and gives its payload if it is right and not empty.
func (d *sizedDecoder) judge(f []byte) ([]byte, bool) {
	n := len(f)
	switch {
	case d.sum == NoSum || d.sum.Valid(f[d.header:]):
	case d.slides(uint64(n)):
		d.slide(&d.c.Checksum)
		return nil, false
	default:
		d.drop(&d.c.Checksum, n)
		return nil, false
	}
	d.consume(n)
	d.lost = false
	p := f[d.header : n-d.sum.Size()]
	if len(p) == 0 {
		d.c.Blank++
		return nil, false
	}
	d.c.Frames++
	return p, true
}

// slides reports whether behind the first of n bad bytes a frame may be looked
// for.
func (d *sizedDecoder) slides(n uint64) bool { return d.sum.Size() > 1 && n <= slideMax }

// slide drops a byte. Only the first of several is counted as a bad frame.
func (d *sizedDecoder) slide(counter *uint64) {
	if !d.lost {
		*counter++
	}
	d.lost = true
	d.c.Discarded++
	d.consume(1)
}

// drop drops n bytes, a bad frame.
func (d *sizedDecoder) drop(counter *uint64, n int) {
	*counter++
	d.lost = false
	d.c.Discarded += uint64(n)
	d.consume(n)
}

// window gives the next n bytes; false: there are fewer, and they are all in buf.
// They are valid until the next call.
func (d *sizedDecoder) window(n int) ([]byte, bool) {
	held := len(d.buf) - d.off
	if held == 0 && len(d.in) >= n {
		return d.in[:n], true
	}
	if more := min(n-held, len(d.in)); more > 0 {
		if d.off > 0 {
			d.buf = d.buf[:copy(d.buf, d.buf[d.off:])]
			d.off = 0
		}
		d.buf = append(d.buf, d.in[:more]...)
		d.in = d.in[more:]
		held += more
	}
	if held < n {
		return nil, false
	}
	return d.buf[d.off : d.off+n], true
}

// consume takes n bytes off the front. They stay as they are until the next
// call of window.
func (d *sizedDecoder) consume(n int) {
	held := min(n, len(d.buf)-d.off)
	if d.off += held; d.off == len(d.buf) {
		d.buf, d.off = d.buf[:0], 0
	}
	d.in = d.in[n-held:]
}

func (d *sizedDecoder) Idle() time.Duration { return d.idle }

func (d *sizedDecoder) Reset() {
	left := len(d.buf) - d.off + len(d.in)
	if left > 0 {
		if !d.lost && d.skip == 0 {
			d.c.Unfinished++
		}
		d.c.Discarded += uint64(left)
	}
	d.in, d.buf, d.off, d.skip, d.lost = nil, d.buf[:0], 0, 0, false
}

func (d *sizedDecoder) Counters() Counters { return d.c }
