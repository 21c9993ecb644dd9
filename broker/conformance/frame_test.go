package conformance

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Opcodes of WebSocket frames, RFC 6455 section 5.2, with FIN set.
const (
	fText   byte = 0x81
	fBinary byte = 0x82
	fClose  byte = 0x88
	fPing   byte = 0x89
	fPong   byte = 0x8a
	noFIN   byte = 0x80 // to be taken off
	fMore   byte = 0x80 // the last fragment
)

// web is the client's end of a WebSocket. Write sends a binary frame; Read gives
// the payload of the server's and holds it to RFC 6455.
type web struct {
	net.Conn
	w      *world
	in     *bufio.Reader
	unread []byte
	pongs  []string
	status int // of the server's close frame
}

// upgrade opens a connection and asks for WebSocket with these subprotocols.
func (w *world) upgrade(path, protocols string) (*web, *http.Response) {
	nc, err := net.Dial("tcp", w.s.web)
	if err != nil {
		w.fatalf("dial: %v", err)
	}
	w.conns = append(w.conns, nc)
	_ = nc.SetDeadline(time.Now().Add(patience))
	request := "GET " + path + " HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if protocols != "" {
		request += "Sec-WebSocket-Protocol: " + protocols + "\r\n"
	}
	if _, err := io.WriteString(nc, request+"\r\n"); err != nil {
		w.fatalf("write: %v", err)
	}
	c := &web{Conn: nc, w: w, in: bufio.NewReader(nc)}
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		w.fatalf("the answer to the upgrade: %v", err)
	}
	return c, answer
}

// dialWeb opens a WebSocket on which nothing has been sent.
func (w *world) dialWeb() (*client, *web) {
	c, answer := w.upgrade("/mqtt", "mqtt")
	w.check(answer.StatusCode == http.StatusSwitchingProtocols, "the upgrade is answered with %s", answer.Status)
	return &client{w: w, v: w.v, nc: c}, c
}

// frame is a frame of a client, masked.
func frame(first byte, payload []byte) []byte {
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, mask[:]...)
	for i, p := range payload {
		b = append(b, p^mask[i%4])
	}
	return b
}

// raw writes frames in one go.
func (c *web) raw(frames ...[]byte) {
	if _, err := c.Conn.Write(join(frames...)); err != nil {
		c.w.fatalf("write: %v", err)
	}
}

func (c *web) Write(b []byte) (int, error) {
	if _, err := c.Conn.Write(frame(fBinary, b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (c *web) Read(b []byte) (int, error) {
	for len(c.unread) == 0 {
		if err := c.readFrame(); err != nil {
			return 0, err
		}
	}
	n := copy(b, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

func (c *web) readFrame() error {
	var head [2]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return err
	}
	c.w.check(c.status == 0, "a frame follows the close frame")
	c.w.check(head[1]&0x80 == 0, "a frame of the server is masked")
	size := uint64(head[1])
	switch size {
	case 126:
		var b [2]byte
		_, _ = io.ReadFull(c.in, b[:])
		size = uint64(binary.BigEndian.Uint16(b[:]))
		c.w.check(size >= 126, "the length %d takes more bytes than it has to", size)
	case 127:
		var b [8]byte
		_, _ = io.ReadFull(c.in, b[:])
		size = binary.BigEndian.Uint64(b[:])
		c.w.check(size >= 1<<16 && size < 1<<24, "a frame of %d bytes", size)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(c.in, payload); err != nil {
		return fmt.Errorf("in a frame: %w", err)
	}
	switch head[0] {
	case fBinary:
		c.unread = payload
	case fPong:
		c.pongs = append(c.pongs, string(payload))
	case fClose:
		c.w.check(len(payload) >= 2, "a close frame without a status")
		c.status = int(binary.BigEndian.Uint16(payload))
	default: // [MQTT-6.0.0-1]; the server does not fragment
		c.w.fatalf("a frame that begins with 0x%02X", head[0])
	}
	return nil
}

// wantClose reads the server's close frame and the end of the connection.
func (c *web) wantClose(status int) {
	for {
		err := c.readFrame()
		c.w.check(err != nil || len(c.unread) == 0, "% x, want a close frame", c.unread)
		if err != nil {
			c.w.check(c.status == status, "closed with status %d (%v), want %d", c.status, err, status)
			return
		}
	}
}
