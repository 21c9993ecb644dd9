// Package e2e tests the gateway as a user has it: the real binary, in processes
// of its own, between real devices' ends (pseudo terminals, sockets, Mosquitto's
// clients) and Mosquitto as the cloud.
//
// What it needs, scripts/test installs. With -full the numbers are those of the
// acceptance list, else smaller ones.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"packetboat/cmd/packetboat/sim"
)

var full = flag.Bool("full", false, "run with the full numbers of the acceptance list")

// scale is the number to use.
func scale(small, whole int) int {
	if *full {
		return whole
	}
	return small
}

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	if plan := os.Getenv(attackVariable); plan != "" {
		os.Exit(attackAlone(plan))
	}
	flag.Parse()
	os.Exit(build(m))
}

func build(m *testing.M) int {
	// Debian has mosquitto where only root looks.
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
	dir, err := os.MkdirTemp("", "packetboat-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "packetboat")
	c := exec.Command("go", "build", "-o", binary, "packetboat/cmd/packetboat")
	if out, err := c.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build packetboat: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// patience bounds every wait; what is waited for is an event, which mostly
// comes at once.
const patience = 60 * time.Second

// await polls until ok, and fails the test when that takes too long.
func await(t *testing.T, most time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(most)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v, still not so: %s", most, what)
		}
	}
}

// freePort is an address on loopback that is free, and that the system gives to
// nobody else until the end of the test: a socket is bound to it and does not
// listen, which hinders nobody who asks for this very port.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		address, port := boundPort(t)
		if reserve(t, port) {
			return address
		}
	}
}

// loosePort is freePort for a WebSocket listener of Mosquitto, whose library cannot
// use a port that somebody is bound to. No other test has it, and the system gives
// ports below 32768 to nobody who asks for any.
func loosePort(t *testing.T) string {
	t.Helper()
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(10000))
		ln, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		port := ln.Addr().(*net.TCPAddr).Port
		_ = ln.Close()
		if reserve(t, port) {
			return address
		}
	}
}

// reserve takes a port for this test, among all test processes of the machine: two
// sockets that are bound and not listened on may have the same.
func reserve(t *testing.T, port int) bool {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprintf("packetboat-test-port-%d", port)), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return false
	}
	t.Cleanup(func() {
		_ = os.Remove(f.Name())
		_ = f.Close()
	})
	return true
}

func boundPort(t *testing.T) (address string, port int) {
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
	port = own.(*unix.SockaddrInet4).Port
	return fmt.Sprintf("127.0.0.1:%d", port), port
}

// listens reports whether somebody accepts connections.
func listens(address string) bool {
	c, err := net.Dial("tcp", address)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// process is a program that runs.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	ended chan struct{}

	mu  sync.Mutex
	out bytes.Buffer
}

// Write takes in what the program says.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// said is what the program has said so far.
func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// lines counts the lines said that contain text.
func (p *process) lines(text string) (n int) {
	for l := range strings.Lines(p.said()) {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

// start runs a program until it ends, or the test does.
func start(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	return startWith(t, nil, env, name, args...)
}

// startWith is start with open files, from descriptor 3.
func startWith(t *testing.T, files []*os.File, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(name, args...), ended: make(chan struct{})}
	p.cmd.ExtraFiles = files
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.Env = append(os.Environ(), env...)
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v (scripts/test installs what is needed)", name, err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the state tells
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("%s %v said:\n%s", filepath.Base(name), args, tail(p.said(), 40))
		}
	})
	return p
}

func tail(s string, n int) string {
	l := strings.SplitAfter(s, "\n")
	return strings.Join(l[max(0, len(l)-n):], "")
}

// signal sends a signal, unless the program has ended, and waits for its end.
func (p *process) signal(sig syscall.Signal) {
	select {
	case <-p.ended:
		return
	default:
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signal: %v", err)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.ended
		p.t.Errorf("%s did not end after %v", p.cmd.Path, sig)
	}
}

// exit waits for the program's end and gives its exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p.cmd.Path)
	}
	return p.cmd.ProcessState.ExitCode()
}

// mosquitto is the cloud.
type mosquitto struct {
	*process
	t       *testing.T
	address string
	config  string
}

// newMosquitto starts a Mosquitto that keeps its sessions over restarts.
func newMosquitto(t *testing.T, more string) *mosquitto {
	t.Helper()
	dir := t.TempDir()
	m := &mosquitto{t: t, address: freePort(t), config: filepath.Join(dir, "mosquitto.conf")}
	_, port, _ := net.SplitHostPort(m.address)
	write(t, m.config, fmt.Sprintf(`listener %s 127.0.0.1
persistence true
persistence_location %s/
max_queued_messages 0
max_inflight_messages 100
%s
`, port, dir, more))
	if os.Geteuid() == 0 { // it would drop its rights, to a user who may not write here
		appendTo(t, m.config, "user root\n")
	}
	m.start()
	return m
}

func (m *mosquitto) start() {
	m.t.Helper()
	m.process = start(m.t, nil, "mosquitto", "-c", m.config)
	await(m.t, patience, "mosquitto listens", func() bool { return listens(m.address) })
}

// stop ends Mosquitto in order: it saves its sessions.
func (m *mosquitto) stop() { m.signal(syscall.SIGTERM) }

