package broker

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/broker/store/wal/simdisk"
)

// rig is a broker over a store on a simulated disk.
type rig struct {
	t    testing.TB
	disk *simdisk.Disk
	opt  Options

	store *store.Store
	b     *Broker
	ln    net.Listener
	pipes bool
	stop  func()

	gate *gate
}

// gate holds syncs back while it is closed, lets nothing be written while it is
// broken, and nothing through at all when it is dead.
type gate struct {
	mu     sync.Mutex
	closed chan struct{}
	dead   bool
	broken bool
	waits  chan struct{} // one slot: a sync waits
}

func newGate() *gate { return &gate{waits: make(chan struct{}, 1)} }

func (g *gate) fault(op simdisk.Op, _ string) error {
	g.mu.Lock()
	c, dead, broken := g.closed, g.dead, g.broken
	g.mu.Unlock()
	if dead {
		return simdisk.ErrCrashed
	}
	if broken && (op == simdisk.OpWrite || op == simdisk.OpSync || op == simdisk.OpOpen) {
		return errCard
	}
	if op == simdisk.OpSync && c != nil {
		select {
		case g.waits <- struct{}{}:
		default:
		}
		<-c
	}
	return nil
}

var errCard = errors.New("dead card")

// breakDisk lets nothing be written or created any more, or mends that.
func (r *rig) breakDisk(broken bool) {
	r.gate.mu.Lock()
	defer r.gate.mu.Unlock()
	r.gate.broken = broken
}

// holdSyncs lets no sync end until the function it returns is called.
func (r *rig) holdSyncs() (release func()) {
	c, g := make(chan struct{}), r.gate
	g.mu.Lock()
	g.closed = c
	g.mu.Unlock()
	return sync.OnceFunc(func() {
		g.mu.Lock()
		g.closed = nil
		g.mu.Unlock()
		close(c)
	})
}

// testClock follows time.Now, which a synctest bubble controls.
type testClock struct{ boot byte }

func (c testClock) BootID() [16]byte        { return [16]byte{c.boot} }
func (c testClock) Uptime() time.Duration   { return time.Since(time.Time{}.AddDate(1999, 0, 0)) }
func (c testClock) Wall() (time.Time, bool) { return time.Now(), true }

func newRig(t testing.TB, opt Options, pipes bool) *rig {
	r := &rig{t: t, disk: simdisk.New(), opt: opt, pipes: pipes, gate: newGate()}
	r.disk.Fault = r.gate.fault
	if r.opt.Log == nil {
		r.opt.Log = slog.New(slog.DiscardHandler)
	}
	if testing.Verbose() && os.Getenv("BROKER_LOG") != "" {
		r.opt.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

// rigTCP is a rig on loopback TCP, rigPipes one in memory for use in a
// synctest bubble.
func rigTCP(t testing.TB, opt Options) *rig   { return newRig(t, opt, false) }
func rigPipes(t testing.TB, opt Options) *rig { return newRig(t, opt, true) }

func (r *rig) start() {
	st, err := store.Open("", store.Options{FS: r.disk, Clock: testClock{}, Log: r.opt.Log, SegmentSize: 1 << 20})
	if err != nil {
		r.t.Fatal(err)
	}
	r.opt.Store = st
	b, err := New(r.opt)
	if err != nil {
		r.t.Fatal(err)
	}
	r.store, r.b = st, b
	if r.pipes {
		r.ln = newPipeListener()
	} else if r.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		r.t.Fatal(err)
	}
	storeCtx, stopStore := context.WithCancel(context.Background())
	runCtx, stopRun := context.WithCancel(context.Background())
	serveCtx, stopServe := context.WithCancel(context.Background())
	var stored, ran, served sync.WaitGroup
	stored.Go(func() { _ = st.Run(storeCtx) })
	ran.Go(func() { _ = b.Run(runCtx) })
	served.Go(func() { _ = b.Serve(serveCtx, r.ln) })
	r.stop = sync.OnceFunc(func() {
		stopServe()
		served.Wait()
		stopRun()
		ran.Wait()
		stopStore()
		stored.Wait()
	})
}

// crash takes the power away: what was not synced is lost or garbled, and what
// runs meanwhile reaches the disk no more.
func (r *rig) crash(rng *rand.Rand, release func()) {
	r.gate.mu.Lock()
	r.gate.dead = true
	r.gate.mu.Unlock()
	r.disk.Crash(rng)
	r.disk = r.disk.Clone()
	release()
	r.stop()
	r.gate = newGate()
	r.disk.Fault = r.gate.fault
	r.start()
}

// restart ends the broker and the store cleanly and starts new ones.
func (r *rig) restart() {
	r.stop()
	r.start()
}

func (r *rig) dial() *client {
	r.t.Helper()
	var nc net.Conn
	var err error
	if p, ok := r.ln.(*pipeListener); ok {
		nc, err = p.dial()
	} else {
		nc, err = net.Dial("tcp", r.ln.Addr().String())
	}
	if err != nil {
		r.t.Fatal(err)
	}
	c := &client{t: r.t, nc: nc, version: packet.V5}
	r.t.Cleanup(func() { nc.Close() })
	return c
}

// connect dials and connects; CONNACK has to be a success.
func (r *rig) connect(version byte, id string, change ...func(*packet.Connect)) *client {
	r.t.Helper()
	c := r.dial()
	p := &packet.Connect{Version: version, ClientID: id, CleanStart: true}
	for _, f := range change {
		f(p)
	}
	if ack := c.connect(p); ack.Code != packet.Success {
		r.t.Fatalf("CONNACK 0x%02X", ack.Code)
	}
	return c
}

// persistent makes a CONNECT one of a session that stays.
func persistent(p *packet.Connect) {
	p.CleanStart = false
	if p.Version == packet.V5 {
		p.SessionExpiry = 3600
	}
}

// drop breaks the connection and waits until the broker has noticed.
func (r *rig) drop(c *client, id string) {
	r.t.Helper()
	r.b.mu.RLock()
	s := r.b.sessions[id]
	r.b.mu.RUnlock()
	owner := s.conn.Load()
	if t, ok := c.nc.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.nc.Close()
	<-owner.done
}

// pipeListener accepts in-memory connections.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) dial() (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case l.conns <- b:
		return a, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
