// Package tcp is the adapter for devices that are reached by TCP and do not
// speak MQTT: those that connect (listen.go), and those that are called
// (connect.go).
package tcp

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"packetboat/adapters"
	"packetboat/adapters/frame"
	"packetboat/config"
)

// Options of an Adapter.
type Options struct {
	Stream  adapters.Options
	Listen  string // host:port; this or Connect
	Connect string // host:port of a device
	TLS     config.TCPTLS

	// With Listen.
	FirstFrame     bool // {remote} is the first frame of a connection
	MaxConnections int  // more are closed at once, and counted; 0 is 256
}

// readBuffer is what one connection reads at once.
const readBuffer = 16 << 10

// Adapter serves the connections of devices as links of one Stream. {port} is
// the port that is listened on, or called. {remote} is one of:
//
//   - the peer's IP address, without its port, which changes with each
//     connection: "192.168.1.7", "fd00::7". Two connections from one address are
//     one remote: their frames have the same topic, a command to it goes to both;
//   - the peer's name (names.go). There is one connection for a name;
//   - with Connect its host, as it is configured.
type Adapter struct {
	*adapters.Stream
	opt   Options
	addr  atomic.Pointer[net.TCPAddr]
	files *files // nil: no TLS
	names names

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
	stream.Ack = []byte(cfg.Ack)
	stream.IdleTimeout = cfg.IdleTimeout
	return NewAdapter(Options{
		Stream: stream, Listen: cfg.Listen, Connect: cfg.Connect, TLS: cfg.TLS,
		FirstFrame: cfg.Identity == "first-frame", MaxConnections: cfg.MaxConnections,
	})
}

// Check says what is wrong with a [[tcp]] section that the configuration
// itself cannot see: nil or a *adapters.KeyError.
func Check(cfg config.TCP) error {
	_, err := New(cfg, adapters.Checking())
	return err
}

// CheckFiles reads the files of TLS: nil or a *adapters.KeyError.
func CheckFiles(cfg config.TCP) error {
	if !cfg.TLS.On() {
		return nil
	}
	_, err := newFiles(cfg.TLS, cfg.Connect).config()
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
	if opt.Stream.Framing == nil {
		opt.Stream.Framing = frame.Line{Trim: true}
	}
	if opt.Connect != "" {
		if _, _, err := net.SplitHostPort(opt.Connect); err != nil {
			return nil, &adapters.KeyError{Key: "connect", Err: errors.New("must be HOST:PORT")}
		}
	} else if _, _, err := net.SplitHostPort(opt.Listen); err != nil {
		return nil, &adapters.KeyError{Key: "listen", Err: errors.New("must be HOST:PORT or :PORT")}
	}
	s, err := adapters.NewStream(opt.Stream)
	if err != nil {
		return nil, err
	}
	a := &Adapter{Stream: s, opt: opt, listen: adapters.ListenTCP, tried: make(chan struct{})}
	a.try = sync.OnceFunc(func() { close(a.tried) })
	if opt.TLS.On() {
		a.files = newFiles(opt.TLS, opt.Connect)
	}
	return a, nil
}

// Addr is where the adapter listens; nil while it does not.
func (a *Adapter) Addr() net.Addr {
	if addr := a.addr.Load(); addr != nil {
		return addr
	}
	return nil
}

// Tried is closed when Run listens, or could not for the first time. What
// calls a device has nothing that others could wait for.
func (a *Adapter) Tried() <-chan struct{} { return a.tried }

// Stats are those of the connections. An adapter that listens is ready while
// it does, one that calls a device while it is connected.
func (a *Adapter) Stats() adapters.Stats {
	st := a.Stream.Stats()
	if a.opt.Connect == "" {
		st.Ready = a.addr.Load() != nil
	}
	return st
}

// Kind is of adapters.Adapter.
func (a *Adapter) Kind() string {
	if a.opt.Connect != "" {
		return "tcp-connect"
	}
	return "tcp-listen"
}

// Run listens and serves who connects, or calls the device, until ctx ends.
func (a *Adapter) Run(ctx context.Context) error {
	return a.Stream.Run(ctx, func(ctx context.Context) error {
		defer a.try()
		if a.opt.Connect != "" {
			a.try()
			return a.Reopen(ctx, a.call)
		}
		return a.listenAndServe(ctx)
	})
}
