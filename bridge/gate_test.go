package bridge

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store/wal/simdisk"
)

// syncGate holds back the syncs of a simulated disk.
type syncGate struct {
	slow time.Duration // what each sync takes; set before there are any
	dead atomic.Bool   // no operation of the disk works

	mu     sync.Mutex
	closed chan struct{} // nil: open
	caught chan struct{}
}

// shut lets no sync finish from now on.
func (g *syncGate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed, g.caught = make(chan struct{}), make(chan struct{}, 100)
	}
}

func (g *syncGate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}

// awaitCaught waits until a sync stands at the gate.
func (g *syncGate) awaitCaught(t *testing.T) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		g.mu.Lock()
		caught := g.caught
		g.mu.Unlock()
		if caught == nil {
			select {
			case <-time.After(time.Millisecond):
				continue
			case <-late:
			}
		} else {
			select {
			case <-caught:
				return
			case <-late:
			}
		}
		t.Fatal("nothing is synced")
	}
}

func (g *syncGate) fault(op simdisk.Op, _ string) error {
	g.mu.Lock()
	closed, caught := g.closed, g.caught
	g.mu.Unlock()
	if op == simdisk.OpSync && g.slow > 0 {
		<-time.After(g.slow)
	}
	if g.dead.Load() {
		return simdisk.ErrCrashed
	}
	if op == simdisk.OpSync && closed != nil {
		caught <- struct{}{}
		<-closed
		if g.dead.Load() {
			return simdisk.ErrCrashed
		}
	}
	return nil
}

// await waits until ok is true, which it looks at every millisecond.
func (r *rig) await(what string, ok func() bool) {
	r.t.Helper()
	late := time.After(20 * time.Second)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-late:
			r.t.Fatalf("waiting for %s", what)
		}
	}
}

// send publishes to the client called id, which has a session.
func (c *cloud) send(id string, p packet.Publish) {
	c.mu.Lock()
	s := c.sessions[id]
	if p.QoS > 0 {
		s.nextID++
		p.ID = s.nextID
		s.out = append(s.out, &p)
	}
	conn := s.conn
	frame := packet.AppendPublish(nil, s.version, &p)
	c.mu.Unlock()
	if conn != nil {
		_, _ = conn.Write(frame) // lost with the connection: sent again with the next
	}
}

// raw writes bytes to a client.
func (c *cloud) raw(id string, b []byte) {
	c.mu.Lock()
	conn := c.sessions[id].conn
	c.mu.Unlock()
	_, _ = conn.Write(b)
}
