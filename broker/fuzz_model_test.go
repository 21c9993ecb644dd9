package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
)

// FuzzSessions plays what the input says, with three clients of all versions:
// connections that come, go, break and are taken over, subscriptions of all
// kinds, publishes, acknowledgements that are held back, nonsense, time that
// passes, and restarts. After each step everything has to be as the model says.
//
// A step is four bytes: what, who, and two about how.
func FuzzSessions(f *testing.F) {
	connect := func(who, how, more byte) []byte { return []byte{0, who, how, more} }
	for _, steps := range [][][]byte{
		{connect(0, 2, 0), {1, 0, 0, 1}, connect(1, 0, 0), {3, 1, 0, 1}, {3, 1, 0, 2}},
		{connect(0, 5, 0), {1, 0, 3, 0x42}, {2, 0, 0, 0}, connect(1, 1, 0), {3, 1, 2, 5}, {3, 1, 2, 6}, connect(0, 5, 4), {5, 0, 0, 0}},
		{connect(0, 2, 16), connect(1, 2, 0), {1, 1, 4, 2}, {4, 0, 0, 0}, {6, 1, 1, 0}, {7, 0, 200, 0}, {8, 0, 0, 0}},
		{connect(0, 5, 0), connect(1, 5, 0), {1, 0, 6, 1}, {1, 1, 6, 2}, {2, 0, 0, 0}, {3, 2, 5, 1}, connect(2, 2, 0), {3, 2, 5, 2}, {3, 2, 5, 1}, {7, 0, 255, 0}},
		{connect(0, 5, 8), {1, 0, 2, 2}, {3, 0, 1, 2}, {3, 0, 1, 1}, {3, 0, 1, 2}, connect(0, 5, 0), {8, 0, 0, 0}, connect(0, 4, 0)},
		{connect(0, 2, 0), {3, 0, 0, 0x2a}, {3, 0, 0, 0x3a}, {9, 0, 2, 0}, {9, 0, 2, 0}, {10, 0, 2, 0}},
	} {
		f.Add(slices.Concat(steps...))
	}
	f.Fuzz(playScript)
}

// TestSessionsFollowTheModel plays what chance says.
func TestSessionsFollowTheModel(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		script := make([]byte, 4*(5+rng.IntN(50)))
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		if playScript(t, script); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func playScript(t *testing.T, script []byte) {
	synctest.Test(t, func(t *testing.T) {
		w := &play{t: t, r: rigPipes(t, Options{}), m: newModel(), clients: map[string]*player{}}
		for n := 0; len(script) >= 4 && n < 60 && !t.Failed(); n++ {
			w.step(script[0], fmt.Sprint("c", script[1]%3), script[2], script[3])
			script = script[4:]
		}
		for _, p := range w.clients {
			_ = p.nc.Close()
		}
		w.r.stop()
		synctest.Wait()
	})
}

var (
	fuzzFilters = []string{"a", "a/b", "a/+", "a/#", "#", "+/b", sharedPrefix + "$sh/#", "b"}
	fuzzTopics  = []string{"a", "a/b", "b", "a/b/c", "b/b", "$sh/x", "$sh/y/z", "a"}
)

// fuzzSteps are the steps by number, those more often that lead to more.
var fuzzSteps = [...]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 11}

// play is the broker, the model and the clients between them.
type play struct {
	t       *testing.T
	r       *rig
	m       *model
	clients map[string]*player // that are connected
	said    []string
	count   int
}

func (w *play) failf(format string, args ...any) {
	w.t.Helper()
	for _, s := range w.said {
		w.t.Log(s)
	}
	w.t.Errorf(format, args...)
}

