package broker

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"packetboat/broker/packet"
)

// lineKeeper keeps records and reads them later, as a handler may.
type lineKeeper struct {
	slog.Handler
	mu   sync.Mutex
	kept []slog.Record
}

func (k *lineKeeper) Handle(_ context.Context, r slog.Record) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = append(k.kept, r.Clone())
	return nil
}

// TestTheTopicsOfLinesStay when the buffer that they were read into has another
// packet.
func TestTheTopicsOfLinesStay(t *testing.T) {
	var out bytes.Buffer
	k := &lineKeeper{Handler: slog.NewTextHandler(&out, nil)}
	r := rigTCP(t, Options{Rules: site(t), Authenticate: believing, Log: slog.New(k)})
	p := r.connect(packet.V5, "x", as("meter-1"))
	p.publish(packet.Publish{Topic: "meters/meter-2/kwh", Payload: []byte("0")})
	p.ping()
	p.publish(packet.Publish{Topic: "shared", Payload: bytes.Repeat([]byte("!"), 100)})
	p.ping()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, line := range k.kept {
		if err := k.Handler.Handle(t.Context(), line); err != nil {
			t.Fatal(err)
		}
	}
	if want := "topic=meters/meter-2/kwh"; !strings.Contains(out.String(), want) {
		t.Errorf("no %s in\n%s", want, out.String())
	}
}

// TestARefusedClientIsNamed in the line about it, though it has no session.
func TestARefusedClientIsNamed(t *testing.T) {
	lines, w := io.Pipe()
	r := rigTCP(t, Options{
		Authenticate: func(*Credentials) (string, byte) { return "", packet.BadUserNameOrPassword },
		Log:          slog.New(slog.NewTextHandler(w, nil)),
	})
	defer lines.Close() // nothing waits for a reader any more
	c := r.dial()
	if ack := c.connect(&packet.Connect{Version: packet.V5, ClientID: "meter-1", CleanStart: true, User: "ann", HasUser: true}); ack.Code != packet.BadUserNameOrPassword {
		t.Fatalf("CONNACK 0x%02X", ack.Code)
	}
	for s := bufio.NewScanner(lines); s.Scan(); {
		if line := s.Text(); strings.Contains(line, "connection closed") {
			if !strings.Contains(line, "client=meter-1") || !strings.Contains(line, "user=ann") {
				t.Error(line)
			}
			return
		}
	}
}
