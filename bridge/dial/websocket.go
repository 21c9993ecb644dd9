package dial

import (
	cryptorand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

const (
	// maxKept is how large a buffer is kept for the next Write.
	maxKept = 64 << 10
	// parting is how long Close waits for the close frame to leave.
	parting = time.Second
)

// webSocket is a client's connection whose stream is carried in binary frames.
//
// Read gives the payload, however it is cut into frames, and answers pings and
// the close frame; io.EOF, or an error that is it, is the end that a close frame
// makes. Write sends one frame, with one Write of what is below; the caller
// gathers what is to go together. A Read with a ping to answer waits for the
// Write in progress; when that is stuck, its deadline or Close ends both.
type webSocket struct {
	net.Conn

	// The reader's.
	early []byte // came right behind the answer to the upgrade
	in    frames

	mu    sync.Mutex // one frame at a time; guards the rest
	out   []byte
	masks *rand.ChaCha8
	ended error // why nothing can be written any more
}

func newWebSocket(conn net.Conn) *webSocket {
	var seed [32]byte
	_, _ = cryptorand.Read(seed[:]) // it never fails
	c := &webSocket{Conn: conn, masks: rand.NewChaCha8(seed)}
	c.in.control = c.answer
	return c
}

// Read waits for payload.
func (c *webSocket) Read(b []byte) (int, error) {
	for len(b) > 0 {
		if c.in.err != nil {
			return 0, c.in.err
		}
		n, err := c.take(b)
		n = c.in.decode(b[:n])
		if c.in.err != nil {
			c.complain()
		}
		switch {
		case n > 0: // the error comes again
			return n, nil
		case c.in.err != nil:
		case err == io.EOF && !c.in.whole():
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		}
	}
	return 0, nil
}

// complain tells the server what it did against the protocol.
func (c *webSocket) complain() {
	var bad *breach
	if errors.As(c.in.err, &bad) {
		c.part(bad.status)
	}
}

// take gets the next piece of the stream.
func (c *webSocket) take(b []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.early)
	if c.early = c.early[n:]; len(c.early) == 0 {
		c.early = nil
	}
	return n, nil
}

// answer acts on the server's control frames.
func (c *webSocket) answer(op ws.OpCode, payload []byte) error {
	switch op {
	case ws.OpPing:
		c.mu.Lock()
		defer c.mu.Unlock()
		if _, err := c.writeLocked(ws.OpPong, payload); err != nil {
			return fmt.Errorf("answer a ping: %w", err)
		}
	case ws.OpClose:
		status, err := closed(payload)
		if status != 0 {
			c.part(status)
		}
		return err
	}
	return nil
}

// Write sends b as one frame.
func (c *webSocket) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writeLocked(ws.OpBinary, b)
}

// writeLocked sends a frame and returns how much of its payload has left. A
// frame that did not leave whole was the last.
func (c *webSocket) writeLocked(op ws.OpCode, payload []byte) (int, error) {
	if c.ended != nil {
		return 0, c.ended
	}
	var mask [maskSize]byte
	binary.LittleEndian.PutUint32(mask[:], uint32(c.masks.Uint64()))
	frame := appendFrame(c.out[:0], op, mask, payload)
	if c.out = frame; cap(frame) > maxKept {
		c.out = nil
	}
	n, err := c.Conn.Write(frame)
	if err != nil && n > 0 {
		c.ended = err
	}
	return max(0, n-(len(frame)-len(payload))), err
}

// part sends a close frame, behind which nothing may follow: RFC 6455 section
// 5.5.1.
func (c *webSocket) part(status ws.StatusCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.partLocked(status)
}

func (c *webSocket) partLocked(status ws.StatusCode) {
	if c.ended != nil {
		return
	}
	var payload [statusBytes]byte
	binary.BigEndian.PutUint16(payload[:], uint16(status))
	// Where it does not arrive, the connection is broken, which the reader learns.
	_, _ = c.writeLocked(ws.OpClose, payload[:])
	c.ended = net.ErrClosed
}

// Close takes leave of the server, unless a Write is stuck, and does not wait
// for its answer.
func (c *webSocket) Close() error {
	if c.mu.TryLock() {
		_ = c.Conn.SetWriteDeadline(time.Now().Add(parting)) // if it is closed already, nothing is sent
		c.partLocked(ws.StatusNormalClosure)
		c.mu.Unlock()
	}
	return c.Conn.Close()
}
