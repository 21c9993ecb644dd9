package demo

import (
	"context"
	"io"
	"net"
	"sync"
)

// link is the way to the cloud: it passes connections on, until it is cut.
type link struct {
	ln net.Listener
	to string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

func newLink(to string) (*link, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &link{ln: ln, to: to, conns: map[net.Conn]struct{}{}}, nil
}

// addr is where the gateway finds the cloud.
func (l *link) addr() string { return l.ln.Addr().String() }

// Cut ends all connections and lets no new ones through, until Restore.
func (l *link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := range l.conns {
		if tc, ok := c.(*net.TCPConn); ok {
			_ = tc.SetLinger(0) // what is under way is lost, as on a real link
		}
		_ = c.Close()
	}
}

// Restore lets connections through again.
func (l *link) Restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

func (l *link) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

// run passes connections on until ctx ends.
func (l *link) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		_ = l.ln.Close()
		l.Cut()
	})
	defer stop()
	defer l.wg.Wait()
	for {
		c, err := l.ln.Accept()
		if err != nil {
			return
		}
		if !l.add(c) {
			_ = c.Close()
			continue
		}
		l.wg.Go(func() {
			defer l.remove(c)
			l.pass(ctx, c)
		})
	}
}

func (l *link) add(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *link) remove(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	_ = c.Close()
}

// pass copies between c and the cloud until one side ends.
func (l *link) pass(ctx context.Context, c net.Conn) {
	var d net.Dialer
	up, err := d.DialContext(ctx, "tcp", l.to)
	if err != nil {
		return
	}
	if !l.add(up) {
		_ = up.Close()
		return
	}
	defer l.remove(up)
	down := make(chan struct{})
	go func() {
		defer close(down)
		_, _ = io.Copy(c, up) // however it ends, the connection does
		_ = c.Close()
	}()
	_, _ = io.Copy(up, c)
	_ = up.Close()
	<-down
}
