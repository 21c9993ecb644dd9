package e2e

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"packetboat/cmd/packetboat/sim"
	"packetboat/gateway/admin"
)

// turmoil is a gateway whose configuration changes all the time, in every part that a
// reload acts on, while clients and devices send and are sent commands.
type turmoil struct {
	t     *testing.T
	r     *rand.Rand
	g     *gateway
	cloud turmoilCloud
	link  *proxy
	at    places
	base  string // of the configuration: what never changes
	knobs knobs

	tally, commands sim.Tally
	one, two, lanes *sim.Source // through a bridge that is always there
	loose, logger   *sim.Source
	other           *sim.Source // through one that comes and goes
	valve           *sim.Source // from the cloud to a device
	unwanted        atomic.Uint64
	scale, torn     atomic.Uint64 // lines of the serial port, and parts of lines
	reloads, wrong  int           // and those of configurations with mistakes

	// forbidden: the cloud sends a QoS 2 message again whose PUBREL it has sent, as
	// Mosquitto does after a cut and [MQTT-4.3.3-6] forbids; it is a new command then.
	forbidden bool

	stop chan struct{}
	sent sync.WaitGroup
}

// turmoilCloud is a broker that can be away for a while.
type turmoilCloud interface {
	start()
	stop()
}

func newTurmoil(t *testing.T, mosquitto bool) *turmoil {
	return newTurmoilWith(t, mosquitto, "", func(*turmoil) {})
}

// newTurmoilWith gives a cloud that is a gateway more sections; change may change the
// knobs, and make another gateway.
func newTurmoilWith(t *testing.T, mosquitto bool, more string, change func(x *turmoil)) *turmoil {
	x := &turmoil{t: t, r: dice(t), stop: make(chan struct{}), forbidden: mosquitto}
	var cloud string
	if mosquitto {
		m := newMosquitto(t, anonymous)
		x.cloud, cloud = m, m.address
	} else {
		g := newGateway(t, more)
		g.start()
		x.cloud, cloud = g, g.mqtt
	}
	x.link = newProxy(t, cloud, x.r)
	x.at = places{cloud: cloud, link: x.link.address, nobody: freePort(t), valve: freePort(t), spare: freePort(t)}
	for i := range x.at.doors {
		x.at.doors[i] = freePort(t)
	}
	for i := range x.at.logger {
		x.at.logger[i] = freePort(t)
	}
	serial := &sim.Serial{Source: new(sim.Tally).Add(sim.Source{Name: "scale"}), Rate: 50, Stop: x.stop}
	if err := serial.Open(); err == nil {
		x.at.terminal = serial.Path()
		t.Cleanup(func() { _ = serial.Close() })
	} else {
		serial = nil
	}
	x.knobs = newKnobs(&x.at)
	if change(x); x.g == nil {
		x.g = newGateway(t, "")
	}
	text, err := os.ReadFile(x.g.config)
	if err != nil {
		t.Fatal(err)
	}
	x.base = string(text)
	x.write(x.knobs.String())
	x.sources()
	listen(t, cloud, x.arrived)
	x.g.start()
	x.g.await("the bridges are connected", func() bool { return x.g.lines(`"msg":"connected"`) >= 2 })
	x.send(serial)
	return x
}

func (x *turmoil) sources() {
	x.one = x.tally.Add(sim.Source{Name: "one", Kind: "QoS 1"})
	x.two = x.tally.Add(sim.Source{Name: "two", Kind: "QoS 2", Once: true})
	x.lanes = x.tally.Add(sim.Source{Name: "lanes", Kind: "QoS 2, in changing lanes", Once: true})
	x.loose = x.tally.Add(sim.Source{Name: "loose", Kind: "QoS 2, sometimes bridged at 1"})
	x.logger = x.tally.Add(sim.Source{Name: "logger", Kind: "TCP with acks"})
	x.other = x.tally.Add(sim.Source{Name: "other", Kind: "QoS 2, through a bridge that comes and goes"})
	x.valve = x.commands.Add(sim.Source{Name: "valve", Kind: "commands at QoS 2", Once: true})
}

