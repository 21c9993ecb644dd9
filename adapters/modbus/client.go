package modbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/adapters"
)

// How a request fails, beside an Exception and what ends the link.
var errNoAnswer = errors.New("no answer")

const (
	// pause within a reply after which nothing more of it comes. USB adapters
	// hand over what they have every 16 ms.
	pause = 50 * time.Millisecond

	// maxInput is what is kept of what nobody has asked for.
	maxInput = 4 << 10

	// writeTimeout is for a line or connection that takes nothing.
	writeTimeout = 2 * time.Second
)

// lineCounters of all lives of a line. Any goroutine.
type lineCounters struct {
	bytes, replies, crc, garbled, stale, discarded atomic.Uint64
	timeouts, exceptions                           atomic.Uint64
	lastReply                                      atomic.Int64 // Unix nanoseconds, 0: none yet
}

// client is one life of a line or connection: it asks, and waits for the
// answer, one request at a time. One goroutine is in read, one calls do.
type client struct {
	link    adapters.Link
	wire    wire
	timing  timing
	timeout time.Duration
	c       *lineCounters
	recent  *adapters.Recent // nil: none

	id    uint16    // of the last request
	quiet time.Time // the line is quiet from then on, as far as we write
	out   []byte

	unanswered int // requests since the last reply

	damaged []byte // what came in place of the last reply

	wake chan struct{} // one slot: in has changed
	gone chan struct{} // closed when read returns

	mu   sync.Mutex
	in   []byte
	last time.Time // when the last of it came
	err  error     // why read has returned
}

func newClient(link adapters.Link, w wire, t timing, timeout time.Duration, c *lineCounters) *client {
	return &client{link: link, wire: w, timing: t, timeout: timeout, c: c,
		wake: make(chan struct{}, 1), gone: make(chan struct{})}
}

