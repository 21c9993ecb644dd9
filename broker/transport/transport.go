// Package transport puts TLS and WebSocket between a stream socket and whoever
// speaks MQTT on it, at no more memory for an idle connection than their state
// takes: no buffer is held, no goroutine is started.
//
//	socket ─► wire ─► tls.Conn ─► frames ─► reader
//	socket ◄─ wire ◄─ tls.Conn ◄─ frames ◄─ writer
//
// That is possible because neither layer owns the waiting. The reader waits
// for the socket without a buffer, borrows one when there is something, and has
// the layers work in it ([Conn.ReadReady]): they take what the kernel has and
// say so when that is all. The writer hands over what there is
// ([Conn.TryWrite]); what the kernel does not take stays in the wire, at most
// one record.
package transport

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// Options say what is between the socket and MQTT. They are not changed after
// Listen.
type Options struct {
	// TLS gives the configuration for a handshake; nil: no TLS. It is called for
	// each connection, by several goroutines at once.
	TLS func() *tls.Config
	// WebSocket: the stream is carried in binary frames.
	WebSocket bool
	// CertUser: the common name of the verified client certificate is the user.
	CertUser bool
}

// Listen wraps the connections that ln accepts. Accept does not wait for a
// peer: what there is to negotiate, [Conn.Handshake] does.
func Listen(ln net.Listener, opt Options) net.Listener {
	return &listener{ln, opt}
}

type listener struct {
	net.Listener
	opt Options
}

// Accept returns the next connection, a *Conn.
func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &Conn{opt: &l.opt}
	c.wire.init(nc)
	c.below = &c.wire
	return c, nil
}

// Conn is a server's connection. One goroutine may read, one may write and any
// may set deadlines at a time; the handshake comes first, Close last.
//
// Its reader and writer use either the methods of net.Conn, or, when SyscallConn
// has a socket to give, ReadReady and TryWrite.
type Conn struct {
	wire
	opt    *Options
	below  io.ReadWriter // what the reader's bytes come from: tls or the wire
	tls    *tls.Conn     // nil: none
	framed bool          // upgraded to WebSocket
	frames frames

	framing sync.Mutex // one frame at a time
	parted  bool       // a close frame has been sent: it was the last
}

// Handshake negotiates TLS and upgrades to WebSocket. It blocks, until the
// deadlines of the connection at the longest.
func (c *Conn) Handshake() error {
	c.wire.blocking = true
	defer func() { c.wire.blocking = false }()
	if c.opt.TLS != nil {
		c.tls = tls.Server(&c.wire, c.opt.TLS())
		if err := c.tls.Handshake(); err != nil {
			return fmt.Errorf("TLS handshake: %w", explained(err, time.Now()))
		}
		c.below = c.tls
	}
	if c.opt.WebSocket {
		if err := upgrade(c.below); err != nil {
			return fmt.Errorf("WebSocket handshake: %w", err)
		}
		c.framed = true
	}
	return nil
}

// Transport names the layers: tls, websocket or websocket+tls.
func (c *Conn) Transport() string {
	switch {
	case !c.opt.WebSocket:
		return "tls"
	case c.opt.TLS == nil:
		return "websocket"
	}
	return "websocket+tls"
}

// CertUser gives the user that the client's certificate names, when it is
// certificates that name users here. ok and no name: the certificate has none.
func (c *Conn) CertUser() (name string, ok bool) {
	if !c.opt.CertUser || c.tls == nil {
		return "", false
	}
	if certs := c.tls.ConnectionState().PeerCertificates; len(certs) > 0 {
		name = certs[0].Subject.CommonName
	}
	return name, true
}

// SyscallConn gives the socket to wait on. It is an error when the connection
// has none.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if c.raw == nil {
		return nil, syscall.ENOTSOCK
	}
	return c.raw, nil
}

// ReadReady reads what has come. It is to be called within Read of the socket,
// whose descriptor fd is, and does not block: EAGAIN is to be answered by
// waiting. It may return 0 and no error, when what came was not for the caller;
// then it is to be called again.
func (c *Conn) ReadReady(fd uintptr, b []byte) (int, error) {
	_ = c.push() // what the reader itself has left; an error comes back
	c.fd, c.inside = int(fd), true
	n, err := c.read(b)
	c.inside = false
	if err == errNotReady {
		err = syscall.EAGAIN
	}
	return n, err
}

// Read blocks until something has come.
func (c *Conn) Read(b []byte) (int, error) {
	for {
		if n, err := c.read(b); n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
	}
}

// read gives what was right before an error first: TLS may have the last data
// and the end together, the frames data and a mistake after it. All these
// errors last.
func (c *Conn) read(b []byte) (int, error) {
	if c.frames.err != nil {
		return 0, c.frames.err
	}
	n, err := c.below.Read(b)
	if n > 0 {
		err = nil
		if c.framed {
			n = c.decode(b[:n])
		}
	}
	return n, err
}

// TryWrite writes without blocking and returns how much of b it has taken.
// EAGAIN: something, of b or of what was taken before, has to wait for the
// socket; Write sees to that.
func (c *Conn) TryWrite(b []byte) (int, error) { return c.write(b, c.push) }

// Write writes all of b and what earlier calls have left.
func (c *Conn) Write(b []byte) (int, error) { return c.write(b, c.drain) }

func (c *Conn) write(b []byte, flush func() error) (n int, err error) {
	for {
		if err := flush(); err != nil || n == len(b) {
			return n, err
		}
		k := min(len(b)-n, maxChunk)
		if c.framed {
			err = c.writeFrame(binaryFrame, b[n:n+k])
		} else {
			_, err = c.below.Write(b[n : n+k])
		}
		if err != nil {
			return n, err
		}
		n += k
	}
}

// Close says goodbye in the layers, as far as the socket takes it, and closes
// the connection.
func (c *Conn) Close() error {
	if c.framed {
		c.part(closeNormal)
	}
	if c.tls != nil {
		return c.tls.Close()
	}
	return c.wire.Close()
}