// arrived takes what the cloud gets.
func (x *turmoil) arrived(topic string, payload []byte) {
	switch {
	case strings.HasPrefix(topic, "cmd/"), strings.HasPrefix(topic, "e2e/"):
	case strings.HasSuffix(topic, "/scale"):
		x.scale.Add(1)
		if !scaleLine.Match(payload) {
			x.torn.Add(1)
		}
	default:
		x.tally.Arrived(payload)
	}
}

var scaleLine = regexp.MustCompile(`^scale \d+$`)

// send starts all who send.
func (x *turmoil) send(serial *sim.Serial) {
	door := relay(x.t, x.at.doors[:2]...)
	for _, p := range []*sim.Publisher{
		{Topic: "sensors/one", QoS: 1, Source: x.one}, {Topic: "sensors/two", QoS: 2, Source: x.two}, {Topic: "sensors/lanes", QoS: 2, Source: x.lanes},
		{Topic: "sensors/loose", QoS: 2, Source: x.loose}, {Topic: "other/x", QoS: 2, Source: x.other},
		{Topic: "cmd/valve", QoS: 2, Source: x.valve, Addr: x.at.cloud, Rate: 20},
	} {
		if p.Addr == "" {
			p.Addr, p.Rate = door, 400
		}
		if p.Source == x.other {
			p.Unwanted = func(uint64) { x.unwanted.Add(1) }
		}
		p.Stop = x.stop
		x.start(p.Run)
	}
	x.start((&sim.TCP{Addr: relay(x.t, x.at.logger[:]...), Source: x.logger, Rate: 200, Stop: x.stop, Ack: "OK"}).Run)
	if serial != nil {
		x.start(serial.Run)
	}
	run(x.t, x.device)
}

func (x *turmoil) start(f func(ctx context.Context) error) {
	x.sent.Add(1)
	run(x.t, func(ctx context.Context) error {
		defer x.sent.Done()
		return f(ctx)
	})
}

// device is a valve, which says nothing.
func (x *turmoil) device(ctx context.Context) error {
	for ctx.Err() == nil {
		c, err := net.Dial("tcp", x.at.valve)
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		end := context.AfterFunc(ctx, func() { _ = c.Close() })
		b, _ := io.ReadAll(io.TeeReader(c, &lineWriter{line: func(l string) { x.commands.Arrived([]byte(l)) }}))
		_ = b
		end()
		_ = c.Close()
	}
	return nil
}

// lineWriter hands over whole lines.
type lineWriter struct {
	rest string
	line func(string)
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.rest += string(b)
	for {
		l, rest, ok := strings.Cut(w.rest, "\n")
		if !ok {
			return len(b), nil
		}
		w.rest = rest
		w.line(strings.TrimSuffix(l, "\r"))
	}
}

// relay is an address from which connections go on to the first of the targets that
// takes them.
func relay(t *testing.T, targets ...string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { pass(ctx, c, targets) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = ln.Close()
		all.Wait()
	})
	return ln.Addr().String()
}

func pass(ctx context.Context, c net.Conn, targets []string) {
	defer c.Close()
	for _, target := range targets {
		to, err := net.Dial("tcp", target)
		if err != nil {
			continue
		}
		defer to.Close()
		stop := context.AfterFunc(ctx, func() { _, _ = c.Close(), to.Close() })
		defer stop()
		var back sync.WaitGroup
		back.Go(func() {
			_, _ = io.Copy(c, to)
			_ = c.Close()
		})
		_, _ = io.Copy(to, c)
		_ = to.Close()
		back.Wait()
		return
	}
}

// write puts a configuration in the place of the present one, at once.
func (x *turmoil) write(sections string) {
	x.t.Helper()
	next := x.g.config + ".next"
	write(x.t, next, x.base+sections)
	if err := os.Rename(next, x.g.config); err != nil {
		x.t.Fatal(err)
	}
}

