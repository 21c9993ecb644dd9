package conformance

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"packetboat/broker"
	"packetboat/broker/store"
	"packetboat/broker/transport"
)

// server is the broker under test, over a store in a directory of its own; or
// that of -addr.
type server struct {
	t    testing.TB
	addr string
	web  string // address of its WebSocket listener; "": none, with -addr
	dir  string
	opt  broker.Options
	stop func()
}

func newServer(t testing.TB, options func(*broker.Options)) *server {
	s := &server{t: t, addr: *addr, stop: func() {}}
	if s.addr != "" {
		return s
	}
	s.dir = t.TempDir()
	if options != nil {
		options(&s.opt)
	}
	s.opt.Log = slog.New(slog.DiscardHandler)
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *server) start() {
	// A small segment: many brokers run, and each prepares some.
	st, err := store.Open(s.dir, store.Options{SegmentSize: 1 << 20, Log: s.opt.Log})
	if err != nil {
		s.t.Fatal(err)
	}
	s.opt.Store = st
	b, err := broker.New(s.opt)
	if err != nil {
		s.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.web = web.Addr().String()
	storeCtx, stopStore := context.WithCancel(context.Background())
	runCtx, stopRun := context.WithCancel(context.Background())
	serveCtx, stopServe := context.WithCancel(context.Background())
	var stored, ran, served sync.WaitGroup
	stored.Go(func() { _ = st.Run(storeCtx) })
	ran.Go(func() { _ = b.Run(runCtx) })
	served.Go(func() { _ = b.Serve(serveCtx, ln) })
	served.Go(func() { _ = b.Serve(serveCtx, transport.Listen(web, transport.Options{WebSocket: true})) })
	s.stop = sync.OnceFunc(func() {
		stopServe()
		served.Wait()
		stopRun()
		ran.Wait()
		stopStore()
		stored.Wait()
	})
}

// restart ends the broker in order and starts it again over what it kept.
func (s *server) restart() {
	s.stop()
	s.start()
}

// world is what one case sees: a version, a broker, and names that no other
// case uses.
type world struct {
	t     *testing.T
	v     byte
	s     *server
	name  string
	named int
	conns []net.Conn
}

func (w *world) close() {
	for _, c := range w.conns {
		_ = c.Close()
	}
}

// topic is a name of this case's own.
func (w *world) topic(rest string) string { return w.name + "/" + rest }

// id is the client identifier of that name.
func (w *world) id(name string) string { return w.name + name }

// newID is a client identifier that is used once.
func (w *world) newID() string {
	w.named++
	return fmt.Sprintf("%sn%d", w.name, w.named)
}

// dial opens a connection on which nothing has been sent.
func (w *world) dial() *client {
	nc, err := net.Dial("tcp", w.s.addr)
	if err != nil {
		w.fatalf("dial: %v", err)
	}
	w.conns = append(w.conns, nc)
	return &client{w: w, v: w.v, nc: nc}
}

// connect opens a connection and has it accepted.
func (w *world) connect(h hello) *client {
	c := w.dial()
	c.hello(h)
	c.connack = c.wantConnack(0)
	return c
}

// plain is a client without anything special.
func (w *world) plain() *client { return w.connect(hello{}) }

// subscriber is a plain client with one subscription.
func (w *world) subscriber(filter string, qos byte) *client {
	c := w.plain()
	c.subscribe(filter, qos)
	return c
}

// kept is a client whose session outlives its connection.
func (w *world) kept(name string) *client { return w.connect(hello{id: w.id(name), keep: true}) }

// publish has another client publish a message, with the whole exchange.
func (w *world) publish(m message) {
	c := w.plain()
	c.put(m)
	c.disconnect()
}

// pass waits until time has passed: for what the protocol counts in seconds.
func (w *world) pass(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.t.Context().Done():
	}
}

func (w *world) check(ok bool, format string, args ...any) {
	if !ok {
		w.fatalf(format, args...)
	}
}
