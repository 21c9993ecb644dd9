package gateway

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const patience = 20 * time.Second

// running is a gateway in this process.
type running struct {
	t      *testing.T
	cancel context.CancelFunc
	ended  chan error
	states chan string

	mu  sync.Mutex
	log bytes.Buffer
}

// Write takes in the log.
func (r *running) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(b)
}

func (r *running) logged(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(r.log.String(), text)
}

// begin runs a gateway until the test stops it.
func begin(t *testing.T, text string) *running {
	t.Helper()
	return beginWith(t, text, nil)
}

// beginWith is begin with sockets of systemd.
func beginWith(t *testing.T, text string, passed sockets) *running {
	t.Helper()
	r := &running{t: t, ended: make(chan error, 1), states: make(chan string, 100)}
	g := New(parse(t, text), Options{
		Log:    slog.New(newHandler("debug", "journal", r)),
		Notify: func(s string) { r.states <- s },
	})
	g.passed = func() sockets { return passed }
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	t.Cleanup(r.cancel)
	go func() { r.ended <- g.Run(ctx) }()
	return r
}

// state waits for a state that begins so.
func (r *running) state(want string) string {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case s := <-r.states:
			if strings.HasPrefix(s, want) {
				return s
			}
		case err := <-r.ended:
			r.t.Fatalf("ended before %s: %v", want, err)
		case <-timeout:
			r.t.Fatalf("no %s", want)
		}
	}
}

func (r *running) wait() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		r.t.Fatal("the gateway does not end")
		return nil
	}
}

func sections(t *testing.T, text string) string {
	t.Helper()
	return fmt.Sprintf("data_dir = %q\n[admin]\nsocket = \"\"\naddress = \"\"\n[queue]\nmin_free = \"1MiB\"\n%s", filepath.Join(t.TempDir(), "data"), text)
}

