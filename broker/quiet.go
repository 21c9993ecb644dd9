package broker

import (
	"sync"
	"time"
)

// quiet lets a burst of log lines through and counts the rest: a device that
// connects and fails a thousand times a minute must not fill the journal.
type quiet struct {
	mu     sync.Mutex
	began  time.Time
	said   int
	missed int
}

const (
	quietLines  = 20
	quietPeriod = 10 * time.Second
)

// allow reports whether a line may be logged, and how many were not since the
// last one that was.
func (q *quiet) allow() (ok bool, missed int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := time.Now(); now.Sub(q.began) >= quietPeriod {
		q.began, q.said = now, 0
	}
	if q.said == quietLines {
		q.missed++
		return false, 0
	}
	q.said++
	missed, q.missed = q.missed, 0
	return true, missed
}
