package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/gobwas/ws"
)

// A frame, RFC 6455 section 5.2:
//
//	FIN 1 bit, RSV 3, opcode 4 | MASK 1, length 7 | length 0, 2 or 8 bytes |
//	mask 4 bytes, of a client | payload

const (
	maxHeader  = 14
	maxControl = 125 // bytes of payload of a control frame

	binaryFrame = byte(ws.OpBinary)
	closeFrame  = byte(ws.OpClose)
	pongFrame   = byte(ws.OpPong)

	finBit  = 0x80
	maskBit = 0x80
)

const (
	closeNormal      = uint16(ws.StatusNormalClosure)
	closeProtocol    = uint16(ws.StatusProtocolError)
	closeUnsupported = uint16(ws.StatusUnsupportedData)
)

// A frameError is what the peer did wrong, and the status it is told.
type frameError struct {
	status uint16
	what   string
}

// Error says what was wrong.
func (e *frameError) Error() string { return "WebSocket: " + e.what }

// frames decodes a client's stream of frames where it lies: the payload is
// moved over the headers, so that it needs no buffer of its own. It keeps what
// it has to know between two reads.
//
//	header ──complete──► payload ──complete──► header
//	   └─────── no payload ─────────────────────▲
type frames struct {
	err error // the stream is over

	head [maxHeader]byte
	have int // bytes of head

	op      ws.OpCode
	mask    [4]byte
	left    uint64 // payload that is to come; 0: a header is
	at      int    // position in the payload, modulo 4
	message bool   // a message has begun and is not finished
	control []byte // payload of a control frame
}

// decode takes bytes of the stream and returns how many bytes of MQTT there are
// now at the beginning of b. Control frames are answered.
func (c *Conn) decode(b []byte) (n int) {
	f := &c.frames
	for i := 0; i < len(b) && f.err == nil; {
		if f.left == 0 {
			i += f.header(b[i:])
			if f.err == nil && f.have == 0 && f.left == 0 {
				c.endFrame()
			}
			continue
		}
		k := int(min(f.left, uint64(len(b)-i)))
		part := b[i : i+k]
		ws.Cipher(part, f.mask, f.at)
		f.at = (f.at + k) % 4
		if f.op.IsControl() {
			f.control = append(f.control, part...)
		} else {
			n += copy(b[n:], part)
		}
		i += k
		if f.left -= uint64(k); f.left == 0 {
			c.endFrame()
		}
	}
	var bad *frameError
	if errors.As(f.err, &bad) {
		c.part(bad.status)
	}
	return n
}

// header takes bytes of a header; f.have is 0 when it is complete.
func (f *frames) header(b []byte) (n int) {
	for {
		need := 2
		if f.have >= 2 {
			need += lengthBytes(f.head[1]) + len(f.mask)
		}
		k := copy(f.head[f.have:need], b[n:])
		n += k
		if f.have += k; f.have < need {
			return n
		}
		if need > 2 {
			break
		}
		if f.head[1]&maskBit == 0 {
			f.fail(closeProtocol, "a frame of the client is not masked")
			return n
		}
	}
	f.begin(f.head[:f.have])
	f.have = 0
	return n
}

// lengthBytes is how many bytes the length has beyond b.
func lengthBytes(b byte) int {
	switch b &^ maskBit {
	case 126:
		return 2
	case 127:
		return 8
	}
	return 0
}

// begin begins the frame with that header.
func (f *frames) begin(head []byte) {
	fin, first := head[0]&finBit != 0, head[0]
	f.op, f.at = ws.OpCode(first&0x0f), 0
	switch lengthBytes(head[1]) {
	case 2:
		f.left = uint64(binary.BigEndian.Uint16(head[2:]))
	case 8:
		f.left = binary.BigEndian.Uint64(head[2:])
	default:
		f.left = uint64(head[1] &^ maskBit)
	}
	copy(f.mask[:], head[len(head)-len(f.mask):])
	switch {
	case first&0x70 != 0:
		f.fail(closeProtocol, "reserved bits are set")
	case f.left>>63 != 0:
		f.fail(closeProtocol, "a frame is too long")
	case f.op.IsControl() && (!fin || f.left > maxControl):
		f.fail(closeProtocol, "a control frame is fragmented or too long")
	case f.op == ws.OpClose, f.op == ws.OpPing, f.op == ws.OpPong:
	case f.op == ws.OpText:
		f.fail(closeUnsupported, "a text frame; MQTT is in binary frames") // [MQTT-6.0.0-1]
	case f.op == ws.OpBinary && !f.message, f.op == ws.OpContinuation && f.message:
		f.message = !fin
	default:
		f.fail(closeProtocol, fmt.Sprintf("a frame with opcode %d is out of place", f.op))
	}
}

func (f *frames) fail(status uint16, what string) { f.err = &frameError{status, what} }

// endFrame acts on a complete control frame.
func (c *Conn) endFrame() {
	f := &c.frames
	if !f.op.IsControl() {
		return
	}
	payload := f.control
	f.control = nil
	switch f.op {
	case ws.OpPing:
		if err := c.writeFrame(pongFrame, payload); err != nil {
			f.err = err
		}
	case ws.OpClose:
		status := closeNormal
		if len(payload) > 0 {
			code, reason := ws.ParseCloseFrameData(payload)
			if err := ws.CheckCloseFrameData(code, reason); err != nil {
				f.fail(closeProtocol, err.Error())
				return
			}
			status = uint16(code)
		}
		c.part(status)
		f.err = io.EOF
	}
}

type frameBuffer struct{ b [maxHeader + maxChunk]byte }

var frameBuffers = sync.Pool{New: func() any { return new(frameBuffer) }}

// writeFrame writes one frame, in one piece: the writer's data and the reader's
// pongs come from two goroutines. Nothing follows a close frame, RFC 6455
// section 5.5.1.
func (c *Conn) writeFrame(op byte, payload []byte) error {
	c.framing.Lock()
	defer c.framing.Unlock()
	if c.parted {
		return net.ErrClosed
	}
	c.parted = op == closeFrame
	buf := frameBuffers.Get().(*frameBuffer)
	defer frameBuffers.Put(buf)
	b := append(buf.b[:0], finBit|op)
	if len(payload) <= maxControl {
		b = append(b, byte(len(payload)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(len(payload)))
	}
	_, err := c.below.Write(append(b, payload...))
	return err
}

// part sends the close frame, unless one was sent.
func (c *Conn) part(status uint16) {
	// A broken connection loses it; that it is broken the reader learns.
	_ = c.writeFrame(closeFrame, binary.BigEndian.AppendUint16(nil, status))
}
