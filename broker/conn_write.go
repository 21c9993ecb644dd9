package broker

import (
	"sync"
	"time"

	"packetboat/broker/packet"
)

const (
	// pumpRoom is how many bytes may wait for a connection before its durable
	// window stops adding to them.
	pumpRoom = 128 << 10
	// keepOutput is the largest output buffer that goes back to the pool.
	keepOutput = 256 << 10
	// headroom is more than a packet has besides its reason string.
	headroom = 16
	// lastWords is how long a closing connection may take for what it is still
	// to be told.
	lastWords = time.Second
)

var outBuffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, 4<<10)} }}

// output is what waits to be sent to one peer. Everybody appends under mu; who
// finds nobody writing takes the whole buffer and writes it outside of the
// lock, and goes on until nothing is left, so packets gather while a write
// runs.
//
// It is bounded: above Options.MaxOutput bytes (waiting, being written and in
// pend) a QoS 0 message for a persistent session is dropped and counted, and a
// connection without one is cut with 0x97; above twice that any is. The budget of
// all connections may be used up before.
type output struct {
	mu       sync.Mutex
	buf      *buffer       // not taken yet; nil when empty
	taken    int           // bytes that a writer has in hand
	writing  bool          // a writer is at it, or a writer goroutine while the socket is blocked
	marked   bool          // somebody will call flush
	beyond   int           // bytes taken from the budget of all
	starved  bool          // the durable window waits for room
	said     bool          // CONNACK with success was appended
	closed   bool          // nothing is appended any more
	broken   bool          // writing failed
	ended    bool          // the reader has ended: nobody writes any more
	finished chan struct{} // closed when the writer that end waits for is through

	window liveWindow // QoS 1 and 2 of a connection without a durable session
	pend   pend       // ... that wait for room in window
	shares shares     // ... that came by shared subscriptions and are in flight

	aliasMax int      // topic aliases that the client takes; constant once attached
	aliases  *aliases // nil: none given yet

	answers answers
	sent    sentStats // not yet in the counters
	traffic traffic
}

// size is how many bytes wait.
func (o *output) sizeLocked() int {
	n := o.taken + o.pend.size()
	if o.buf != nil {
		n += len(o.buf.b)
	}
	return n
}

// begin returns the buffer to append to; end gives it back.
func (o *output) beginLocked() []byte {
	if o.buf == nil {
		o.buf = outBuffers.Get().(*buffer)
	}
	return o.buf.b
}

func (o *output) endLocked(b []byte) { o.buf.b = b }

// trimLocked gives an empty buffer back.
func (o *output) trimLocked() {
	if o.buf != nil && len(o.buf.b) == 0 {
		outBuffers.Put(o.buf)
		o.buf = nil
	}
}

// flush writes what waits, as far as the socket takes it. A blocked socket
// gets a goroutine that ends when everything is written.
func (c *conn) flush() {
	c.out.mu.Lock()
	c.flushAndUnlock()
}

// flushAndUnlock is flush by who holds the output's lock, and gives it back.
func (c *conn) flushAndUnlock() {
	o := &c.out
	o.marked = false
	if o.writing || o.ended {
		// Answers have no bound of their own: a client that goes on sending and
		// reads nothing ends here.
		size := o.sizeLocked()
		flooded := o.writing && !o.closed && (size > 2*c.b.opt.MaxOutput || !c.mayWaitLocked(size))
		o.mu.Unlock()
		if flooded && c.shutdownFor(packet.QuotaExceeded, "too much waits to be read") {
			c.b.stats.cut.Add(1)
		}
		return
	}
	for o.buf != nil && !o.broken {
		b := c.takeLocked()
		o.mu.Unlock()
		n, err := c.sock.tryWrite(b.b)
		o.mu.Lock()
		if err == errBlocking {
			o.mu.Unlock()
			go c.drain(b, n) // end waits for it
			return
		}
		c.wroteLocked(b, err)
	}
	c.idleLocked()
	o.mu.Unlock()
}