// api is a client of the gateway's socket.
func (x *turmoil) api() *admin.Client {
	x.t.Helper()
	c, err := admin.Dial(x.t.Context(), filepath.Join(filepath.Dir(x.g.config), "admin.sock"))
	if err != nil {
		x.t.Fatal(err)
	}
	return c
}

// change has another configuration read, by the signal, the API, or both at once.
func (x *turmoil) change() {
	x.t.Helper()
	x.knobs.turn(x.r)
	x.write(x.knobs.String())
	how := x.r.IntN(4)
	if how != 1 {
		x.g.hup()
	}
	if how != 0 {
		x.asked()
	}
	if how == 3 {
		x.g.hup()
	}
	x.reloads++
}

// asked reloads by the API and has what it tells.
func (x *turmoil) asked() admin.Changes {
	x.t.Helper()
	c := x.api()
	defer c.Close()
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	did, err := c.Reload(ctx)
	if err != nil {
		x.t.Fatalf("reload: %v, with %s", err, x.knobs.state())
	}
	if len(did.Restart) > 0 {
		x.t.Fatalf("reload: %v", did)
	}
	return did
}

// current makes sure that what is in force is the file: once nobody reloads any
// more, nothing has changed.
func (x *turmoil) current() {
	x.t.Helper()
	x.asked()
	if did := x.asked(); did.String() != "nothing has changed" {
		x.t.Errorf("the configuration in force was not that of the file: %v", did)
	}
}

// mistake has a configuration with a mistake read, which changes nothing.
func (x *turmoil) mistake() {
	x.t.Helper()
	x.write(x.knobs.String() + "\n[[bridge.up]]\nfiltre = 1\n")
	c := x.api()
	defer c.Close()
	if _, err := c.Reload(x.t.Context()); err == nil || !strings.Contains(err.Error(), "filtre") {
		x.t.Errorf("a mistake in the configuration: %v", err)
	}
	x.write(x.knobs.String())
	x.wrong++
}

// flows waits until each who may send has sent more.
func (x *turmoil) flows() {
	x.t.Helper()
	before := x.two.Counts().Acked
	x.g.await("messages are taken in", func() bool { return x.two.Counts().Acked > before+5 })
}

func (x *turmoil) cut() { x.link.then(cut{packets: x.r.IntN(300), finished: x.r.IntN(20)}) }

func (x *turmoil) restartCloud() {
	x.cloud.stop()
	x.flows()
	x.cloud.start()
}

func (x *turmoil) kill() {
	x.g.hup()
	x.g.signal(syscall.SIGKILL)
	x.g.start()
}

// calm ends the turmoil with the configuration in which all can arrive.
func (x *turmoil) calm() {
	x.t.Helper()
	x.knobs.reset()
	x.write(x.knobs.String())
	x.current()
	x.link.calm()
	x.flows()
	close(x.stop)
	x.sent.Wait()
}

// settled is the account: all that was acknowledged has arrived.
func (x *turmoil) settled(killed bool) {
	x.t.Helper()
	arrived(x.t, &x.tally)
	arrived(x.t, &x.commands)
	x.g.await("the queues are empty", func() bool { return x.waiting() == 0 })
	all := append(x.tally.Sources(), x.commands.Sources()...)
	for _, s := range all {
		c := s.Counts()
		x.t.Logf("%s (%s): %+v", s.Name, s.Kind, c)
		if c.Acked == 0 {
			x.t.Errorf("%s: nothing was sent", s.Name)
		}
		if s != x.lanes && s != x.loose && c.Disordered > 0 {
			x.t.Errorf("%s: %d arrived out of order", s.Name, c.Disordered)
		}
		if s.Once && c.Duplicates > 0 && !((killed || x.forbidden) && s == x.valve) {
			x.t.Errorf("%s: %d arrived twice", s.Name, c.Duplicates)
		}
	}
	if n := x.tally.Strange() + x.commands.Strange(); n > 0 {
		x.t.Errorf("%d arrived that nobody had sent", n)
	}
	x.t.Logf("%d of other were not wanted; %d lines of the scale, %d of them torn; %d reloads, %d with a mistake", x.unwanted.Load(), x.scale.Load(), x.torn.Load(), x.reloads, x.wrong)
	if out, code := x.g.tool("queue", "verify"); code != 0 {
		x.t.Errorf("queue verify: exit code %d: %s", code, tail(out, 20))
	}
}

