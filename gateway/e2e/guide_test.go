package e2e

import (
	"bufio"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestTheGuideRunsAsWritten gives every command of docs/getting-started.md, in
// order, to a shell on a fresh machine (testdata/guide/machine), and compares the
// output with what the guide shows. The package is the real one, installed by apt.
// What is not real: the machine was not booted, so sudo and systemctl are scripts
// (testdata/guide/bin; scripts/boottest has a real systemd), and the sensor is
// simulated, behind a real terminal.
func TestTheGuideRunsAsWritten(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a package, and waits for an ack_timeout")
	}
	t.Parallel()
	text, err := os.ReadFile("../../docs/getting-started.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := readGuide(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for i := range blocks {
		blocks[i].file = "docs/getting-started.md"
	}
	// The gateway that the guide has installed is backed up and restored, too.
	for i := range blocks {
		if i > 0 && blocks[i].fresh {
			blocks = slices.Insert(blocks, i, restoring(t)...)
			break
		}
	}
	var m *machine
	deb := debPackage(t)
	given := 0
	for i := range blocks {
		b := &blocks[i]
		if b.fresh {
			m = newMachine(t, deb)
		}
		if b.elsewhere != "" {
			t.Logf("%s, line %d is not run here, it is for %s:\n%s", b.file, b.line, b.elsewhere, b.commands)
			continue
		}
		given++
		m.give(b)
	}
	if given < 20 {
		t.Errorf("%d blocks of commands were found", given)
	}
}

// restoring is the part of docs/maintenance.md that a fresh machine can show.
func restoring(t *testing.T) []guideBlock {
	t.Helper()
	text, err := os.ReadFile("../../docs/maintenance.md")
	if err != nil {
		t.Fatal(err)
	}
	before, part, found := strings.Cut(string(text), "\n## Backup and restore\n")
	part, _, ends := strings.Cut(part, "\n## What a card has to take\n")
	if !found || !ends {
		t.Fatal("docs/maintenance.md: the sections on backups and cards were not found")
	}
	blocks, err := readGuide(part)
	if err != nil {
		t.Fatalf("docs/maintenance.md: %v", err)
	}
	for i := range blocks {
		blocks[i].line += strings.Count(before, "\n") + 2
		blocks[i].file = "docs/maintenance.md"
	}
	return blocks
}

// debPackage makes the package for this machine.
func debPackage(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a machine of its own needs root")
	}
	for _, tool := range []string{"apt", "dpkg", "unshare", "nsenter", "ip", "mosquitto_passwd"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not here: needs Debian, and what scripts/test installs", tool)
		}
	}
	dir := t.TempDir()
	try := exec.Command("unshare", "-mnpuf", "sh", "-ec", `mount --make-rprivate /
		mount -t tmpfs tmpfs .
		mkdir upper work root
		mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
		ip link add one type veth peer name other`)
	try.Dir = t.TempDir()
	if out, err := try.CombinedOutput(); err != nil {
		t.Skipf("this kernel does not let us make a machine: %v: %s", err, out)
	}
	c := exec.Command("../../scripts/package", "-arch", runtime.GOARCH, dir)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", c, err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("scripts/package made %v, %v", found, err)
	}
	return found[0]
}

// A machine is a fresh Debian with a sensor at /dev/ttyUSB0, and a cloud.
type machine struct {
	t    *testing.T
	in   io.Writer
	said chan string // lines; closed at the machine's end
	n    int         // blocks given
}

func newMachine(t *testing.T, deb string) *machine {
	t.Helper()
	dir := t.TempDir()
	cloudFiles(t, dir)
	home := filepath.Join(dir, "home")
	for from, to := range map[string]string{
		"testdata/guide/bin": filepath.Join(dir, "bin"),
		deb:                  filepath.Join(home, filepath.Base(deb)),
		binary:               filepath.Join(home, "packetboat"),
	} {
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("cp", "-r", from, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if err := os.Symlink(binary, filepath.Join(dir, "packetboat")); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("unshare", "-mnpuf", "--kill-child", "testdata/guide/machine", dir)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = c.Stdout
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, in: in, said: make(chan string, 1000)}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		for range m.said { // until all that had the pipe are gone
		}
		_ = c.Wait()
	})
	go func() {
		defer close(m.said)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			line := strings.TrimRight(lines.Text(), "\r")
			m.said <- line[strings.LastIndexByte(line, '\r')+1:] // as a terminal shows it
		}
	}()
	return m
}