// gateway is the program under test.
type gateway struct {
	*process
	t      *testing.T
	mqtt   string // listener
	config string
	data   string // directory
	env    []string
	within []string // the command that the gateway is started by
	files  []*os.File
}

// newGateway prepares a gateway; sections are added to its configuration.
// start starts it.
func newGateway(t *testing.T, sections string) *gateway {
	t.Helper()
	return newGatewayOn(t, t.TempDir(), `min_free = "1MiB"`, sections)
}

// newGatewayOn prepares a gateway with its queue in dir/data and what queue says
// of it.
func newGatewayOn(t *testing.T, dir, queue, sections string) *gateway {
	t.Helper()
	own := t.TempDir()
	g := &gateway{t: t, mqtt: freePort(t), config: filepath.Join(own, "packetboat.toml"), data: filepath.Join(dir, "data")}
	write(t, g.config, fmt.Sprintf(`[gateway]
id = "e2e"
data_dir = %q
[admin]
socket = %q
address = ""
[queue]
%s
[[listener]]
address = %q
%s`, g.data, filepath.Join(own, "admin.sock"), queue, g.mqtt, sections))
	return g
}

func (g *gateway) start() {
	g.t.Helper()
	args := append(append([]string(nil), g.within...), binary, "run", "-config", g.config)
	g.process = startWith(g.t, g.files, g.env, args[0], args[1:]...)
	// What operators ask is opened behind the listeners.
	g.await("the gateway runs", func() bool { return g.lines(`"gateway runs"`) > 0 && listens(g.mqtt) })
}

// tool runs another command of the binary with the gateway's configuration and
// returns what it printed and its exit code.
func (g *gateway) tool(args ...string) (out string, code int) {
	g.t.Helper()
	c := exec.Command(binary, append(args, "-config", g.config)...)
	b, err := c.CombinedOutput()
	if err != nil && c.ProcessState == nil {
		g.t.Fatalf("packetboat %v: %v", args, err)
	}
	return string(b), c.ProcessState.ExitCode()
}

// await waits for something of a gateway that has to run.
func (g *gateway) await(what string, ok func() bool) {
	g.t.Helper()
	await(g.t, patience, what, func() bool {
		select {
		case <-g.ended:
			g.t.Fatalf("the gateway has ended with %v before %s", g.cmd.ProcessState, what)
		default:
		}
		return ok()
	})
}

// stop ends the gateway in order.
func (g *gateway) stop() {
	g.t.Helper()
	g.signal(syscall.SIGTERM)
	if code := g.exit(); code != 0 {
		g.t.Errorf("the gateway ended with exit code %d", code)
	}
}

// run runs a part until the test is over; its error fails the test.
func run(t *testing.T, f func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// collect subscribes to all of a broker and tallies what arrives; topics maps
// each source to where it has to arrive.
func collect(t *testing.T, address string, tally *sim.Tally, topics map[string]string) *sim.Subscriber {
	t.Helper()
	return listen(t, address, func(topic string, payload []byte) {
		name, _, _ := strings.Cut(string(payload), " ")
		if want, ok := topics[name]; ok && want != topic {
			t.Errorf("%s arrived under %s, not %s", payload, topic, want)
		}
		tally.Arrived(payload)
	})
}

// listen subscribes to all of a broker and hands over what arrives, by one
// goroutine; topic and payload are valid during the call.
func listen(t *testing.T, address string, message func(topic string, payload []byte)) *sim.Subscriber {
	t.Helper()
	subscribed := make(chan struct{}, 1)
	s := &sim.Subscriber{
		Addr: address, ClientID: "collector", Filter: "#", QoS: 2, Message: message,
		Subscribed: func() {
			select {
			case subscribed <- struct{}{}:
			default:
			}
		},
	}
	run(t, s.Run)
	select {
	case <-subscribed:
	case <-time.After(patience):
		t.Fatal("the collector is not subscribed")
	}
	return s
}

// settled waits until all that was acknowledged has arrived, and says what the
// account of each source must be.
func settled(t *testing.T, tally *sim.Tally) {
	t.Helper()
	arrived(t, tally)
	for _, s := range tally.Sources() {
		c := s.Counts()
		t.Logf("%s (%s): %+v", s.Name, s.Kind, c)
		if c.Disordered > 0 {
			t.Errorf("%s: %d arrived out of order", s.Name, c.Disordered)
		}
		if s.Once && c.Duplicates > 0 {
			t.Errorf("%s: %d arrived twice", s.Name, c.Duplicates)
		}
	}
	if n := tally.Strange(); n > 0 {
		t.Errorf("%d arrived that nobody had sent", n)
	}
}

// arrived waits until all that was acknowledged has arrived.
func arrived(t *testing.T, tally *sim.Tally) {
	t.Helper()
	deadline := time.Now().Add(patience)
	await(t, 2*patience, "everything has arrived", func() bool {
		for _, s := range tally.Sources() {
			if s.Waiting() > 0 {
				if time.Now().After(deadline) {
					t.Fatalf("%s: %+v, missing %v …", s.Name, s.Counts(), s.MissingNumbers(20))
				}
				return false
			}
		}
		return true
	})
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t *testing.T, file, text string) {
	t.Helper()
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(old)+text)
}
