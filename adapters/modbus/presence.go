package modbus

import (
	"context"
	"sync"
	"time"
)

// The states of presence topics.
const (
	online  = "online"
	silent  = "silent"
	offline = "offline"
)

// presence keeps the retained status topics: of the line, or with {unit} in the
// template one of each unit. Changes are collapsed: what is published is the
// latest state, and again and again until the broker takes it.
type presence struct {
	publish func(topic, state string) error
	wake    chan struct{} // one slot

	mu     sync.Mutex
	topics map[string]*shown
}

type shown struct{ want, said string }

func newPresence(publish func(topic, state string) error) *presence {
	return &presence{publish: publish, wake: make(chan struct{}, 1), topics: map[string]*shown{}}
}

// set says how what the topic speaks of is now.
func (p *presence) set(topic, state string) {
	if topic == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.topics[topic]
	if s == nil {
		s = &shown{}
		p.topics[topic] = s
	}
	if s.want != state {
		s.want = state
		notify(p.wake)
	}
}

// run publishes until ctx ends, then once more what has changed since.
func (p *presence) run(ctx context.Context) {
	const retryMin, retryMax = 20 * time.Millisecond, time.Second
	delay := retryMin
	for {
		retry := (<-chan time.Time)(nil)
		if p.flush() != nil {
			retry = time.After(delay)
			delay = min(2*delay, retryMax)
		} else {
			delay = retryMin
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

func (p *presence) change() (topic, state string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for topic, s := range p.topics {
		if s.said != s.want {
			return topic, s.want, true
		}
	}
	return "", "", false
}
