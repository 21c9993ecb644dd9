package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"packetboat/broker/packet"
)

// TestNothingIsLostOverCutsAndCrashes: publishers and subscribers with
// persistent sessions lose their connections at random, the machine loses its
// power; at the end every message has arrived, QoS 2 exactly once, each
// publisher's in order.
func TestNothingIsLostOverCutsAndCrashes(t *testing.T) {
	const publishers, messages, crashes = 4, 300, 4
	w := &world{rig: rigTCP(t, Options{})}
	subs := []*stressSub{newStressSub(w, packet.V5, 1), newStressSub(w, packet.V311, 2)}
	w.subs = subs
	for _, s := range subs { // the subscriptions are there before anybody publishes
		s.cut = 1 << 30
		s.once(func() bool { return s.subscribed })
		s.cut = 30
	}
	var subscribing, publishing sync.WaitGroup
	stop := make(chan struct{})
	for _, s := range subs {
		subscribing.Go(func() { s.run(stop) })
	}
	for i := range publishers {
		version := []byte{packet.V311, packet.V5}[i%2]
		p := newStressPub(w, version, i, byte(1+i/2), messages)
		w.pubs = append(w.pubs, p)
		publishing.Go(p.run)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range crashes {
		w.waitFor(func() bool { return subs[0].count() > (i+1)*publishers*messages/(crashes+2) })
		// The crash meets a sync that is under way, and whoever was answered
		// too early has had time to go on.
		release := w.rig.holdSyncs()
		<-w.rig.gate.waits
		packets := w.rig.b.Stats().PacketsReceived
		w.waitFor(func() bool { return w.rig.b.Stats().PacketsReceived > packets+20 })
		w.mu.Lock()
		w.rig.crash(rng, release)
		w.mu.Unlock()
	}
	publishing.Wait()
	w.waitFor(func() bool { return subs[0].complete(publishers, messages) && subs[1].complete(publishers, messages) })
	close(stop)
	subscribing.Wait()
	for _, s := range subs {
		for _, e := range s.errors {
			t.Error(e)
		}
	}
}

// world is the broker that clients come back to.
type world struct {
	rig *rig
	mu  sync.RWMutex // held for writing while the broker is down

	subs []*stressSub
	pubs []*stressPub
}

// state says what is missing.
func (w *world) state() string {
	var b strings.Builder
	for _, p := range w.pubs {
		fmt.Fprintf(&b, "\n%s (QoS %d) has %d of %d acknowledged", p.id, p.qos, p.acked.Load(), p.n)
	}
	for _, s := range w.subs {
		s.mu.Lock()
		for from, seen := range s.seen {
			fmt.Fprintf(&b, "\n%s has %d of publisher %d, the highest %d", s.id, len(seen), from, s.high[from])
		}
		for _, err := range s.errors {
			fmt.Fprintf(&b, "\n%v", err)
		}
		s.mu.Unlock()
	}
	return b.String()
}

func (w *world) dial() (net.Conn, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return net.Dial("tcp", w.rig.ln.Addr().String())
}

func (w *world) waitFor(f func() bool) {
	w.rig.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			w.rig.t.Fatalf("nothing moves any more: %s", w.state())
		}
	}
}

// stressClient connects and reads until its connection is cut, by the broker
// or by itself after so many packets.
type stressClient struct {
	w       *world
	version byte
	id      string
	cut     int
	rng     *rand.Rand
	nc      net.Conn
	present bool
}

var errCut = errors.New("cut")

func (c *stressClient) connect() error {
	nc, err := c.w.dial()
	if err != nil {
		return err
	}
	c.nc = nc
	p := &packet.Connect{Version: c.version, ClientID: c.id}
	persistent(p)
	_, err = nc.Write(packet.AppendConnect(nil, p))
	return err
}

// read hands every packet to handle until it or the connection fails.
func (c *stressClient) read(handle func(typ, flags byte, body []byte) error) error {
	defer c.nc.Close()
	_ = c.nc.SetReadDeadline(time.Now().Add(20 * time.Second))
	var buf []byte
	in := make([]byte, 4096)
	left := 1 + c.rng.IntN(2*c.cut)
	for {
		k, err := c.nc.Read(in)
		if err != nil {
			return err
		}
		buf = append(buf, in[:k]...)
		for {
			typ, flags, body, n, err := packet.Next(buf, 0)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			if typ == packet.CONNACK {
				var ack packet.Connack
				if err := packet.ParseConnack(body, c.version, &ack); err != nil || ack.Code != 0 {
					return fmt.Errorf("CONNACK %02x: %w", ack.Code, err)
				}
				c.present = ack.SessionPresent
			}
			if err := handle(typ, flags, body); err != nil {
				return err
			}
			buf = buf[n:]
			if left--; left == 0 {
				return errCut
			}
		}
	}
}

func (c *stressClient) write(frame []byte) error {
	_, err := c.nc.Write(frame)
	return err
}

// stressPub publishes numbered messages, 8 at a time.
type stressPub struct {
	stressClient
	index  int
	qos    byte
	n      int
	acked  atomic.Int32
	next   int
	open   []stressMsg
	lastID uint16
}

type stressMsg struct {
	id       uint16
	seq      int
	received bool // PUBREC came
	sent     bool
}

func newStressPub(w *world, version byte, index int, qos byte, n int) *stressPub {
	p := &stressPub{index: index, qos: qos, n: n}
	p.stressClient = stressClient{w: w, version: version, id: fmt.Sprint("pub", index), cut: 40, rng: rand.New(rand.NewPCG(1, uint64(index)))}
	return p
}

func (p *stressPub) run() {
	for int(p.acked.Load()) < p.n {
		if p.connect() == nil {
			_ = p.read(p.handle)
		}
	}
}

