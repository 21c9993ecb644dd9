package bridge

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/broker/packet"
)

// link is the buffered network connection that the pump and paho share.
//
// Writing never blocks: whole packets are appended to a buffer, and the pump
// (the only one that writes to the socket) takes what has gathered, so that
// one system call carries many packets. paho brackets each packet with Lock
// and Unlock (packets.ControlPacket.WriteTo looks for a sync.Locker), which is
// what keeps packets whole here.
//
// The buffer needs no bound of its own: what goes into it is bounded by its
// writers (answers by the receive maximum, paho's own packets by their
// nature, direct QoS 0 by liveBound).
type link struct {
	raw   net.Conn
	kicks chan struct{} // one slot: the pump has something to look at
	began time.Time     // what lastRead and lastWrite are counted from

	mu      sync.Mutex // Lock and Unlock
	pending []byte
	ended   bool // DISCONNECT is in pending: nothing may follow [MQTT-3.14.4-1]

	// The reader's own.
	in       []byte
	from, to int
	through  int // bytes of the packet that is being read by the reader's caller

	// patience is how long more of what was read last may gather, without a wake-up of
	// the pump for it. The reader's own.
	patience time.Duration
	soon     atomic.Bool // the pump is woken within kickDelay

	// acks takes acknowledgements, whole packets, as many as have come together; nil:
	// they are read like all others. Set before the first Read.
	acks func(packets []byte)

	lastRead, lastWrite atomic.Int64 // ns since began
	count               *counters

	cause     atomic.Pointer[error] // why the link ended: the first reason counts
	closing   chan struct{}         // closed by Close and fail
	closeOnce sync.Once
	flushed   chan struct{} // closed when the pump has ended
}

const (
	readBuffer = 16 << 10
	// linger is how long Close waits for the last packets to be written.
	linger = time.Second
)

var errLinkClosed = errors.New("connection closed")

func newLink(raw net.Conn, count *counters) *link {
	return &link{
		raw: raw, count: count, began: time.Now(),
		kicks: make(chan struct{}, 1), closing: make(chan struct{}), flushed: make(chan struct{}),
		in: make([]byte, readBuffer),
	}
}

// kick wakes the pump. It never blocks.
func (l *link) kick() {
	select {
	case l.kicks <- struct{}{}:
	default:
	}
}

// kickDelay is how long the pump may sleep on with work to do.
const kickDelay = time.Millisecond

// kickSoon wakes the pump within kickDelay.
func (l *link) kickSoon() {
	if l.soon.CompareAndSwap(false, true) {
		time.AfterFunc(kickDelay, func() {
			l.soon.Store(false)
			l.kick()
		})
	}
}

func (l *link) Lock() { l.mu.Lock() }

func (l *link) Unlock() {
	l.mu.Unlock()
	l.kick()
}

// Write appends a part of a packet; the caller holds the lock. Its signature
// is io.Writer's; use append for own packets.
func (l *link) Write(p []byte) (int, error) {
	if l.isClosed() {
		return 0, errLinkClosed
	}
	if !l.ended {
		l.pending = append(l.pending, p...)
	}
	return len(p), nil
}

// append lets f append whole packets, unless the link takes no more.
func (l *link) append(f func(dst []byte) []byte) {
	l.Lock()
	defer l.Unlock()
	if !l.ended {
		l.pending = f(l.pending)
	}
}

// last is append, and afterwards the link takes no more.
func (l *link) last(f func(dst []byte) []byte) {
	l.append(func(dst []byte) []byte {
		dst = f(dst)
		l.ended = true
		return dst
	})
}

// take moves what has gathered to dst. ended tells that it was the last.
func (l *link) take(dst []byte) (_ []byte, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	dst = append(dst, l.pending...)
	l.pending = l.pending[:0]
	return dst, l.ended
}

// buffered is how much waits for the pump.
func (l *link) buffered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending)
}

// write puts b on the wire. Only the pump calls it.
func (l *link) write(b []byte) error {
	n, err := l.raw.Write(b)
	l.count.bytesOut.Add(uint64(n))
	l.lastWrite.Store(int64(time.Since(l.began)))
	if err != nil {
		l.fail(err)
	}
	return err
}

