package gateway

import (
	"net"
	"net/netip"
	"sync"
)

// sharedListener bounds the connections from one address, so that none takes all
// that there are: one too many is closed at once.
type sharedListener struct {
	net.Listener
	each int

	mu   sync.Mutex
	open map[netip.Addr]int
}

func newSharedListener(ln net.Listener, each int) *sharedListener {
	return &sharedListener{Listener: ln, each: each, open: make(map[netip.Addr]int)}
}

// Accept returns the next connection whose address may have one more.
func (l *sharedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addressOf(c.RemoteAddr().String()).Unmap()
		l.mu.Lock()
		full := l.open[from] == l.each
		if !full {
			l.open[from]++
		}
		l.mu.Unlock()
		if !full {
			return &sharedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(from) })}, nil
		}
		_ = c.Close()
	}
}

func (l *sharedListener) leave(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[from]--; l.open[from] == 0 {
		delete(l.open, from)
	}
}

// sharedConn gives its place back when it is closed.
type sharedConn struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (c *sharedConn) Close() error { c.leave(); return c.Conn.Close() }
