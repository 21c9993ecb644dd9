package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"packetboat/adapters"
	"packetboat/config"
	"packetboat/gateway/admin"
)

// Bounds of the connections to the HTTP server, in all and from one address. A
// browser has six at most.
const (
	maxWeb     = 100
	maxWebEach = 25
)

// web is the HTTP server for operators, open or to be opened: as a listener, it
// never keeps the rest from running.
type web struct {
	g      *Gateway
	cfg    *config.Admin
	server *admin.Web
	open   atomic.Int64 // connections

	// Of openWeb first, then of serve.
	ln    net.Listener // nil: to be opened
	certs *certs       // nil: no TLS, or not read yet
	told  string       // why it does not open, since it last did

	isOpen atomic.Bool
	shown  shown
}

// openWeb opens admin.address and lets it be served in s, with the API of the
// socket.
func (g *Gateway) openWeb(s *stage, api *admin.Server) {
	if g.cfg.Admin.Address == "" {
		return
	}
	w := &web{g: g, cfg: &g.cfg.Admin}
	w.server = admin.NewWeb(admin.WebOptions{
		API: api,
		Sources: admin.Sources{
			ID: g.cfg.Gateway.ID, Version: g.opt.Version, Broker: g.broker, Store: g.store, Users: g.logins.users, Wear: g.wear.report,
			Bridges: g.bridges.all, Adapters: g.devices.all,
		},
		Alive: g.beat.feel, Ready: g.ready,
		Address: w.cfg.Address, Serves: w.serves,
		Users: g.logins.users, Names: w.cfg.Users,
		Log: g.log,
	})
	if err := w.listen(s.ctx); err != nil {
		w.complain(err)
	}
	g.web.Store(w)
	s.run("admin address", w.serve)
}

// serve serves and, when that ends before ctx does, opens the address again.
func (w *web) serve(ctx context.Context) error {
	for {
		if w.ln != nil {
			err := w.server.Serve(ctx, w.layered(w.ln))
			w.ln = nil
			w.isOpen.Store(false)
			if err != nil && ctx.Err() == nil {
				w.complain(err)
			}
		}
		timer := time.NewTimer(reopenAfter)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if err := w.listen(ctx); err != nil && ctx.Err() == nil {
			w.complain(err)
		}
	}
}

// layered puts limits and TLS on ln. Connections that somebody has opened and
// forgotten end by the server's timeouts.
func (w *web) layered(ln net.Listener) net.Listener {
	ln = newSharedListener(&limitedListener{Listener: ln, most: maxWeb, open: &w.open, log: w.g.log}, maxWebEach)
	if w.certs == nil {
		return ln
	}
	return tls.NewListener(ln, &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return w.certs.config(), nil },
	})
}

// listen opens the address.
func (w *web) listen(ctx context.Context) error {
	if w.cfg.TLS.Cert != "" && w.certs == nil { // once: they follow their files
		var err error
		if w.certs, err = newCerts(adminTLS(&w.cfg.TLS), w.g.log); err != nil {
			return err
		}
		w.shown.certs.Store(w.certs)
	}
	ln, err := adapters.ListenTCP(ctx, w.cfg.Address)
	if err != nil {
		return err
	}
	w.ln, w.told = ln, ""
	w.isOpen.Store(true)
	w.shown.trouble.Store(nil)
	w.g.log.Info("serving operators by HTTP", "address", ln.Addr().String(), "tls", w.certs != nil, "users", len(w.cfg.Users))
	return nil
}

// adminTLS is what a listener would have.
func adminTLS(t *config.AdminTLS) *config.ListenerTLS {
	return &config.ListenerTLS{Cert: t.Cert, Key: t.Key, ClientCert: "optional"}
}

// serves reports whether host is a name of this machine: its own, or one that
// the certificate is for.
func (w *web) serves(host string) bool {
	if own, err := os.Hostname(); err == nil && strings.EqualFold(host, own) {
		return true
	}
	return w.certs != nil && w.certs.config().Certificates[0].Leaf.VerifyHostname(host) == nil
}

// complain is the one line about an address that does not open.
func (w *web) complain(err error) {
	text := err.Error()
	if w.told == text {
		return
	}
	w.told = text
	key, remedy := "admin.address", ""
	var ofTLS *tlsError
	if errors.As(err, &ofTLS) {
		key, remedy = "admin.tls."+ofTLS.key, ofTLS.remedy
	} else {
		remedy = adapters.ListenRemedy(w.cfg.Address, err) + `, or "" for none`
	}
	w.shown.trouble.Store(&admin.Problem{
		What: fmt.Sprintf("not serving operators by HTTP on %s (admin.address): %v", w.cfg.Address, err), Remedy: remedy + "; it is tried again by itself",
	})
	w.g.log.Error("operators cannot be served by HTTP; will keep trying", "address", w.cfg.Address, "error", err,
		"remedy", remedy, "config", w.g.cfg.At(key).String())
}

// ready says why devices cannot be served, for /readyz: a listener is shut, or
// the queue takes nothing. Clouds and devices that are away are no reason.
func (g *Gateway) ready() error {
	shut := len(g.listened.shut())
	switch {
	case g.store.Failed() != nil:
		return errors.New("the disk queue takes no writes")
	case shut > 0:
		return fmt.Errorf("%d of %d listeners are not open", shut, len(g.listened.doors()))
	}
	return nil
}
