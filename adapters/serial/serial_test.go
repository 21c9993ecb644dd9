package serial

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"packetboat/adapters"
	"packetboat/adapters/decode"
	"packetboat/broker/store"
	"packetboat/config"
)

// broker hands on what is published.
type broker struct{ frames, status chan string }

func newBroker() broker {
	return broker{make(chan string, 1000), make(chan string, 1000)}
}

func (b broker) Publish(m *store.Message) (store.Receipt, error) {
	if strings.HasSuffix(m.Topic, "status") {
		b.status <- string(m.Payload)
	} else {
		b.frames <- m.Topic + " " + string(m.Payload)
	}
	return store.Receipt{}, nil
}

type disk struct{}

func (disk) Wait(context.Context, store.Receipt) error { return nil }
func (disk) IsDurable(store.Receipt) bool              { return true }
func (disk) Age(store.Stamp) time.Duration             { return 0 }
func (disk) AgeKnown(store.Stamp) bool                 { return true }

type commands struct {
	c    chan store.Delivery
	done chan uint64
}

func (c commands) Next(ctx context.Context) (store.Delivery, error) {
	select {
	case d := <-c.c:
		return d, nil
	case <-ctx.Done():
		return store.Delivery{}, ctx.Err()
	}
}
func (c commands) Done(seq uint64)                                   { c.done <- seq }
func (c commands) GiveUp(uint64, store.Reason, string) store.Receipt { return store.Receipt{} }
func (c commands) attach(string) (adapters.Commands, func(), error)  { return c, func() {}, nil }

