package broker

import (
	"sync/atomic"

	"packetboat/broker/packet"
)

// What waits for one connection, or of it, has a bound; what waits for all of them
// together needs one too, as many may come at once. Up to a fair share a
// connection may have what it likes, whatever others do; what goes beyond is taken
// from a budget that all share.

const (
	fairOutput = 256 << 10 // bytes that wait to be sent to a client
	allOutput  = 32 << 20  // at least; it has room for all that is retained, twice

	fairConnect = 4 << 10 // bytes of a CONNECT that is not complete
	allConnects = 16 << 20
)

// A budget is what a fair share does not cover, in bytes, of all connections.
type budget struct {
	most int64
	used atomic.Int64
}

// take takes n bytes if there are so many left.
func (b *budget) take(n int) bool {
	if b.used.Add(int64(n)) > b.most {
		b.give(n)
		return false
	}
	return true
}

func (b *budget) give(n int) { b.used.Add(-int64(n)) }

// mayWaitLocked takes what it needs for size bytes of output to wait.
func (c *conn) mayWaitLocked(size int) bool {
	o := &c.out
	more := size - fairOutput - o.beyond
	if more <= 0 {
		return true
	}
	if !c.b.outputs.take(more) {
		return false
	}
	o.beyond += more
	return true
}

// waitsLessLocked gives back what is not needed any more.
func (c *conn) waitsLessLocked() {
	o := &c.out
	if less := o.beyond - max(o.sizeLocked()-fairOutput, 0); less > 0 {
		o.beyond -= less
		c.b.outputs.give(less)
	}
}

var errConnectsFull = &packet.Error{Code: packet.ServerBusy, Reason: "too many large CONNECT packets are incomplete"}

// incomplete takes what it needs to wait for the rest of a CONNECT. held is what
// it has taken before.
func (c *conn) incomplete(held int) (int, error) {
	more := c.in.n - fairConnect - held
	if more <= 0 {
		return held, nil
	}
	if !c.b.connects.take(more) {
		return held, errConnectsFull
	}
	return held + more, nil
}