func (w *play) say(format string, args ...any) {
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

func (w *play) step(what byte, who string, how, more byte) {
	p := w.clients[who]
	do := fuzzSteps[int(what)%len(fuzzSteps)]
	if p == nil && do > 0 && do != 7 && do != 8 && do != 11 {
		return
	}
	switch do {
	case 0:
		w.connect(who, how, more)
	case 1:
		w.subscribe(p, how, more)
	case 2:
		w.say("%s disconnects", who)
		p.send(packet.AppendDisconnect(nil, p.version, &packet.Disconnect{}))
		w.gone(p, true)
	case 3:
		w.publish(p, fuzzTopics[how%8], more&3%3, more&4 != 0, more&8 != 0, more&0x30 == 0x10)
	case 4:
		w.say("%s breaks", who)
		_ = p.nc.Close()
		w.gone(p, false)
	case 5:
		w.say("%s acknowledges", who)
		p.hold = false
		for _, x := range slices.Clone(p.s.queue) {
			if x.id != 0 {
				p.acknowledge(x.qos, x.id)
			}
		}
	case 6:
		filter := fuzzFilters[how%8]
		w.say("%s unsubscribes %s", who, filter)
		delete(p.s.subs, filter)
		delete(p.s.ids, filter)
		p.send(packet.AppendUnsubscribe(nil, p.version, &packet.Unsubscribe{ID: 2000, Filters: []string{filter}}))
		p.mine[2000] = packet.UNSUBACK
	case 7:
		w.say("%d s pass", int(how)*8)
		time.Sleep(time.Duration(how) * 8 * time.Second)
		w.m.pass()
	case 8:
		w.say("restart")
		for _, p := range w.clients {
			p.send(packet.AppendDisconnect(nil, p.version, &packet.Disconnect{}))
			w.gone(p, true)
		}
		w.settle()
		w.r.restart()
		w.m.restart()
	case 9:
		w.repeat(p, uint16(how%8)+1)
	case 10:
		w.nonsense(p, how)
	case 11:
		w.stranger(how)
	}
	w.settle()
}

func (w *play) connect(who string, how, more byte) {
	c := &packet.Connect{ClientID: who, Version: packet.V31 + how%3, CleanStart: how&4 == 0}
	p := &player{w: w, id: who, version: c.Version, max: w.r.b.opt.MaxInflight, mine: map[uint16]byte{}, code: map[uint16]byte{}}
	if c.Version == packet.V5 {
		c.SessionExpiry = []uint32{0, 0, 1000, never}[more&3]
		if c.ReceiveMaximum = uint16(more >> 2 & 3); c.ReceiveMaximum > 0 {
			p.max = int(c.ReceiveMaximum)
		}
		c.TopicAliasMax = uint16(how >> 4 & 3)
		p.most = c.TopicAliasMax
	}
	if more&16 != 0 {
		w.count++
		c.Will = &packet.Will{Topic: "a/b", Payload: []byte(fmt.Sprint("will", w.count)), QoS: more >> 5 % 3, Retain: more&128 != 0}
		if c.Version == packet.V5 {
			c.Will.Delay = uint32(how>>6&1) * 100
		}
	}
	w.say("%s connects: %+v, will %+v", who, *c, c.Will)
	old := w.clients[who]
	if old != nil {
		old.bye = packet.SessionTakenOver // [MQTT-3.1.4-3]
		w.leave(old, false)
	}
	nc, err := w.r.ln.(*pipeListener).dial()
	if err != nil {
		w.t.Fatal(err)
	}
	p.nc = nc
	go p.read()
	p.send(packet.AppendConnect(nil, c))
	present := w.m.connect(c)
	p.s = w.m.sessions[who]
	_, shares := p.s.subs[sharedPrefix+"$sh/#"]
	p.hold = how&8 != 0 && !shares
	w.clients[who] = p
	synctest.Wait()
	if old != nil {
		w.ended(old)
	}
	typ, _, body, ok := p.next()
	var ack packet.Connack
	if !ok || typ != packet.CONNACK || packet.ParseConnack(body, p.version, &ack) != nil || ack.Code != packet.Success ||
		ack.SessionPresent != (present && p.version != packet.V31) {
		w.failf("CONNACK %v %x, session present %v", ok, body, present)
	}
}

func (w *play) subscribe(p *player, how, more byte) {
	f := packet.Filter{Filter: fuzzFilters[how%8], QoS: more & 3 % 3}
	s := packet.Subscribe{ID: 2001}
	shared := how%8 == 6
	if shared && p.hold {
		return
	}
	if p.version == packet.V5 {
		f.NoLocal, f.RetainAsIs, f.RetainHandling = more&4 != 0 && !shared, more&8 != 0, more>>4&3%3
		s.SubscriptionID = uint32(more >> 6)
	}
	s.Filters = []packet.Filter{f}
	w.say("%s subscribes %+v, identifier %d", p.id, f, s.SubscriptionID)
	p.send(packet.AppendSubscribe(nil, p.version, &s))
	p.mine[s.ID], p.code[s.ID] = packet.SUBACK, f.QoS
	w.m.subscribe(p.s, f, s.SubscriptionID)
}

// publish goes through with the exchange, unless open: then PUBREL is left out.
func (w *play) publish(p *player, name string, qos byte, retain, empty, open bool) {
	w.count++
	m := packet.Publish{Topic: name, QoS: qos, Retain: retain, Payload: []byte(fmt.Sprint(w.count))}
	if empty && retain {
		m.Payload = nil
	}
	if qos > 0 {
		m.ID = uint16(1000 + w.count)
	}
	if open = open && qos == 2; open {
		m.ID = uint16(w.count%8) + 1
		if p.s.open[m.ID] || p.s.unsure {
			return
		}
		p.s.open[m.ID] = true
	}
	w.say("%s publishes %+v, left open %v", p.id, m, open)
	matched := w.m.publish(p.s, name, string(m.Payload), qos, retain)
	if open {
		p.s.unheard[m.ID] = matched == 0
	}
	if qos > 0 {
		p.mine[m.ID] = packet.PUBACK + qos - 1
		if matched == 0 && p.version == packet.V5 {
			p.code[m.ID] = packet.NoMatchingSubscribers
		}
	}
	p.send(packet.AppendPublish(nil, p.version, &m))
}

// repeat sends a QoS 2 publish again that is not released; without one, the
// PUBREL of none.
func (w *play) repeat(p *player, id uint16) {
	if p.s.unsure {
		return
	}
	if p.s.open[id] {
		w.say("%s repeats %d", p.id, id)
		if p.s.unheard[id] && p.version == packet.V5 {
			p.code[id] = packet.NoMatchingSubscribers
		}
		p.mine[id] = packet.PUBREC
		p.send(packet.AppendPublish(nil, p.version, &packet.Publish{Topic: "a/b", QoS: 2, Dup: true, ID: id, Payload: []byte("again")}))
		return
	}
	w.say("%s releases %d, which is none", p.id, id)
	p.mine[id] = packet.PUBCOMP
	if p.version == packet.V5 {
		p.code[id] = packet.PacketIDNotFound
	}
	p.send(packet.AppendAck(nil, p.version, packet.PUBREL, id, 0))
}

// nonsense ends the connection, but for acknowledgements of nothing.
func (w *play) nonsense(p *player, how byte) {
	all := []struct {
		frame []byte
		bye   byte
	}{
		{packet.AppendAck(nil, p.version, packet.PUBACK, 60000, 0), 0},
		{packet.AppendAck(nil, p.version, packet.PUBCOMP, 60000, 0), 0},
		{packet.AppendConnect(nil, &packet.Connect{Version: p.version, ClientID: p.id}), packet.ProtocolError}, // [MQTT-3.1.0-2]
		{[]byte{0x36, 7, 0, 1, 'a', 0, 1, 0, 0}, packet.MalformedPacket},                                       // [MQTT-3.3.1-4]
		{packet.AppendPublish(nil, p.version, &packet.Publish{Topic: "a/+"}), packet.TopicNameInvalid},         // [MQTT-3.3.2-2]
		{[]byte{0x82, 2, 0, 1}, packet.MalformedPacket},
		{[]byte{0x20, 2, 0, 0}, packet.ProtocolError},
		{[]byte{0xc1, 0}, packet.MalformedPacket},
		{[]byte{0x00, 0}, packet.MalformedPacket},
		{[]byte{0xf0, 0}, packet.ProtocolError}, // [MQTT-4.12.0-7]
		{[]byte{0x30, 0xff, 0xff, 0xff, 0xff, 1}, packet.MalformedPacket},
		{[]byte{0x62, 2, 0, 0}, packet.ProtocolError}, // [MQTT-2.2.1-3]
		{packet.AppendPublish(nil, p.version, &packet.Publish{Topic: "a", Payload: make([]byte, 1<<20)}), packet.PacketTooLarge},
		{[]byte{0xc0, 0}, 0},
	}
	x := all[int(how)%len(all)]
	w.say("%s sends %x", p.id, x.frame[:min(len(x.frame), 20)])
	if x.frame[0]>>4 == packet.PINGREQ && x.bye == 0 {
		p.mine[0] = packet.PINGRESP
	}
	if p.bye = x.bye; x.bye == 0 {
		p.send(x.frame)
		return
	}
	p.send(x.frame)
	w.gone(p, false)
}

// stranger is a connection that never becomes one of a client. Nobody else
// notices it.
func (w *play) stranger(how byte) {
	all := []struct {
		frame []byte
		ack   string // of the server, before it closes
	}{
		{[]byte{0xc0, 0}, ""}, // [MQTT-3.1.0-1]
		{[]byte("\x10\x0e\x00\x04MQTT\x04\x03\x00\x00\x00\x02c0"), ""},                 // the reserved flag: [MQTT-3.1.2-3]
		{[]byte("\x10\x0e\x00\x04MQTT\x06\x02\x00\x00\x00\x02c0"), "\x20\x02\x00\x01"}, // an unknown version: [MQTT-3.1.2-2]
		{[]byte("\x10\x0e\x00\x04MQTT\x04\x1a\x00\x00\x00\x02c0"), ""},                 // a will QoS of 3: [MQTT-3.1.2-12]
		{[]byte("\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00"), "\x20\x02\x00\x02"},   // no client identifier
		{[]byte("\x10\xff\xff\xff\xff\x01"), ""},
		{[]byte("\x10\x0e\x00\x04MQ"), ""},
	}
	x := all[int(how)%len(all)]
	w.say("a stranger sends %x", x.frame)
	nc, err := w.r.ln.(*pipeListener).dial()
	if err != nil {
		w.t.Fatal(err)
	}
	p := &player{w: w, nc: nc}
	go p.read()
	p.send(x.frame)
	synctest.Wait()
	if _, _, _, n, err := packet.Next(x.frame, 0); n == 0 && err == nil { // the broker waits for the rest
		_ = nc.Close()
		synctest.Wait()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended || string(p.in) != x.ack {
		w.failf("a stranger got %x, ended %v", p.in, p.ended)
	}
}

// gone is the end of a connection.
func (w *play) gone(p *player, graceful bool) {
	w.leave(p, graceful)
	w.ended(p)
}

// leave tells the model of the end of a connection, whether the broker knows of
// it already or not.
func (w *play) leave(p *player, graceful bool) {
	synctest.Wait()
	w.drain(p)
	w.m.disconnect(p.s, graceful)
	delete(w.clients, p.id)
}

// ended checks that the broker has ended a connection, and said why.
func (w *play) ended(p *player) {
	synctest.Wait()
	w.drain(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		w.failf("%s is still connected", p.id)
	}
	if p.bye != 0 && p.version == packet.V5 {
		w.failf("%s was not told %02x", p.id, p.bye)
	}
}

// settle lets everything happen, with what the clients answer, and compares.
func (w *play) settle() {
	for again := true; again; {
		synctest.Wait()
		again = false
		for _, p := range w.clients {
			again = w.drain(p) || again
		}
	}
	for _, p := range w.clients {
		if err := w.m.settled(p.s, p.max); err != nil {
			w.failf("%s: %v", p.id, err)
		}
		if len(p.mine) > 0 {
			w.failf("%s: not answered: %v", p.id, p.mine)
		}
		p.mu.Lock()
		if p.ended {
			w.failf("%s was disconnected", p.id)
		}
		p.mu.Unlock()
	}
}

// drain handles what has come for p.
func (w *play) drain(p *player) (some bool) {
	for {
		typ, flags, body, ok := p.next()
		if !ok {
			return some
		}
		some = true
		p.handle(typ, flags, body)
	}
}
