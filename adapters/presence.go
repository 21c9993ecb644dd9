package adapters

import (
	"context"
	"sync"
	"time"

	"packetboat/broker/store"
	"packetboat/config"
)

// presence keeps the retained status topics: online while a link is open that
// the topic speaks of. Without {remote} in the template that is one topic,
// offline from the start; with it, each peer has its own, first written when
// the peer comes.
//
// Changes are collapsed: what is published is the latest state, and again and
// again until the broker takes it. A topic of which nothing was published yet
// is forgotten when its peer goes, so there are never more than links open and
// topics that still say online.
type presence struct {
	topic   config.Template
	publish func(topic, payload string) error

	wake chan struct{} // one slot

	mu     sync.Mutex
	topics map[string]*presenceState
}

type presenceState struct {
	links int
	said  string // last published
	keep  bool   // offline is worth saying though online never was
}

func newPresence(topic config.Template, publish func(topic, payload string) error) *presence {
	p := &presence{topic: topic, publish: publish, wake: make(chan struct{}, 1), topics: map[string]*presenceState{}}
	if !topic.IsZero() && !topic.Uses("remote") {
		p.topics[expandTopic(topic, Place{}, time.Time{})] = &presenceState{keep: true}
	}
	return p
}

// add counts a link that was opened (+1) or closed (-1).
func (p *presence) add(at Place, n int) {
	if p.topic.IsZero() {
		return
	}
	topic := expandTopic(p.topic, at, time.Time{})
	p.mu.Lock()
	st := p.topics[topic]
	if st == nil {
		st = &presenceState{}
		p.topics[topic] = st
	}
	st.links += n
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run publishes until ctx ends, then once more what has changed since.
func (p *presence) run(ctx context.Context) {
	if p.topic.IsZero() {
		return
	}
	delay := pauseMin
	for {
		retry := (<-chan time.Time)(nil)
		if p.flush() != nil {
			retry = time.After(delay)
			delay = min(2*delay, pauseMax)
		} else {
			delay = pauseMin
		}
		select {
		case <-ctx.Done():
			_ = p.flush() // a broker that is full keeps the old state; nothing more can be done
			return
		case <-p.wake:
		case <-retry:
		}
	}
}

// flush publishes what has changed and returns the first error.
func (p *presence) flush() error {
	for {
		topic, state, ok := p.change()
		if !ok {
			return nil
		}
		if err := p.publish(topic, state); err != nil {
			return err
		}
		p.mu.Lock()
		p.topics[topic].said = state
		p.mu.Unlock()
	}
}

// change finds a topic whose state is not what was said last.
func (p *presence) change() (topic, state string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for topic, st := range p.topics {
		state := "offline"
		if st.links > 0 {
			state = "online"
		}
		switch {
		case st.said != state && (st.said != "" || st.keep || st.links > 0):
			return topic, state, true
		case st.links == 0 && !st.keep:
			delete(p.topics, topic)
		}
	}
	return "", "", false
}

// publishPresence is a Stream's way to publish presence.
func (s *Stream) publishPresence(topic, payload string) error {
	_, err := s.opt.Broker.Publish(&store.Message{
		Topic:   topic,
		Payload: []byte(payload),
		QoS:     1,
		Retain:  true,
		Origin:  s.origin,
	})
	if err != nil {
		s.opt.Log.Debug("presence not published", "topic", topic, "error", err)
	}
	return err
}
