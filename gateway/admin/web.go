package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"packetboat/broker/users"
)

// WebOptions are the parts of a Web.
type WebOptions struct {
	API     *Server // what it offers
	Sources Sources // what /metrics counts

	// Alive says why the gateway does not do its work, nil: it does. Ready says
	// why devices cannot be served, likewise. What they say is told to everybody.
	Alive func(ctx context.Context) error
	Ready func() error

	// Address is host:port as configured, for the Host of a request.
	Address string
	// Serves reports whether a name is one of this machine's in the network, beside
	// that of Address; nil: none is.
	Serves func(host string) bool

	// Users verifies who logs in; of them Names may. No names: whoever reaches the
	// server may look and act, which only an address on loopback may have.
	Users *users.Users
	Names []string

	Log *slog.Logger
	Now func() time.Time // nil: time.Now
}

// Web serves operators by HTTP over the network. A request goes
//
//	hardened     headers for browsers, bounds on the body and on the time to write
//	hostKnown    nobody else's name in Host: DNS rebinding
//	sameOrigin   changes come from our own page, or from no page
//	loggedIn     the user is known, where users are needed
//
// to the same API as on the socket, or to the page, the metrics, the health.
type Web struct {
	opt      WebOptions
	log      *slog.Logger
	now      func() time.Time
	origins  *http.CrossOriginProtection
	sessions sessions
	routes   http.Handler
}

// NewWeb makes a server.
func NewWeb(opt WebOptions) *Web {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	w := &Web{opt: opt, log: opt.Log, now: opt.Now, origins: http.NewCrossOriginProtection()}
	w.routes = w.hardened(w.hostKnown(w.sameOrigin(w.loggedIn(w.mux()))))
	return w
}

// Bounds of the server. Each connection is a goroutine and some 10 KiB.
const (
	headTime  = 5 * time.Second  // TLS handshake included
	readTime  = 15 * time.Second // a whole request
	writeTime = 30 * time.Second // from one write of an answer to the next
	idleTime  = time.Minute
	maxHead   = 16 << 10
)

// Serve answers on ln, with TLS where ln speaks it, until ctx ends and every
// request has ended; it closes ln.
func (w *Web) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           w.routes,
		ReadHeaderTimeout: headTime,
		ReadTimeout:       readTime,
		WriteTimeout:      writeTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHead,
	}
	if err := serve(ctx, srv, ln, w.log); err != nil {
		return fmt.Errorf("admin address: %w", err)
	}
	return nil
}

// serve runs a server until ctx ends; it closes ln.
func serve(ctx context.Context, srv *http.Server, ln net.Listener, log *slog.Logger) error {
	srv.BaseContext = func(net.Listener) context.Context { return ctx }
	srv.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if srv.Shutdown(within) != nil {
			_ = srv.Close()
		}
	})
	err := srv.Serve(ln)
	if !stop() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	_ = srv.Close() // the connections that there are
	return err
}

func (w *Web) mux() *routes {
	mux := newRoutes()
	mux.Handle("/v1/", w.opt.API.handler())
	mux.Handle("GET /metrics", newMetrics(w.opt.Sources, w.log))
	mux.HandleFunc("GET /healthz", w.healthz)
	mux.HandleFunc("GET /readyz", w.readyz)
	mux.HandleFunc("GET /login", w.loginPage)
	mux.HandleFunc("POST /login", w.login)
	mux.HandleFunc("POST /logout", w.logout)
	mux.HandleFunc("GET /{$}", w.index)
	mux.HandleFunc("GET /page/", w.file)
	mux.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) {
		refuse(rw, http.StatusNotFound, fmt.Errorf("there is no %s %s", r.Method, r.URL.Path))
	})
	return mux
}

// open are the paths that need no login.
func open(path string) bool {
	switch path {
	case "/healthz", "/readyz", "/login", "/page/base.css", "/page/theme.js", "/page/icon.svg":
		return true
	}
	return false
}
