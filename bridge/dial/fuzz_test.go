package dial

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// answering is a connection to somebody who gives one answer, whatever is said.
type answering struct {
	net.Conn
	answer *bytes.Reader
}

func (a *answering) Read(b []byte) (int, error)  { return a.answer.Read(b) }
func (a *answering) Write(b []byte) (int, error) { return len(b), nil }

// FuzzUpgradeAnswer: whatever a server answers to the request for a WebSocket is
// taken or is an error, and reading it has an end.
func FuzzUpgradeAnswer(f *testing.F) {
	const good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
	f.Add([]byte(good))
	f.Add([]byte(good[:60]))
	f.Add([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 9999999999\r\n\r\nno"))
	f.Add([]byte("HTTP/1.1 302 Found\r\nLocation: ws://x/\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 -1\r\n\r\n"))
	f.Add([]byte("\x20\x02\x00\x00"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		conn := &answering{answer: bytes.NewReader(answer)}
		if _, err := upgrade(conn, Server{Address: "broker.test:80"}); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
		if read := len(answer) - conn.answer.Len(); read > maxAnswer {
			t.Errorf("%d bytes were read", read)
		}
	})
}

// FuzzProxyAnswer: the same of a proxy. When it lets the connection through, what
// comes after the empty line is not lost.
func FuzzProxyAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 Connection established\r\n\r\n\x20\x02\x00\x00"))
	f.Add([]byte("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Digest x\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 503 \r\n\r\n"))
	f.Add([]byte("HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add([]byte("SSH-2.0-x\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		conn := &answering{answer: bytes.NewReader(answer)}
		through, err := (&proxy{address: "proxy.test:3128"}).connect(conn, "broker.test:8883")
		if read := len(answer) - conn.answer.Len(); read > maxAnswer {
			t.Errorf("%d bytes were read", read)
		}
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		if rest, err := io.ReadAll(through); err != nil || !bytes.HasSuffix(answer, rest) {
			t.Errorf("%q, %v", rest, err)
		}
	})
}