// waiting is how many messages wait, and looks at the ledgers: nothing is lost.
func (x *turmoil) waiting() (n uint64) {
	x.t.Helper()
	c := x.api()
	defer c.Close()
	all, err := c.Queues(x.t.Context())
	if err != nil {
		x.t.Fatal(err)
	}
	for _, q := range all.Queues {
		n += q.Messages
		if len(q.Lost) > 0 {
			x.t.Errorf("%s has lost %v", q.Queue, q.Lost)
		}
		if q.Accepted != q.Delivered+q.Messages {
			x.t.Errorf("%s: accepted %d, delivered %d, waiting %d", q.Queue, q.Accepted, q.Delivered, q.Messages)
		}
	}
	return n
}

// TestConfigurationsInTurmoil changes everything that a reload acts on, again and
// again, by chance, with two reloads at once, with mistakes in between, with cuts of
// the link and a cloud that goes. Clients whose listener stays are not disconnected;
// nothing that was acknowledged is lost; nothing grows.
func TestConfigurationsInTurmoil(t *testing.T) {
	t.Parallel()
	turmoils(t, func(t *testing.T, x *turmoil) {
		stop := witness(t, x.g.mqtt)
		for range 20 {
			x.change()
		}
		x.flows()
		files, memory := x.g.open(), []int{x.g.rss()}
		for range 5 {
			x.round(scale(30, 500), 0)
			memory = append(memory, x.g.rss())
		}
		x.calm()
		x.settled(false)
		t.Logf("a client of a listener that stays, PUBACK: %s", stop())
		x.g.await("no more files are open than in the beginning", func() bool { return x.g.open() <= files })
		if last := memory[len(memory)-1]; last > memory[0]+16<<10 {
			t.Error("memory has grown")
		}
		t.Logf("files: %d, then %d; memory in KiB: %d", files, x.g.open(), memory)
		x.g.stop()
	})
}

// TestConfigurationsInTurmoilAndKills is that with a gateway that is killed.
func TestConfigurationsInTurmoilAndKills(t *testing.T) {
	t.Parallel()
	turmoils(t, func(t *testing.T, x *turmoil) {
		x.round(scale(80, 1000), 8)
		x.calm()
		x.settled(true)
		x.g.stop()
	})
}

// turmoils are those with each kind of cloud.
func turmoils(t *testing.T, f func(t *testing.T, x *turmoil)) {
	for _, mosquitto := range []bool{true, false} {
		t.Run(map[bool]string{true: "Mosquitto", false: "packetboat"}[mosquitto], func(t *testing.T) {
			t.Parallel()
			f(t, newTurmoil(t, mosquitto))
		})
	}
}

// round reloads so often; one in kills times the gateway is killed.
func (x *turmoil) round(n, kills int) {
	x.t.Helper()
	for range n {
		x.change()
		switch x.r.IntN(12) {
		case 0:
			x.mistake()
		case 1, 2:
			x.cut()
		case 3:
			if x.r.IntN(4) == 0 {
				x.restartCloud()
			}
		case 4, 5:
			x.flows()
		case 6:
			x.current()
		}
		if kills > 0 && x.r.IntN(kills) == 0 {
			x.kill()
		}
		if x.t.Failed() {
			x.t.Fatalf("with %s", x.knobs.state())
		}
	}
}
