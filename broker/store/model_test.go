package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"packetboat/broker/store/wal/simdisk"
)

var (
	lives = flag.Int("lives", 1500, "lives of the model test")
	seed  = flag.Uint64("seed", 0, "run the model test from this seed only")
)

// fakeClock is a machine that can be booted again.
type fakeClock struct {
	id byte
	up time.Duration
}

func (c *fakeClock) BootID() [16]byte      { return [16]byte{c.id} }
func (c *fakeClock) Uptime() time.Duration { c.up += 100 * time.Microsecond; return c.up }
func (c *fakeClock) Wall() (time.Time, bool) {
	return time.Unix(1_700_000_000, 0).Add(c.up), false
}

// sent is what the model knows of one message for one consumer.
type sent struct {
	n        uint64 // number of the publish
	receipt  Receipt
	durable  bool // when the life of its publish ended, or before
	finished bool // Done was called, or it was given up
	released bool // Release was called
	relDur   bool // ... and its receipt was durable
	relRcpt  Receipt
	maybeRel bool // the release was not durable when the life ended: both may come
	seen     bool // delivered at least once
	seq      uint64
	place    uint64 // its seq, as given at publish
	dropped  bool   // to make room, durably or not
	gaveUp   Receipt
	gone     bool // given up, durably
}

// model is the reference: what every consumer was promised.
type model struct {
	t     *testing.T
	rng   *rand.Rand
	disk  *simdisk.Disk
	clock *fakeClock
	s     *Store
	names []string
	list  map[string][]*sent
	kv    map[string][]kvState
	n     uint64
	ids   map[uint16]idState // of one QoS 2 publisher
	trace []string
	dead  bool
}

type kvState struct {
	value string // "" = deleted
	r     Receipt
}

type idState struct {
	held   bool
	r      Receipt // of the publish or the forget
	stable bool
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	for _, l := range m.trace[max(0, len(m.trace)-6000):] {
		m.t.Log(l)
	}
	m.t.Fatalf(format, args...)
}

func (m *model) logf(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

// TestEveryPromiseSurvivesACrashAnywhere drives the store on the simulated disk
// with random operations, crashes it at random moments and compares what comes
// back with a reference model. A failure names the seed that reproduces it.
func TestEveryPromiseSurvivesACrashAnywhere(t *testing.T) {
	perRun := 12
	runs := *lives / perRun
	for i := range max(1, runs) {
		sd := uint64(i + 1)
		if *seed != 0 {
			sd = *seed
		}
		ok := t.Run(fmt.Sprintf("seed %d", sd), func(t *testing.T) { runModel(t, sd, perRun) })
		if !ok || *seed != 0 {
			return
		}
	}
}

func runModel(t *testing.T, sd uint64, lives int) {
	m := &model{
		t: t, rng: rand.New(rand.NewPCG(sd, 7)), disk: simdisk.New(), clock: &fakeClock{id: 1},
		names: []string{"session/a", "bridge/b/0", "adapter/c"}, list: map[string][]*sent{},
		kv: map[string][]kvState{}, ids: map[uint16]idState{},
	}
	for life := range lives {
		m.open(life)
		m.plugPulledAt(m.rng.IntN(60))
		for range m.rng.IntN(150) {
			if m.dead {
				break
			}
			m.step()
		}
		m.disk.Fault = nil
		if !m.dead && m.rng.IntN(4) == 0 {
			m.commit()
			m.disk.Crash(rand.New(rand.NewPCG(1, 1))) // everything was synced: nothing can be lost
		}
		m.crash()
	}
	m.open(lives)
	m.drain()
}

// traceWriter puts the store's log lines into the trace.
type traceWriter struct{ m *model }

func (w traceWriter) Write(b []byte) (int, error) {
	w.m.logf("log: %s", bytes.TrimSpace(b))
	return len(b), nil
}

// crashHere is the panic with which a disk operation ends a life.
type crashHere struct{}

// plugPulledAt makes the n-th disk operation of this life from now on the last,
// before or after it is carried out; one in eight lives has a write or sync
// that fails instead.
func (m *model) plugPulledAt(n int) {
	fails := m.rng.IntN(8) == 0
	if m.rng.IntN(3) == 0 {
		n = 1 << 30
	}
	m.disk.Fault = func(op simdisk.Op, name string) error {
		if n--; n > 0 || op == simdisk.OpRead || op == simdisk.OpOpen {
			return nil
		}
		if !fails {
			panic(crashHere{})
		}
		if op == simdisk.OpWrite || op == simdisk.OpSync {
			fails = false
			n = 1 << 30
			m.logf("%s %s fails", op, name)
			return errors.New("input/output error")
		}
		return nil
	}
}

// mayCrash calls f; when the plug is pulled meanwhile, the life is over.
func (m *model) mayCrash(f func()) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(crashHere); !ok {
				panic(r)
			}
			m.logf("plug pulled")
			m.dead = true
		}
	}()
	f()
}

