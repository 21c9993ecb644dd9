package gateway

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// limitedListener bounds the connections that are open at a time, and those that
// come from one address in a second: one too many is closed at once. They stay
// what they were (TCP, unix), because the broker reads and writes those in ways
// of its own.
type limitedListener struct {
	net.Listener
	most  int64
	open  *atomic.Int64 // of all sockets of a [[listener]]
	files *fileRoom     // nil: most is what the operator wants
	pace  *connectPace  // nil: no limit
	log   *slog.Logger

	// Of the one goroutine that accepts.
	tooMany, tooFast refusals
}

// refusals count the connections that were closed at once, and tell of them
// once a minute at most.
type refusals struct {
	n    int
	told time.Time
}

func (r *refusals) add(c net.Conn, tell func(n int, last string)) {
	_ = c.Close()
	r.n++
	if now := time.Now(); now.Sub(r.told) > time.Minute {
		tell(r.n, c.RemoteAddr().String())
		r.n, r.told = 0, now
	}
}

// Accept returns the next connection that there is room for.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !l.pace.allow(c.RemoteAddr(), time.Now()) {
			l.tooFast.add(c, func(n int, last string) {
				l.log.Warn("connections refused: more than connects_per_second from one address", "listener", l.Addr().String(),
					"connects_per_second", l.pace.perSecond.Load(), "refused", n, "last", last)
			})
			continue
		}
		if !l.files.take() {
			l.tooMany.add(c, func(n int, last string) {
				l.log.Warn("connections refused: as many are open as files may be", "listener", l.Addr().String(),
					"connections", l.files.most.Load(), "refused", n, "last", last, "remedy", "set LimitNOFILE= higher in the systemd unit (ulimit -Hn elsewhere)")
			})
			continue
		}
		if l.open.Add(1) <= l.most {
			return l.counted(c), nil
		}
		l.open.Add(-1)
		l.files.giveBack()
		l.tooMany.add(c, func(n int, last string) {
			l.log.Warn("connections refused: max_connections are open", "listener", l.Addr().String(),
				"max_connections", l.most, "refused", n, "last", last)
		})
	}
}

func (l *limitedListener) counted(c net.Conn) net.Conn {
	switch c := c.(type) {
	case *net.TCPConn:
		return &tcpConn{TCPConn: c, count: count{open: l.open, files: l.files}}
	case *net.UnixConn:
		return &unixConn{UnixConn: c, count: count{open: l.open, files: l.files}}
	}
	return &plainConn{Conn: c, count: count{open: l.open, files: l.files}}
}

// count takes one off open and files, once.
type count struct {
	open  *atomic.Int64
	files *fileRoom
	done  atomic.Bool
}

func (c *count) less() {
	if c.done.CompareAndSwap(false, true) {
		c.open.Add(-1)
		c.files.giveBack()
	}
}

type tcpConn struct {
	*net.TCPConn
	count
}

// Close closes the connection and gives its place back.
func (c *tcpConn) Close() error { c.less(); return c.TCPConn.Close() }

type unixConn struct {
	*net.UnixConn
	count
}

// Close closes the connection and gives its place back.
func (c *unixConn) Close() error { c.less(); return c.UnixConn.Close() }

type plainConn struct {
	net.Conn
	count
}

// Close closes the connection and gives its place back.
func (c *plainConn) Close() error { c.less(); return c.Conn.Close() }

// connectPace bounds the connections of each source address in a second, on all
// listeners together.
//
// It remembers an address for as long as what it did counts, a second: memory
// is bounded by how many connections can be accepted in two seconds.
type connectPace struct {
	perSecond atomic.Int64 // 0: no limit
	mu        sync.Mutex
	swept     time.Time
	full      map[netip.Addr]time.Time // when the address has used up nothing any more
}

// newConnectPace gives the limit; 0: none.
func newConnectPace(perSecond int) *connectPace {
	p := &connectPace{full: make(map[netip.Addr]time.Time)}
	p.set(perSecond)
	return p
}

// set changes the limit.
func (p *connectPace) set(perSecond int) { p.perSecond.Store(int64(perSecond)) }

// allow reports whether the address may have one more connection at that time.
// A second's worth may come at once.
func (p *connectPace) allow(a net.Addr, now time.Time) bool {
	if p == nil {
		return true
	}
	tcp, ok := a.(*net.TCPAddr)
	perSecond := p.perSecond.Load()
	if !ok || perSecond == 0 {
		return true
	}
	from := tcp.AddrPort().Addr().Unmap().WithZone("")
	each := time.Second / time.Duration(perSecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.swept) >= time.Second {
		for addr, full := range p.full {
			if !full.After(now) {
				delete(p.full, addr)
			}
		}
		p.swept = now
	}
	full := p.full[from]
	if full.Before(now) {
		full = now
	}
	full = full.Add(each)
	if full.Sub(now) > time.Second {
		return false
	}
	p.full[from] = full
	return true
}
