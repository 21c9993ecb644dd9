package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"packetboat/bridge"
	"packetboat/broker/store"
	"packetboat/config"
	"packetboat/gateway"
	"packetboat/gateway/admin"
)

// bridged is a gateway with one bridge, to a cloud that is not there.
type bridged struct {
	t            *testing.T
	config, data string
}

func newBridged(t *testing.T) *bridged {
	t.Helper()
	dir := t.TempDir()
	g := &bridged{t: t, config: filepath.Join(dir, "c.toml"), data: filepath.Join(dir, "data")}
	text := fmt.Sprintf(`
[gateway]
id = "gw"
data_dir = %q
[admin]
socket = %q
address = ""
[queue]
min_free = "1MiB"
[[listener]]
address = "127.0.0.1:0"
[[bridge]]
name = "cloud"
servers = ["mqtt://127.0.0.1:1"]
[[bridge.up]]
filter = "#"
`, g.data, filepath.Join(dir, "s"))
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return g
}

// run runs the gateway in this process; stop returns when it has ended.
func (g *bridged) run() (stop func()) {
	g.t.Helper()
	cfg, err := config.Load(g.config, config.Options{})
	if err != nil {
		g.t.Fatal(err)
	}
	ready := make(chan struct{}, 10)
	gw := gateway.New(cfg, gateway.Options{Log: slog.New(slog.DiscardHandler), Notify: func(state string) {
		if strings.HasPrefix(state, "READY=1") {
			ready <- struct{}{}
		}
	}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- gw.Run(ctx) }()
	select {
	case <-ready:
	case err := <-ended:
		g.t.Fatal(err)
	}
	return func() {
		cancel()
		if err := <-ended; err != nil {
			g.t.Error(err)
		}
	}
}

// record puts a session at the cloud on record, while nobody uses the directory.
func (g *bridged) record() {
	g.t.Helper()
	s, err := store.Open(g.data, store.Options{})
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.Set(bridge.SessionKey("cloud"), []byte(`{"server":"127.0.0.1:1","client_id":"gw","generation":7}`))
	stop()
	if err := s.Run(ctx); err != nil {
		g.t.Fatal(err)
	}
}

func (g *bridged) recorded() bool {
	g.t.Helper()
	s, err := store.OpenReadOnly(g.data, store.Options{})
	if err != nil {
		g.t.Fatal(err)
	}
	_, ok := s.Get(bridge.SessionKey("cloud"))
	return ok
}

func (g *bridged) want(code int, part string, args ...string) {
	g.t.Helper()
	got, out, errOut := call(g.t, append(append([]string{"bridge"}, args...), "-config", g.config)...)
	if got != code || !strings.Contains(out+errOut, part) {
		g.t.Errorf("bridge %v: exit code %d, want %d and %q:\n%s%s", args, got, code, part, out, errOut)
	}
}

func TestBridgeResetIsTheSameWithAndWithoutTheGateway(t *testing.T) {
	g := newBridged(t)
	g.want(1, "no such file", "reset", "cloud")
	g.run()()
	for _, runs := range []bool{true, false} {
		g.record()
		if !g.recorded() {
			t.Fatal("nothing is on record")
		}
		stop := func() {}
		if runs {
			stop = g.run()
		}
		g.want(1, "no such bridge: clod; there are cloud", "reset", "clod")
		g.want(0, "cloud: the session at the cloud is given up; the next connection begins a new one\n0 messages wait, none is lost; what had been in flight, at most one window (inflight), goes again", "reset", "cloud")
		g.want(0, "no session at the cloud was on record", "reset", "cloud")
		g.want(0, `{"bridge":"cloud","had_session":false,"waiting":0}`, "reset", "cloud", "-json")
		stop()
		if g.recorded() {
			t.Errorf("gateway runs %v: the session is still on record", runs)
		}
	}
	if code, out, errOut := call(t, "bridge", "reset", "cloud", "-dir", g.data); code != 0 || !strings.Contains(out, "begins a new one") {
		t.Errorf("-dir: %d %s%s", code, out, errOut)
	}
}

func TestBridgeLsAsksTheGateway(t *testing.T) {
	g := newBridged(t)
	g.want(1, "no gateway answers", "ls")
	stop := g.run()
	defer stop()
	g.want(0, "cloud", "ls")
	code, out, errOut := call(t, "bridge", "ls", "-json", "-config", g.config)
	var all admin.Bridges
	if err := json.Unmarshal([]byte(out), &all); code != 0 || err != nil || len(all.Bridges) != 1 || all.Bridges[0].Name != "cloud" || len(all.Bridges[0].Lanes) != 4 {
		t.Errorf("%d %v %s%s", code, err, out, errOut)
	}
	g.want(2, "queue ls -dir", "ls", "-dir", g.data)
	g.want(2, "usage: packetboat bridge ls | reset NAME", "reset")
	g.want(2, "usage: packetboat bridge ls | reset NAME", "eat")
	g.want(0, "reset before the first start", "-h")
}

func TestBridgesForPeople(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	err = printBridges(file, []admin.BridgeDetails{
		{
			Name: "cloud", State: "online", Since: now.Add(-90 * time.Second), Server: "h:1883", Error: "cut", ErrorAt: now.Add(-2 * time.Minute),
			Lanes: []admin.Queue{{}, {Messages: 3, Bytes: 99, Oldest: 5}, {}, {}}, InFlight: 2,
			Counters: admin.Counters{Sent: 10, Resent: 1, Acked: 7, Received: 4, Unmatched: 1, Connects: 2, Reconnects: 1, BytesOut: 500, BytesIn: 60},
		},
		{Name: "other", State: "backing off", NextAttempt: now.Add(12 * time.Second), Error: "a\nb", ErrorAt: now, DeadLetters: 5},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	want := `cloud          online, h:1883, for 1m30s
  last error   2026-03-01T11:58:00Z, 2m ago: cut
  lane 1       3 waiting, 99 bytes, the oldest for 5s
  up           10 sent (1 again), 7 acknowledged, 2 in flight, 500 bytes
  down         4 received (1 taken by no rule, 0 that came back from here), 60 bytes
  connections  2, 1 of them again, 0 times the cloud had forgotten the session

other           backing off, next attempt in 12s
  last error    2026-03-01T12:00:00Z, 0s ago: a; b
  dead letters  5: packetboat queue tail bridge/other/dead says why
  up            0 sent (0 again), 0 acknowledged, 0 in flight, 0 bytes
  down          0 received (0 taken by no rule, 0 that came back from here), 0 bytes
  connections   0, 0 of them again, 0 times the cloud had forgotten the session
`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
