package adapters

import (
	"context"
	"sync"
	"time"
)

// wire gives a link's device to one request at a time, a command or a poll, and
// finds the frame that answers it: the next one.
type wire struct {
	turn chan struct{} // one slot, full while somebody asks

	mu     sync.Mutex
	answer chan []byte // of who waits, with room for one; nil: nobody
	alone  bool        // the answer is for the asker only
}

func newWire() *wire { return &wire{turn: make(chan struct{}, 1)} }

// take waits for the turn; false when ctx ends first. give ends it.
func (w *wire) take(ctx context.Context) bool {
	select {
	case w.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *wire) give() { <-w.turn }

// expect has the next frame go to the channel that it returns.
func (w *wire) expect(alone bool) <-chan []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer, w.alone = make(chan []byte, 1), alone
	return w.answer
}

func (w *wire) expectNothing() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = nil
}

// offer hands a frame to whoever waits for one; true when it is for them only. The
// frame is copied. It runs on the link's reader.
func (w *wire) offer(f []byte) (alone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.answer == nil {
		return false
	}
	w.answer <- append([]byte{}, f...)
	w.answer = nil
	return w.alone
}

// ask writes a request, calls written, and waits for the answer, nil when none came
// in time. The wire must have been taken. Its error is that of the write.
func (c *conn) ask(ctx context.Context, request []byte, writing, waiting time.Duration, alone bool, written func()) (answer []byte, err error) {
	answers := c.wire.expect(alone)
	defer c.wire.expectNothing()
	if err := c.write(request, writing); err != nil {
		return nil, err
	}
	written()
	if h, ok := c.link.(hurrier); ok {
		h.Hurry()
	}
	timer := time.NewTimer(waiting)
	defer timer.Stop()
	select {
	case answer = <-answers:
	case <-timer.C:
	case <-ctx.Done():
	}
	return answer, nil
}

// hurrier is a link that gathers what it reads, and can be told not to.
type hurrier interface{ Hurry() }
