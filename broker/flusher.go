package broker

import (
	"context"
	"runtime"
	"sync"
)

// flusherCount is how many flushers share the work; they never block on a
// peer, at most on a disk read.
const flusherCount = 2

// Kinds of work that one goroutine leaves to the flushers for a connection.
const (
	workFlush   uint32 = 1 << iota // write what waits in the output
	workAnswers                    // answers have become durable
	workPump                       // the durable window may have something to send
	workQueued                     // the connection stands in the queue
)

// flushers serve connections on behalf of others: the readers whose messages
// they receive, and the store's committer.
//
// The queue holds each connection at most once, so it is bounded by the number
// of connections.
type flushers struct {
	mu    sync.Mutex
	queue []*conn // a ring
	head  int
	n     int
	idle  int           // flushers that wait
	wake  chan struct{} // one slot for each flusher
}

func (f *flushers) init() {
	f.queue = make([]*conn, 64)
	f.wake = make(chan struct{}, flusherCount)
}

// push leaves work for c. It never blocks and takes only leaf locks, so the
// committer may call it.
func (f *flushers) push(c *conn, work uint32) {
	if c.work.Or(work|workQueued)&workQueued != 0 {
		return
	}
	f.mu.Lock()
	if f.n == len(f.queue) {
		grown := make([]*conn, 2*f.n)
		copy(grown, f.queue[f.head:])
		copy(grown[f.n-f.head:], f.queue[:f.head])
		f.queue, f.head = grown, 0
	}
	f.queue[(f.head+f.n)%len(f.queue)] = c
	f.n++
	wake := f.idle > 0
	if wake {
		f.idle--
	}
	f.mu.Unlock()
	if wake {
		f.wake <- struct{}{} // has room: at most flusherCount are idle
	}
}

func (f *flushers) pop() *conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == 0 {
		f.idle++
		return nil
	}
	c := f.queue[f.head]
	f.queue[f.head] = nil
	f.head = (f.head + 1) % len(f.queue)
	f.n--
	return c
}

// run serves until ctx ends.
func (f *flushers) run(ctx context.Context) {
	for {
		c := f.pop()
		if c == nil {
			select {
			case <-f.wake:
			case <-ctx.Done():
				return
			}
			// Let the readers that are about to run add to the output first:
			// one write instead of many.
			runtime.Gosched()
			continue
		}
		work := c.work.Swap(0)
		if work&workAnswers != 0 {
			c.releaseAnswers()
		}
		if work&workPump != 0 {
			c.pump()
		}
		c.gathered()
		c.flush()
	}
}
