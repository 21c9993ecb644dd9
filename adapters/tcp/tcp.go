// Package tcp is the adapter for devices that connect by TCP and do not speak
// MQTT.
package tcp

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/adapters"
	"packetboat/config"
)

// Options of an Adapter.
type Options struct {
	Stream         adapters.Options
	Listen         string // host:port
	MaxConnections int    // more are closed at once, and counted; 0 is 256
}

// readBuffer is what one connection reads at once.
const readBuffer = 16 << 10

// Adapter accepts connections and serves each as a link of one Stream.
//
// {remote} is the peer's IP address, without its port, which changes with each
// connection: "192.168.1.7", "fd00::7". Two connections from one address are
// one remote: their frames have the same topic, a command to it goes to both.
// {port} is the port listened on.
type Adapter struct {
	*adapters.Stream
	opt  Options
	addr atomic.Pointer[net.TCPAddr]

	tried chan struct{} // closed by try
	try   func()

	// listen opens the listener; tests give their own.
	listen func(ctx context.Context, address string) (net.Listener, error)
}

var _ adapters.Adapter = (*Adapter)(nil)

// New makes the adapter of a [[tcp]] section. Its error is a
// *adapters.KeyError.
func New(cfg config.TCP, host adapters.Host) (*Adapter, error) {
	stream, err := host.Stream(&cfg.Stream)
	if err != nil {
		return nil, err
	}
	if cfg.Connect != "" {
		return nil, &adapters.KeyError{Key: "connect", Err: errors.New("is not supported in this version")}
	}
	stream.Ack = []byte(cfg.Ack)
	stream.IdleTimeout = cfg.IdleTimeout
	return NewAdapter(Options{Stream: stream, Listen: cfg.Listen, MaxConnections: cfg.MaxConnections})
}

// Check says what is wrong with a [[tcp]] section that the configuration
// itself cannot see: nil or a *adapters.KeyError.
func Check(cfg config.TCP) error {
	_, err := New(cfg, adapters.Checking())
	return err
}

// NewAdapter makes an Adapter. Its error is a *adapters.KeyError.
func NewAdapter(opt Options) (*Adapter, error) {
	if opt.MaxConnections == 0 {
		opt.MaxConnections = 256
	}
	if opt.Stream.ReadBuffer == 0 {
		opt.Stream.ReadBuffer = readBuffer
	}
	if _, _, err := net.SplitHostPort(opt.Listen); err != nil {
		return nil, &adapters.KeyError{Key: "listen", Err: errors.New("must be HOST:PORT or :PORT")}
	}
	s, err := adapters.NewStream(opt.Stream)
	if err != nil {
		return nil, err
	}
	a := &Adapter{Stream: s, opt: opt, listen: adapters.ListenTCP, tried: make(chan struct{})}
	a.try = sync.OnceFunc(func() { close(a.tried) })
	return a, nil
}

// Addr is where the adapter listens; nil while it does not.
func (a *Adapter) Addr() net.Addr {
	if addr := a.addr.Load(); addr != nil {
		return addr
	}
	return nil
}

// Tried is closed when Run listens, or could not for the first time.
func (a *Adapter) Tried() <-chan struct{} { return a.tried }

// Stats are those of the connections; the adapter is ready while it listens.
func (a *Adapter) Stats() adapters.Stats {
	st := a.Stream.Stats()
	st.Ready = a.addr.Load() != nil
	return st
}

// Run listens, and accepts until ctx ends. An address that cannot be listened
// on is tried again and again: its interface may come up later.
func (a *Adapter) Run(ctx context.Context) error {
	return a.Stream.Run(ctx, func(ctx context.Context) error {
		defer a.try()
		told := ""
		for ctx.Err() == nil {
			ln, err := a.listen(ctx, a.opt.Listen)
			if err == nil {
				told = ""
				err = a.accept(ctx, ln)
			}
			if ctx.Err() != nil {
				break
			}
			if text := err.Error(); text != told {
				a.Log().Error("cannot listen; will keep trying", "address", a.opt.Listen, "error", err,
					"remedy", adapters.ListenRemedy(a.opt.Listen, err))
				told = text
			}
			a.try()
			a.Pause(ctx)
		}
		return nil
	})
}

// accept serves connections until ctx ends or the listener fails, and returns
// when the last has closed.
func (a *Adapter) accept(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	var conns sync.WaitGroup
	defer func() {
		a.addr.Store(nil)
		cancel()
		if stop() {
			_ = ln.Close()
		}
		conns.Wait()
	}()
	addr, _ := ln.Addr().(*net.TCPAddr)
	a.addr.Store(addr)
	port := ""
	if addr != nil {
		port = strconv.Itoa(addr.Port)
	}
	a.Log().Info("listening", "address", ln.Addr())
	a.try()

	free := make(chan struct{}, a.opt.MaxConnections)
	var delay time.Duration // since accepting fails
	for {
		conn, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // out of descriptors, or a peer that gave up already
			if delay == 0 {
				a.Log().Error("cannot accept; will keep trying", "error", err)
			}
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			a.wait(ctx, delay)
			continue
		}
		delay = 0
		remote := remoteName(conn.RemoteAddr())
		select {
		case free <- struct{}{}:
		default:
			a.RefuseLink(remote, a.opt.MaxConnections)
			_ = conn.Close()
			continue
		}
		conns.Go(func() {
			defer func() { <-free }()
			a.Log().Debug("connected", "remote", conn.RemoteAddr())
			err := a.Serve(ctx, conn, adapters.Place{Remote: remote, Port: port})
			a.Log().Debug("disconnected", "remote", conn.RemoteAddr(), "error", err)
		})
	}
}

func (a *Adapter) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// remoteName is the peer's {remote}: its address, an IPv4 one always in IPv4
// form, a link-local one with its zone.
func remoteName(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return addr.String()
	}
	return tcp.AddrPort().Addr().Unmap().String()
}
