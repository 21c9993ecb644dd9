package bridge

import (
	"hash/maphash"
	"time"

	"packetboat/broker/packet"
)

// The guard against loops. What a bridge has brought down it never sends up again:
// the broker sees to that by the message's origin. Three more ways lead back:
//
//	MQTT 5   The cloud echoes what this bridge sends: No Local forbids it, but not on
//	         shared subscriptions, and not to clouds that do not know of it.
//	         Another gateway, or another bridge of this one, brings a message back by
//	         way of other clouds. Messages that may do so carry each gateway that
//	         they came through as a user property, and one that has been here is not
//	         taken again.
//	3.1.1    has neither. Where a down rule takes what an up rule sends, each message
//	         sent cancels at most one identical one that comes down within
//	         ack_timeout, as far as there is a connection meanwhile.

// viaProperty is the user property; it stands once for each gateway.
const viaProperty = "packetboat-via"

// maxHops is through how many gateways a message goes at most.
const maxHops = 16

// mark puts this gateway's name on a message that may come back: the bridge brings
// things down, or the message came by a bridge.
func (w *stamper) mark(s *stamp, p *packet.Publish) {
	if !s.props {
		w.props = append(w.props[:0], p.Props...)
	}
	w.props = packet.AppendUserProp(w.props, viaProperty, s.gateway)
	p.Props = w.props
}

// wasHere reports whether a message has come through the gateway, or through too
// many.
func wasHere(props []byte, gateway string) bool {
	here, hops := false, 0
	if len(props) == 0 {
		return false
	}
	_ = packet.EachProp(props, func(id byte, name, value []byte) bool { // the codec has checked them
		if id == packet.PropUser && string(name) == viaProperty {
			hops++
			here = here || string(value) == gateway
		}
		return !here
	})
	return here || hops >= maxHops
}

// echoes are the messages sent that may come back, by what they are. Bridge.mu
// guards them.
type echoes struct {
	window time.Duration
	seed   maphash.Seed
	sent   map[uint64]*echo    // by the hash of topic and payload
	ring   [maxEchoes]echoSlot // oldest first, from first on
	first  int
	n      int

	passed time.Duration // with a connection, until since
	since  time.Time     // zero: none
}

// maxEchoes bounds them; the oldest is given up for a new one.
const maxEchoes = 2048

type echo struct{ times int }

type echoSlot struct {
	hash uint64
	key  echoKey
	at   time.Duration
	gone bool // it has come back
}

// echoKey tells a message that is sent again from a new one.
type echoKey struct {
	lane int
	seq  uint64
}

func newEchoes(window time.Duration) *echoes {
	return &echoes{window: window, seed: maphash.MakeSeed(), sent: map[uint64]*echo{}}
}

// connected lets the time run, or stand still.
func (e *echoes) connected(is bool) {
	if e.since.IsZero() == is {
		if is {
			e.since = time.Now()
		} else {
			e.passed += time.Since(e.since)
			e.since = time.Time{}
		}
	}
}

func (e *echoes) now() time.Duration {
	if e.since.IsZero() {
		return e.passed
	}
	return e.passed + time.Since(e.since)
}

func (e *echoes) hash(topic string, payload []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(e.seed)
	_, _ = h.WriteString(topic)
	_ = h.WriteByte(0)
	_, _ = h.Write(payload)
	return h.Sum64()
}

// note takes in a message that is sent. again: it may have been sent before, and is
// noted once.
func (e *echoes) note(key echoKey, topic string, payload []byte, again bool) {
	now := e.now()
	e.expire(now)
	if again {
		for i := range e.n {
			if s := &e.ring[(e.first+i)%maxEchoes]; s.key == key {
				return
			}
		}
	}
	if e.n == maxEchoes {
		e.drop()
	}
	h := e.hash(topic, payload)
	e.ring[(e.first+e.n)%maxEchoes] = echoSlot{hash: h, key: key, at: now}
	e.n++
	if x := e.sent[h]; x != nil {
		x.times++
	} else {
		e.sent[h] = &echo{times: 1}
	}
}

// cancels reports whether a message that comes down is one that was sent, which
// then cancels no other.
func (e *echoes) cancels(topic string, payload []byte) bool {
	e.expire(e.now())
	h := e.hash(topic, payload)
	if e.sent[h] == nil {
		return false
	}
	for i := range e.n {
		if s := &e.ring[(e.first+i)%maxEchoes]; s.hash == h && !s.gone {
			s.gone = true
			e.forget(h)
			return true
		}
	}
	return false
}

// expire drops what was sent too long ago.
func (e *echoes) expire(now time.Duration) {
	for e.n > 0 && (e.ring[e.first].gone || now-e.ring[e.first].at > e.window) {
		e.drop()
	}
}

func (e *echoes) drop() {
	if s := &e.ring[e.first]; !s.gone {
		e.forget(s.hash)
	}
	e.first = (e.first + 1) % maxEchoes
	e.n--
}

func (e *echoes) forget(h uint64) {
	if x := e.sent[h]; x.times > 1 {
		x.times--
	} else {
		delete(e.sent, h)
	}
}
