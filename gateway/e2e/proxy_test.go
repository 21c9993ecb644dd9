package e2e

import (
	"flag"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"packetboat/broker/packet"
)

var seed = flag.Uint64("seed", 0, "of the random moments; 0: another one each time")

// dice returns what random moments are drawn from. The log says how to have the
// same again.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	n := *seed
	if n == 0 {
		n = rand.Uint64()
	}
	t.Logf("-seed %d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// A proxy is a bad link to a broker. It passes MQTT packets on, whole, and cuts
// the connection between two of them; or it is down.
type proxy struct {
	address string // to connect to
	target  string
	ln      net.Listener
	done    sync.WaitGroup // of all goroutines

	mu        sync.Mutex
	dice      *rand.Rand
	links     map[*proxyLink]struct{}
	down      bool
	plan      []cut         // to come
	cuts      int           // made while the client was connected
	early     int           // made before CONNACK; they do not count
	connects  int           // CONNACKs of success
	repeats   int           // PUBLISHes with DUP to the broker
	finished  int           // PUBACKs and PUBCOMPs to the client
	unwanted  byte          // the next packet of this type to the client is swallowed
	swallowed chan struct{} // closed then
}

// cut is where a connection is to end: when so many exchanges have been finished
// since the cut before, and then so many packets have passed, either way.
type cut struct {
	finished, packets int
	down              bool // the link stays down; only while the client is connected
}

// mostLinks bounds the connections at a time; more are closed at once.
const mostLinks = 16

// newProxy starts a proxy, which ends with the test.
func newProxy(t *testing.T, target string, dice *rand.Rand) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{
		address: ln.Addr().String(), target: target, ln: ln, links: map[*proxyLink]struct{}{},
		dice: rand.New(rand.NewPCG(dice.Uint64(), 1)),
	}
	p.done.Go(p.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		p.bringDown()
		p.done.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.serve(client) })
	}
}

// serve carries one connection.
func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	broker, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer broker.Close()
	l := &proxyLink{p: p, client: client, broker: broker}
	if !p.enter(l) {
		return
	}
	var back sync.WaitGroup
	back.Go(func() { l.pass(broker, client, false) })
	l.pass(client, broker, true)
	back.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

func (p *proxy) enter(l *proxyLink) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down || len(p.links) >= mostLinks {
		return false
	}
	p.links[l] = struct{}{}
	return true
}

// proxyLink is a connection through a proxy.
type proxyLink struct {
	p              *proxy
	client, broker net.Conn
	connected      bool // CONNACK of success has passed; proxy.mu guards it
}

// close ends both ends, with a reset if so wanted.
func (l *proxyLink) close(reset bool) {
	for _, c := range []net.Conn{l.client, l.broker} {
		if reset {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
		_ = c.Close()
	}
}

// pass carries one direction until the connection ends.
func (l *proxyLink) pass(from, to net.Conn, up bool) {
	defer l.close(false)
	buf, out := make([]byte, 0, 64<<10), []byte(nil)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, make([]byte, cap(buf))...)[:len(buf)]
		}
		n, err := from.Read(buf[len(buf):cap(buf)])
		if n == 0 && err != nil {
			return
		}
		buf = buf[:len(buf)+n]
		rest, end := buf, false
		out = out[:0]
		for !end {
			typ, flags, body, n, err := packet.Next(rest, 1<<20)
			if err != nil {
				return
			}
			if n == 0 {
				break
			}
			var keep bool
			if keep, end = l.p.packet(l, up, typ, flags, body); keep {
				out = append(out, rest[:n]...)
			}
			rest = rest[n:]
		}
		buf = buf[:copy(buf, rest)]
		if _, err := to.Write(out); err != nil {
			return
		}
		if end {
			l.close(l.p.resets())
			return
		}
	}
}

// resets draws how a connection ends.
func (p *proxy) resets() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dice.IntN(2) == 0
}

// packet decides about a packet: whether it passes, or else whether the
// connection ends before it.
func (p *proxy) packet(l *proxyLink, up bool, typ, flags byte, body []byte) (keep, end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cutLocked(l) {
		return false, true
	}
	switch {
	case up:
		if typ == packet.PUBLISH && flags&8 != 0 {
			p.repeats++
		}
	case typ == p.unwanted:
		p.unwanted = 0
		close(p.swallowed)
		return false, false
	case typ == packet.CONNACK && body[1] == packet.Success:
		l.connected = true
		p.connects++
	case typ == packet.PUBACK || typ == packet.PUBCOMP:
		p.finished++
		if len(p.plan) > 0 && p.plan[0].finished > 0 {
			p.plan[0].finished--
		}
	}
	return true, false
}

// cutLocked counts down to the next cut.
func (p *proxy) cutLocked(l *proxyLink) bool {
	if len(p.plan) == 0 || p.plan[0].finished > 0 || p.plan[0].down && !l.connected {
		return false
	}
	next := &p.plan[0]
	if next.packets > 0 {
		next.packets--
		return false
	}
	if !l.connected {
		p.early++
		next.packets = p.dice.IntN(200)
		return true
	}
	p.cuts++
	p.down = next.down
	p.plan = p.plan[1:]
	return true
}

// spread plans cuts over the exchanges to come, of which there must be so many.
// Some follow the one before at once, into what goes again then, or into the
// first packets of the connection. Not between these two: cuts that hit one
// message again and again while it is sent alone are what a message that the
// broker disconnects on looks like.
func (p *proxy) spread(cuts, exchanges int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Together they use four fifths at most; the rest is for the packets.
	most := exchanges * 8 / 10 / cuts
	for range cuts {
		c := cut{packets: p.dice.IntN(200)}
		switch p.dice.IntN(8) {
		case 0:
		case 1:
			c.packets = p.dice.IntN(4)
		default:
			c.finished = p.dice.IntN(most + 1)
		}
		p.plan = append(p.plan, c)
	}
}

// then plans one cut more.
func (p *proxy) then(c cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan = append(p.plan, c)
}

// calm has the link do no more harm.
func (p *proxy) calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan = nil
}

// left is how many cuts are to come.
func (p *proxy) left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.plan)
}

// passed is how many exchanges have been finished.
func (p *proxy) passed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.finished
}

// bringDown ends all connections, and lets no new one through.
func (p *proxy) bringDown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for l := range p.links {
		l.close(false)
	}
}

// isDown reports whether nothing gets through.
func (p *proxy) isDown() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.down
}

func (p *proxy) bringUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}

// swallow has the next packet of a type that the broker sends disappear; the
// channel is closed when it has.
func (p *proxy) swallow(typ byte) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unwanted, p.swallowed = typ, make(chan struct{})
	return p.swallowed
}

// figures are the counters, for the log: cuts, those before CONNACK, CONNACKs,
// and repeated PUBLISHes.
func (p *proxy) figures() (cuts, early, connects, repeats int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts, p.early, p.connects, p.repeats
}
