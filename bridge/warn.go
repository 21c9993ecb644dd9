package bridge

import (
	"log/slog"
	"sync"
	"time"
)

// repeated logs something that may happen a thousand times a second: at once
// the first time, then at most every warnEvery, with how often it happened
// meanwhile. The zero value is ready; any goroutine.
type repeated struct {
	mu   sync.Mutex
	last time.Time
	n    int
}

const warnEvery = 10 * time.Second

func (r *repeated) warn(log *slog.Logger, times int, msg string, args ...any) {
	r.mu.Lock()
	r.n += times
	n, now := r.n, time.Now()
	if !r.last.IsZero() && now.Sub(r.last) < warnEvery {
		r.mu.Unlock()
		return
	}
	r.last, r.n = now, 0
	r.mu.Unlock()
	log.Warn(msg, append([]any{"count", n}, args...)...)
}
