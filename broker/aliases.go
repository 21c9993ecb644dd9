package broker

import (
	"hash/maphash"
	"strings"
)

// aliases gives topics to one MQTT 5.0 client numbers for its connection, so
// that a topic travels once and then as three bytes. The output's lock guards
// it.
//
// There are as many as the client takes, at most Options.TopicAliasMax. A topic
// gets one when it comes for the second time in a while, so that topics which
// never come again cost nothing and push nobody out. When all are given, a
// clock hand goes one place on for each topic that wants one and halves the
// uses of who has that place: the busiest topics stay, and one place that is
// not used any more is found soon. Constant time, and no allocation but for a
// topic that gets one.
type aliases struct {
	max     int
	places  []aliasPlace // by number - 1
	numbers map[string]uint16
	hand    int
	once    [aliasMemory]seenOnce // by hash
	seed    maphash.Seed
}

// seenOnce remembers the last topics of one hash that have no alias.
type seenOnce struct {
	prints [4]uint32
	next   uint8
}

// before reports whether print is there, and adds it if not.
func (s *seenOnce) before(print uint32) bool {
	for _, p := range s.prints {
		if p == print {
			return true
		}
	}
	s.prints[s.next%4] = print
	s.next++
	return false
}

type aliasPlace struct {
	topic string
	uses  uint8
}

const (
	aliasMemory = 64
	// aliasCost is what an alias adds to a PUBLISH. A topic of that length is not
	// worth one.
	aliasCost = 3
)

func newAliases(n int) *aliases {
	return &aliases{max: n, numbers: make(map[string]uint16), seed: maphash.MakeSeed()}
}

// of returns the alias of name, 0 when it has none, and whether the client has to
// be told it: with this PUBLISH, which has to be sent then. may: there is room
// for that in the packet.
func (a *aliases) of(name string, may bool) (number uint16, tell bool) {
	if len(name) <= aliasCost {
		return 0, false
	}
	if n, ok := a.numbers[name]; ok {
		if p := &a.places[n-1]; p.uses < 255 {
			p.uses++
		}
		return n, false
	}
	h := maphash.String(a.seed, name)
	if !a.once[h%aliasMemory].before(uint32(h>>32)|1) || !may {
		return 0, false
	}
	at := a.hand
	if len(a.places) < a.max {
		at = len(a.places)
		a.places = append(a.places, aliasPlace{})
	} else {
		a.hand = (a.hand + 1) % a.max
		if p := &a.places[at]; p.uses > 0 {
			p.uses /= 2
			return 0, false
		}
		delete(a.numbers, a.places[at].topic)
	}
	name = strings.Clone(name)
	a.places[at] = aliasPlace{topic: name, uses: 1}
	a.numbers[name] = uint16(at + 1)
	return uint16(at + 1), true
}

// aliasLocked is aliases.of for a PUBLISH of size bytes to the client.
func (c *conn) aliasLocked(name string, size int) (number uint16, tell bool) {
	o := &c.out
	if o.aliasMax == 0 {
		return 0, false
	}
	if o.aliases == nil {
		o.aliases = newAliases(o.aliasMax)
	}
	// Two more bytes for the lengths of the packet and of its properties.
	return o.aliases.of(name, c.maxPacket == 0 || size+aliasCost+2 <= c.maxPacket)
}
