package dial

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/gobwas/ws"
)

// A frame of a server, RFC 6455 section 5.2. A client's has MASK set, and four
// bytes of mask before the payload.
//
//	FIN 1 bit, RSV 3, opcode 4 | MASK 1, length 7 | length 0, 2 or 8 bytes | payload
const (
	finBit      = 0x80
	rsvBits     = 0x70
	maskBit     = 0x80
	length16    = 126 // in place of the length: two bytes of it follow
	length64    = 127 // ... eight
	maxHead     = 10  // without a mask
	maskSize    = 4
	maxControl  = 125 // payload of a control frame
	statusBytes = 2
)

// breach is what the server did against the protocol, and the status that it
// is told.
type breach struct {
	status ws.StatusCode
	what   string
}

// Error says what it did.
func (e *breach) Error() string { return "WebSocket: the server sends " + e.what }

// frames takes a server's stream of frames apart, in pieces as they come. It
// needs no buffer: payload is moved to the beginning of the piece that it came
// in, over the headers.
type frames struct {
	// control acts on a control frame; payload is valid until it returns. Its
	// error ends the stream.
	control func(op ws.OpCode, payload []byte) error

	err error // why the stream has ended; nothing is taken any more

	head   [maxHead]byte // the beginning of a header
	headed int           // bytes of it

	op     ws.OpCode
	left   uint64           // payload that is to come of this frame; 0: a header is to come
	inside bool             // a message has begun; its last frame has not
	held   [maxControl]byte // payload of a control frame
	holds  int
}

// decode takes the next piece of the stream, and moves what there is of MQTT in
// it to its beginning: b[:n].
func (f *frames) decode(b []byte) (n int) {
	for rest := b; len(rest) > 0 && f.err == nil; {
		if f.left == 0 {
			rest = rest[f.header(rest):]
			continue
		}
		part := rest[:min(uint64(len(rest)), f.left)]
		rest = rest[len(part):]
		f.left -= uint64(len(part))
		if !f.op.IsControl() {
			n += copy(b[n:], part)
			continue
		}
		f.holds += copy(f.held[f.holds:], part)
		if f.left == 0 {
			f.endControl()
		}
	}
	return n
}

// header takes the bytes of a header, or of its beginning when b has no more.
func (f *frames) header(b []byte) (n int) {
	for _, x := range b {
		f.head[f.headed] = x
		f.headed++
		n++
		if f.headed >= 2 && f.headed == 2+lengthBytes(f.head[1]) {
			f.begin(f.head[:f.headed])
			f.headed = 0
			break
		}
	}
	return n
}

// lengthBytes is how many bytes of length follow the second byte of a header.
func lengthBytes(second byte) int {
	switch second &^ maskBit {
	case length16:
		return 2
	case length64:
		return 8
	}
	return 0
}

// begin begins the frame with that header.
func (f *frames) begin(head []byte) {
	fin := head[0]&finBit != 0
	f.op = ws.OpCode(head[0] & 0x0f)
	switch more := head[2:]; len(more) {
	case 2:
		f.left = uint64(binary.BigEndian.Uint16(more))
	case 8:
		f.left = binary.BigEndian.Uint64(more)
	default:
		f.left = uint64(head[1] &^ maskBit)
	}
	switch {
	case head[0]&rsvBits != 0:
		f.fail(ws.StatusProtocolError, "a frame with reserved bits, of an extension that was not agreed on")
	case head[1]&maskBit != 0:
		f.fail(ws.StatusProtocolError, "a masked frame") // RFC 6455 section 5.1
	case f.left>>63 != 0:
		f.fail(ws.StatusProtocolError, "a frame that is too long")
	case f.op == ws.OpClose || f.op == ws.OpPing || f.op == ws.OpPong:
		f.beginControl(fin)
	case f.op == ws.OpText:
		f.fail(ws.StatusUnsupportedData, "a text frame; MQTT is in binary frames") // [MQTT-6.0.0-1]
	case f.op == ws.OpBinary && !f.inside, f.op == ws.OpContinuation && f.inside:
		f.inside = !fin
	default:
		f.fail(ws.StatusProtocolError, fmt.Sprintf("a frame with opcode %d where it must not", f.op))
	}
}

func (f *frames) beginControl(fin bool) {
	f.holds = 0
	switch {
	case !fin || f.left > maxControl:
		f.fail(ws.StatusProtocolError, "a control frame that is too long or in fragments") // RFC 6455 section 5.5
	case f.left == 0:
		f.endControl()
	}
}

func (f *frames) endControl() { f.err = f.control(f.op, f.held[:f.holds]) }

func (f *frames) fail(status ws.StatusCode, what string) { f.err = &breach{status, what} }

// whole reports whether the stream may end here.
func (f *frames) whole() bool { return f.headed == 0 && f.left == 0 && !f.inside }

// closed is the end of a stream by a close frame, and the status for the answer.
// A server that does not close because it is done says why.
func closed(payload []byte) (ws.StatusCode, error) {
	if len(payload) == 0 {
		return ws.StatusNormalClosure, io.EOF
	}
	status, reason := ws.ParseCloseFrameData(payload)
	if err := ws.CheckCloseFrameData(status, reason); err != nil {
		return 0, &breach{ws.StatusProtocolError, "a close frame that is none: " + err.Error()}
	}
	if status == ws.StatusNormalClosure || status == ws.StatusGoingAway {
		return status, io.EOF
	}
	return status, fmt.Errorf("the server closes the WebSocket with status %d %q: %w", status, reason, io.EOF)
}

// appendFrame appends a client's frame.
func appendFrame(b []byte, op ws.OpCode, mask [maskSize]byte, payload []byte) []byte {
	b = append(b, finBit|byte(op))
	switch n := len(payload); {
	case n < length16:
		b = append(b, maskBit|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, maskBit|length16), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, maskBit|length64), uint64(n))
	}
	b = append(b, mask[:]...)
	at := len(b)
	b = append(b, payload...)
	ws.Cipher(b[at:], mask, 0)
	return b
}
