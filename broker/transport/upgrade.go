package transport

import (
	"bytes"
	"errors"
	"io"

	"github.com/gobwas/ws"
)

// What a client has to offer one of [MQTT-6.0.0-3], and is answered
// [MQTT-6.0.0-4]. Clients of MQTT 3.1, which says nothing about WebSocket, offer
// the second one.
const (
	subprotocol   = "mqtt"
	subprotocol31 = "mqttv3.1"
)

// choose gives the subprotocol for the answer, "" for none.
func choose(offered []byte) string {
	chosen := ""
	for name := range bytes.SplitSeq(offered, []byte(",")) {
		switch string(bytes.TrimSpace(name)) {
		case subprotocol:
			return subprotocol
		case subprotocol31:
			chosen = subprotocol31
		}
	}
	return chosen
}

// maxRequest is how long a request may be, with a browser's cookies. The
// upgrader has no bound of its own, for a line neither.
const maxRequest = 32 << 10

var errEarly = errors.New("the client sends before it was answered")

// request reads no more than maxRequest and remembers how what it read ends.
type request struct {
	io.LimitedReader
	io.Writer
	end [3]byte
}

func (r *request) Read(b []byte) (int, error) {
	n, err := r.LimitedReader.Read(b)
	tail := append(r.end[:len(r.end):len(r.end)], b[max(0, n-len(r.end)):n]...)
	copy(r.end[:], tail[len(tail)-len(r.end):])
	return n, err
}

// whole reports whether what was read ends with an empty line.
func (r *request) whole() bool {
	end := r.end[:]
	return bytes.HasSuffix(end, []byte("\n\r\n")) || bytes.HasSuffix(end, []byte("\n\n"))
}

// upgrade answers the HTTP request that a WebSocket begins with. What is wrong
// with it, the client is told as an HTTP status.
func upgrade(rw io.ReadWriter) error {
	offered := false
	u := ws.Upgrader{
		OnRequest: func(uri []byte) error {
			path, _, _ := bytes.Cut(uri, []byte("?"))
			if p := string(path); p != "/" && p != "/mqtt" {
				return ws.RejectConnectionError(ws.RejectionStatus(404), ws.RejectionReason("not found; MQTT is at /mqtt"))
			}
			return nil
		},
		ProtocolCustom: func(offers []byte) (string, bool) {
			name := choose(offers)
			offered = offered || name != ""
			return name, true
		},
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			if !offered {
				return nil, ws.RejectConnectionError(ws.RejectionStatus(400), ws.RejectionReason("the client does not offer the subprotocol mqtt"))
			}
			return nil, nil
		},
	}
	r := &request{LimitedReader: io.LimitedReader{R: rw, N: maxRequest}, Writer: rw}
	if _, err := u.Upgrade(r); err != nil {
		return err
	}
	if !r.whole() { // RFC 6455 section 4.1: it must wait; what it sent is lost
		return errEarly
	}
	return nil
}
