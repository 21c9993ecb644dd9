package users

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// guard counts failed logins of each source address, and refuses those of an
// address that has too many in a minute, for a minute. An address of IPv6 is its
// /64: who has one of these has them all.
type guard struct {
	most atomic.Int64 // 0: no limit
	size int          // addresses at most; beyond it some other is forgotten

	mu    sync.Mutex // guards the rest
	swept time.Time
	from  map[netip.Addr]*failures
}

// failures are those of an address.
type failures struct {
	n     int       // in the minute from since, or while it is refused
	since time.Time // of the first; of the refusal, when there is one
	until time.Time // refused until then; zero = is not
}

const period = time.Minute

func source(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// refused reports whether the address has to wait, and whether a password that
// is known to be right may be shown from there all the same.
//
// It may, so that one device with a wrong password does not lock out those behind
// the same address. But then each wrong guess at a known user tells something, at
// no cost: of those there may be as many as of failures, see guessed.
func (g *guard) refused(a netip.Addr, now time.Time) (refused, unlessKnown bool) {
	if g.most.Load() == 0 || !a.IsValid() {
		return false, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.from[source(a)]
	if f == nil || !now.Before(f.until) {
		return false, true
	}
	return true, f.n < int(g.most.Load())
}

// guessed counts a wrong guess at a known user from an address that is refused.
func (g *guard) guessed(a netip.Addr, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.from[source(a)]; f != nil && now.Before(f.until) {
		f.n++
	}
}

// failed counts a failed login. It reports whether the address is refused from
// now on.
func (g *guard) failed(a netip.Addr, now time.Time) (refused bool) {
	if g.most.Load() == 0 || !a.IsValid() {
		return false
	}
	a = source(a)
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.swept) >= period {
		g.swept = now
		for addr, f := range g.from {
			if f.over(now) {
				delete(g.from, addr)
			}
		}
	}
	f := g.from[a]
	switch {
	case f == nil:
		g.makeRoom()
		f = &failures{since: now}
		g.from[a] = f
	case now.Before(f.until): // began before the refusal did
		return false
	case f.over(now):
		*f = failures{since: now}
	}
	f.n++
	if f.n < int(g.most.Load()) {
		return false
	}
	*f = failures{since: now, until: now.Add(period)}
	return true
}

// over reports whether nothing of f counts any more.
func (f *failures) over(now time.Time) bool { return now.Sub(f.since) >= period }

// makeRoom forgets an address, whichever comes first in a map, when there are as
// many as may be.
func (g *guard) makeRoom() {
	if len(g.from) < g.size {
		return
	}
	for addr := range g.from {
		delete(g.from, addr)
		return
	}
}
