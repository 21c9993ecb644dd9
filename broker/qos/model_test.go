package qos_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"packetboat/broker/qos"
	"packetboat/broker/store"
	"packetboat/broker/store/wal/simdisk"
)

// The QoS 2 path publisher -> gateway -> bridge -> cloud, with the real store
// and the real qos on a simulated disk, driven by random interleavings of packet
// delivery, commits, crashes of the gateway and losses of either connection.
// The cloud must get each message exactly once and each publisher's in order.

const (
	publisherIDs = 2 // identifiers each publisher cycles through, so that they are reused
	bridgeIDs    = 3 // likewise of the lane
	channel      = 3 // packets in flight on one link
	lane         = "bridge/cloud/0"
)

var walks = flag.Int("walks", 1500, "random walks of the QoS 2 model test, with and without give-ups each")

type wire struct {
	typ string
	id  uint16
	n   int // message number of a PUBLISH
}

type publisher struct {
	name    string
	msgs    []int
	state   []string // new, sent, released, done
	out, in []wire   // to and from the gateway
	answers qos.Answers
	owed    []string // their types
}

func (p *publisher) id(i int) uint16 { return uint16(i%publisherIDs + 1) }

type path struct {
	rng     *rand.Rand
	without string
	giveUps bool
	ids     store.IDs // of the lane
	steps   int       // at most
	disk    *simdisk.Disk
	clock   *stepClock
	s       *store.Store
	c       *store.Consumer
	w       *qos.Window
	pubs    []*publisher

	toCloud, fromCloud []wire
	releases           []release // PUBRELs that wait for the disk
	cloudIDs           map[uint16]bool
	arrived            []int
	gaveUp             map[int]bool
	crashes, losses    int
	tears, damages     int    // of the crashes, see model_damage_test.go
	burst              int    // damaged bytes
	told               uint64 // messages of which recovery said that they were in damaged bytes
	forgets            int    // of the cloud, see model_forget_test.go
	late               *late  // nil: the cloud hands on with PUBLISH
	trace              []string
}

type release struct {
	r  store.Receipt
	id uint16
}

type stepClock struct{ up time.Duration }

func (c *stepClock) BootID() [16]byte        { return [16]byte{1} }
func (c *stepClock) Uptime() time.Duration   { c.up++; return c.up * time.Microsecond }
func (c *stepClock) Wall() (time.Time, bool) { return time.Unix(0, 0), false }

func newPath(seed uint64, without string, giveUps bool) *path {
	p := preparePath(seed, without, giveUps)
	p.open()
	return p
}

func preparePath(seed uint64, without string, giveUps bool) *path {
	p := &path{
		rng: rand.New(rand.NewPCG(seed, 3)), without: without, giveUps: giveUps,
		ids: store.IDs{First: 1, N: bridgeIDs}, steps: 3000,
		disk: simdisk.New(), clock: &stepClock{}, cloudIDs: map[uint16]bool{}, gaveUp: map[int]bool{},
		crashes: 2, losses: 3,
	}
	n := 0
	for i := range 1 + p.rng.IntN(2) {
		pub := &publisher{name: fmt.Sprintf("session/p%d", i)}
		for range 3 + p.rng.IntN(3) {
			pub.msgs = append(pub.msgs, n)
			pub.state = append(pub.state, "new")
			n++
		}
		p.pubs = append(p.pubs, pub)
	}
	return p
}

func (p *path) open() {
	s, err := store.Open("", store.Options{FS: p.disk, SegmentSize: 32 << 10, Clock: p.clock, WithoutRule: p.without})
	if err != nil {
		panic(err)
	}
	p.s = s
	for _, d := range s.Stats().Damage {
		if p.told += d.Messages; d.Torn {
			p.told += 1 << 20 // at the very end: it may have been anything
		}
	}
	if s.Lookup(lane) == nil { // rule 6 of bridge/upstream.go
		p.logf("a new consumer: CONNECT is clean")
		clear(p.cloudIDs)
	}
	if p.c, err = s.Consumer(lane, p.ids); err != nil {
		panic(err)
	}
	p.c.OnReady(func() {})
	p.w = qos.NewWindow(p.c, 2)
	p.w.Resume()
}

