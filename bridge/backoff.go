package bridge

import (
	"math/rand/v2"
	"time"

	"packetboat/config"
)

// pauses draws the pauses between attempts to connect, with decorrelated
// jitter: each is between the shortest and three times the one before, so that
// a thousand gateways that lost the same server do not come back in step. Not
// for concurrent use.
type pauses struct {
	config.Backoff
	last time.Duration
}

func (p *pauses) next() time.Duration {
	top := min(3*max(p.last, p.Min), p.Max)
	if top <= p.Min {
		p.last = p.Min
	} else {
		p.last = p.Min + rand.N(top-p.Min+1)
	}
	return p.last
}

// ended tells how long a connection was online; only a stable one resets the
// pauses, or a server that accepts and drops would be asked in a tight loop.
func (p *pauses) ended(online time.Duration) {
	if online > 0 && online >= p.Stable {
		p.last = 0
	}
}