func tmpl(t *testing.T, s string) config.Template {
	t.Helper()
	p, err := config.ParseTemplate(s, "port", "payload")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// plug makes a pseudo-terminal and lets link, as udev would, lead to it.
func plug(t *testing.T, link string) (master *os.File) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	hidden := filepath.Join(filepath.Dir(link), ".new")
	if err := os.Symlink(slave.Name(), hidden); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(hidden, link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	return master
}

type fixture struct {
	*Adapter
	broker broker
	cmds   commands
	stop   func()
}

func start(t *testing.T, port string) *fixture {
	t.Helper()
	return startWith(t, Wanted{Port: port})
}

func startWith(t *testing.T, port Wanted) *fixture {
	t.Helper()
	f := &fixture{broker: newBroker(), cmds: commands{make(chan store.Delivery, 10), make(chan uint64, 10)}}
	a, err := NewAdapter(Options{
		Port: port,
		Stream: adapters.Options{
			Name: "scale", Topic: tmpl(t, "gw/{port}"), Status: tmpl(t, "gw/status"), QoS: 1, Broker: f.broker, Disk: disk{},
			Jitter: func() time.Duration { return 20 * time.Millisecond },
			Command: &adapters.CommandOptions{
				Topic: tmpl(t, "gw/set"), Encode: decode.Command{Template: tmpl(t, "{payload}\r\n")},
				Attach: f.cmds.attach, Timeout: 300 * time.Millisecond,
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Adapter = a
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	f.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(f.stop)
	return f
}

// expectStatus waits for a presence; those before it are passed over.
func (f *fixture) expectStatus(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case got := <-f.broker.status:
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("never %s", want)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func TestLinesComeInAndCommandsGoOut(t *testing.T) {
	link := filepath.Join(t.TempDir(), "usb-scale")
	master := plug(t, link)
	f := start(t, link)
	f.expectStatus(t, "online")
	io.WriteString(master, "12.5 k")
	io.WriteString(master, "g\r\n\x03\xff\r\n")
	if got := <-f.broker.frames; got != "gw/usb-scale 12.5 kg" {
		t.Fatalf("got %q", got)
	}
	if got := <-f.broker.frames; got != "gw/usb-scale \x03\xff" {
		t.Fatalf("got %q: the line is not raw", got)
	}
	f.cmds.c <- store.Delivery{Seq: 3, Message: store.Message{Topic: "gw/set", Payload: []byte("TARE")}}
	if line, err := bufio.NewReader(master).ReadString('\n'); err != nil || line != "TARE\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if seq := <-f.cmds.done; seq != 3 {
		t.Fatalf("done %d", seq)
	}
	f.stop()
	f.expectStatus(t, "offline")
}

func TestAPortThatComesAndGoesIsFoundEachTime(t *testing.T) {
	link := filepath.Join(t.TempDir(), "usb-scale")
	f := start(t, filepath.Dir(link)+"/usb-*")
	steady := 0
	for i := range 20 {
		master := plug(t, link)
		f.expectStatus(t, "online")
		fmt.Fprintf(master, "line %d\nhead ", i)
		if got := <-f.broker.frames; got != fmt.Sprintf("gw/usb-scale line %d", i) {
			t.Fatalf("got %q", got)
		}
		if n := descriptors(t); i == 0 {
			steady = n
		} else if n != steady {
			t.Fatalf("%d descriptors in life %d, %d in the first", n, i, steady)
		}
		if err := os.Remove(link); err != nil { // first: the terminal's name is somebody else's at once
			t.Fatal(err)
		}
		master.Close()
		f.expectStatus(t, "offline")
	}
	if st := f.Stats(); st.Opened != 20 || st.Frame.Frames != 20 {
		t.Fatalf("%+v", st)
	}
}

func TestAStuckWriteHoldsTheAdapterForItsTimeoutOnly(t *testing.T) {
	link := filepath.Join(t.TempDir(), "tty")
	master := plug(t, link)
	// As long as somebody has it open, the device's side reads on. Else it ends when a
	// slow machine lets another write time out, and then all of them do.
	other, err := os.OpenFile(link, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	f := start(t, link)
	f.expectStatus(t, "online")
	f.cmds.c <- store.Delivery{Seq: 1, Message: store.Message{Topic: "gw/set", Payload: []byte(strings.Repeat("x", 900<<10))}}
	f.expectStatus(t, "offline") // nobody reads: the buffer fills, the write times out, the port is closed
	f.expectStatus(t, "online")
	// Now somebody does, and the command is written anew.
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(io.Discard, master) })
	if seq := <-f.cmds.done; seq != 1 {
		t.Fatalf("done %d", seq)
	}
	f.stop()
	_ = other.Close()
	wg.Wait()
}

func TestASecondOpenIsRefusedAndNamesTheHolder(t *testing.T) {
	link := filepath.Join(t.TempDir(), "tty")
	plug(t, link)
	p, err := Open(link, Line{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(link, Line{})
	if err == nil || !strings.Contains(err.Error(), "in use by") {
		t.Fatalf("second open: %v", err)
	}
	if !strings.Contains(err.Error(), "another adapter of this gateway") {
		t.Errorf("the holder is not named: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p, err = Open(link, Line{})
	if err != nil {
		t.Fatalf("after the first is closed: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReadsAboveDescriptor1023(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < 1200 {
		limit.Cur = min(1200, limit.Max)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	for {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if f.Fd() > 1023 {
			break
		}
	}
	link := filepath.Join(t.TempDir(), "tty")
	master := plug(t, link)
	p, err := Open(link, Line{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	io.WriteString(master, "x")
	b := make([]byte, 10)
	if n, err := p.Read(b); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
}

func TestCloseReleasesAReadAndAWrite(t *testing.T) {
	link := filepath.Join(t.TempDir(), "tty")
	plug(t, link)
	p, err := Open(link, Line{})
	if err != nil {
		t.Fatal(err)
	}
	p.stuck.Store(true) // do not wait for what nobody reads
	ended := make(chan error, 2)
	go func() { _, err := p.Read(make([]byte, 1)); ended <- err }()
	go func() { _, err := p.Write(make([]byte, 1<<20)); ended <- err }()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-ended; !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	}
}

func TestLineSettings(t *testing.T) {
	for _, tt := range []struct {
		name         string
		line         Line
		baud         uint32
		cflag, iflag uint32 // to be set
	}{
		{"the default is 9600 baud without flow control", Line{}, unix.B9600, unix.CS8, 0},
		{"115200 baud with two stop bits", Line{Baud: 115200, Stop: "2"}, unix.B115200, unix.CSTOPB, 0},
		{"hardware flow control", Line{Flow: "rtscts"}, unix.B9600, unix.CRTSCTS, 0},
		{"software flow control", Line{Flow: "xonxoff"}, unix.B9600, 0, unix.IXON | unix.IXOFF},
		{"even parity is checked", Line{Data: 7, Parity: 'E'}, unix.B9600, 0, unix.INPCK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			link := filepath.Join(t.TempDir(), "tty")
			plug(t, link)
			p, err := Open(link, tt.line)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			p.control(func(fd int) {
				got, err := unix.IoctlGetTermios(fd, unix.TCGETS)
				if err != nil {
					t.Fatal(err)
				}
				if got.Cflag&unix.CBAUD != tt.baud || got.Cflag&tt.cflag != tt.cflag || got.Iflag&tt.iflag != tt.iflag {
					t.Errorf("cflag %o iflag %o", got.Cflag, got.Iflag)
				}
				if tt.line.Flow == "" && (got.Cflag&unix.CRTSCTS != 0 || got.Iflag&(unix.IXON|unix.IXOFF) != 0) {
					t.Errorf("flow control is on")
				}
				if got.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 || got.Iflag&unix.ICRNL != 0 || got.Oflag&unix.OPOST != 0 {
					t.Errorf("the line is not raw")
				}
			})
		})
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"usb-a", "usb-b", "file"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, port, want string }{
		{"a port that is not there", dir + "/ttyUSB7", "does not exist: is the device plugged in?"},
		{"a glob without a match", dir + "/none-*", "is the device plugged in"},
		{"a glob with two", dir + "/usb-*", "make it match one of them"},
		{"a file", dir + "/file", "not a serial port"},
		{"a device that is no port", "/dev/null", "not a serial port"},
	} {
		path, err := Wanted{Port: tt.port}.Find()
		if err == nil {
			_, err = Open(path, Line{})
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.port) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestPermissionErrorsNameTheGroup(t *testing.T) {
	for _, tt := range []struct {
		name      string
		mode, gid uint32
		want      string
	}{
		{"a group that may", 0o020660, 20, "user packetboat must be in group dialout (usermod -aG dialout USER"},
		{"a group that may not", 0o020600, 20, "no group may"},
		{"the group of root", 0o020660, 0, "no group may"},
	} {
		err := errPermission("user packetboat", "/dev/ttyUSB0", tt.mode, tt.gid, "dialout")
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	link := filepath.Join(t.TempDir(), "tty")
	plug(t, link)
	if err := explain(link, unix.EACCES); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), link) {
		t.Errorf("%v", err)
	}
}

func TestNewAdapterSaysWhatIsWrong(t *testing.T) {
	stream := adapters.Options{Topic: tmpl(t, "x")}
	for i, tt := range []struct {
		opt  Options
		want string
	}{
		{Options{}, "port: "},
		{Options{Port: Wanted{Port: "/dev/tty["}}, "port: "},
		{Options{Port: Wanted{Port: "x"}, Line: Line{Baud: -1}}, "baud: "},
		{Options{Port: Wanted{Port: "x"}, Line: Line{Data: 9}}, "mode: "},
		{Options{Port: Wanted{Port: "x"}, Line: Line{Parity: 'X'}}, "mode: "},
		{Options{Port: Wanted{Port: "x"}, Line: Line{Stop: "3"}}, "mode: "},
		{Options{Port: Wanted{Port: "x"}, Line: Line{Stop: "1.5"}}, "mode: 1.5 stop bits exist with 5 data bits only"},
		{Options{Port: Wanted{Port: "x"}, Line: Line{Data: 5, Stop: "2"}}, "mode: "},
		{Options{Port: Wanted{Port: "x"}, Line: Line{Flow: "dsrdtr"}}, "flow: "},
	} {
		tt.opt.Stream = stream
		if _, err := NewAdapter(tt.opt); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v", strconv.Itoa(i), err)
		}
	}
	if _, err := (Line{Data: 5, Stop: "1.5"}).mode(); err != nil {
		t.Error(err)
	}
}

func TestNewTakesASection(t *testing.T) {
	parse := func(mode string) config.Serial {
		c, err := config.Parse("x.toml", []byte(`
[gateway]
id = "gw"
[[serial]]
name = "scale"
port = "/dev/ttyUSB0"
mode = "`+mode+`"
flow = "rtscts"
frame = { type = "line", max = "1KiB" }
topic = "{gateway}/{name}/{port}"
[serial.command]
`), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return c.Serial[0]
	}
	var filter string
	host := adapters.Host{Broker: newBroker(), Disk: disk{}, Attach: func(name, f string) (adapters.Commands, func(), error) {
		filter = name + " " + f
		return nil, func() {}, nil
	}}
	a, err := New(parse("7E2"), host)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Line{Baud: 9600, Data: 7, Parity: 'E', Stop: "2", Flow: "rtscts", DTR: true, RTS: true}); a.opt.Line != want || a.Name() != "scale" || filter != "scale gw/scale/set" {
		t.Fatalf("%+v %q %q", a.opt.Line, a.Name(), filter)
	}
	if err := Check(parse("8N1")); err != nil {
		t.Error(err)
	}
	var key *adapters.KeyError
	if err := Check(parse("8N1.5")); !errors.As(err, &key) || key.Key != "mode" {
		t.Error(err)
	}
}

func TestBytesAreGathered(t *testing.T) {
	for baud, want := range map[int]time.Duration{0: 50 * time.Millisecond, 115200: 50 * time.Millisecond, 4000000: 2560 * time.Microsecond} {
		if got := (Line{Baud: baud}).gatherTime(); got != want {
			t.Errorf("%d baud: %v", baud, got)
		}
	}
	link := filepath.Join(t.TempDir(), "tty")
	master := plug(t, link)
	p, err := Open(link, Line{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.gather = time.Minute // longer than any test: were it not for the time of the last read
	io.WriteString(master, "x")
	b := make([]byte, 10)
	if n, err := p.Read(b); n != 1 || err != nil { // the first bytes do not wait
		t.Fatalf("%d, %v", n, err)
	}
	p.last = p.last.Add(-time.Minute)
	io.WriteString(master, "ab")
	if n, err := p.Read(b); n != 2 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if d := time.Since(p.last); d > 30*time.Second {
		t.Errorf("the last read was %v ago", d)
	}
}