func (m *model) open(life int) {
	m.logf("--- life %d", life)
	m.dead = false
	s, err := Open("", Options{FS: m.disk, SegmentSize: 8 << 10, Clock: m.clock, Log: slog.New(slog.NewTextHandler(traceWriter{m}, nil))})
	if err != nil {
		m.fail("open: %v", err)
	}
	m.s = s
	for _, name := range m.names {
		c, err := s.Consumer(name, IDs{1, 2000})
		if err != nil {
			m.fail("consumer: %v", err)
		}
		if m.rng.IntN(2) == 0 {
			c.OnReady(func() {})
		}
		switch m.rng.IntN(8) {
		case 0:
			c.SetPolicy(DropNewest, 1500)
		case 1:
			c.SetPolicy(Reject, 2500)
		case 2:
			c.SetLimit(20, 0)
		case 3:
			c.SetOrphan(true)
		}
		m.checkLag(c)
	}
	m.checkKV()
	m.checkIDs()
	m.verify(false)
}

func (m *model) step() {
	name := m.names[m.rng.IntN(len(m.names))]
	c := m.s.Lookup(name)
	switch m.rng.IntN(12) {
	case 0, 1, 2, 3:
		m.publish()
	case 4, 5:
		m.commit()
	case 6, 7:
		m.deliver(name, c, m.rng.IntN(20))
	case 8:
		m.acknowledge(name, c)
	case 9:
		m.set()
	case 10:
		switch m.rng.IntN(7) {
		case 0:
			m.snapshot()
		case 1:
			m.rewind(name, c)
		case 2:
			m.giveUp(name, c)
		case 3:
			m.mayCrash(m.s.freeSegments)
		case 4:
			m.dropOldest()
		case 5:
			m.mayCrash(func() {
				if err := m.s.wal.FillPool(); err != nil {
					m.logf("pool: %v", err)
				}
			})
		case 6:
			m.verify(true)
		}
	case 11:
		m.forget()
	}
}

func (m *model) publish() {
	m.n++
	size := 8 + m.rng.IntN(40)
	if m.rng.IntN(30) == 0 {
		size = 8 + m.rng.IntN(3000)
	}
	payload := binary.BigEndian.AppendUint64(nil, m.n)
	payload = append(payload, make([]byte, size-8)...)
	msg := &Message{Topic: fmt.Sprintf("t/%d", m.rng.IntN(3)), Payload: payload, QoS: byte(m.rng.IntN(3)), Retain: m.rng.IntN(20) == 0}
	if msg.QoS == 2 && m.rng.IntN(2) == 0 {
		msg.Origin, msg.PacketID = "session/p", uint16(1+m.rng.IntN(5))
		if st := m.ids[msg.PacketID]; st.held {
			m.n--
			return
		}
	}
	var to []Target
	for _, name := range m.names {
		if m.rng.IntN(2) == 0 {
			to = append(to, Target{Consumer: m.s.Lookup(name), QoS: msg.QoS})
		}
	}
	if len(to) == 0 {
		return
	}
	added := make([]*sent, len(to))
	for i, t := range to {
		added[i] = &sent{n: m.n, place: t.Consumer.next}
		m.list[t.Consumer.name] = append(m.list[t.Consumer.name], added[i])
	}
	var r Receipt
	var err error
	m.noteDrops(func() {
		if len(to) == 1 && !msg.Retain && msg.PacketID == 0 && m.rng.IntN(3) == 0 { // imported
			msg.Earlier = Wall{Micro: 1 + m.rng.Int64N(1<<50), Trusted: m.rng.IntN(2) == 0}
			r, err = m.s.Append(msg, to[0])
			return
		}
		r, err = m.s.Publish(msg, to)
	})
	if errors.Is(err, ErrFull) {
		for i, t := range to {
			name := t.Consumer.name
			if t.Consumer.next > added[i].place {
				m.fail("%s: a publish was refused and has a seq", name)
			}
			m.list[name] = m.list[name][:len(m.list[name])-1]
		}
		return
	}
	if err != nil {
		m.fail("publish: %v", err)
	}
	m.logf("publish %d to %d, id %d", m.n, len(to), msg.PacketID)
	for _, x := range added {
		x.receipt = r
	}
	if msg.PacketID != 0 {
		m.ids[msg.PacketID] = idState{held: true, r: r}
	}
}

