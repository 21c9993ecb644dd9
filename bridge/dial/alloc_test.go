//go:build !race

package dial

import (
	"bytes"
	"net"
	"testing"

	"github.com/gobwas/ws"
)

// again reads the same bytes for ever.
type again struct {
	discard
	b []byte
}

func (c again) Read(b []byte) (int, error) { return copy(b, c.b), nil }

func TestTheSteadyStateDoesNotAllocate(t *testing.T) {
	stream := append(ws.MustCompileFrame(ws.NewBinaryFrame(bytes.Repeat([]byte{'x'}, 200))), ws.MustCompileFrame(ws.NewPingFrame([]byte("ping")))...)
	var c net.Conn = newWebSocket(again{b: stream})
	message, b := make([]byte, 1000), make([]byte, len(stream))
	if n := testing.AllocsPerRun(100, func() {
		if _, err := c.Write(message); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("a Write allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		if n, err := c.Read(b); n != 200 || err != nil {
			t.Error(n, err)
		}
	}); n > 0 {
		t.Errorf("a Read allocates %v times", n)
	}
}