// Read reads from the network, in large pieces. When all that had arrived is
// consumed, the pump is woken once for everything that the packets brought:
// room in the window, answers.
//
// Acknowledgements do not come out of it when acks is set: they are by far the most
// packets, and are handed over in batches.
func (l *link) Read(p []byte) (int, error) {
	for {
		if l.acks != nil && l.through == 0 {
			if err := l.nextPacket(); err != nil {
				return 0, err
			}
		}
		if l.from < l.to {
			break
		}
		if err := l.more(); err != nil {
			return 0, err
		}
	}
	n := l.to - l.from
	if l.acks != nil {
		n = min(n, l.through)
	}
	n = copy(p, l.in[l.from:l.from+n])
	l.from += n
	if l.acks != nil {
		l.through -= n
	}
	return n, nil
}

// more reads from the network, behind what is there.
func (l *link) more() error {
	if l.from == l.to {
		l.from, l.to = 0, 0
	} else if l.to == len(l.in) {
		l.to = copy(l.in, l.in[l.from:l.to])
		l.from = 0
	}
	if l.patience > 0 {
		l.kickSoon()
		time.Sleep(l.patience) // kickDelay at most: too short for Close and deadlines to matter
	} else {
		l.kick()
	}
	l.patience = 0
	n, err := l.raw.Read(l.in[l.to:])
	if n == 0 && err != nil {
		l.fail(err)
		return err
	}
	l.to += n
	l.count.bytesIn.Add(uint64(n))
	l.lastRead.Store(int64(time.Since(l.began)))
	return nil
}

// nextPacket hands over the acknowledgements at the head of what was read, and finds
// the length of the packet behind them, which is read by others.
func (l *link) nextPacket() error {
	for {
		n := ackBytes(l.in[l.from:l.to])
		if n > 0 {
			l.acks(l.in[l.from : l.from+n])
			l.from += n
		}
		head := l.in[l.from:l.to]
		length, known := packetLength(head)
		isAck := len(head) > 0 && isAckType(head[0]>>4)
		if known && !(isAck && length <= len(l.in)) {
			l.through = length
			return nil
		}
		if err := l.more(); err != nil {
			return err
		}
	}
}

func isAckType(typ byte) bool {
	return typ == packet.PUBACK || typ == packet.PUBREC || typ == packet.PUBREL || typ == packet.PUBCOMP
}

// ackBytes is how long the whole acknowledgements at the head of b are.
func ackBytes(b []byte) (n int) {
	for n < len(b) && isAckType(b[n]>>4) {
		length, known := packetLength(b[n:])
		if !known || length > len(b)-n {
			break
		}
		n += length
	}
	return n
}

// packetLength is that of the packet at the head of b, which need not be whole, once
// it can be told. A length that is malformed [MQTT-1.5.5-1] counts as the bytes that
// say so: whoever reads it finds out.
func packetLength(b []byte) (length int, known bool) {
	rest := 0
	for i := 1; i < len(b); i++ {
		rest |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			return 1 + i + rest, true
		}
		if i == 4 {
			return 1 + i, true
		}
	}
	return 0, false
}

// fail ends the link at once, for a reason. Any goroutine, any number of
// times.
func (l *link) fail(err error) {
	l.cause.CompareAndSwap(nil, &err)
	l.closeOnce.Do(func() { close(l.closing) })
	_ = l.raw.Close() // its error would say no more than the reason does
}

// Close ends the link after what has been written before, as far as the peer
// takes it within a second.
func (l *link) Close() error {
	err := errLinkClosed
	l.cause.CompareAndSwap(nil, &err)
	l.closeOnce.Do(func() {
		_ = l.raw.SetWriteDeadline(time.Now().Add(linger))
		close(l.closing)
		l.kick()
	})
	<-l.flushed
	return l.raw.Close()
}

func (l *link) isClosed() bool {
	select {
	case <-l.closing:
		return true
	default:
		return false
	}
}

// err is why the link ended, errLinkClosed when it was closed for no reason of
// its own, nil while it is up.
func (l *link) err() error {
	if p := l.cause.Load(); p != nil {
		return *p
	}
	return nil
}

func (l *link) idle(of *atomic.Int64) time.Duration {
	return time.Since(l.began) - time.Duration(of.Load())
}

// The rest of net.Conn.

func (l *link) LocalAddr() net.Addr                { return l.raw.LocalAddr() }
func (l *link) RemoteAddr() net.Addr               { return l.raw.RemoteAddr() }
func (l *link) SetDeadline(t time.Time) error      { return l.raw.SetDeadline(t) }
func (l *link) SetReadDeadline(t time.Time) error  { return l.raw.SetReadDeadline(t) }
func (l *link) SetWriteDeadline(t time.Time) error { return l.raw.SetWriteDeadline(t) }
