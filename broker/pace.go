package broker

import (
	"errors"
	"os"
	"time"

	"packetboat/broker/packet"
)

// pace holds a client to Options.MessagesPerSecond and BytesPerSecond. A PUBLISH
// beyond them is neither dropped nor refused: it waits in the input, and with
// it, in order, what the client sent after it.
//
//	reading ──PUBLISH beyond the limit──► held ──its time has come──► reading
//	                                      │  ▲
//	                                      └──┘ acknowledgements and PINGREQ behind
//	                                           it are taken and removed
//
// Without the latter a client that publishes too fast would stall what it
// receives, and its keep alive. They may be taken out of order: they are about
// what we have sent, or about publishes that were answered before
// [MQTT-4.6.0-1 to 4]. SUBSCRIBE, UNSUBSCRIBE and DISCONNECT stay in their places.
//
// While holdMost bytes are held the client is not read, so that TCP slows it
// down; that is all the memory it costs. It belongs to the reader.
type pace struct {
	perMessage time.Duration // 0: no limit
	perByte    float64       // nanoseconds; 0: no limit

	free time.Time // when all that was taken is paid for; in the past: nothing owed
	held bool      // the input begins with a PUBLISH whose time has not come
	seen int       // bytes of the input that were looked through while held
	err  error     // of a read while held: it comes when the rest has been taken
}

const (
	// holdMost is how much may be held before the client is not read any more.
	holdMost = readBufferSize
	// burst is for how long a client may have sent nothing and make up for that.
	burst = time.Second
	// restMin is the shortest wait: some publishes at a time are taken then,
	// instead of one for each wake-up.
	restMin = 20 * time.Millisecond
)

// paceLimits are what a client may send in a second; 0: no limit.
type paceLimits struct {
	messages int
	bytes    int64
}

// SetPace changes Options.MessagesPerSecond and BytesPerSecond for connections that
// are made from now on.
func (b *Broker) SetPace(messages int, bytes int64) { b.pace.Store(&paceLimits{messages, bytes}) }

func newPace(l *paceLimits) *pace {
	if l.messages == 0 && l.bytes == 0 {
		return nil
	}
	p := &pace{}
	if l.messages > 0 {
		p.perMessage = time.Second / time.Duration(l.messages)
	}
	if l.bytes > 0 {
		p.perByte = float64(time.Second) / float64(l.bytes)
	}
	return p
}

// take takes a PUBLISH of so many bytes, or holds it. One that is larger than
// what may come in a second is taken when nothing is owed for the last one, and
// paid for afterwards.
func (p *pace) take(size int) bool {
	if p == nil {
		return true
	}
	now := time.Now()
	if p.free.Before(now) {
		p.free = now
	}
	cost := max(p.perMessage, time.Duration(p.perByte*float64(size)))
	if p.free.Sub(now)+min(cost, burst) > burst {
		p.held, p.seen = true, 0
		return false
	}
	p.free = p.free.Add(cost)
	return true
}

// due is when the held PUBLISH of so many bytes may be taken.
func (p *pace) due(size int) time.Time {
	cost := max(p.perMessage, time.Duration(p.perByte*float64(size)))
	return p.free.Add(min(cost, burst) - burst)
}

// pass takes, of what stands behind the held PUBLISH, the acknowledgements and
// pings.
func (c *conn) pass() error {
	in, p := &c.in, c.pace
	b := in.b.b[:in.n]
	at, keep := p.seen, p.seen
	next := c.nextPacket()
	for {
		typ, flags, body, n, err := next(b[at:], c.b.opt.MaxPacketSize)
		if err != nil {
			p.err = err // what stands before it was right
			break
		}
		if n == 0 {
			break
		}
		switch typ {
		case packet.PUBACK, packet.PUBREC, packet.PUBREL, packet.PUBCOMP, packet.PINGREQ:
			if err := c.handle(typ, flags, body); err != nil {
				return err
			}
		default:
			copy(b[keep:], b[at:at+n])
			keep += n
		}
		at += n
	}
	p.seen = keep
	in.n = keep + copy(b[keep:], b[at:])
	return nil
}

// waitHeld waits until the held PUBLISH may be taken. It reads on meanwhile, as
// long as there is room.
func (c *conn) waitHeld() error {
	in, p := &c.in, c.pace
	defer func() { p.held = false }()
	size, soonest := 0, time.Now().Add(restMin)
	for first := true; ; first = false {
		if in.b == nil {
			in.space() // borrows the buffer again
		}
		if first {
			_, _, _, size, _ = c.nextPacket()(in.b.b[:in.n], c.b.opt.MaxPacketSize)
		}
		before := in.n
		if err := c.pass(); err != nil {
			return err
		}
		if first || in.n != before {
			c.endRound()
		}
		if c.nudged.Load() && c.nudged.Swap(false) {
			if err := c.unpark(); err != nil {
				return err
			}
		}
		until := p.due(size)
		if until.Before(soonest) {
			until = soonest
		}
		if !time.Now().Before(until) {
			return nil
		}
		if err := c.heldRead(until); err != nil {
			return err
		}
	}
}

// heldRead reads until then, or waits when nothing may be read.
func (c *conn) heldRead(until time.Time) error {
	in, p := &c.in, c.pace
	if in.n >= holdMost || p.err != nil {
		in.release()
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.resume: // something may be nudged
		case <-c.stop:
			return errClosed
		}
		return nil
	}
	if err := c.setDeadline(until); err == errClosed {
		return err
	} else if err != nil { // a pipe that the peer has closed
		p.err = err
		return nil
	}
	had := in.n
	if in.b == nil {
		had = len(in.rest)
	}
	err := c.sock.read(in)
	if err == nil {
		c.stats.bytesReceived += uint64(in.n - had)
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		select {
		case <-c.stop:
			return errClosed
		default:
			return nil
		}
	}
	// The peer has sent all that it will. What is held was sent before that.
	p.err = err
	return nil
}
