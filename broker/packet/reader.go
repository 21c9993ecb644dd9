package packet

import "io"

// Reader cuts packets out of a stream. It belongs to one goroutine.
type Reader struct {
	r        io.Reader
	most     int
	buf      []byte // buf[from:to] was read and is not used
	from, to int
}

// NewReader makes a Reader with a buffer of so many bytes, which grows with the
// packets; most bounds them as in [Next].
func NewReader(r io.Reader, size, most int) *Reader {
	return &Reader{r: r, most: most, buf: make([]byte, size)}
}

// Next reads a packet. Its body is valid until the next call. An error is one of
// the stream, as it is, or of [Next].
func (r *Reader) Next() (typ, flags byte, body []byte, err error) {
	for {
		typ, flags, body, n, err := Next(r.buf[r.from:r.to], r.most)
		if err != nil || n > 0 {
			r.from += n
			return typ, flags, body, err
		}
		if r.from > 0 {
			r.to = copy(r.buf, r.buf[r.from:r.to])
			r.from = 0
		}
		if r.to == len(r.buf) {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
		k, err := r.r.Read(r.buf[r.to:])
		if r.to += k; k == 0 && err != nil {
			return 0, 0, nil, err
		}
	}
}

// Buffered reports whether more was read than used.
func (r *Reader) Buffered() bool { return r.from < r.to }
