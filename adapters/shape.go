package adapters

import (
	"sync"
	"time"

	"packetboat/adapters/decode"
	"packetboat/broker/store"
)

// This file is what happens to a decoded value before it is published:
//
//	when, set    drop it, compute fields                      Filtered, ShapeErrors
//	topic        from the template and the fields             NoTopic
//	on_change    the topic's last value was the same          Unchanged
//	rate         too many in this second                      RateLimited
//
// What is dropped on purpose is acknowledged to the device all the same: the
// frame has arrived, and would be dropped again.

// shape applies the expressions. It reports whether the frame is wanted.
func (c *conn) shape(now time.Time) bool {
	if c.shaper == nil {
		return true
	}
	wanted := c.shaper.Apply(&c.value, decode.Source{Name: c.s.opt.Name, Remote: c.at.Remote, Port: c.at.Port, Time: now})
	if !wanted {
		c.s.c.filtered.Add(1)
	}
	return wanted
}

// newShaper makes the shaper of a link, nil where there are no expressions.
func (s *Stream) newShaper() *decode.Shaper {
	if s.opt.Shape == nil {
		return nil
	}
	return s.opt.Shape.NewShaper(func(key string, err error) {
		s.c.shapeErrors.Add(1)
		if s.causes.first(key, err.Error()) {
			s.opt.Log.Warn("expression failed for a frame; will not be told again", "key", key, "error", err)
		}
	})
}

// hold reports whether the value is not to be published to topic, and then
// what its frame's ack waits for. Else settle has to follow.
func (c *conn) hold(topic string, now time.Time) (r store.Receipt, held bool) {
	s := c.s
	if s.changes != nil {
		p, value, last, same := s.changes.look(topic, &c.value)
		if same {
			s.c.unchanged.Add(1)
			return last, true
		}
		c.pending, c.digest = p, value
	}
	if !s.rate.take(now) {
		s.c.rateLimited.Add(1)
		c.settle(store.Receipt{}, false)
		return store.Receipt{}, true
	}
	return store.Receipt{}, false
}

// settle says what became of a value that was not held.
func (c *conn) settle(r store.Receipt, taken bool) {
	if c.pending != nil {
		c.s.changes.settle(c.pending, c.digest, r, taken)
		c.pending = nil
	}
}

// causes knows which failures were told. The zero value is ready.
type causes struct {
	mu   sync.Mutex
	told map[string][]string // by key
}

// maxCauses is how many causes are told for one key: some texts hold what the
// device has sent.
const maxCauses = 8

// first reports whether this cause comes for the first time.
func (c *causes) first(key, cause string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, told := range c.told[key] {
		if told == cause {
			return false
		}
	}
	if len(c.told[key]) == maxCauses {
		return false
	}
	if c.told == nil {
		c.told = map[string][]string{}
	}
	c.told[key] = append(c.told[key], cause)
	return true
}
