package adapters

import (
	"container/list"
	"encoding/binary"
	"hash/maphash"
	"math"
	"sync"

	"packetboat/adapters/decode"
	"packetboat/broker/store"
)

const (
	// maxTopics is of how many topics an adapter remembers what was last
	// published; the one that was used longest ago is forgotten first, and its
	// next value counts as changed.
	maxTopics = 1024

	// maxBanded is how many numbers of a value the dead band is for; in those
	// behind every difference counts. With maxTopics it bounds the memory.
	maxBanded = 64
)

// changes knows what was last published to each topic, so that a value that is
// the same need not be published again. It is shared by an adapter's links, and
// outlives them: a device that connects anew with an old value changes nothing.
type changes struct {
	band float64
	seed maphash.Seed

	mu     sync.Mutex
	topics map[uint64]*list.Element // by hash, of *published
	recent list.List                // the most recently used first
}

// published is what one topic's subscribers last got.
//
//	known ──another value──► pending ──taken by the broker──► known
//	                            │ └────not taken────────────► as before
//	                            └──two at once: nobody knows which came last──► unknown
type published struct {
	topic   uint64
	known   bool
	value   digest
	receipt store.Receipt // for the ack of a frame that says the same

	pending int
	overlap bool
}

// digest is what of a value is compared.
type digest struct {
	numbers []float64
	rest    uint64 // a hash of everything else
}

func newChanges(band float64) *changes {
	return &changes{band: band, seed: maphash.MakeSeed(), topics: map[uint64]*list.Element{}}
}

// look says whether topic's last value was the same as v, and gives the receipt
// of that. If not, v is pending until settle is called.
func (c *changes) look(topic string, v *decode.Value) (p *published, value digest, r store.Receipt, same bool) {
	value = c.digest(v)
	c.mu.Lock()
	defer c.mu.Unlock()
	p = c.of(maphash.String(c.seed, topic))
	if p.known && c.equal(p.value, value) {
		return p, value, p.receipt, true
	}
	p.pending++
	p.overlap = p.overlap || p.pending > 1
	return p, value, store.Receipt{}, false
}

// settle ends what look began; r is the receipt of a value that was taken.
func (c *changes) settle(p *published, value digest, r store.Receipt, taken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.pending--
	switch {
	case p.overlap:
		p.known = false
	case taken:
		p.known, p.value, p.receipt = true, value, r
	}
	p.overlap = p.overlap && p.pending > 0
}

// of finds a topic, or makes it and forgets the oldest.
func (c *changes) of(topic uint64) *published {
	if e := c.topics[topic]; e != nil {
		c.recent.MoveToFront(e)
		return e.Value.(*published)
	}
	if len(c.topics) == maxTopics {
		oldest := c.recent.Back()
		delete(c.topics, c.recent.Remove(oldest).(*published).topic)
	}
	p := &published{topic: topic}
	c.topics[topic] = c.recent.PushFront(p)
	return p
}

// digest takes of a value what is compared: the payload as it is, or with a
// dead band its numbers and a hash of the rest.
func (c *changes) digest(v *decode.Value) digest {
	if c.band == 0 {
		return digest{rest: maphash.Bytes(c.seed, v.Payload)}
	}
	fields := v.Fields
	if len(fields) == 0 {
		fields = []decode.Field{{Value: decode.Guess(v.Payload)}}
	}
	var (
		h    maphash.Hash
		p    digest
		text []byte
	)
	h.SetSeed(c.seed)
	for i := range fields {
		h.WriteString(fields[i].Name)
		x, ok := numberOf(fields[i].Value)
		if ok && len(p.numbers) < maxBanded {
			p.numbers = append(p.numbers, x)
			h.WriteByte(1)
			continue
		}
		text = decode.AppendText(text[:0], fields[i].Value)
		h.WriteByte(2)
		h.Write(binary.AppendUvarint(nil, uint64(len(text))))
		h.Write(text)
	}
	p.rest = h.Sum64()
	return p
}

// equal reports whether no number differs by more than the band, and nothing
// else at all.
func (c *changes) equal(a, b digest) bool {
	if a.rest != b.rest || len(a.numbers) != len(b.numbers) {
		return false
	}
	for i, x := range a.numbers {
		y := b.numbers[i]
		// 20.1 - 20.0 is a little more than 0.1.
		rounding := 1e-12 * max(math.Abs(x), math.Abs(y))
		if math.Abs(x-y) > c.band+rounding {
			return false
		}
	}
	return true
}

func numberOf(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	}
	return 0, false
}
