package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"packetboat/broker/packet"
)

// sequence is a connection that says what chance has it say: mostly what a client
// may, sometimes at the end what none may. The packets of it are counted that the
// gateway has to look at: up to the first wrong one.
func (s *soak) sequence(rng *rand.Rand) int64 {
	s.sequences.Add(1)
	door := s.doors[rng.IntN(len(s.doors))]
	if rng.IntN(2) == 0 {
		door = s.doors[len(s.doors)-1] // plain, the cheapest one
	}
	raw, err := dialFrom(s.from.Add(1), door.address)
	if err != nil {
		s.t.Errorf("connect: %v", err)
		return 0
	}
	defer raw.Close()
	conn, err := door.through(raw)
	if err != nil {
		s.t.Errorf("%+v: %v", door, err)
		return 0
	}
	g := &generator{rng: rng, version: packet.V31 + byte(rng.IntN(3)), corpus: s.corpus}
	b, n := g.stream()
	if err := exchange(rng, raw, conn, b); err != nil {
		s.t.Errorf("%+v: %v after %.300x", door, err, b)
	}
	return n
}

// generator makes packets of one client.
type generator struct {
	rng     *rand.Rand
	version byte
	corpus  [][]byte
	id      uint16
}

// stream is all that a client says, and how many packets are to be looked at.
func (g *generator) stream() (b []byte, n int64) {
	b = packet.AppendConnect(nil, g.connect())
	n = 1
	for range 10 + g.rng.IntN(60) {
		b = g.packet(b)
		n++
	}
	switch g.rng.IntN(8) {
	case 0:
		return append(b, g.nonsense()...), n + 1
	case 1:
		start := len(b)
		b = g.packet(b)
		mutate(g.rng, b[start:])
		return g.packet(b), n + 1
	case 2:
		return append(b, g.corpus[g.rng.IntN(len(g.corpus))]...), n + 1
	case 3:
		return b, n // it breaks
	}
	return packet.AppendDisconnect(b, g.version, &packet.Disconnect{}), n + 1
}

func (g *generator) connect() *packet.Connect {
	c := &packet.Connect{
		Version: g.version, ClientID: fmt.Sprintf("fuzz-%d", g.rng.IntN(60)), CleanStart: g.rng.IntN(2) == 0,
		KeepAlive: uint16(g.rng.IntN(3) * 60),
	}
	if g.version == packet.V5 {
		c.SessionExpiry = []uint32{0, 1, 3600, 0xFFFFFFFF}[g.rng.IntN(4)]
		c.ReceiveMaximum = uint16(g.rng.IntN(20))
		c.TopicAliasMax = uint16(g.rng.IntN(5))
		if g.rng.IntN(4) == 0 {
			c.MaxPacketSize = uint32(40 + g.rng.IntN(1000))
		}
	}
	if g.rng.IntN(3) == 0 {
		c.Will = &packet.Will{Topic: g.topic(), Payload: []byte("will"), QoS: byte(g.rng.IntN(3)), Retain: g.rng.IntN(2) == 0}
		if g.version == packet.V5 {
			c.Will.Delay = uint32(g.rng.IntN(2))
		}
	}
	return c
}

// packet appends one that a client may send, in this state or another.
func (g *generator) packet(b []byte) []byte {
	g.id = g.id%200 + 1
	some := uint16(1 + g.rng.IntN(250))
	switch g.rng.IntN(16) {
	case 0, 1:
		return packet.AppendSubscribe(b, g.version, g.subscribe())
	case 2:
		return packet.AppendUnsubscribe(b, g.version, &packet.Unsubscribe{ID: g.id, Filters: []string{g.filter(), g.filter()}})
	case 3:
		return packet.AppendPing(b, packet.PINGREQ)
	case 4, 5, 6:
		typ := []byte{packet.PUBACK, packet.PUBREC, packet.PUBCOMP}[g.rng.IntN(3)]
		return packet.AppendAck(b, g.version, typ, some, 0)
	case 7, 8:
		return packet.AppendAck(b, g.version, packet.PUBREL, some, 0)
	}
	return packet.AppendPublish(b, g.version, g.publish())
}

func (g *generator) subscribe() *packet.Subscribe {
	s := &packet.Subscribe{ID: g.id}
	for range 1 + g.rng.IntN(3) {
		f := packet.Filter{Filter: g.filter(), QoS: byte(g.rng.IntN(3))}
		if g.version == packet.V5 {
			f.NoLocal, f.RetainAsIs = g.rng.IntN(4) == 0 && !strings.HasPrefix(f.Filter, "$share"), g.rng.IntN(2) == 0
			f.RetainHandling = byte(g.rng.IntN(3))
		}
		s.Filters = append(s.Filters, f)
	}
	if g.version == packet.V5 {
		s.SubscriptionID = uint32(g.rng.IntN(1000))
	}
	return s
}

