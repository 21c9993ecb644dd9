// Package interop has real clients talk to a gateway, over every kind of
// listener that they know: Mosquitto's, paho for Python and for Go, MQTT.js.
//
// What they need, scripts/test installs; a client that is missing is skipped,
// and the test says what to install.
package interop

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"packetboat/broker/transport/certtest"
	"packetboat/config"
	"packetboat/gateway"
)

const patience = 60 * time.Second

// site is a gateway in this process, with one listener of each kind.
type site struct {
	dir     string
	address map[string]string // by kind: tcp, tls, mtls, unix, ws, wss
	pool    *x509.CertPool
}

func (s *site) ca() string   { return filepath.Join(s.dir, "ca.crt") }
func (s *site) cert() string { return filepath.Join(s.dir, "client.crt") }
func (s *site) key() string  { return filepath.Join(s.dir, "client.key") }

// port is that of a kind of listener on 127.0.0.1.
func (s *site) port(kind string) string {
	_, port, _ := net.SplitHostPort(s.address[kind])
	return port
}

// The listeners, in order.
var kinds = []string{"tcp", "tls", "mtls", "unix", "ws", "wss"}

func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "interop-") // sockets' paths are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &site{dir: dir, address: make(map[string]string)}
	s.certificates()
	text := fmt.Sprintf(`
[gateway]
id = "interop"
data_dir = "%[1]s/data"
[admin]
socket = ""
address = ""
[queue]
min_free = "1MiB"
[[listener]]
address = "127.0.0.1:0"
[[listener]]
address = "127.0.0.1:0"
tls = { cert = "%[1]s/server.crt", key = "%[1]s/server.key" }
[[listener]]
address = "127.0.0.1:0"
tls = { cert = "%[1]s/server.crt", key = "%[1]s/server.key", client_ca = "%[1]s/ca.crt", client_cert = "username" }
[[listener]]
address = "unix:%[1]s/mqtt.sock"
[[listener]]
address = "127.0.0.1:0"
transport = "websocket"
[[listener]]
address = "127.0.0.1:0"
transport = "websocket"
tls = { cert = "%[1]s/server.crt", key = "%[1]s/server.key" }
`, dir)
	cfg, err := config.Parse(filepath.Join(dir, "packetboat.toml"), []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := &listenLog{Handler: slog.DiscardHandler}
	ready := make(chan struct{})
	once := sync.OnceFunc(func() { close(ready) })
	g := gateway.New(cfg, gateway.Options{Log: slog.New(log), Notify: func(state string) {
		if strings.HasPrefix(state, "READY=1") {
			once()
		}
	}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatalf("the gateway has ended: %v", err)
	case <-time.After(patience):
		t.Fatal("the gateway is not ready")
	}
	addresses := log.all()
	if len(addresses) != len(kinds) {
		t.Fatalf("listeners: %q", addresses)
	}
	for i, kind := range kinds {
		s.address[kind] = addresses[i]
	}
	return s
}

// listenLog takes the addresses of listeners out of the log.
type listenLog struct {
	slog.Handler
	mu        sync.Mutex
	addresses []string
}

func (l *listenLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *listenLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "listening" {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "address" {
				l.mu.Lock()
				l.addresses = append(l.addresses, a.Value.String())
				l.mu.Unlock()
			}
			return true
		})
	}
	return nil
}

func (l *listenLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addresses
}

// certificates makes an authority, and what it has signed for the gateway and a
// client.
func (s *site) certificates() {
	ca := certtest.NewAuthority("authority")
	ca.Files(s.dir, "ca")
	s.pool = ca.Pool()
	for _, name := range []string{"server", "client"} {
		ca.Issue(name, certtest.Hosts("localhost", "127.0.0.1")).Files(s.dir, name)
	}
}

// command prepares a program that ends when the test does.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, name, args...)
}

// output runs it and gives what it says.
func output(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(c.Args, " "), err, out, errs.String())
	}
	return string(out)
}

func TestInterop(t *testing.T) {
	s := newSite(t)
	t.Run("clients", func(t *testing.T) {
		t.Run("mosquitto", func(t *testing.T) { t.Parallel(); mosquitto(t, s) })
		t.Run("paho for Python", func(t *testing.T) { t.Parallel(); pahoPython(t, s) })
		t.Run("paho for Go", func(t *testing.T) { t.Parallel(); pahoGo(t, s) })
		t.Run("MQTT.js", func(t *testing.T) { t.Parallel(); mqttJS(t, s) })
	})
}
