package adapters

import (
	"sync"
	"time"
)

// rate lets so many messages of an adapter through in a second. The second
// begins with the first of them: a device that sends ten readings at once, once
// a second, gets all ten through a rate of 10.
type rate struct {
	most int // 0: no limit

	mu    sync.Mutex
	since time.Time
	n     int
}

// take reports whether one more may pass now.
func (r *rate) take(now time.Time) bool {
	if r.most == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.since) >= time.Second {
		r.since, r.n = now, 0
	}
	if r.n == r.most {
		return false
	}
	r.n++
	return true
}
