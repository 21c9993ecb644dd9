package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"packetboat/cmd/packetboat/sim"
)

const (
	// baud115200 is what such a line carries, in bytes a second.
	baud115200 = 11520

	// lineLength is that of the lines of a talker, with their end.
	lineLength = 32
)

// talker is a device on a pseudo terminal that talks without a pause, in pieces
// that have nothing to do with its lines: "life 3 line 12 ......".
type talker struct {
	life   int
	master *os.File
	stop   func()
}

// plugTalker plugs a talker in, under the name port.
func plugTalker(t *testing.T, port string, life int) *talker {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if _, err = term.MakeRaw(int(slave.Fd())); err != nil {
		t.Fatal(err)
	}
	// A duplicate that can be polled, so that deadlines work.
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(unix.SetNonblock(fd, true), slave.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	d := &talker{life: life, master: os.NewFile(uintptr(fd), "/dev/ptmx")}
	// As udev does: the name appears at once.
	if err := errors.Join(os.Symlink(slave.Name(), port+".new"), os.Rename(port+".new", port)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { d.talk(ctx) })
	d.stop = sync.OnceFunc(func() { cancel(); wg.Wait(); d.master.Close() })
	t.Cleanup(d.stop)
	return d
}

// unplug unplugs it, in the middle of a line.
func (d *talker) unplug(t *testing.T, port string) {
	t.Helper()
	if err := os.Remove(port); err != nil {
		t.Fatal(err)
	}
	d.stop()
}

// talk writes at 115,200 baud. While the port is not read, it waits.
func (d *talker) talk(ctx context.Context) {
	const every = 5 * time.Millisecond // as USB converters hand it over
	tick := time.NewTicker(every)
	defer tick.Stop()
	var rest []byte
	for n := 0; ctx.Err() == nil; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		const piece = baud115200 / int(time.Second/every)
		for len(rest) < piece {
			line := fmt.Sprintf("life %d line %d ", d.life, n)
			rest = append(rest, line+strings.Repeat(".", lineLength-1-len(line))+"\n"...)
			n++
		}
		if err := d.master.SetWriteDeadline(time.Now().Add(every)); err != nil {
			return
		}
		k, _ := d.master.Write(rest[:piece])
		rest = rest[k:]
	}
}

// lives checks the lines that arrive.
type lives struct {
	t    *testing.T
	mu   sync.Mutex
	life int // of the latest line
	line int
	seen int // lines
}

func (l *lives) take(_ string, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var life, line int
	text := string(payload)
	if _, err := fmt.Sscanf(text, "life %d line %d ", &life, &line); err != nil || len(text) != lineLength-1 || strings.Count(text, "l") != 2 {
		l.t.Errorf("a frame that is no line: %q", text)
		return
	}
	if next := l.line + 1; l.seen > 0 && (life < l.life || life == l.life && line != next || life > l.life && line != 0) {
		l.t.Errorf("%q after line %d of life %d", text, l.line, l.life)
	}
	l.life, l.line = life, line
	l.seen++
}

func (l *lives) now() (life, seen int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.life, l.seen
}

// listen subscribes to all of the gateway.
func (l *lives) listen(address string) {
	subscribed := make(chan struct{}, 1)
	s := &sim.Subscriber{Addr: address, ClientID: "lives", Filter: "e2e/scale", QoS: 1, Message: l.take, Subscribed: func() {
		select {
		case subscribed <- struct{}{}:
		default:
		}
	}}
	run(l.t, s.Run)
	<-subscribed
}