func (m *model) forget() {
	id := uint16(1 + m.rng.IntN(5))
	if st := m.ids[id]; st.held {
		m.ids[id] = idState{r: m.s.Forget("session/p", id)}
	}
}

func (m *model) commit() {
	m.mayCrash(func() {
		if err := m.s.wal.Commit(context.Background()); err != nil {
			m.fail("commit: %v", err)
		}
	})
	m.logf("commit to %x", m.s.wal.Durable())
}

func (m *model) set() {
	k := fmt.Sprintf("k%d", m.rng.IntN(3))
	if len(m.kv[k]) == 0 {
		m.kv[k] = []kvState{{}}
	}
	if m.rng.IntN(4) == 0 {
		if r := m.s.Delete(k); !r.IsZero() {
			m.kv[k] = append(m.kv[k], kvState{"", r})
		}
		return
	}
	v := fmt.Sprint(m.rng.Uint32())
	defer func() { m.logf("set %s=%s at %x", k, v, m.kv[k][len(m.kv[k])-1].r.pos) }()
	m.kv[k] = append(m.kv[k], kvState{v, m.s.Set(k, []byte(v))})
}

func (m *model) snapshot() {
	st := m.s.freeze()
	m.commit()
	if m.dead {
		return
	}
	m.mayCrash(func() {
		if err := m.s.writeSnapshot(st); err != nil {
			m.logf("snapshot: %v", err)
		}
	})
	m.logf("snapshot at %x", st.pos)
}

// dropOldest makes room as a full queue does. What was handed out in this life
// must stay; the rest of the oldest segment may go.
func (m *model) dropOldest() {
	m.noteDrops(func() {
		m.s.mu.Lock()
		defer m.s.mu.Unlock()
		m.s.dropOldestLocked()
	})
}

// deliver takes up to k deliveries and checks each against the promises.
func (m *model) deliver(name string, c *Consumer, k int) {
	for range k {
		var d Delivery
		if !c.TryNext(&d) {
			return
		}
		m.check(name, &d)
	}
}

func (m *model) acknowledge(name string, c *Consumer) {
	for _, x := range m.list[name] {
		if !x.seen || x.finished || x.dropped || m.rng.IntN(3) == 0 {
			continue
		}
		if x.seq >= c.cursor {
			continue // not delivered in this life
		}
		if m.rng.IntN(3) == 0 && !x.released {
			x.released, x.relRcpt = true, c.Release(x.seq)
			continue
		}
		c.Done(x.seq)
		x.finished = true
	}
	m.checkLag(c)
}

func (m *model) giveUp(name string, c *Consumer) {
	var d Delivery
	if !c.TryNext(&d) {
		return
	}
	x := m.check(name, &d)
	if x == nil || d.Released {
		return
	}
	x.finished, x.gaveUp = true, c.GiveUp(d.Seq, Expired, "")
	m.logf("%s: give up %d", name, x.n)
	m.checkLag(c)
}

func (m *model) rewind(name string, c *Consumer) { c.Rewind() }
