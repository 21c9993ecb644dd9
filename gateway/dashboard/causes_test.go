package dashboard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"packetboat/broker/packet"
	"packetboat/broker/transport/certtest"
	"packetboat/cmd/packetboat/sim"
)

// causeWithin is how long after its beginning a cause is named by the page.
const causeWithin = 10 * time.Second

// TestTheOverviewNamesEachCauseWithinTenSeconds, and says what to do, on a page
// that is open all the time. The causes come one after the other and stay, so that
// in the end the page shows all of them at once.
func TestTheOverviewNamesEachCauseWithinTenSeconds(t *testing.T) {
	p := newPatient(t)
	b := newTab(t, p.web)
	b.look(390, 844, "dark")
	b.goTo("overview", "Overview")
	b.shows("Nothing is wrong.", "All is well")
	eval[bool](b, "window.sameAsEver = true")
	for _, c := range p.causes() {
		took := named(b, c)
		t.Logf("%s: named after %v", c.name, took.Round(10*time.Millisecond))
		if took > causeWithin {
			t.Errorf("%s: named after %v", c.name, took)
		}
		b.until(fmt.Sprintf("document.getElementById('said').textContent.includes(%q)", c.want[0])) // to a screen reader
	}
	if !eval[bool](b, "window.sameAsEver") {
		t.Error("the page was loaded again")
	}
	b.eachPage("causes")
}

// A cause is something that goes wrong, and what the page has to say about it.
type cause struct {
	name  string
	begin func()
	want  []string // in one of the things that are wrong: what, and what to do
}

// named begins a cause, waits until the page names it and says how long that took.
func named(b *tab, c cause) time.Duration {
	b.t.Helper()
	want, err := json.Marshal(c.want)
	if err != nil {
		b.t.Fatal(err)
	}
	is := fmt.Sprintf(`[...document.querySelectorAll(".problems li")].some((li) => %s.every((s) => li.textContent.includes(s)) && li.checkVisibility())`, want)
	if eval[bool](b, is) {
		b.t.Errorf("%s: it is named before it is so", c.name)
	}
	began := time.Now()
	c.begin()
	b.until(is)
	return time.Since(began)
}

// patient is a gateway on a small disk of its own, to which everything will happen.
type patient struct {
	*running
	cloud  *running // that it sends to
	others *running // clouds that will not have it
	disk   string   // "": it has none of its own

	guarded, expired, early string // their addresses
	expiredCA, earlyCA      string // what they have for a certificate

	scale, noise string // serial ports
	plug, line   *os.File
}

func newPatient(t *testing.T) *patient {
	t.Helper()
	p := &patient{cloud: prepare(t, "cloud", "", ""), guarded: freePort(t), expired: freePort(t), early: freePort(t)}
	p.cloud.start()
	now := time.Now()
	var keyE, keyN string
	p.expiredCA, keyE = certificate(t, now.Add(-48*time.Hour), now.Add(-24*time.Hour))
	p.earlyCA, keyN = certificate(t, now.Add(24*time.Hour), now.Add(48*time.Hour))
	p.others = prepare(t, "others", "", fmt.Sprintf("[auth]\nusers = %q\n[[listener]]\naddress = %q\nanonymous = false\n", userFile(t, "gw", "right and long"), p.guarded)+
		fmt.Sprintf("[[listener]]\naddress = %q\n[listener.tls]\ncert = %q\nkey = %q\n", p.expired, p.expiredCA, keyE)+
		fmt.Sprintf("[[listener]]\naddress = %q\n[listener.tls]\ncert = %q\nkey = %q\n", p.early, p.earlyCA, keyN))
	p.others.start()
	p.scale, p.plug = plug(t, "ttyUSB0")
	p.noise, p.line = plug(t, "ttyUSB1")
	dir := smallDisk(t)
	if p.disk = dir; dir == "" {
		dir = t.TempDir()
	}
	p.running = prepareOn(t, dir, "max_size = \"16MiB\"\nmin_free = \"4MiB\"\nsegment_size = \"256KiB\"", "patient", "", fmt.Sprintf(`
[[auth.rule]]
client = "meter-*"
publish = ["meters/#"]
[[auth.rule]]
client = "filler"
publish = ["cloud/#"]
[[serial]]
name = "scale"
port = %q
[[serial]]
name = "noise"
port = %q
decode = { type = "json" }
`, p.scale, p.noise)+bridgeTo("cloud", "mqtt://"+p.cloud.mqtt, ""))
	p.start()
	return p
}

// bridgeTo is a bridge for the topics below its name.
func bridgeTo(name, server, more string) string {
	return fmt.Sprintf("[[bridge]]\nname = %q\nservers = [%q]\n%s[[bridge.up]]\nfilter = \"%s/#\"\n", name, server, more, name)
}