// cloudFiles writes what the broker of the guide's cloud needs.
func cloudFiles(t *testing.T, dir string) {
	t.Helper()
	ca := newAuthority(t, "An authority that the system knows")
	ca.file(filepath.Join(dir, "ca.crt"))
	server := pair{filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")}
	ca.issueAs("mqtt.example.com", server, func(c *x509.Certificate) { c.DNSNames = []string{"mqtt.example.com"} })
	users := filepath.Join(dir, "users")
	write(t, users, "")
	if out, err := exec.Command("mosquitto_passwd", "-b", users, "plant-7", "THE-PASSWORD").CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v: %s", err, out)
	}
	write(t, filepath.Join(dir, "mosquitto.conf"), fmt.Sprintf(
		"listener 8883 192.0.2.1\ncertfile %s\nkeyfile %s\npassword_file %s\nallow_anonymous false\nuser root\n", server.cert, server.key, users))
}

// give has the shell run a block, and compares.
func (m *machine) give(b *guideBlock) {
	m.t.Helper()
	began := time.Now()
	for {
		output, code := m.run(b)
		if b.untilCtrlC {
			return
		}
		wrong := ""
		if b.shown != nil {
			wrong = asShown(output, b.shown)
		}
		if wrong == "" && code != b.code {
			wrong = fmt.Sprintf("exit code %d", b.code)
		}
		if wrong == "" {
			wrong = gapIn(output)
		}
		if wrong == "" {
			return
		}
		if !b.again || time.Since(began) > patience {
			m.t.Fatalf("%s, line %d:\n%s\nexit code %d\n%s\nnot as it is written there: %s", b.file, b.line, b.commands, code, output, wrong)
		}
	}
}

// run gives a block to the shell, as it is written, and returns what comes.
func (m *machine) run(b *guideBlock) (output string, code int) {
	m.t.Helper()
	m.n++
	file := fmt.Sprintf("/tmp/block-%d", m.n)
	end := fmt.Sprintf("--end-%d-of-%d--", m.n, os.Getpid())
	background := ""
	if b.untilCtrlC {
		background = ">/dev/null &"
	}
	// All in one shell, as somebody types it; the code is that of the last command that
	// failed, 0 if none did.
	fmt.Fprintf(m.in, "cat >%[1]s <<'%[2]s'\n%[3]s%[2]s\ncode=0; trap 'code=$?' ERR\n. %[1]s 2>&1 </dev/null %[4]s\necho \"%[2]s $code\"\n", file, end, b.commands, background)
	var text strings.Builder
	late := time.After(2 * patience)
	for {
		select {
		case line, ok := <-m.said:
			rest, over := strings.CutPrefix(line, end+" ")
			if !ok {
				m.t.Fatalf("the machine has ended in %s, line %d:\n%s", b.file, b.line, text.String())
			}
			if over {
				code, _ := strconv.Atoi(rest)
				return text.String(), code
			}
			text.WriteString(line + "\n")
		case <-late:
			m.t.Fatalf("%s, line %d does not end:\n%s%s", b.file, b.line, b.commands, text.String())
		}
	}
}

var seqStamp = regexp.MustCompile(`seq:0/(\d+)`)

// gapIn looks through the numbers of messages that have come from the cloud: at
// QoS 1 one may come again, but none may be missing.
func gapIn(output string) (wrong string) {
	next := 0
	for _, m := range seqStamp.FindAllStringSubmatch(output, -1) {
		n, _ := strconv.Atoi(m[1])
		if next > 0 && n > next {
			return fmt.Sprintf("message %d, before %d", next, n)
		}
		next = max(next, n+1)
	}
	return ""
}
