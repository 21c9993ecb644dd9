package bench

// arrivals is the account of the messages of a publisher, numbered from 0. It is
// for one goroutine.
type arrivals struct {
	base  uint64   // all below have arrived; a multiple of 64
	bits  []uint64 // from base on
	next  uint64   // one more than the highest that has arrived
	count uint64   // different ones

	twice, disordered uint64
}

// add notes that a message has arrived.
func (a *arrivals) add(n uint64) {
	if a.has(n) {
		a.twice++
		return
	}
	i := (n - a.base) / 64
	for uint64(len(a.bits)) <= i {
		a.bits = append(a.bits, 0)
	}
	a.bits[i] |= 1 << (n % 64)
	a.count++
	if n < a.next {
		a.disordered++
	}
	a.next = max(a.next, n+1)
	full := 0
	for full < len(a.bits) && a.bits[full] == 1<<64-1 {
		full++
	}
	a.base += uint64(full) * 64
	a.bits = a.bits[:copy(a.bits, a.bits[full:])]
}

// has reports whether a message has arrived.
func (a *arrivals) has(n uint64) bool {
	if n < a.base {
		return true
	}
	i := (n - a.base) / 64
	return i < uint64(len(a.bits)) && a.bits[i]>>(n%64)&1 == 1
}
