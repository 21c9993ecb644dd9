package modbus

import (
	"sync"
	"time"
)

// The states of presence topics.
const (
	online  = "online"
	silent  = "silent"
	offline = "offline"
)

// presence are the retained status topics: of the line, or with {unit} in the
// template one of each unit.
type presence struct {
	wake chan struct{} // one slot

	mu     sync.Mutex
	topics map[string]*shown
}

type shown struct{ want, said string }

func newPresence() *presence {
	return &presence{wake: make(chan struct{}, 1), topics: map[string]*shown{}}
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

// Next is of adapters.States.
func (p *presence) Next() (topic, state string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for topic, s := range p.topics {
		if s.said != s.want {
			return topic, s.want, true
		}
	}
	return "", "", false
}

// Said is of adapters.States.
func (p *presence) Said(topic, state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.topics[topic].said = state
}

// Due is of adapters.States: what there is to say is set in time.
func (p *presence) Due() time.Duration { return 0 }