func (p *path) logf(format string, args ...any) {
	p.trace = append(p.trace, fmt.Sprintf(format, args...))
}

// actions returns what may happen next. A crash or loss is only among them
// while some are left, so that every run ends.
func (p *path) actions() []func() {
	var acts []func()
	for _, pub := range p.pubs {
		if i := pub.nextNew(); i >= 0 && len(pub.out) < channel {
			acts = append(acts, func() {
				p.logf("%s sends %d", pub.name, pub.msgs[i])
				pub.state[i] = "sent"
				pub.out = append(pub.out, wire{"PUBLISH", pub.id(i), pub.msgs[i]})
			})
		}
		if len(pub.out) > 0 && pub.answers.Len() < channel {
			acts = append(acts, func() { p.fromPublisher(pub) })
		}
		if _, ok := pub.answers.Waiting(); ok && len(pub.in) < channel {
			acts = append(acts, func() { p.answer(pub) })
		}
		if len(pub.in) > 0 && len(pub.out) < channel {
			acts = append(acts, func() { pub.receive() })
		}
	}
	if len(p.toCloud) < channel {
		acts = append(acts, p.send)
	}
	if len(p.releases) > 0 && len(p.toCloud) < channel && p.s.IsDurable(p.releases[0].r) {
		acts = append(acts, p.sendRelease)
	}
	if len(p.toCloud) > 0 && len(p.fromCloud) < channel {
		acts = append(acts, p.cloud)
	}
	if len(p.fromCloud) > 0 && len(p.toCloud) < 2*channel { // answers have room when requests have none
		acts = append(acts, p.acknowledged)
	}
	return append(acts, p.commit)
}

func (pub *publisher) nextNew() int {
	for i, st := range pub.state {
		if st == "new" {
			for j := range i {
				if pub.id(j) == pub.id(i) && pub.state[j] != "done" {
					return -1
				}
			}
			return i
		}
	}
	return -1
}

func (p *path) fromPublisher(pub *publisher) {
	m := pub.out[0]
	pub.out = pub.out[1:]
	p.logf("gateway <- %s %v", pub.name, m)
	if m.typ == "PUBREL" {
		pub.answers.Push(p.s.Forget(pub.name, m.id), qos.Answer{Type: 0x70, ID: m.id})
		pub.owed = append(pub.owed, "PUBCOMP")
		return
	}
	r, err := p.s.Publish(&store.Message{Topic: "t", Payload: []byte{byte(m.n)}, QoS: 2, Origin: pub.name, PacketID: m.id},
		[]store.Target{{Consumer: p.c, QoS: 2}})
	if err != nil {
		panic(err)
	}
	pub.answers.Push(r, qos.Answer{Type: 0x50, ID: m.id})
	pub.owed = append(pub.owed, "PUBREC")
}

func (p *path) answer(pub *publisher) {
	typ := pub.owed[0]
	a, ok := pub.answers.Pop(func(r store.Receipt) bool {
		return p.s.IsDurable(r) || p.without == "pubrec_after_durable" && typ == "PUBREC" ||
			p.without == "pubcomp_after_durable" && typ == "PUBCOMP"
	})
	if !ok {
		return
	}
	pub.owed = pub.owed[1:]
	p.logf("gateway -> %s %s %d", pub.name, typ, a.ID)
	pub.in = append(pub.in, wire{typ: typ, id: a.ID})
}

func (pub *publisher) receive() {
	m := pub.in[0]
	pub.in = pub.in[1:]
	for i := range pub.state {
		if pub.id(i) != m.id || pub.state[i] != "sent" && pub.state[i] != "released" {
			continue
		}
		if m.typ == "PUBREC" {
			pub.state[i] = "released"
			pub.out = append(pub.out, wire{typ: "PUBREL", id: m.id})
		} else if pub.state[i] == "released" {
			pub.state[i] = "done"
		}
		return
	}
}

