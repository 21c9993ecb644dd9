package broker

import (
	"bytes"
	"context"
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
