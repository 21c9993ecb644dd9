package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"packetboat/adapters"
)

// The way of a connection:
//
//	accept     one of MaxConnections, else closed at once
//	handshake  of TLS, where there is one, within handshakeTimeout
//	identify   by certificate or first frame (names.go), within nameTimeout
//	Serve      by the Stream, until it ends

// handshakeTimeout is for TLS, however slowly its bytes come.
const handshakeTimeout = 10 * time.Second

// errTooMany is why a connection is closed at once.
var errTooMany = errors.New("max_connections reached")

// listenAndServe listens, and accepts until ctx ends. An address that cannot be
// listened on is tried again and again: its interface may come up later, or its
// certificate.
func (a *Adapter) listenAndServe(ctx context.Context) error {
	told := ""
	for ctx.Err() == nil {
		remedy, err := a.listenOnce(ctx)
		if ctx.Err() != nil {
			break
		}
		a.Trouble().Set(fmt.Errorf("cannot listen on %s: %w (%s)", a.opt.Listen, err, remedy))
		if text := err.Error(); text != told {
			a.Log().Error("cannot listen; will keep trying", "address", a.opt.Listen, "error", err, "remedy", remedy)
			told = text
		}
		a.try()
		a.Pause(ctx)
	}
	return nil
}

// listenOnce serves until that fails, and says what to do about it, or ctx ends.
func (a *Adapter) listenOnce(ctx context.Context) (remedy string, err error) {
	if a.files != nil {
		if _, err := a.current(); err != nil {
			return "packetboat check reads the files, too", err
		}
	}
	ln, err := a.listen(ctx, a.opt.Listen)
	if err == nil {
		err = a.accept(ctx, ln)
	}
	return adapters.ListenRemedy(a.opt.Listen, err), err
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
	a.Trouble().Set(nil)
	port := ""
	if addr != nil {
		port = strconv.Itoa(addr.Port)
	}
	a.Log().Info("listening", "address", ln.Addr(), "tls", a.files != nil)
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
		select {
		case free <- struct{}{}:
		default:
			a.RefuseLink(remoteName(conn.RemoteAddr()), fmt.Errorf("%w: %d", errTooMany, a.opt.MaxConnections))
			_ = conn.Close()
			continue
		}
		conns.Go(func() {
			defer func() { <-free }()
			a.Log().Debug("connected", "remote", conn.RemoteAddr())
			err := a.serve(ctx, conn, port)
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

// serve serves a connection that was accepted, and closes it.
func (a *Adapter) serve(ctx context.Context, conn net.Conn, port string) error {
	link, remote, err := a.identify(ctx, conn)
	if err != nil {
		_ = conn.Close() // nothing was written
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.RefuseLink(remoteName(conn.RemoteAddr()), err)
		return err
	}
	at := adapters.Place{Remote: remote, Port: port}
	if !a.named() {
		return a.Serve(ctx, link, at)
	}
	ctx, leave := a.names.join(ctx, remote, conn.RemoteAddr(), a.ReplaceLink)
	defer leave()
	return a.Serve(ctx, link, at)
}

// named reports whether peers have names, not addresses.
func (a *Adapter) named() bool { return a.opt.FirstFrame || a.opt.TLS.ClientCert == "username" }

// identify has the peer show who it is: the link to serve, and its {remote}.
func (a *Adapter) identify(ctx context.Context, conn net.Conn) (link adapters.Link, remote string, err error) {
	link, remote = conn, remoteName(conn.RemoteAddr())
	if a.files != nil {
		secure, err := a.handshake(ctx, conn)
		if err != nil {
			return nil, "", err
		}
		link = secure
		if a.opt.TLS.ClientCert == "username" {
			remote, err = checkName(secure.ConnectionState().PeerCertificates[0].Subject.CommonName)
			if err != nil {
				return nil, "", fmt.Errorf("the CN of the client certificate %w", err)
			}
		}
	}
	if a.opt.FirstFrame {
		return a.readName(ctx, link)
	}
	return link, remote, nil
}

// handshake is the TLS handshake with a peer.
func (a *Adapter) handshake(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
	secure, err := a.current()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	c := tls.Server(conn, secure)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", explain(err))
	}
	return c, nil
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
