package adapters

import (
	"context"
	"errors"
	"time"

	"packetboat/broker/store"
)

// While the broker is full, a frame is offered again after so long.
const (
	pauseMin = 20 * time.Millisecond
	pauseMax = time.Second
)

// textProps says that a payload is text: payload format indicator 1 [MQTT5
// 3.3.2.3.2].
var textProps = []byte{0x01, 0x01}

// publish hands a frame to the broker; while that is full or its disk has
// failed, it waits, so that the link is not read any more: a TCP peer is held
// up, and what a serial device goes on sending its driver buffers and then
// counts as lost.
//
// Before, the value is shaped, and may turn out not to be worth publishing
// (shape.go).
//
// Its error ends the link: ctx has ended, or the frame cannot be taken and the
// device waits for an ack. All other trouble is counted and told here.
func (c *conn) publish(ctx context.Context, f []byte) error {
	s := c.s
	now := time.Now()
	s.c.lastFrame.Store(now.UnixNano())
	s.presence.frame(c.presence, now)
	if c.wire != nil && c.wire.offer(f) {
		s.recent.Frame(now, c.at.name(), f, "")
		return nil // the answer to a command
	}
	if err := c.decoder.Decode(f, &c.value); err != nil {
		s.c.undecoded.Add(1)
		s.recent.Wrong(now, c.at.name(), f, "not decoded: "+err.Error())
		if more, ok := s.badFrames.allow(); ok {
			s.opt.Log.Warn("frame not decoded", "remote", c.at.Remote, "error", err, "suppressed", more)
		}
		return c.notTaken()
	}
	if !c.shape(now) {
		s.recent.Frame(now, c.at.name(), f, "")
		return c.ack(ctx, store.Receipt{})
	}
	topic := c.topic
	if topic == "" {
		var err error
		if topic, err = frameTopic(s.opt.Topic, c.at, now, c.value.Fields); err != nil {
			s.c.noTopic.Add(1)
			s.recent.Wrong(now, c.at.name(), f, "no topic: "+err.Error())
			if more, ok := s.refusals.allow(); ok {
				s.opt.Log.Warn("frame without a topic", "remote", c.at.Remote, "error", err, "suppressed", more)
			}
			return c.notTaken()
		}
	}
	if r, held := c.hold(topic, now); held {
		s.recent.Frame(now, c.at.name(), f, "")
		return c.ack(ctx, r)
	}
	m := &c.message // the broker copies what it keeps
	*m = store.Message{
		Topic:   topic,
		Payload: c.value.Payload,
		QoS:     s.opt.QoS,
		Retain:  s.opt.Retain,
		Origin:  s.origin,
	}
	if c.value.Text {
		m.Props = textProps
	}
	if s.opt.MaxAge > 0 {
		m.HasExpiry = true
		m.Expiry = seconds(s.opt.MaxAge)
	}

	r, err := s.opt.Broker.Publish(m)
	if errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrFailed) {
		r, err = c.pause(ctx, m, err)
	}
	c.settle(r, err == nil)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		s.c.dropped.Add(1)
		s.opt.Log.Warn("stopped while the queue was full: a frame that was read is not stored", "topic", topic)
		return ctx.Err()
	default:
		s.c.dropped.Add(1)
		s.recent.Wrong(now, c.at.name(), f, "refused: "+err.Error())
		if more, ok := s.refusals.allow(); ok {
			s.opt.Log.Warn("frame refused", "topic", topic, "bytes", len(m.Payload), "error", err, "suppressed", more)
		}
		return c.notTaken()
	}
	s.c.published.Add(1)
	s.recent.Frame(now, c.at.name(), f, topic)
	return c.ack(ctx, r)
}

// pause offers m until the broker takes it, refuses it for another reason, or
// ctx ends.
func (c *conn) pause(ctx context.Context, m *store.Message, err error) (store.Receipt, error) {
	s := c.s
	c.paused = true
	s.c.pauses.Add(1)
	s.c.paused.Add(1)
	defer s.c.paused.Add(-1)
	more, told := s.pauses.allow()
	if told {
		s.opt.Log.Warn("not reading: the broker takes nothing", "remote", c.at.Remote, "error", err, "suppressed", more)
	}
	began := time.Now()
	for delay := pauseMin; ; delay = min(2*delay, pauseMax) {
		sleep(ctx, delay)
		if ctx.Err() != nil {
			return store.Receipt{}, err
		}
		var r store.Receipt
		r, err = s.opt.Broker.Publish(m)
		if errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrFailed) {
			continue
		}
		if told {
			s.opt.Log.Info("reading again", "remote", c.at.Remote, "after", time.Since(began).Round(time.Millisecond))
		}
		return r, err
	}
}

// notTaken is what becomes of a link when one of its frames is not taken.
func (c *conn) notTaken() error {
	if c.acks != nil {
		return errNotTaken
	}
	return nil
}

// seconds rounds up, so that a part of a second is not "never".
func seconds(d time.Duration) uint32 {
	return uint32(min((d+time.Second-1)/time.Second, 1<<32-1))
}
