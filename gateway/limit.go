package gateway

import (
	"log/slog"
	"net"
	"sync/atomic"
	"time"
)

// limitConnections bounds the connections of ln that are open at a time: one
// too many is closed at once. They stay what they were (TCP, unix), because
// the broker reads and writes those in ways of its own.
func limitConnections(ln net.Listener, most int, log *slog.Logger) net.Listener {
	return &limitedListener{Listener: ln, most: int64(most), log: log}
}

type limitedListener struct {
	net.Listener
	most int64
	log  *slog.Logger
	open atomic.Int64

	// Of the one goroutine that accepts.
	refused int
	told    time.Time
}

// Accept returns the next connection that there is room for.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			return l.counted(c), nil
		}
		l.open.Add(-1)
		_ = c.Close()
		l.refused++
		if now := time.Now(); now.Sub(l.told) > time.Minute {
			l.log.Warn("connections refused: max_connections are open", "listener", l.Addr().String(),
				"max_connections", l.most, "refused", l.refused, "last", c.RemoteAddr().String())
			l.refused, l.told = 0, now
		}
	}
}

func (l *limitedListener) counted(c net.Conn) net.Conn {
	switch c := c.(type) {
	case *net.TCPConn:
		return &tcpConn{TCPConn: c, count: count{open: &l.open}}
	case *net.UnixConn:
		return &unixConn{UnixConn: c, count: count{open: &l.open}}
	}
	return &plainConn{Conn: c, count: count{open: &l.open}}
}

// count takes one off open, once.
type count struct {
	open *atomic.Int64
	done atomic.Bool
}

func (c *count) less() {
	if c.done.CompareAndSwap(false, true) {
		c.open.Add(-1)
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
