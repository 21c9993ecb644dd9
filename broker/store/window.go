package store

import (
	"encoding/binary"
	"math/bits"
)

// windowSize is how far above its floor a consumer may have messages in
// flight: s < floor + windowSize.
const windowSize = 1024

// bitRing holds one bit for each seq of [floor, floor+windowSize).
type bitRing [windowSize / 64]uint64

func (r *bitRing) get(seq uint64) bool {
	return r[seq/64%(windowSize/64)]>>(seq%64)&1 != 0
}
func (r *bitRing) set(seq uint64)   { r[seq/64%(windowSize/64)] |= 1 << (seq % 64) }
func (r *bitRing) clear(seq uint64) { r[seq/64%(windowSize/64)] &^= 1 << (seq % 64) }

// appendFrom appends the bits from floor on as a count of bytes and the bytes,
// trailing zero bytes left out: bit i of byte k is seq floor + 8k + i.
func (r *bitRing) appendFrom(dst []byte, floor uint64) []byte {
	var out [windowSize / 8]byte
	n, off := windowSize/64, floor%64
	for i := range n {
		w := r[(int(floor/64)+i)%n] >> off
		if off != 0 {
			w |= r[(int(floor/64)+i+1)%n] << (64 - off)
		}
		binary.LittleEndian.PutUint64(out[i*8:], w)
	}
	k := len(out)
	for k > 0 && out[k-1] == 0 {
		k--
	}
	return appendBytes(dst, out[:k])
}

// bitsEnd returns 1 + the highest bit set in bytes as appendFrom makes them.
func bitsEnd(b []byte) uint64 {
	for k := min(len(b), windowSize/8) - 1; k >= 0; k-- {
		if b[k] != 0 {
			return uint64(8*k + bits.Len8(b[k]))
		}
	}
	return 0
}

// load is the inverse of appendFrom.
func (r *bitRing) load(b []byte, floor uint64) {
	*r = bitRing{}
	for k, v := range b {
		for ; v != 0; v &= v - 1 {
			if i := k*8 + bits.TrailingZeros8(v); i < windowSize {
				r.set(floor + uint64(i))
			}
		}
	}
}