func (g *generator) publish() *packet.Publish {
	p := &packet.Publish{Topic: g.topic(), QoS: byte(g.rng.IntN(3)), Retain: g.rng.IntN(8) == 0, Payload: []byte("x")}
	if p.QoS > 0 {
		p.ID, p.Dup = g.id, g.rng.IntN(8) == 0
	}
	switch g.rng.IntN(40) {
	case 0:
		p.Payload = nil
	case 1:
		p.Payload = bytes.Repeat([]byte("large"), g.rng.IntN(20_000))
	default:
		p.Payload = bytes.Repeat(p.Payload, g.rng.IntN(200))
	}
	if g.version == packet.V5 {
		if g.rng.IntN(4) == 0 {
			p.Alias = uint16(1 + g.rng.IntN(64))
		}
		if g.rng.IntN(4) == 0 {
			p.Props = packet.AppendUserProp(nil, "k", "v")
		}
		if g.rng.IntN(4) == 0 {
			p.Expiry, p.HasExpiry = uint32(g.rng.IntN(3)), true
		}
	}
	return p
}

// topic and filter have few levels of few names: they meet.
func (g *generator) topic() string {
	t := g.level()
	for range g.rng.IntN(4) {
		t += "/" + g.level()
	}
	return t
}

func (g *generator) level() string { return string(rune('a' + g.rng.IntN(6))) }

func (g *generator) filter() string {
	levels := strings.Split(g.topic(), "/")
	for i := range levels {
		if g.rng.IntN(3) == 0 {
			levels[i] = "+"
		}
	}
	if g.rng.IntN(6) == 0 {
		levels[len(levels)-1] = "#"
	}
	f := strings.Join(levels, "/")
	if g.rng.IntN(6) == 0 {
		f = "$share/" + g.level() + "/" + f
	}
	return f
}

// nonsense is a packet that no client may send.
func (g *generator) nonsense() []byte {
	v := g.version
	all := [][]byte{
		packet.AppendConnect(nil, &packet.Connect{Version: v, ClientID: "again"}),
		{0x36, 7, 0, 1, 'a', 0, 1, 0, 0}, // QoS 3
		packet.AppendPublish(nil, v, &packet.Publish{Topic: "a/+"}),
		packet.AppendPublish(nil, v, &packet.Publish{Topic: "", Payload: []byte("x")}),
		packet.AppendPublish(nil, v, &packet.Publish{Topic: "a\x00b"}),
		packet.AppendPublish(nil, v, &packet.Publish{Topic: "a", QoS: 1}), // without an identifier
		packet.AppendPublish(nil, v, &packet.Publish{Topic: strings.Repeat("/", 65_535)}),
		packet.AppendPublish(nil, v, &packet.Publish{Topic: "a", Payload: make([]byte, 300<<10)}),
		packet.AppendSubscribe(nil, v, &packet.Subscribe{ID: 1}),
		packet.AppendSubscribe(nil, v, &packet.Subscribe{ID: 1, Filters: []packet.Filter{{Filter: "a/#/b"}}}),
		packet.AppendSubscribe(nil, v, &packet.Subscribe{ID: 0, Filters: []packet.Filter{{Filter: "a"}}}),
		packet.AppendUnsubscribe(nil, v, &packet.Unsubscribe{ID: 1}),
		{0x82, 2, 0, 1}, {0x20, 2, 0, 0}, {0xc1, 0}, {0x00, 0}, {0xf0, 0}, {0xd0, 0}, {0x62, 2, 0, 0},
		{0x30, 0xff, 0xff, 0xff, 0xff, 1}, {0x30, 0xff, 0xff, 0xff, 0x7f}, {0x30, 0x80, 0x00}, {0x40, 1, 0},
		{0x30, 9, 0, 1, 'a', 0xff, 0xff, 0xff, 0xff, 0xff, 'x'}, // properties of a length that is none
	}
	return all[g.rng.IntN(len(all))]
}

// mutate changes some bytes.
func mutate(rng *rand.Rand, b []byte) {
	for range 1 + rng.IntN(4) {
		i := rng.IntN(len(b))
		switch rng.IntN(3) {
		case 0:
			b[i] = byte(rng.Uint32())
		case 1:
			b[i] ^= 1 << rng.IntN(8)
		case 2:
			b[i] = []byte{0, 0x7f, 0x80, 0xff}[rng.IntN(4)]
		}
	}
}

// fuzzCorpus is what fuzzing the broker has kept: what clients may send after
// CONNECT, and single packets.
func fuzzCorpus(t *testing.T) (all [][]byte) {
	t.Helper()
	for _, dir := range []string{"../../broker/testdata/fuzz/FuzzConnection", "../../broker/packet/testdata/fuzz/FuzzDecodeEncodeDecodeAgree"} {
		list, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(list) == 0 {
			t.Fatalf("no corpus in %s: %v", dir, err)
		}
		for _, name := range list {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(b)) {
				quoted, ok := strings.CutPrefix(strings.TrimSpace(line), "[]byte(")
				if !ok {
					continue
				}
				data, err := strconv.Unquote(strings.TrimSuffix(quoted, ")"))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				all = append(all, []byte(data))
			}
		}
	}
	return all
}
