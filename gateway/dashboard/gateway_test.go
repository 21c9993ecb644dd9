package dashboard

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"packetboat/config"
	"packetboat/gateway"
)

// patience bounds every wait; what is waited for mostly comes at once.
const patience = 20 * time.Second

// freePort is an address on loopback that the system gives to nobody else until
// the end of the test: a socket is bound to it and does not listen.
func freePort(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	own, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", own.(*unix.SockaddrInet4).Port)
}

// running is a gateway of this process.
type running struct {
	t    *testing.T
	text string // its configuration
	data string // its directory
	web  string // http://127.0.0.1:…
	mqtt string

	g     *gateway.Gateway
	stop  context.CancelFunc
	ended chan error
}

// prepare makes a gateway; start starts it. What admin says is added to its
// section, sections to the configuration.
func prepare(t *testing.T, id, admin, sections string) *running {
	t.Helper()
	return prepareOn(t, t.TempDir(), `min_free = "1MiB"`, id, admin, sections)
}

// prepareOn is prepare with the queue in dir/data and what queue says of it.
func prepareOn(t *testing.T, dir, queue, id, admin, sections string) *running {
	t.Helper()
	needBrowser(t)
	r := &running{t: t, data: filepath.Join(dir, "data"), mqtt: freePort(t)}
	web := freePort(t)
	r.web = "http://" + web
	r.text = fmt.Sprintf(`[gateway]
id = %q
data_dir = %q
[admin]
socket = ""
address = %q
%s
[queue]
%s
[[listener]]
address = %q
%s`, id, r.data, web, admin, queue, r.mqtt, sections)
	return r
}

// load reads the configuration.
func (r *running) load() (*config.Config, error) {
	cfg, err := config.Parse("packetboat.toml", []byte(r.text), config.Options{})
	if err != nil {
		return nil, err
	}
	if errs := gateway.Check(cfg); len(errs) > 0 {
		return nil, errs
	}
	return cfg, nil
}

// add adds sections to the configuration of a gateway that runs.
func (r *running) add(sections string) {
	r.t.Helper()
	r.text += sections
	if _, err := r.g.Reload(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// start starts it and waits until it answers.
func (r *running) start() {
	r.t.Helper()
	cfg, err := r.load()
	if err != nil {
		r.t.Fatal(err)
	}
	r.g = gateway.New(cfg, gateway.Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Version: "test", Notify: func(string) {}, Load: r.load})
	ctx, stop := context.WithCancel(context.Background())
	r.stop, r.ended = stop, make(chan error, 1)
	go func() { r.ended <- r.g.Run(ctx) }()
	r.t.Cleanup(r.end)
	await(r.t, "the gateway answers", func() bool {
		resp, err := http.Get(r.web + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// end stops it, if it runs.
func (r *running) end() {
	if r.stop == nil {
		return
	}
	r.stop()
	r.stop = nil
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Error(err)
		}
	case <-time.After(patience):
		r.t.Error("the gateway does not end")
	}
}

// await polls until ok.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v, still not so: %s", patience, what)
		}
	}
}

// mill is a gateway with some of everything: a bridge to a cloud that answers and
// one to a cloud that does not, adapters with and without a device.
type mill struct {
	*running
	scale string // address of the TCP adapter
}

func newMill(t *testing.T) *mill {
	t.Helper()
	cloud := prepare(t, "cloud", "", "")
	cloud.start()
	m := &mill{scale: freePort(t)}
	m.running = prepare(t, "mill-3", "", fmt.Sprintf(`
[[tcp]]
name = "scale"
listen = %q
decode = { type = "json" }
[[serial]]
name = "gps"
port = "/dev/there-is-no-gps"
[[bridge]]
name = "cloud"
servers = ["mqtt://%s"]
[[bridge.up]]
filter = "site/#"
[[bridge]]
name = "dark"
servers = ["mqtt://127.0.0.1:1"]
[[bridge.up]]
filter = "#"
`, m.scale, cloud.mqtt))
	return m
}

// device writes lines to the TCP adapter.
func (m *mill) device(lines ...string) {
	m.t.Helper()
	c, err := net.Dial("tcp", m.scale)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = c.Close() })
	for _, l := range lines {
		if _, err := io.WriteString(c, l+"\n"); err != nil {
			m.t.Fatal(err)
		}
	}
}
