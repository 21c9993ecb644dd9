package e2e

import (
	"errors"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// screenOf is what a program shows on a terminal.
type screenOf struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *screenOf) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screenOf) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestTopIsALiveScreen that q and Ctrl-C end, and the terminal is as before.
func TestTopIsALiveScreen(t *testing.T) {
	t.Parallel()
	cloud := newMosquitto(t, anonymous)
	g := newGateway(t, bridgeTo(cloud.address, upRule))
	g.start()
	g.await("it is online", func() bool { return details(t, g).State == "online" })
	for _, end := range []string{"q", "\x03"} {
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		if err := pty.Setsize(master, &pty.Winsize{Rows: 24, Cols: 100}); err != nil {
			t.Fatal(err)
		}
		before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command(binary, "top", "-config", g.config)
		c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
		c.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		var screen screenOf
		var reading sync.WaitGroup
		reading.Go(func() {
			buf := make([]byte, 4096)
			for {
				n, err := master.Read(buf)
				_, _ = screen.Write(buf[:n])
				if err != nil {
					return
				}
			}
		})
		await(t, patience, "it is drawn twice", func() bool { return strings.Count(screen.String(), "packetboat top: e2e") >= 2 })
		if _, err := master.WriteString(end); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err != nil {
			t.Errorf("%q: %v", end, err)
		}
		after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		if err != nil || *after != *before {
			t.Errorf("%q: the terminal is left as %+v, %v", end, after, err)
		}
		if err := errors.Join(slave.Close(), master.Close()); err != nil {
			t.Error(err)
		}
		reading.Wait()
		text := screen.String()
		for _, want := range []string{"\x1b[?1049h", "flowing   yes", "cloud   online", "\x1b[?25h\x1b[?1049l"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q: no %q in %q", end, want, text)
			}
		}
	}

	// Where there is no terminal, it is one screen of text.
	for _, args := range [][]string{{"top"}, {"top", "-once"}} {
		out, code := g.tool(args...)
		if code != 0 || strings.Contains(out, "\x1b") || strings.Count(out, "packetboat top: e2e") != 1 || !strings.Contains(out, "cloud   online") {
			t.Errorf("%v: exit code %d, %q", args, code, out)
		}
	}
	g.stop()
	if out, code := g.tool("top"); code != 1 || !strings.Contains(out, "no gateway answers") {
		t.Errorf("without a gateway: exit code %d, %q", code, out)
	}
}