func TestAGatewayIsReadyAndStopsInOrder(t *testing.T) {
	r := begin(t, sections(t, `
[[listener]]
address = "127.0.0.1:0"
[[tcp]]
name = "logger"
listen = "127.0.0.1:0"
[[bridge]]
name = "cloud"
servers = ["mqtt://127.0.0.1:1"]
[[bridge.up]]
filter = "#"
`))
	if s := r.state("READY=1\nSTATUS="); !strings.Contains(s, "bridge cloud ") || strings.Contains(s, "stopped") || !strings.Contains(s, "1 of 1 adapters ready") {
		t.Error(s)
	}
	r.cancel()
	r.state("STOPPING=1")
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestWithoutAListenerThatOpensNothingRuns(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r := begin(t, sections(t, fmt.Sprintf("[[listener]]\naddress = %q\n", ln.Addr())))
	if err := r.wait(); err == nil || !strings.Contains(err.Error(), "nothing can run") {
		t.Error(err)
	}
	if !r.logged("stop it, or set another address") {
		t.Errorf("no remedy in: %s", r.log.String())
	}
}

func TestAUnixSocketThatAKilledGatewayLeftBehindIsTakenOver(t *testing.T) {
	dir, err := os.MkdirTemp("", "gw-") // sockets' paths are short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "mqtt.sock")
	old, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false) // as after a SIGKILL
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	r := begin(t, sections(t, fmt.Sprintf("[[listener]]\naddress = \"unix:%s\"\n", socket)))
	r.state("READY=1")
	st, err := os.Stat(socket)
	if err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", st, err)
	}
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestASecondGatewayDoesNotTakeTheSocketOfOneThatRuns(t *testing.T) {
	dir, err := os.MkdirTemp("", "gw-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "mqtt.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r := begin(t, sections(t, fmt.Sprintf("[[listener]]\naddress = \"unix:%s\"\n", socket)))
	if err := r.wait(); err == nil {
		t.Error("it runs")
	}
	if _, err := os.Stat(socket); err != nil {
		t.Error(err)
	}
}

func TestAFileThatIsNoSocketIsLeftAlone(t *testing.T) {
	dir, err := os.MkdirTemp("", "gw-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "passwd")
	if err := os.WriteFile(file, []byte("root"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := begin(t, sections(t, fmt.Sprintf("[[listener]]\naddress = \"unix:%s\"\n", file)))
	if err := r.wait(); err == nil {
		t.Error("it runs")
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "root" {
		t.Errorf("%q, %v", b, err)
	}
	if !r.logged("or the file is no socket") {
		t.Errorf("no remedy in: %s", r.log.String())
	}
}

func TestAConnectionThatSystemdPassesIsNoListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := socketListener(f); err == nil || !strings.Contains(err.Error(), "cannot be listened on") {
		t.Error(err)
	}
}

func TestAQueueOfARemovedBridgeIsKeptAndNamed(t *testing.T) {
	with := sections(t, `
[[listener]]
address = "127.0.0.1:0"
[[tcp]]
name = "logger"
listen = "127.0.0.1:0"
status = "x/status"
[[bridge]]
name = "old"
servers = ["mqtt://127.0.0.1:1"]
[[bridge.up]]
filter = "#"
`)
	r := begin(t, with)
	r.state("READY=1")
	r.cancel() // the adapter says offline, which waits for the bridge
	if err := r.wait(); err != nil {
		t.Fatal(err)
	}
	without, _, _ := strings.Cut(with, "[[bridge]]")
	r = begin(t, without)
	r.state("READY=1")
	if !r.logged("queue=bridge/old") {
		t.Errorf("not named in: %s", r.log.String())
	}
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestConnectionsAboveTheLimitAreClosedAndPlacesGivenBack(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	ln := &limitedListener{Listener: inner, most: 1, open: new(atomic.Int64), log: slog.New(slog.NewTextHandler(&log, nil))}
	accepted := make(chan net.Conn)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a := dial()
	defer a.Close()
	first := <-accepted
	if _, ok := first.(interface{ SetNoDelay(bool) error }); !ok {
		t.Error("a TCP connection is none any more")
	}
	b := dial()
	defer b.Close()
	if _, err := b.Read(make([]byte, 1)); err == nil { // closed: end of file, or reset
		t.Error("the second is open")
	}
	for range 2 { // a place is given back once only
		_ = first.Close()
	}
	c := dial()
	defer c.Close()
	third := <-accepted
	d := dial()
	defer d.Close()
	if _, err := d.Read(make([]byte, 1)); err == nil {
		t.Error("the fourth is open beside the third")
	}
	third.Close()
	ln.Close()
	<-done
	if !strings.Contains(log.String(), "max_connections=1") {
		t.Errorf("log: %s", log.String())
	}
}

func TestLogFormats(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{"json", `"msg":"m","after":"1.5s","at":"127.0.0.1:1"}` + "\n"},
		{"journal", "level=WARN msg=m after=1.5s at=127.0.0.1:1\n"},
		{"text", "level=WARN msg=m after=1.5s at=127.0.0.1:1\n"},
	} {
		var out bytes.Buffer
		log := slog.New(newHandler("warn", c.format, &out))
		log.Info("below the level")
		log.Warn("m", "after", 1500*time.Millisecond, "at", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1})
		got, ok := strings.CutSuffix(out.String(), c.want)
		if !ok || (got == "") != (c.format == "journal") {
			t.Errorf("%s: %q", c.format, out.String())
		}
	}
}

func TestTheJournalIsRecognisedByItsStream(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, stream := range []string{"", "x", "1", "1:2"} {
		if toJournal(w, stream) {
			t.Errorf("%q is taken for it", stream)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(w.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if !toJournal(w, fmt.Sprintf("%d:%d", st.Dev, st.Ino)) {
		t.Error("its own stream is not")
	}
}

func TestConnectionsOfAnAddressAreBoundedInASecond(t *testing.T) {
	p := newConnectPace(10)
	now := time.Now()
	at := func(ip string, after time.Duration) bool {
		return p.allow(&net.TCPAddr{IP: net.ParseIP(ip), Port: 1}, now.Add(after))
	}
	for i := range 10 {
		if !at("10.0.0.1", 0) {
			t.Fatalf("connection %d at once is refused", i+1)
		}
	}
	for _, c := range []struct {
		name  string
		ip    string
		after time.Duration
		want  bool
	}{
		{"the eleventh", "10.0.0.1", 0, false},
		{"the same address, written as one of IPv6", "::ffff:10.0.0.1", 0, false},
		{"another address", "10.0.0.2", 0, true},
		{"one of IPv6", "fe80::1", 0, true},
		{"after a tenth of a second, one more", "10.0.0.1", 100 * time.Millisecond, true},
		{"but not two", "10.0.0.1", 100 * time.Millisecond, false},
		{"what was refused counts for nothing", "10.0.0.1", 200 * time.Millisecond, true},
	} {
		if got := at(c.ip, c.after); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	at("10.0.0.3", time.Minute)
	if n := len(p.full); n != 1 {
		t.Errorf("%d addresses are remembered after a minute", n)
	}
	if !p.allow(&net.UnixAddr{Net: "unix"}, now) {
		t.Error("a unix socket has no address")
	}
	if !newConnectPace(0).allow(&net.TCPAddr{}, now) {
		t.Error("no limit")
	}
}