func (p *patient) causes() []cause {
	bridge := func(name, server, more string) func() {
		return func() { p.add(bridgeTo(name, server, more)) }
	}
	trusting := func(file string) string { return fmt.Sprintf("[bridge.tls]\nca = %q\n", file) }
	all := []cause{
		{"the cloud is down", func() { p.cloud.end() },
			[]string{"bridge cloud is ", "connection refused", "nothing listens at that port"}},
		{"the name of the cloud is wrong", bridge("lost", "mqtt://cloud.invalid:1883", ""),
			[]string{"bridge lost ", "cloud.invalid", "name servers"}}, // the name servers may say no, or nothing
		{"the password is wrong", bridge("stranger", "mqtt://"+p.guarded, "username = \"gw\"\npassword = \"wrong\"\n"),
			[]string{"bridge stranger is refused", "check username and password"}},
		{"the cloud's certificate has expired", bridge("late", "mqtts://"+p.expired, trusting(p.expiredCA)),
			[]string{"bridge late is ", "has expired", "it must be renewed there"}},
		{"the clock is wrong: the cloud's certificate is not valid yet", bridge("early", "mqtts://"+p.early, trusting(p.earlyCA)),
			[]string{"bridge early is ", "is not valid yet", "check this machine's clock (timedatectl)"}},
		{"the serial port is unplugged", p.unplug,
			[]string{"adapter scale is not ready: ", "is the device plugged in?", "packetboat ports"}},
		{"the baud rate is wrong", p.garbage,
			[]string{"adapter noise: ", "frames in the last minute are bad", "most often the speed is wrong", "packetboat probe"}},
		{"the access rules deny a publish", func() {
			dial(p.t, p.mqtt, "meter-7").publish(packet.Publish{Topic: "valves/7", Payload: []byte("open")})
		}, []string{"the access rules have denied requests (1 so far)", "client meter-7 may not publish to valves/7", "[[auth.rule]]"}},
		{"the queue is full", p.fill,
			[]string{"the queue is full: ", "messages for bridge cloud were dropped", "raise queue.max_size"}},
		{"the disk is nearly full", p.fillDisk,
			[]string{"the disk is nearly full: ", "queue.min_free keeps", "free space on the disk of data_dir"}},
	}
	if p.disk == "" {
		p.t.Log("SKIPPED: the disk nearly full, as no file system can be mounted here")
		all = all[:len(all)-1]
	}
	return all
}

func (p *patient) unplug() {
	if err := errors.Join(os.Remove(p.scale), p.plug.Close()); err != nil {
		p.t.Fatal(err)
	}
}

// garbage sends what a wrong speed makes of two lines.
func (p *patient) garbage() {
	if _, err := io.WriteString(p.line, strings.Repeat("\xfe\x80\x00\xf8\x1e\n", 2)); err != nil {
		p.t.Fatal(err)
	}
}

// fill publishes more than there is room for.
func (p *patient) fill() {
	batch := make([]packet.Publish, 280)
	for i := range batch {
		batch[i] = packet.Publish{Topic: "cloud/log", Payload: make([]byte, 64<<10)}
	}
	dial(p.t, p.mqtt, "filler").publish(batch...)
}

// fillDisk leaves half of what the gateway wants to have free.
func (p *patient) fillDisk() {
	var st unix.Statfs_t
	if err := unix.Statfs(p.disk, &st); err != nil {
		p.t.Fatal(err)
	}
	free := int(st.Bavail) * int(st.Bsize)
	if err := os.WriteFile(filepath.Join(p.disk, "fill"), make([]byte, free-2<<20), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// plug plugs in a serial device: the name of its port, and its end of the line.
func plug(t *testing.T, name string) (port string, device *os.File) {
	t.Helper()
	device, path, err := sim.OpenTerminal()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = device.Close() })
	port = filepath.Join(t.TempDir(), name)
	if err := os.Symlink(path, port); err != nil {
		t.Fatal(err)
	}
	return port, device
}

// smallDisk is a directory on a file system of 64 MiB, which goes with the test; "":
// that cannot be had here. It is mounted in the mount namespace of another process,
// through whose root it is reached.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"-m", "sh", "-c", fmt.Sprintf("mount -t tmpfs -o size=64m none %s && echo mounted && exec cat", dir)}
	if os.Geteuid() != 0 {
		args = append([]string{"-r"}, args...)
	}
	c := exec.Command("unshare", args...)
	in, err := c.StdinPipe() // at its end, the process ends
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		return ""
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = c.Wait()
	})
	if _, err := io.ReadFull(out, make([]byte, len("mounted\n"))); err != nil {
		return ""
	}
	return fmt.Sprintf("/proc/%d/root%s", c.Process.Pid, dir)
}

// certificate writes one for servers on loopback, which is its own authority, and
// its key.
func certificate(t *testing.T, from, to time.Time) (cert, key string) {
	return certtest.SelfSigned("cloud", certtest.Hosts("127.0.0.1"), certtest.CA, certtest.Valid(from, to)).Files(t.TempDir(), "tls")
}
