package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"packetboat/adapters"
	"packetboat/broker/transport"
	"packetboat/config"
	"packetboat/gateway/admin"
)

// reopenAfter is how long after a failure a listener is opened again: its
// address may come up later, its port become free.
const reopenAfter = 5 * time.Second

// A door is a listener, open or to be opened.
type door struct {
	g    *Gateway
	conf *config.Config // that has cfg
	cfg  *config.Listener
	key  string        // listener[0]
	file *os.File      // the socket that systemd holds; nil: none
	most *atomic.Int64 // connections open on all sockets of the [[listener]]

	// Of listen first, then of serve.
	ln    net.Listener // nil: to be opened
	certs *certs       // nil: no TLS, or not read yet
	told  string       // why it does not open, since it last did
	part  *part

	isOpen atomic.Bool
	shown  shown
}

// shown is what operators are told about a listener, whoever asks.
type shown struct {
	trouble atomic.Pointer[admin.Problem] // why it does not open; nil: it is, or was not tried
	certs   atomic.Pointer[certs]         // nil: no TLS, or not read yet
}

// doorsWithin bounds what ready waits for: an adapter's address may be a name
// that nobody resolves.
const doorsWithin = time.Second

// awaitDoors waits until the adapters that listen do, or could not: whoever is
// told that the gateway is ready can connect.
func (g *Gateway) awaitDoors(ctx context.Context) {
	timer := time.NewTimer(doorsWithin)
	defer timer.Stop()
	for _, a := range g.devices.all() {
		t, ok := a.(interface{ Tried() <-chan struct{} })
		if !ok {
			continue
		}
		select {
		case <-t.Tried():
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// serve serves the listener and opens it again when it ends before ctx does.
func (d *door) serve(ctx context.Context) error {
	for {
		if d.ln != nil {
			err := d.g.broker.Serve(ctx, d.layered(d.ln))
			d.ln = nil
			d.isOpen.Store(false)
			if err != nil && ctx.Err() == nil {
				d.complain(err)
			}
		}
		timer := time.NewTimer(reopenAfter)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if err := d.open(ctx); err != nil && ctx.Err() == nil {
			d.complain(err)
		}
	}
}

// layered puts limits, TLS and WebSocket on ln.
func (d *door) layered(ln net.Listener) net.Listener {
	limited := &limitedListener{Listener: ln, most: int64(d.cfg.MaxConnections), open: d.most, pace: d.g.connects, log: d.g.log}
	if !d.cfg.Limited {
		limited.files = &d.g.files
	}
	ln = limited
	opt := transport.Options{WebSocket: d.cfg.Transport == "websocket"}
	if d.certs != nil {
		opt.TLS, opt.CertUser = d.certs.config, d.cfg.TLS.ClientCert == "username"
	}
	if opt.TLS == nil && !opt.WebSocket {
		return ln
	}
	return transport.Listen(ln, opt)
}

// open opens the listener.
func (d *door) open(ctx context.Context) error {
	if d.cfg.TLS != nil {
		var err error
		if d.certs, err = newCerts(d.cfg.TLS, d.g.log); err != nil {
			return err
		}
		d.shown.certs.Store(d.certs)
	}
	ln, err := d.socket(ctx)
	if err != nil {
		return err
	}
	d.ln, d.told = ln, ""
	d.g.logins.let(ln.Addr(), d.cfg.Anonymous)
	d.isOpen.Store(true)
	d.shown.trouble.Store(nil)
	d.g.log.Info("listening", "address", ln.Addr().String(), "transport", d.cfg.Transport, "tls", d.certs != nil, "anonymous", d.cfg.Anonymous)
	return nil
}

// socket opens the socket, or takes the one that was passed. A unix socket that
// a killed gateway has left behind is removed: nobody accepts on it.
func (d *door) socket(ctx context.Context) (net.Listener, error) {
	network, address := d.cfg.Network()
	if d.file != nil {
		return socketListener(d.file)
	}
	if network == "systemd" {
		return nil, d.g.sockets.missing(address)
	}
	if network == "tcp" {
		return adapters.ListenTCP(ctx, address)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, network, address)
	if err != nil && errors.Is(err, syscall.EADDRINUSE) && deserted(address) {
		if err := os.Remove(address); err != nil {
			return nil, fmt.Errorf("remove the socket of a gateway that is gone: %w", err)
		}
		ln, err = lc.Listen(ctx, network, address)
	}
	if err != nil {
		return nil, err
	}
	// Owner and group, whatever the umask: who may open it may publish.
	if err := os.Chmod(address, 0o660); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// deserted reports whether the path is a socket on which nobody accepts. A file
// of another kind refuses connections too, and is not ours to remove.
func deserted(socket string) bool {
	if st, err := os.Lstat(socket); err != nil || st.Mode().Type() != os.ModeSocket {
		return false
	}
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// absent reports whether a machine does not have an address at all.
func absent(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EINVAL)
}

// complain is the one line about a listener that does not open.
func (d *door) complain(err error) {
	text := err.Error()
	if d.told == text {
		return
	}
	d.told = text
	key, remedy := ".address", ""
	var ofTLS *tlsError
	var ofSocket *socketError
	switch {
	case errors.As(err, &ofTLS):
		key, remedy = ".tls."+ofTLS.key, ofTLS.remedy
	case errors.As(err, &ofSocket):
		remedy = ofSocket.remedy
	default:
		remedy = adapters.ListenRemedy(d.cfg.Address, err)
	}
	d.shown.trouble.Store(&admin.Problem{What: fmt.Sprintf("not listening on %s: %v", d.cfg.Address, err), Remedy: remedy + "; it is tried again by itself", Of: "listener/" + d.cfg.Address})
	d.g.log.Error("cannot listen; will keep trying", "address", d.cfg.Address, "error", err,
		"remedy", remedy, "config", d.conf.At(d.key+key).String())
}
