package adapters

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/config"
)

// presence keeps the retained status topics: online while a link is open that
// the topic speaks of, silent while no frame comes over it. Without {remote} in
// the template that is one topic, offline from the start; with it, each peer has
// its own, first written when the peer comes.
//
//	          first link opens              no frame for silentAfter
//	offline ──────────────────────► online ──────────────────────────► silent
//	   ▲                            │ ▲       the next frame           │  │
//	   │                            │ └────────────────────────────────┘  │
//	   └────────────────────────────┴───────── last link closes ──────────┘
//
// A topic of which nothing was published yet is forgotten when its peer goes, so
// there are never more than links open and topics that still say something else than
// offline.
type presence struct {
	topic       config.Template
	silentAfter time.Duration // 0: never
	publish     func(topic, state string) error
	start       time.Time // what frame times count from

	wake chan struct{} // one slot

	mu     sync.Mutex
	topics map[string]*presenceState
}

type presenceState struct {
	links int
	said  string // last published
	keep  bool   // offline is worth saying though online never was

	// Any link's reader sets last, and then looks at silent; run sets silent, and
	// then looks at last again. So one of the two sees the other.
	last   atomic.Int64 // when a frame came or the first link opened
	silent atomic.Bool
}

func newPresence(topic config.Template, silentAfter time.Duration, publish func(topic, state string) error) *presence {
	p := &presence{topic: topic, silentAfter: silentAfter, publish: publish, start: time.Now(), wake: make(chan struct{}, 1), topics: map[string]*presenceState{}}
	if !topic.IsZero() && !topic.Uses("remote") {
		p.topics[expandTopic(topic, Place{}, time.Time{})] = &presenceState{keep: true}
	}
	return p
}

// add counts a link that was opened (+1) or closed (-1). It returns the state
// that frames of this link are told to, nil for none.
func (p *presence) add(at Place, n int) *presenceState {
	if p.topic.IsZero() {
		return nil
	}
	topic := expandTopic(p.topic, at, time.Time{})
	p.mu.Lock()
	st := p.topics[topic]
	if st == nil {
		st = &presenceState{}
		p.topics[topic] = st
	}
	if st.links == 0 {
		st.last.Store(int64(time.Since(p.start)))
		st.silent.Store(false)
	}
	st.links += n
	p.mu.Unlock()
	notify(p.wake)
	return st
}

// frame notes that a frame came over a link of st.
func (p *presence) frame(st *presenceState, now time.Time) {
	if st == nil || p.silentAfter == 0 {
		return
	}
	st.last.Store(int64(now.Sub(p.start)))
	if st.silent.Load() && st.silent.CompareAndSwap(true, false) {
		notify(p.wake)
	}
}

// run publishes until ctx ends; see TellStates.
func (p *presence) run(ctx context.Context) {
	if !p.topic.IsZero() {
		TellStates(ctx, p, p.wake, p.publish)
	}
}

// Due finds the topics without a frame for too long, and returns when the next one
// may be; 0: none.
func (p *presence) Due() (next time.Duration) {
	if p.silentAfter == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Since(p.start)
	for _, st := range p.topics {
		if st.links == 0 || st.silent.Load() {
			continue
		}
		last := st.last.Load()
		left := time.Duration(last) + p.silentAfter - now
		if left <= 0 {
			st.silent.Store(true)
			if st.last.Load() == last {
				continue
			}
			st.silent.Store(false) // a frame has just come
			left = p.silentAfter
		}
		if next == 0 || left < next {
			next = left
		}
	}
	return next
}

// Said is of States.
func (p *presence) Said(topic, state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.topics[topic].said = state
}

// Next finds a topic whose state is not what was said last.
func (p *presence) Next() (topic, state string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for topic, st := range p.topics {
		state := "offline"
		switch {
		case st.links > 0 && st.silent.Load():
			state = "silent"
		case st.links > 0:
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
