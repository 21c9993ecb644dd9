package transport

import (
	"bytes"
	"io"

	"github.com/gobwas/ws"
)

// subprotocol is what a client has to offer [MQTT-6.0.0-3] and is answered
// [MQTT-6.0.0-4].
const subprotocol = "mqtt"

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
		Protocol: func(name []byte) bool {
			if string(name) != subprotocol {
				return false
			}
			offered = true
			return true
		},
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			if !offered {
				return nil, ws.RejectConnectionError(ws.RejectionStatus(400), ws.RejectionReason("the client does not offer the subprotocol mqtt"))
			}
			return nil, nil
		},
	}
	_, err := u.Upgrade(rw)
	return err
}