func (p *stressPub) handle(typ, flags byte, body []byte) error {
	switch typ {
	case packet.CONNACK:
		for i := range p.open { // [MQTT-4.4.0-1]
			m := &p.open[i]
			if !p.present && !m.received {
				m.sent = false
			}
			if err := p.resend(m); err != nil {
				return err
			}
		}
	case packet.PUBACK, packet.PUBREC, packet.PUBCOMP:
		a, err := packet.ParseAck(typ, flags, body, p.version)
		if err != nil || a.Code >= 0x80 && a.Code != packet.PacketIDNotFound {
			return fmt.Errorf("acknowledgement %02x: %w", a.Code, err)
		}
		for i := range p.open {
			m := &p.open[i]
			if m.id != a.ID {
				continue
			}
			if typ == packet.PUBREC {
				m.received = true
				return p.resend(m)
			}
			p.open = append(p.open[:i], p.open[i+1:]...)
			p.acked.Add(1)
			break
		}
	}
	for len(p.open) < 8 && p.next < p.n {
		p.lastID = p.lastID%100 + 1
		p.open = append(p.open, stressMsg{id: p.lastID, seq: p.next})
		p.next++
		if err := p.resend(&p.open[len(p.open)-1]); err != nil {
			return err
		}
	}
	if int(p.acked.Load()) == p.n {
		return errCut
	}
	return nil
}

func (p *stressPub) resend(m *stressMsg) error {
	if m.received {
		return p.write(packet.AppendAck(nil, p.version, packet.PUBREL, m.id, 0))
	}
	payload := binary.BigEndian.AppendUint32([]byte{byte(p.index)}, uint32(m.seq))
	dup := m.sent
	m.sent = true
	return p.write(packet.AppendPublish(nil, p.version, &packet.Publish{
		Topic: fmt.Sprint("stress/", p.index), QoS: p.qos, ID: m.id, Dup: dup, Payload: payload,
	}))
}

// stressSub checks what it gets.
type stressSub struct {
	stressClient
	subscribed bool
	held       map[uint16]bool // QoS 2, not released

	mu     sync.Mutex
	seen   map[int]map[uint32]int
	high   map[int]int64
	total  int
	errors []error
}

func newStressSub(w *world, version byte, index int) *stressSub {
	s := &stressSub{held: map[uint16]bool{}, seen: map[int]map[uint32]int{}, high: map[int]int64{}}
	s.stressClient = stressClient{w: w, version: version, id: fmt.Sprint("sub", index), rng: rand.New(rand.NewPCG(2, uint64(index)))}
	return s
}

func (s *stressSub) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		s.once(func() bool {
			select {
			case <-stop:
				return true
			default:
				return false
			}
		})
	}
}

// once is one connection; it ends when done says so after a packet.
func (s *stressSub) once(done func() bool) {
	if s.connect() != nil {
		return
	}
	unblock := make(chan struct{})
	defer close(unblock)
	go func(nc net.Conn) { // so that the end is noticed without traffic
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-unblock:
				return
			case <-tick.C:
				_, _ = nc.Write([]byte{0xc0, 0})
			}
		}
	}(s.nc)
	_ = s.read(func(typ, flags byte, body []byte) error {
		if err := s.handle(typ, flags, body); err != nil {
			return err
		}
		if done() {
			return errCut
		}
		return nil
	})
}

func (s *stressSub) handle(typ, flags byte, body []byte) error {
	switch typ {
	case packet.CONNACK:
		if !s.present {
			if s.subscribed {
				s.fail("the session is gone")
			}
			return s.write(packet.AppendSubscribe(nil, s.version, &packet.Subscribe{ID: 1, Filters: []packet.Filter{filter("stress/#", 2)}}))
		}
	case packet.SUBACK:
		s.subscribed = true
	case packet.PUBLISH:
		var p packet.Publish
		if err := packet.ParsePublish(flags, body, s.version, &p); err != nil {
			return err
		}
		if p.QoS == 1 {
			s.count1(&p, false)
			return s.write(packet.AppendAck(nil, s.version, packet.PUBACK, p.ID, 0))
		}
		if !s.held[p.ID] {
			s.held[p.ID] = true
			s.count1(&p, true)
		}
		return s.write(packet.AppendAck(nil, s.version, packet.PUBREC, p.ID, 0))
	case packet.PUBREL:
		a, err := packet.ParseAck(typ, flags, body, s.version)
		if err != nil {
			return err
		}
		delete(s.held, a.ID)
		return s.write(packet.AppendAck(nil, s.version, packet.PUBCOMP, a.ID, 0))
	}
	return nil
}

func (s *stressSub) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(format, args...)
}

func (s *stressSub) failLocked(format string, args ...any) {
	if len(s.errors) < 10 {
		s.errors = append(s.errors, fmt.Errorf(s.id+": "+format, args...))
	}
}

func (s *stressSub) count1(p *packet.Publish, once bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, seq := int(p.Payload[0]), binary.BigEndian.Uint32(p.Payload[1:])
	if s.seen[from] == nil {
		s.seen[from], s.high[from] = map[uint32]int{}, -1
	}
	s.seen[from][seq]++
	switch n := s.seen[from][seq]; {
	case n == 1:
		s.total++
		if int64(seq) < s.high[from] {
			s.failLocked("publisher %d: %d comes after %d", from, seq, s.high[from])
		}
		s.high[from] = int64(seq)
	case once:
		s.failLocked("publisher %d: QoS 2 message %d came %d times", from, seq, n)
	}
}

func (s *stressSub) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

func (s *stressSub) complete(publishers, messages int) bool { return s.count() == publishers*messages }
