package packet

import (
	"encoding/binary"
	"unicode/utf8"
	"unsafe"
)

// reader is a cursor over a packet's body. The first error sticks, every read
// after it gives zero values.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

// end checks that nothing follows the last field.
func (r *reader) end() error {
	if r.err == nil && len(r.b) != 0 {
		r.fail(errTrailing)
	}
	return r.err
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fail(errShort)
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() byte {
	if len(r.b) < 1 {
		r.fail(errShort)
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) u16() uint16 {
	if len(r.b) < 2 {
		r.fail(errShort)
		return 0
	}
	v := binary.BigEndian.Uint16(r.b)
	r.b = r.b[2:]
	return v
}

func (r *reader) u32() uint32 {
	if len(r.b) < 4 {
		r.fail(errShort)
		return 0
	}
	v := binary.BigEndian.Uint32(r.b)
	r.b = r.b[4:]
	return v
}

// varint reads a variable byte integer in its shortest form [MQTT-1.5.5-1].
func (r *reader) varint() uint32 {
	var v uint32
	for i := 0; i < 4; i++ {
		if i >= len(r.b) {
			r.fail(errShort)
			return 0
		}
		c := r.b[i]
		v |= uint32(c&0x7f) << (7 * i)
		if c < 0x80 {
			if c == 0 && i > 0 {
				break
			}
			r.b = r.b[i+1:]
			return v
		}
	}
	r.fail(errVarint)
	return 0
}

// binary reads data behind a two-byte length.
func (r *reader) binary() []byte {
	n := r.u16()
	if r.err != nil {
		return nil
	}
	return r.take(int(n))
}

// utf8 reads a UTF-8 encoded string, checked.
func (r *reader) utf8() []byte {
	b := r.binary()
	if !validUTF8(b) {
		r.fail(errUTF8)
		return nil
	}
	return b
}

// id reads a packet identifier, never 0 [MQTT-2.2.1-3].
func (r *reader) id() uint16 {
	id := r.u16()
	if r.err == nil && id == 0 {
		r.fail(errPacketID)
	}
	return id
}

// validUTF8 checks a string as section 1.5.4 wants it: well-formed, no
// surrogates (which well-formed UTF-8 excludes) and no U+0000.
func validUTF8(b []byte) bool {
	for _, c := range b {
		if c == 0 {
			return false
		}
		if c >= utf8.RuneSelf {
			return utf8.Valid(b) && !hasZero(b)
		}
	}
	return true
}

func hasZero(b []byte) bool {
	for _, c := range b {
		if c == 0 {
			return true
		}
	}
	return false
}

// alias makes a string over b without copying: it is valid, and must be kept,
// only as long as b is unchanged.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func appendVarint(dst []byte, v int) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

func varintLen(v int) int {
	switch {
	case v < 1<<7:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<21:
		return 3
	}
	return 4
}

func appendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, byte(len(s)>>8), byte(len(s)))
	return append(dst, s...)
}

// finish puts the fixed header in front of the body that was appended to dst
// from start on, behind headerRoom free bytes, and closes the gap.
func finish(dst []byte, start int, typ, flags byte) []byte {
	body := len(dst) - start - headerRoom
	head := append(dst[start:start], typ<<4|flags)
	head = appendVarint(head, body)
	if len(head) < headerRoom {
		copy(dst[start+len(head):], dst[start+headerRoom:])
		dst = dst[:start+len(head)+body]
	}
	return dst
}

// headerRoom is the longest fixed header.
const headerRoom = 5

// begin leaves room for the fixed header.
func begin(dst []byte) ([]byte, int) {
	return append(dst, 0, 0, 0, 0, 0), len(dst)
}
