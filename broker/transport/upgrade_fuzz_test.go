package transport

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzUpgrade: any request gets the same answer however it comes in, and reading it
// ends within the bound.
func FuzzUpgrade(f *testing.F) {
	const good = "GET /mqtt HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
	f.Add([]byte(good))
	f.Add([]byte(strings.ReplaceAll(good, "\r\n", "\n")))
	f.Add([]byte(strings.Replace(good, "mqtt\r\n", "chat, mqttv3.1 ,\r\n", 1)))
	f.Add([]byte(strings.Replace(good, "/mqtt", "/?x=%00", 1)))
	f.Add([]byte(good + "\x82\x80\x00\x00\x00\x00"))
	f.Add([]byte(good[:len(good)-2]))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"))
	f.Add([]byte("POST /mqtt HTTP/1.0\r\nContent-Length: -1\r\n\r\n"))
	f.Add([]byte("GET /mqtt HTTP/9.9\r\n:\r\n \r\n\r\n"))
	f.Fuzz(func(t *testing.T, request []byte) {
		ask := func(in io.Reader) (answer string, err error) {
			var out bytes.Buffer
			err = upgrade(struct {
				io.Reader
				io.Writer
			}{in, &out})
			return out.String(), err
		}
		all := bytes.NewReader(request)
		whole, err := ask(all)
		if read := len(request) - all.Len(); read > maxRequest {
			t.Fatalf("%d bytes were read", read)
		}
		if err == nil && !strings.HasPrefix(whole, "HTTP/1.1 101 ") {
			t.Fatalf("upgraded, with %q", whole)
		}
		pieces, errPieces := ask(iotest.OneByteReader(bytes.NewReader(request)))
		// What follows the request is seen only if it comes along.
		if whole != pieces || (err == nil) != (errPieces == nil) && err != errEarly {
			t.Fatalf("%q, %v; byte by byte %q, %v", whole, err, pieces, errPieces)
		}
	})
}
