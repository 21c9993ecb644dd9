package tcp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"packetboat/adapters"
	"packetboat/adapters/decode"
	"packetboat/broker/store"
	"packetboat/config"
)

// broker hands on what is published, except presence.
type broker struct{ c chan store.Message }

func (b broker) Publish(m *store.Message) (store.Receipt, error) {
	if !strings.HasSuffix(m.Topic, "status") {
		kept := *m
		kept.Payload = append([]byte(nil), m.Payload...)
		b.c <- kept
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
func (c commands) Done(seq uint64) { c.done <- seq }
func (c commands) GiveUp(seq uint64, why store.Reason, _ string) store.Receipt {
	return store.Receipt{}
}

func tmpl(t *testing.T, s string) config.Template {
	t.Helper()
	p, err := config.ParseTemplate(s, "remote", "port", "payload")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type fixture struct {
	*Adapter
	broker broker
	cmds   commands
	stop   func() // and wait
}

// start runs an adapter on a free port of loopback and waits until it listens.
func start(t *testing.T, edit func(o *Options)) *fixture {
	t.Helper()
	f := newFixture(t, func(o *Options) {
		o.Listen = "127.0.0.1:0"
		if edit != nil {
			edit(o)
		}
	})
	up := make(chan struct{})
	once := sync.OnceFunc(func() { close(up) })
	inner := f.listen
	f.listen = func(ctx context.Context, address string) (net.Listener, error) {
		ln, err := inner(ctx, address)
		if err == nil {
			ln = &announced{Listener: ln, up: once}
		}
		return ln, err
	}
	f.run(t)
	<-up
	return f
}

// call runs an adapter that calls a device.
func call(t *testing.T, address string, edit func(o *Options)) *fixture {
	t.Helper()
	f := newFixture(t, func(o *Options) {
		o.Connect = address
		edit(o)
	})
	f.run(t)
	return f
}

func newFixture(t *testing.T, edit func(o *Options)) *fixture {
	t.Helper()
	f := &fixture{broker: broker{make(chan store.Message, 100000)}, cmds: commands{make(chan store.Delivery, 10), make(chan uint64, 10)}}
	opt := Options{Stream: adapters.Options{
		Name: "dev", Topic: tmpl(t, "gw/dev/{remote}"), QoS: 1, Broker: f.broker, Disk: disk{},
		Jitter: func() time.Duration { return time.Millisecond },
		Command: &adapters.CommandOptions{
			Topic:  tmpl(t, "gw/dev/set"),
			Encode: decode.Command{Template: tmpl(t, "{payload}\n")},
			Attach: func(string) (adapters.Commands, func(), error) { return f.cmds, func() {}, nil },
		},
	}}
	edit(&opt)
	a, err := NewAdapter(opt)
	if err != nil {
		t.Fatal(err)
	}
	f.Adapter = a
	return f
}

func (f *fixture) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	f.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(f.stop)
}

// command has a command come.
func (f *fixture) command(payload string) {
	f.cmds.c <- store.Delivery{Seq: 1, Message: store.Message{Topic: "gw/dev/set", Payload: []byte(payload)}}
}

// announced says when it is asked for the first connection.
type announced struct {
	net.Listener
	up func()
}

func (a *announced) Accept() (net.Conn, error) {
	a.up()
	return a.Listener.Accept()
}

func (f *fixture) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func TestLinesOfManyConnectionsArriveInTheirOrder(t *testing.T) {
	f := start(t, nil)
	const conns, lines = 20, 200
	var wg sync.WaitGroup
	for i := range conns {
		c := f.dial(t)
		wg.Go(func() {
			for j := range lines {
				fmt.Fprintf(c, "%d %d\r\n", i, j)
			}
			c.Close()
		})
	}
	next := map[int]int{}
	for range conns * lines {
		m := <-f.broker.c
		var i, j int
		fmt.Sscan(string(m.Payload), &i, &j)
		if j != next[i] || m.Topic != "gw/dev/127.0.0.1" || m.Origin != "adapter/dev" {
			t.Fatalf("got %+v, want line %d", m, next[i])
		}
		next[i]++
	}
	wg.Wait()
}

func TestADeviceThatClosesItsSideStillGetsItsAcks(t *testing.T) {
	f := start(t, func(o *Options) { o.Stream.Ack = []byte("OK\n") })
	c := f.dial(t)
	io.WriteString(c, strings.Repeat("x\n", 500))
	c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != strings.Repeat("OK\n", 500) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

func TestConnectionsOverTheLimitAreClosedAndTheOthersStay(t *testing.T) {
	f := start(t, func(o *Options) { o.MaxConnections, o.Stream.Ack = 2, []byte("OK\n") })
	round := func(c net.Conn) error {
		io.WriteString(c, "x\n")
		_, err := bufio.NewReader(c).ReadString('\n')
		return err
	}
	a, b := f.dial(t), f.dial(t)
	for _, c := range []net.Conn{a, b} {
		if err := round(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := round(f.dial(t)); err == nil {
		t.Fatal("a third connection is served")
	}
	if f.Stats().Refused != 1 {
		t.Fatalf("%+v", f.Stats())
	}
	if err := round(a); err != nil {
		t.Fatal(err)
	}
	// A place that is left is free again.
	b.CloseWrite()
	io.Copy(io.Discard, b)
	for round(f.dial(t)) != nil {
	}
}

func TestACommandReachesTheDevice(t *testing.T) {
	f := start(t, nil)
	c := f.dial(t)
	io.WriteString(c, "hello\n")
	<-f.broker.c
	f.cmds.c <- store.Delivery{Seq: 7, Message: store.Message{Topic: "gw/dev/set", Payload: []byte("on")}}
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "on\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if seq := <-f.cmds.done; seq != 7 {
		t.Fatalf("done %d", seq)
	}
}

func TestStoppingClosesEverything(t *testing.T) {
	before := descriptors(t)
	f := start(t, func(o *Options) { o.Stream.Ack = []byte("OK\n") })
	var conns []net.Conn
	for range 10 {
		c := f.dial(t)
		io.WriteString(c, "x\n")
		bufio.NewReader(c).ReadString('\n')
		conns = append(conns, c)
	}
	f.stop()
	for _, c := range conns {
		if _, err := io.ReadAll(c); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if f.Addr() != nil {
		t.Fatal("still has an address")
	}
	if after := descriptors(t); after > before+2 { // the runtime's poller
		t.Fatalf("%d descriptors, %d before", after, before)
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

func TestAnAddressThatIsTakenIsTriedAgain(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewAdapter(Options{Listen: taken.Addr().String(), Stream: adapters.Options{
		Name: "dev", Topic: tmpl(t, "x"), Broker: broker{make(chan store.Message, 1)}, Disk: disk{},
		Jitter: func() time.Duration { return time.Millisecond },
	}})
	if err != nil {
		t.Fatal(err)
	}
	if a.Stats().Ready {
		t.Error("ready before it listens")
	}
	refused, up := make(chan struct{}, 1), make(chan struct{})
	once := sync.OnceFunc(func() { close(up) })
	a.listen = func(ctx context.Context, address string) (net.Listener, error) {
		ln, err := adapters.ListenTCP(ctx, address)
		if errors.Is(err, syscall.EADDRINUSE) {
			select {
			case refused <- struct{}{}:
			default:
			}
		}
		if err == nil {
			once()
		}
		return ln, err
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = a.Run(ctx) })
	<-refused
	taken.Close()
	<-up
	stop()
	wg.Wait()
}

func TestRemoteName(t *testing.T) {
	for _, tt := range []struct {
		name string
		addr net.Addr
		want string
	}{
		{"an IPv4 address is itself", &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7).To4(), Port: 5}, "10.0.0.7"},
		{"an IPv4 address in IPv6 form is IPv4", &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 5}, "10.0.0.7"},
		{"an IPv6 address has no brackets", &net.TCPAddr{IP: net.ParseIP("fd00::7"), Port: 5}, "fd00::7"},
		{"a link-local one has its zone", &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, "fe80::1%eth0"},
	} {
		if got := remoteName(tt.addr); got != tt.want {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

func TestNewAdapterSaysWhatIsWrong(t *testing.T) {
	if _, err := NewAdapter(Options{Connect: "10.0.0.9", Stream: adapters.Options{Topic: tmpl(t, "x")}}); err == nil || !strings.HasPrefix(err.Error(), "connect: ") {
		t.Error(err)
	}
	for _, listen := range []string{"", "7000", "[::1"} {
		if _, err := NewAdapter(Options{Listen: listen, Stream: adapters.Options{Topic: tmpl(t, "x")}}); err == nil || !strings.HasPrefix(err.Error(), "listen: ") {
			t.Errorf("%q: %v", listen, err)
		}
	}
	if _, err := NewAdapter(Options{Listen: ":0"}); err == nil || !strings.HasPrefix(err.Error(), "topic: ") {
		t.Error(err)
	}
}

func TestNewTakesASection(t *testing.T) {
	parse := func(topic string) config.TCP {
		c, err := config.Parse("x.toml", []byte(`
[gateway]
id = "gw"
[[tcp]]
name = "loggers"
listen = ":7000"
ack = "OK\n"
idle_timeout = "5m"
topic = "`+topic+`"
status = ""
`), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return c.TCP[0]
	}
	cfg := parse("{gateway}/{name}/{remote}/{port}/{time}")
	a, err := New(cfg, adapters.Host{Broker: broker{}, Disk: disk{}})
	if err != nil {
		t.Fatal(err)
	}
	o := a.opt
	if o.Listen != ":7000" || o.MaxConnections != 256 || string(o.Stream.Ack) != "OK\n" || o.Stream.IdleTimeout != 5*time.Minute || o.Stream.QoS != 1 || !o.Stream.Status.IsZero() {
		t.Fatalf("%+v", o)
	}
	cfg.Frame.Type = "fixed" // of a size that is not said
	var key *adapters.KeyError
	if err := Check(cfg); !errors.As(err, &key) || key.Key != "frame.size" {
		t.Error(err)
	}
}

func TestByteByByteAndAtOnceGiveTheSame(t *testing.T) {
	f := start(t, nil)
	text := "alpha\r\nbeta\r\n\r\ngamma\n"
	var got [2][]string
	for i := range got {
		c := f.dial(t)
		if i == 0 {
			c.SetNoDelay(true)
			for j := range text {
				io.WriteString(c, text[j:j+1])
			}
		} else {
			io.WriteString(c, text)
		}
		for range 3 {
			m := <-f.broker.c
			got[i] = append(got[i], string(m.Payload))
		}
		c.Close()
	}
	if !reflect.DeepEqual(got[0], got[1]) || !reflect.DeepEqual(got[0], []string{"alpha", "beta", "gamma"}) {
		t.Fatalf("%q", got)
	}
}

func BenchmarkLines(b *testing.B) {
	f := broker{make(chan store.Message, 1024)}
	topic, _ := config.ParseTemplate("x")
	s, err := adapters.NewStream(adapters.Options{Name: "dev", Topic: topic, Broker: f, Disk: disk{}, ReadBuffer: readBuffer})
	if err != nil {
		b.Fatal(err)
	}
	device, ours := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(context.Background(), ours, adapters.Place{Remote: "r"}) })
	wg.Go(func() {
		chunk := []byte(strings.Repeat("scale,12.345,kg,stable,0001\r\n", 100))
		for {
			if _, err := device.Write(chunk); err != nil {
				return
			}
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		<-f.c
	}
	device.Close()
	go func() { // what is still on its way
		for range f.c {
		}
	}()
	wg.Wait()
	close(f.c)
}