func TestAPortThatIsUnpluggedWhileItTalksIsBackWithinTwoSecondsAndNoFrameMixesTwoLives(t *testing.T) {
	t.Parallel()
	port := filepath.Join(t.TempDir(), "ttyScale")
	g := newGateway(t, fmt.Sprintf("[[serial]]\nname = \"scale\"\nport = %q\nbaud = 115200\n", port))
	d := plugTalker(t, port, 0)
	g.start()
	l := &lives{t: t}
	l.listen(g.mqtt)
	g.await("the first lines are heard", func() bool { _, seen := l.now(); return seen > 100 })
	before := g.descriptors()
	var slowest time.Duration
	for life := 1; life <= scale(5, 100); life++ {
		d.unplug(t, port)
		d = plugTalker(t, port, life)
		began := time.Now()
		g.await("a line of the new life is heard", func() bool { now, _ := l.now(); return now == life })
		slowest = max(slowest, time.Since(began))
		_, seen := l.now()
		g.await("it talks", func() bool { _, now := l.now(); return now > seen+20 })
	}
	_, seen := l.now()
	t.Logf("%d lines, back after at most %v", seen, slowest.Round(time.Millisecond))
	// The port is looked for after at most 1.5 s; a machine that is busy with
	// other tests may take its time.
	if slowest > time.Duration(scale(10, 2))*time.Second {
		t.Error("too late")
	}
	g.await("descriptors are as before", func() bool { return g.descriptors() == before })
	d.unplug(t, port)
	g.stop()
}

// descriptors counts the open files of the gateway, without those of its queue,
// which come and go.
func (g *gateway) descriptors() (n int) {
	g.t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(g.cmd.Process.Pid), "fd")
	list, err := os.ReadDir(dir)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, e := range list {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && !strings.HasPrefix(to, g.data) {
			n++
		}
	}
	return n
}

// processor is the processor time that the gateway has used, as the scheduler
// counts it: the ticks in /proc/PID/stat miss what sleeps in time with them.
func (g *gateway) processor() (sum time.Duration) {
	g.t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", g.cmd.Process.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			g.t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(b), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			g.t.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// share is which part of a core the gateway uses for so long, in percent.
func (g *gateway) share(d time.Duration) float64 {
	g.t.Helper()
	began, before := time.Now(), g.processor()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.ended:
		g.t.Fatal("the gateway has ended")
	}
	return 100 * float64(g.processor()-before) / float64(time.Since(began))
}

func TestPortsAndDevicesThatAreNotThereCostNextToNothing(t *testing.T) {
	t.Parallel()
	g := newGateway(t, fmt.Sprintf(`
[[serial]]
name = "a"
port = %q
[[serial]]
name = "b"
match = { vid = "ffff", pid = "ffff", serial = "none" }
[[tcp]]
name = "c"
connect = %q
`, filepath.Join(t.TempDir(), "tty*"), freePort(t)))
	g.start()
	share := g.share(time.Duration(scale(3, 30)) * time.Second)
	t.Logf("%.2f %% of a core", share)
	if share > 1 {
		t.Error("too much")
	}
	for _, want := range []string{"is the device plugged in and switched on?", "no port is USB ffff:ffff serial none", "connection refused"} {
		if n := g.lines(want); n != 1 {
			t.Errorf("%q is said %d times", want, n)
		}
	}
	g.stop()
}

// TestALineAt115200BaudCostsLittle, without and with the disk.
func TestALineAt115200BaudCostsLittle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, sections string }{
		{"nobody listens", ""},
		{"a bridge queues it", bridgeTo(freePort(t), "[[bridge.up]]\nfilter = \"#\"\n")},
	} {
		port := filepath.Join(t.TempDir(), "ttyScale")
		g := newGateway(t, fmt.Sprintf("[[serial]]\nname = \"scale\"\nport = %q\nbaud = 115200\n", port)+c.sections)
		d := plugTalker(t, port, 0)
		g.start()
		g.await("the port is open", func() bool { return strings.Contains(g.said(), "ttyScale") })
		share := g.share(time.Duration(scale(3, 30)) * time.Second)
		t.Logf("%s: %.2f %% of a core", c.name, share)
		// Nearly all of it is what waking up costs, 30 to 50 times a second and
		// in a virtual machine more than elsewhere: the lines themselves are
		// less than 1 µs each (BenchmarkLines of adapters/tcp).
		if share > float64(scale(10, 3)) && c.sections == "" {
			t.Error("too much")
		}
		d.unplug(t, port)
		g.stop()
	}
}