func (p *path) send() {
	var d store.Delivery
	if !p.w.TryNext(&d) {
		return
	}
	if d.Released {
		p.logf("bridge: %d is released", d.Seq)
		r, _ := p.w.Pubrec(d.ID)
		p.releases = append(p.releases, release{r, d.ID})
		return
	}
	n := int(d.Payload[0])
	if p.giveUps && n == 0 && p.rng.IntN(3) == 0 {
		p.logf("gives 0 up before it is sent")
		p.gaveUp[0] = true
		p.w.GiveUp(d.Seq, store.Purged, "")
		return
	}
	p.logf("bridge -> PUBLISH id %d seq %d message %d", d.ID, d.Seq, n)
	p.toCloud = append(p.toCloud, wire{"PUBLISH", d.ID, n})
	if p.giveUps && n == 0 && p.rng.IntN(2) == 0 {
		p.logf("gives 0 up after it was sent")
		p.gaveUp[0] = true
		p.w.GiveUp(d.Seq, store.Purged, "")
	}
}

func (p *path) sendRelease() {
	p.logf("bridge -> PUBREL %d", p.releases[0].id)
	p.toCloud = append(p.toCloud, wire{typ: "PUBREL", id: p.releases[0].id})
	p.releases = p.releases[1:]
}

func (p *path) cloud() {
	m := p.toCloud[0]
	p.toCloud = p.toCloud[1:]
	if m.typ == "PUBREL" {
		if p.late != nil {
			p.late.handOn(p, m.id)
		}
		delete(p.cloudIDs, m.id)
		p.fromCloud = append(p.fromCloud, wire{typ: "PUBCOMP", id: m.id})
		return
	}
	if !p.cloudIDs[m.id] {
		p.logf("cloud takes %d", m.n)
		p.cloudIDs[m.id] = true
		if p.late != nil {
			p.late.held[m.id] = m.n
		} else {
			p.arrived = append(p.arrived, m.n)
		}
	} else {
		p.logf("cloud: id %d again", m.id)
	}
	p.fromCloud = append(p.fromCloud, wire{typ: "PUBREC", id: m.id})
}

func (p *path) acknowledged() {
	m := p.fromCloud[0]
	p.fromCloud = p.fromCloud[1:]
	p.logf("bridge <- %s %d", m.typ, m.id)
	if m.typ == "PUBCOMP" {
		p.w.Pubcomp(m.id)
		return
	}
	if r, known := p.w.Pubrec(m.id); known {
		p.releases = append(p.releases, release{r, m.id})
	} else {
		p.toCloud = append(p.toCloud, wire{typ: "PUBREL", id: m.id})
	}
}

func (p *path) commit() {
	if err := p.s.Commit(context.Background()); err != nil {
		panic(err)
	}
}

// lose breaks one connection; what was on it is gone, the peers start again.
func (p *path) lose() {
	p.losses--
	if i := p.rng.IntN(len(p.pubs) + 1); i < len(p.pubs) {
		p.logf("connection of %s lost", p.pubs[i].name)
		p.pubs[i].reconnect()
		return
	}
	p.logf("connection to the cloud lost")
	p.toCloud, p.fromCloud, p.releases = nil, nil, nil
	p.w.Resume()
}

func (pub *publisher) reconnect() {
	pub.out, pub.in, pub.owed, pub.answers = nil, nil, nil, qos.Answers{}
	for i, st := range pub.state {
		switch st {
		case "sent":
			pub.out = append(pub.out, wire{"PUBLISH", pub.id(i), pub.msgs[i]})
		case "released":
			pub.out = append(pub.out, wire{typ: "PUBREL", id: pub.id(i)})
		}
	}
}

