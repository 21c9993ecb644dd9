package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"packetboat/cmd/packetboat/sim"
)

func TestBrokenConfigurationsAreReportedWithPlaceAndRemedy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"an unknown key names the nearest one",
			"[gateway]\nid = \"a\"\n[queue]\nmax_sise = \"1GiB\"\n", `:4:1: queue.max_sise: `},
		{"a size without a meaning says how to write one",
			"[gateway]\nid = \"a\"\n[queue]\nmax_size = \"lots\"\n", `:4:12: queue.max_size: "lots" is not a size; write`},
		{"a serial port without a name and a port",
			"[gateway]\nid = \"a\"\n[[serial]]\nbaud = 9600\n", `:3:3: serial[0].name: is missing`},
		{"a template with a placeholder that means nothing",
			"[gateway]\nid = \"a\"\n[[tcp]]\nname = \"x\"\nlisten = \":7000\"\ntopic = \"{gatway}/x\"\n", `did you mean {gateway}?`},
		{"a bridge rule that captures more than its filter has",
			"[gateway]\nid = \"a\"\n[[bridge]]\nname = \"c\"\nservers = [\"mqtt://h\"]\n[[bridge.up]]\nfilter = \"a/+\"\ntopic = \"b/{2}\"\n", `:8:9: bridge[0].up[0].topic: `},
		{"a syntax error",
			"[gateway\nid = \"a\"\n", ":1:9: "},
		{"a frame longer than a packet may be",
			"[gateway]\nid = \"a\"\n[[tcp]]\nname = \"x\"\nlisten = \":7000\"\nframe = { type = \"line\", max = \"4MiB\" }\n", `:6:32: tcp[0].frame.max: must be at most broker.max_packet_size, here 1MiB`},
		{"half characters do not stop",
			"[gateway]\nid = \"a\"\n[[serial]]\nname = \"x\"\nport = \"/dev/null\"\nmode = \"8N1.5\"\n", `serial[0].mode: `},
		{"all errors at once, the first",
			"[queue]\nmax_size = 1\nmin_free = \"x\"\n[gateway]\nid = 7\n", ":2:12: queue.max_size: "},
		{"all errors at once, the last",
			"[queue]\nmax_size = 1\nmin_free = \"x\"\n[gateway]\nid = 7\n", ":5:6: gateway.id: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "p.toml")
			write(t, file, c.text)
			for _, command := range []string{"check", "run"} {
				p := start(t, nil, binary, command, "-config", file)
				if code := p.exit(); code != 2 {
					t.Errorf("%s: exit code %d, not 2", command, code)
				}
				if said := p.said(); !strings.Contains(said, file+":") || !strings.Contains(said, c.want) {
					t.Errorf("%s said\n%s\nwithout %q", command, said, c.want)
				}
			}
		})
	}
}

func TestWhatCannotWorkIsOneLineAndTheRestRuns(t *testing.T) {
	t.Parallel()
	cloud := newMosquitto(t, "allow_anonymous false")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tcp := freePort(t)
	g := newGateway(t, fmt.Sprintf(`
[[listener]]
address = %q
[[serial]]
name = "scale"
port = "/dev/serial/by-id/usb-nobody_has_this"
[[tcp]]
name = "logger"
listen = %q
topic = "sensors/{name}"
ack = "OK\n"
`, taken.Addr(), tcp)+bridgeTo(cloud.address, upRule))
	g.start()
	for _, want := range []struct{ text, remedy string }{
		{"cannot listen; will keep trying", "ss -ltnp"},
		{"/dev/serial/by-id/usb-nobody_has_this", "plugged in"},
		{"the cloud refuses the connection", "remedy"},
	} {
		g.await("it says: "+want.text, func() bool { return g.lines(want.text) > 0 })
		if n := g.lines(want.text); n != 1 {
			t.Errorf("%q stands in %d lines, not in one", want.text, n)
		}
		for l := range strings.Lines(g.said()) {
			if strings.Contains(l, want.text) && !strings.Contains(l, want.remedy) {
				t.Errorf("no %q in: %s", want.remedy, l)
			}
		}
	}

	// The rest: devices are acknowledged, local clients served.
	var tally sim.Tally
	logger := tally.Add(sim.Source{Name: "logger", Kind: "TCP"})
	collect(t, g.mqtt, &tally, map[string]string{"logger": "sensors/logger"})
	run(t, (&sim.TCP{Addr: tcp, Source: logger, Count: 10, Ack: "OK"}).Run)
	g.await("ten lines are acknowledged", func() bool { return logger.Counts().Acked == 10 })
	settled(t, &tally)

	// A second gateway on the same directory is one line, and exit code 1.
	second := start(t, nil, binary, "run", "-config", g.config)
	if code := second.exit(); code != 1 {
		t.Errorf("second gateway: exit code %d", code)
	}
	if said := second.said(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "one gateway per directory") {
		t.Errorf("second gateway said:\n%s", said)
	}

	// And the port that was taken is used when it is free.
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	g.await("the freed port is listened on", func() bool { return listens(taken.Addr().String()) })
	g.stop()
}

func TestSystemdIsToldTheTruth(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "sd-") // a short path: sockets' names are
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// A cloud that is never there must not delay READY.
	g := newGateway(t, bridgeTo(freePort(t), upRule))
	g.env = []string{"NOTIFY_SOCKET=" + socket}
	g.start()
	var said string // one datagram may say several things at once
	read := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		for !strings.Contains(said, want) {
			n, err := c.Read(buf)
			if err != nil {
				t.Fatalf("no %q from the gateway, only %q: %v", want, said, err)
			}
			said += string(buf[:n]) + "\n"
		}
	}
	read("READY=1")
	read("0 waiting (")
	mosquittoPub(t, g.mqtt, "", "-q", "1", "-t", "sensors/x", "-m", "1")
	read("1 waiting (")
	g.stop()
	read("STOPPING=1")
}

func TestTheDemoLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, []string{"TMPDIR=" + dir}, binary, "demo", "-once")
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(p.said(), "lost 0,") {
		t.Errorf("it said:\n%s", p.said())
	}
	empty(t, dir)
}

func TestTheDemoEndsCleanlyOnCtrlC(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, []string{"TMPDIR=" + dir}, binary, "demo")
	await(t, patience, "the demo is under way", func() bool { return strings.Contains(p.said(), "well") })
	p.signal(syscall.SIGINT)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	empty(t, dir)
}

// empty checks that nothing was left behind: no files, and so no process that
// uses them.
func empty(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) > 0 {
		t.Errorf("left behind: %v", list)
	}
}
