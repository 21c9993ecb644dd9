package adapters

import (
	"sync"
	"time"
)

// limiter lets the first few log lines of a kind through and then one in a
// while, with the number of those between. The zero value is ready.
type limiter struct {
	mu         sync.Mutex
	spent      int
	since      time.Time
	suppressed int
}

const (
	limitBurst = 3
	limitEvery = time.Minute
)

// allow reports whether to log now, and how many were not logged before.
func (l *limiter) allow() (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.spent > 0 {
		back := int(now.Sub(l.since) / limitEvery)
		l.spent = max(0, l.spent-back)
		l.since = l.since.Add(time.Duration(back) * limitEvery)
	}
	if l.spent == limitBurst {
		l.suppressed++
		return 0, false
	}
	if l.spent == 0 {
		l.since = now
	}
	l.spent++
	suppressed, l.suppressed = l.suppressed, 0
	return suppressed, true
}

// Limiter lets the first few log lines of a kind through and then one a minute.
// The zero Limiter is ready; any goroutine may use it.
type Limiter struct{ l limiter }

// Allow reports whether to log now, and how many lines were not logged before.
func (l *Limiter) Allow() (suppressed int, ok bool) { return l.l.allow() }