func (p *path) crash() {
	p.crashes--
	p.logf("CRASH")
	p.fail()
	p.toCloud, p.fromCloud, p.releases = nil, nil, nil
	for _, pub := range p.pubs {
		pub.reconnect()
	}
	p.clock.up += 1001
	p.open()
}

// run takes random steps until all is delivered, and returns what went wrong.
func (p *path) run() string {
	for step := range p.steps {
		switch r := p.rng.IntN(40); {
		case r == 0 && p.crashes > 0:
			p.crash()
		case r == 3 && p.forgets > 0:
			p.forget()
		case r <= 2 && p.losses > 0:
			p.lose()
		default:
			acts := p.actions()
			acts[p.rng.IntN(len(acts))]()
		}
		if bad := p.violation(); bad != "" {
			return bad
		}
		if step%16 == 0 && p.settled() {
			return ""
		}
	}
	for _, pub := range p.pubs {
		p.logf("%s: %v out %v in %v owed %d", pub.name, pub.state, pub.out, pub.in, pub.answers.Len())
	}
	p.logf("queued %d, to the cloud %v, from it %v, releases %v", p.c.Lag().Messages, p.toCloud, p.fromCloud, p.releases)
	return "STUCK"
}

func (p *path) violation() string {
	for _, pub := range p.pubs {
		last := -1
		for _, n := range p.arrived {
			if p.damages > 0 {
				break // what was forgotten is sent again
			}
			if !slices.Contains(pub.msgs, n) {
				continue
			}
			if n > last {
				last = n
				continue
			}
			if p.late != nil && p.late.again(p) {
				continue
			}
			if n == last {
				return "DUPLICATE"
			}
			return "REORDER or DUPLICATE"
		}
	}
	if p.damages > 0 {
		return p.untold()
	}
	for _, pub := range p.pubs {
		for i, st := range pub.state {
			if st == "done" && p.quiet() && !slices.Contains(p.arrived, pub.msgs[i]) && !p.gaveUp[pub.msgs[i]] {
				return fmt.Sprintf("LOSS of %d", pub.msgs[i])
			}
		}
	}
	return ""
}

// quiet: nothing is queued or under way any more.
func (p *path) quiet() bool {
	return p.c.Lag().Messages == 0 && len(p.toCloud)+len(p.fromCloud)+len(p.releases) == 0
}

func (p *path) settled() bool {
	for _, pub := range p.pubs {
		for _, st := range pub.state {
			if st != "done" {
				return false
			}
		}
	}
	return p.quiet()
}

func TestQoS2IsExactlyOnceAndInOrderOverCrashesAndLosses(t *testing.T) {
	for _, giveUps := range []bool{false, true} {
		for seed := range uint64(*walks) {
			p := newPath(seed, "", giveUps)
			if bad := p.run(); bad != "" {
				for _, l := range p.trace {
					t.Log(l)
				}
				t.Fatalf("seed %d, give-ups %v: %s, arrived %v", seed, giveUps, bad, p.arrived)
			}
		}
	}
}

// Each rule of the design's model, left out, must break the promise: a test
// that passes without a rule would prove nothing about it.
func TestEachRuleIsNeeded(t *testing.T) {
	for _, rule := range []string{
		"pubrec_after_durable", "pubcomp_after_durable", "pubrel_after_durable", "id_from_seq", "read_only_durable",
		"span_limit_from_durable_floor", "dedupe_with_message",
		"abandon_what_may_have_been_sent", "give_up_durable_before_later_ones",
	} {
		t.Run(rule, func(t *testing.T) {
			for seed := range uint64(20000) {
				for _, giveUps := range []bool{false, true} {
					if bad := newPath(seed, rule, giveUps).run(); bad != "" {
						t.Logf("seed %d, give-ups %v: %s", seed, giveUps, bad)
						return
					}
				}
			}
			t.Errorf("nothing broke without %s", rule)
		})
	}
}
