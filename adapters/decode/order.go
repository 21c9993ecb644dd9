package decode

// Order is how the bytes of a number lie: the whole of it by its most or least
// significant byte first, or in words of 16 bits whose own bytes lie as the
// name says and which follow each other the other way round.
//
//	value 0x0A0B0C0D   big             0A 0B 0C 0D
//	                   little          0D 0C 0B 0A
//	                   big-swapped     0C 0D 0A 0B
//	                   little-swapped  0B 0A 0D 0C
type Order string

// The orders.
const (
	Big           Order = "big"
	Little        Order = "little"
	BigSwapped    Order = "big-swapped"
	LittleSwapped Order = "little-swapped"
)

// Uint reads the 1 to 8 bytes of b.
func (o Order) Uint(b []byte) (n uint64) {
	for i := range b {
		n = n<<8 | uint64(b[o.at(i, len(b))])
	}
	return n
}

// at is where the i-th byte of size lies, from the most significant one.
func (o Order) at(i, size int) int {
	switch {
	case o == Little:
		return size - 1 - i
	case o == LittleSwapped && size > 1:
		return i ^ 1
	case o == BigSwapped && size > 1:
		return (size - 1 - i) ^ 1
	}
	return i
}