// drain is the writer goroutine of a blocked socket: n bytes of b are written
// already, it goes on until nothing waits.
func (c *conn) drain(b *buffer, n int) {
	o := &c.out
	for {
		_, err := c.sock.conn.Write(b.b[n:])
		o.mu.Lock()
		c.wroteLocked(b, err)
		if o.buf == nil || o.broken {
			c.idleLocked()
			o.mu.Unlock()
			return
		}
		b, n = c.takeLocked(), 0
		o.mu.Unlock()
	}
}

func (c *conn) takeLocked() *buffer {
	o := &c.out
	b := o.buf
	o.buf, o.writing, o.taken = nil, true, len(b.b)
	o.traffic.messagesOut += o.sent.publishes
	o.traffic.bytesOut += uint64(len(b.b))
	c.b.stats.addSent(&o.sent, len(b.b))
	return b
}

func (c *conn) wroteLocked(b *buffer, err error) {
	o := &c.out
	o.taken = 0
	c.waitsLessLocked()
	if err != nil {
		o.broken = true
		c.closeLocked()
		_ = c.sock.conn.SetReadDeadline(past)
	}
	if cap(b.b) <= keepOutput {
		b.b = b.b[:0]
		outBuffers.Put(b)
	}
}

// idleLocked ends the role of the writer.
func (c *conn) idleLocked() {
	o := &c.out
	o.writing = false
	if o.finished != nil {
		close(o.finished)
		o.finished = nil
	}
	if o.starved && !o.closed {
		o.starved = false
		c.b.flushers.push(c, workPump)
	}
}

func (c *conn) closeLocked() {
	if !c.out.closed {
		c.out.closed = true
		close(c.stop)
	}
}

// shutdown ends the connection from any goroutine: nothing is appended any
// more, an MQTT 5.0 client is told why (code at least 0x80, unless it has not
// been accepted yet), and the reader ends. Only the first call does anything.
func (c *conn) shutdown(code byte) { _ = c.shutdownFor(code, "") }

// shutdownFor is shutdown with a reason string, if that is not too large for the
// client [MQTT-3.14.2-3]. It reports whether this was the first call.
func (c *conn) shutdownFor(code byte, reason string) bool {
	o := &c.out
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return false
	}
	c.code = code
	c.closeLocked()
	if o.said && c.version == packet.V5 && code >= packet.UnspecifiedError { // [MQTT-3.14.0-1]
		d := packet.Disconnect{Code: code}
		if c.maxPacket == 0 || len(reason)+headroom <= c.maxPacket {
			d.ReasonString = reason
		}
		o.endLocked(packet.AppendDisconnect(o.beginLocked(), packet.V5, &d))
		o.sent.packets++
	}
	o.mu.Unlock()
	_ = c.sock.conn.SetWriteDeadline(time.Now().Add(lastWords))
	c.flush()
	_ = c.sock.conn.SetReadDeadline(past)
	return true
}

// end waits for the last write and lets none begin after it. The reader calls
// it when it has ended, after shutdown.
func (c *conn) end() {
	o := &c.out
	o.mu.Lock()
	o.ended = true
	var finished chan struct{}
	if o.writing {
		finished = make(chan struct{})
		o.finished = finished
	}
	o.mu.Unlock()
	if finished != nil {
		<-finished
	}
	o.mu.Lock()
	c.b.outputs.give(o.beyond)
	o.beyond = 0
	o.mu.Unlock()
}

var past = time.Unix(1, 0)

// fifo is a queue of bytes. Its owner bounds it.
type fifo struct {
	b    []byte
	head int
}

func (f *fifo) size() int { return len(f.b) - f.head }

func (f *fifo) push(b []byte) {
	if f.head > 4<<10 && f.head > len(f.b)/2 {
		f.b = f.b[:copy(f.b, f.b[f.head:])]
		f.head = 0
	}
	f.b = append(f.b, b...)
}

// peek returns everything; drop removes the first n bytes.
func (f *fifo) peek() []byte { return f.b[f.head:] }

func (f *fifo) drop(n int) {
	if f.head += n; f.head == len(f.b) {
		if cap(f.b) > keepOutput {
			f.b = nil
		}
		f.b, f.head = f.b[:0], 0
	}
}
