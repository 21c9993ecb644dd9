package gateway

import (
	"context"
	"errors"
	"sync"
)

// A pulse tells whether the router makes progress: a goroutine does what it takes
// to get through it, for all who ask at a time. When that hangs, so do routing and
// the gateway's end, but not those who ask.
type pulse struct {
	touch func()
	ask   chan struct{} // one slot

	mu   sync.Mutex
	beat chan struct{} // closed at the next beat
}

var errNoPulse = errors.New("the router makes no progress")

func newPulse(touch func()) *pulse {
	return &pulse{touch: touch, ask: make(chan struct{}, 1), beat: make(chan struct{})}
}

// run beats when asked, until ctx ends.
func (p *pulse) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.ask:
		}
		p.touch()
		p.mu.Lock()
		close(p.beat)
		p.beat = make(chan struct{})
		p.mu.Unlock()
	}
}

// feel waits for a beat. Any goroutine.
func (p *pulse) feel(ctx context.Context) error {
	p.mu.Lock()
	beat := p.beat
	p.mu.Unlock()
	select {
	case p.ask <- struct{}{}:
	default: // somebody has
	}
	select {
	case <-beat:
		return nil
	case <-ctx.Done():
		return errNoPulse
	}
}

// routes takes, one after the other, the locks that a publish takes on its way
// through the broker and into the queue. None of them waits for the disk.
func (g *Gateway) routes() {
	g.broker.Stats()
	g.store.Consumers()
}