// read takes in what comes until the link has ended. It reads all the time, so
// that it is noticed when a port or connection goes, and that what comes late
// is old when the next request is sent.
func (c *client) read() {
	defer close(c.gone)
	buf := make([]byte, 512)
	for {
		n, err := c.link.Read(buf)
		c.mu.Lock()
		if n > 0 {
			c.c.bytes.Add(uint64(n))
			if len(c.in)+n > maxInput { // nobody is listening, or it is no Modbus
				c.c.discarded.Add(uint64(len(c.in)))
				c.in = c.in[:0]
			}
			c.in = append(c.in, buf[:n]...)
			c.last = time.Now()
		}
		c.err = err
		c.mu.Unlock()
		select {
		case c.wake <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// ended is why the link has ended; nil while it has not.
func (c *client) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// ask is do, again if the answer was damaged.
func (c *client) ask(ctx context.Context, unit byte, request []byte) ([]byte, error) {
	data, err := c.do(ctx, unit, request)
	var bad garbled
	if errors.As(err, &bad) {
		return c.do(ctx, unit, request)
	}
	return data, err
}

// do sends a request and gives the data of its reply, which is valid until the
// next. The error is errNoAnswer, garbled, an Exception, or what has ended the
// link or ctx.
func (c *client) do(ctx context.Context, unit byte, request []byte) ([]byte, error) {
	var reply []byte
	err := c.send(ctx, unit, request)
	if err == nil {
		reply, err = c.await(ctx, unit, request)
	}
	switch bad := (garbled{}); {
	case errors.As(err, &bad) && bad.crc:
		c.c.crc.Add(1)
	case errors.As(err, &bad):
		c.c.garbled.Add(1)
	case errors.Is(err, errNoAnswer):
		c.c.timeouts.Add(1)
		c.unanswered++
	}
	now, name := time.Now(), fmt.Sprint("unit ", unit)
	if err != nil {
		if silence(err) {
			c.recent.Wrong(now, name, c.damaged, err.Error())
		}
		c.damaged = c.damaged[:0]
		return nil, err
	}
	c.unanswered = 0
	c.c.replies.Add(1)
	c.c.lastReply.Store(now.UnixNano())
	data, err := checkReply(request, reply)
	if err != nil {
		c.c.exceptions.Add(1)
		c.recent.Wrong(now, name, reply, err.Error())
	} else {
		c.recent.Frame(now, name, reply, "")
	}
	return data, err
}

// send waits for the line to be quiet, drops what has come until then, and
// writes the request.
func (c *client) send(ctx context.Context, unit byte, request []byte) error {
	if err := c.awaitQuiet(ctx); err != nil {
		return err
	}
	c.id++
	c.out = c.wire.appendFrame(c.out[:0], c.id, unit, request)
	if err := c.link.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := c.link.Write(c.out); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	c.quiet = time.Now().Add(c.timing.sending(len(c.out)) + c.timing.silence)
	return nil
}

// awaitQuiet returns when both sides have been silent for long enough. A line
// that never is would hold all units up for ever, so that is an error.
func (c *client) awaitQuiet(ctx context.Context) error {
	latest := time.Now().Add(c.timing.sending(2*maxPDU) + c.timeout)
	for {
		c.mu.Lock()
		err, free := c.err, c.last.Add(c.timing.silence)
		if c.quiet.After(free) {
			free = c.quiet
		}
		wait := time.Until(free)
		if wait <= 0 {
			c.dropLocked()
		}
		c.mu.Unlock()
		switch {
		case err != nil || wait <= 0:
			return err
		case time.Now().After(latest):
			return garbled{why: "the line is never quiet: its baud and mode are others, or something else sends on it"}
		}
		if err := c.sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// dropLocked drops what has come and belongs to nothing.
func (c *client) dropLocked() {
	if len(c.in) == 0 || c.wire.framed() {
		return
	}
	_, stale := staleFrames(c.in)
	c.c.stale.Add(uint64(stale))
	c.c.discarded.Add(uint64(len(c.in)))
	c.in = c.in[:0]
}

// await waits for the reply. The timeout is that of the unit: what the
// characters take on the line comes on top.
func (c *client) await(ctx context.Context, unit byte, request []byte) ([]byte, error) {
	length := replyLength(request) + rtuOverhead
	deadline := time.Now().Add(c.timing.sending(len(c.out)) + c.timeout)
	latest := deadline.Add(c.timing.sending(length) + pause)
	for over := false; ; {
		reply, left, err := c.look(unit, request)
		if reply != nil || err != nil {
			return reply, err
		}
		if over {
			return nil, c.fail()
		}
		until := deadline
		switch {
		case c.wire.framed():
		case left >= length:
			until = time.Now().Add(pause) // all that comes has come
			if latest.Before(until) {
				until = latest
			}
		case left > 0:
			until = latest
		}
		if over, err = c.awaitInput(ctx, time.Until(until)); err != nil {
			return nil, err
		}
	}
}

// look looks for the reply in what has come, and says how much is left of it.
func (c *client) look(unit byte, request []byte) (reply []byte, left int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	reply, used, stale, err := c.wire.find(c.in, c.id, unit, request)
	c.c.stale.Add(uint64(stale))
	reply = append([]byte(nil), reply...) // else the next read would overwrite it
	c.in = append(c.in[:0], c.in[used:]...)
	if reply == nil && err == nil {
		err = c.err
	}
	return reply, len(c.in), err
}

// fail says what it means that no more comes than what has.
func (c *client) fail() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.in)
	if c.wire.framed() {
		return errNoAnswer
	}
	c.damaged = append(c.damaged[:0], c.in...)
	c.dropLocked()
	if n < rtuOverhead+exceptionLength { // a glitch, shorter than any reply
		return errNoAnswer
	}
	return garbled{why: fmt.Sprintf("the reply is damaged: %d bytes without a checksum that fits", n), crc: true}
}

// sleep waits for d, or until the link or ctx has ended.
func (c *client) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.gone:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// awaitInput waits until something has come or the link has ended; over is true
// when d has passed without.
func (c *client) awaitInput(ctx context.Context, d time.Duration) (over bool, err error) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true, nil
	case <-c.wake:
	case <-c.gone:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return false, nil
}
