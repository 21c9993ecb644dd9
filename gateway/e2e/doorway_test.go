package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"packetboat/broker/transport/certtest"
)

// A doorway is a listener of a gateway.
type doorway struct {
	address  string
	tls, web bool
}

// allDoors are the sections of listeners of all kinds, but the plain one, which
// each gateway has.
func allDoors(t *testing.T) (sections string, doors []doorway) {
	t.Helper()
	cert, key := certtest.SelfSigned("gateway").Files(t.TempDir(), "tls")
	for _, d := range []doorway{{tls: true}, {web: true}, {tls: true, web: true}} {
		d.address = freePort(t)
		sections += fmt.Sprintf("[[listener]]\naddress = %q\n", d.address)
		if d.web {
			sections += "transport = \"websocket\"\n"
		}
		if d.tls {
			sections += fmt.Sprintf("tls = { cert = %q, key = %q }\n", cert, key)
		}
		doors = append(doors, d)
	}
	return sections, doors
}

// dialFrom connects from the nth of 16,384 addresses of this machine: the ports of
// one do not suffice for all that connect.
func dialFrom(n uint32, address string) (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(n>>6), byte(1+n&63))}}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), conn.SetDeadline(time.Now().Add(patience))
}

const upgradeRequest = "GET /mqtt HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"

// through goes through the layers of a doorway, to where MQTT is spoken.
func (d doorway) through(conn net.Conn) (io.ReadWriter, error) {
	if d.tls {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	if !d.web {
		return conn, nil
	}
	if err := upgraded(conn); err != nil {
		return nil, err
	}
	return &webSocket{conn: conn}, nil
}

// upgraded asks for a WebSocket. The gateway sends nothing of its own before it is
// sent something.
func upgraded(conn io.ReadWriter) error {
	if _, err := io.WriteString(conn, upgradeRequest); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
	if err == nil && answer.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New(answer.Status)
	}
	return err
}

// webSocket is a stream in binary frames.
type webSocket struct {
	conn io.ReadWriter
	rest []byte
}

// Read gives what the next frames have.
func (w *webSocket) Read(b []byte) (int, error) {
	for len(w.rest) == 0 {
		var err error
		if w.rest, err = wsutil.ReadServerBinary(w.conn); err != nil {
			return 0, err
		}
	}
	n := copy(b, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// Write sends b in a frame.
func (w *webSocket) Write(b []byte) (int, error) {
	return len(b), ws.WriteFrame(w.conn, ws.MaskFrame(ws.NewBinaryFrame(bytes.Clone(b))))
}

// exchange sends b, in one piece or in some, then that nothing more comes, and
// reads until the gateway has ended the connection, which it must. raw is what
// conn goes over.
func exchange(rng *rand.Rand, raw *net.TCPConn, conn io.ReadWriter, b []byte) error {
	written := make(chan struct{})
	pieces := rng.IntN(4) == 0 && len(b) < 4000
	first := rng.IntN(len(b) + 1)
	go func() {
		defer close(written)
		for len(b) > 0 {
			n := len(b)
			if pieces {
				n, first = min(n, max(first, 1)), first/2
			}
			if _, err := conn.Write(b[:n]); err != nil {
				break // and the reader hears of it
			}
			b = b[n:]
		}
		_ = raw.CloseWrite()
	}()
	_, err := io.Copy(io.Discard, conn)
	_ = raw.Close()
	<-written
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no end of the connection for %v", patience)
	}
	return nil // all other ends are as good as any
}

// clientHello is what TLS begins with.
func clientHello(t *testing.T) []byte {
	t.Helper()
	var b recorder
	_ = tls.Client(&b, &tls.Config{ServerName: "gateway"}).Handshake()
	if b.Len() == 0 {
		t.Fatal("no ClientHello")
	}
	return b.Bytes()
}

// recorder is a connection that ends when the first is read.
type recorder struct {
	bytes.Buffer
	net.Conn
}

func (r *recorder) Write(b []byte) (int, error) { return r.Buffer.Write(b) }
func (r *recorder) Read([]byte) (int, error)    { return 0, io.EOF }
func (r *recorder) Close() error                { return nil }

func (r *recorder) SetWriteDeadline(time.Time) error { return nil }
