package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"packetboat/broker/packet"
)

// Serve accepts connections on ln until ctx ends, and returns when all of them
// have ended; their clients are told that the server shuts down. It closes ln.
// Several listeners may be served at once; Run has to run meanwhile.
func (b *Broker) Serve(ctx context.Context, ln net.Listener) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		conns = make(map[*conn]struct{})
	)
	stop := context.AfterFunc(ctx, func() {
		_ = ln.Close()
		mu.Lock()
		defer mu.Unlock()
		for c := range conns {
			c.shutdown(packet.ServerShuttingDown)
		}
	})
	defer stop()
	defer wg.Wait()
	name := ln.Addr().String()
	var backoff time.Duration
	var told time.Time
	for {
		nc, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = nc.Close()
			}
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept on %s: %w", name, err)
			}
			// Out of file descriptors, most likely: that passes.
			backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
			if now := time.Now(); now.Sub(told) >= time.Minute {
				told = now
				b.log.Warn("connections cannot be accepted; will keep trying", "listener", name, "error", err, "remedy", acceptRemedy(err))
			}
			select {
			case <-time.After(backoff):
			case <-ctx.Done():
			}
			continue
		}
		backoff = 0
		c := b.newConn(nc)
		mu.Lock()
		conns[c] = struct{}{}
		mu.Unlock()
		if ctx.Err() != nil { // AfterFunc may have run before c was there
			c.shutdown(packet.ServerShuttingDown)
		}
		wg.Go(func() {
			c.serve(ln.Addr())
			mu.Lock()
			delete(conns, c)
			mu.Unlock()
		})
	}
}

// acceptRemedy is what an operator can do when connections cannot be accepted.
func acceptRemedy(err error) string {
	if errors.Is(err, syscall.EMFILE) {
		return "too many files are open: set LimitNOFILE= higher in the systemd unit, or lower max_connections"
	}
	return "the system is out of files or memory, see the error"
}
