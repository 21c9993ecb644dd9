package adapters

import (
	"time"

	"packetboat/adapters/decode"
	"packetboat/adapters/frame"
)

// Traced is what becomes of one frame.
type Traced struct {
	Frame   []byte
	Fields  []decode.Field // as decoded and set; empty where the decoder has none
	Payload []byte
	Text    bool
	Topic   string
	Dropped string // why it is left out, as the configuration wants it
	Problem string // why it is not published though it should be, or not whole
}

// Trace runs bytes through the pipeline of a stream and hands over what becomes of
// each frame, which is valid until each returns. Between two chunks there is a
// silence, and behind the last one. What depends on other frames and on time
// (on_change, rate) is left out. It is for people who get a configuration right.
func Trace(o Options, at Place, chunks [][]byte, each func(*Traced)) (frame.Counters, error) {
	o.Command, o.Poll = nil, nil
	s, err := NewStream(o)
	if err != nil {
		return frame.Counters{}, err
	}
	c := &conn{s: s, at: at, framing: s.opt.Framing.NewDecoder(), decoder: s.opt.NewDecoder(), shaper: s.newShaper()}
	take := func(next func() ([]byte, bool)) {
		for {
			f, ok := next()
			if !ok {
				return
			}
			each(c.trace(f))
		}
	}
	for _, b := range chunks {
		c.framing.Push(b)
		take(c.framing.Next)
		take(c.framing.Flush)
	}
	c.framing.Reset()
	return c.framing.Counters(), nil
}

// trace does what publish does, and publishes nothing.
func (c *conn) trace(f []byte) *Traced {
	t := &Traced{Frame: f}
	if err := c.decoder.Decode(f, &c.value); err != nil {
		t.Problem = "not decoded: " + err.Error()
		return t
	}
	now := time.Now()
	before := c.s.Stats()
	kept := c.shape(now)
	t.Fields, t.Payload, t.Text = c.value.Fields, c.value.Payload, c.value.Text
	after := c.s.Stats()
	switch {
	case !kept:
		t.Dropped = "when is false"
		return t
	case after.ShapeErrors > before.ShapeErrors:
		t.Problem = "an expression of when or set failed (it is published all the same, without that field)"
	}
	topic, err := frameTopic(c.s.opt.Topic, c.at, now, c.value.Fields)
	if err != nil {
		t.Problem = "no topic: " + err.Error()
		return t
	}
	t.Topic = topic
	return t
}
