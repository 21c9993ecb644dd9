package admin

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// headers are those of every answer. Nothing comes from elsewhere, nobody frames
// the page, and no answer stays in a cache: it may be about what is secret.
var headers = [...][2]string{
	{"Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"},
	{"X-Content-Type-Options", "nosniff"},
	{"X-Frame-Options", "DENY"},
	{"Referrer-Policy", "same-origin"}, // with no-referrer, forms say Origin: null
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cache-Control", "no-store"},
}

// hardened sets headers, and bounds what a request may take.
func (w *Web) hardened(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		for _, h := range headers {
			rw.Header().Set(h[0], h[1])
		}
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodPost:
		default:
			rw.Header().Set("Allow", "GET, HEAD, POST")
			refuse(rw, http.StatusMethodNotAllowed, fmt.Errorf("%s is not used here", r.Method))
			return
		}
		most := int64(maxRequest)
		if r.URL.Path == importPath {
			most = maxBatch
		}
		r.Body = http.MaxBytesReader(rw, r.Body, most)
		next.ServeHTTP(&patient{ResponseWriter: rw, rc: http.NewResponseController(rw)}, r)
	})
}

// patient lets an answer take its time, as long as the reader takes some of it
// every writeTime.
type patient struct {
	http.ResponseWriter
	rc *http.ResponseController
}

// Write writes, for writeTime at most.
func (p *patient) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(writeTime)) // what cannot have one has none
	return p.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// hostKnown refuses requests whose Host is somebody else's name. A page of
// evil.example that has its name resolved to our address is of our origin to a
// browser, but for that.
func (w *Web) hostKnown(next http.Handler) http.Handler {
	own, _, _ := net.SplitHostPort(w.opt.Address)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		host := hostOf(r.Host)
		if !w.known(host, own) {
			refuse(rw, http.StatusMisdirectedRequest, errors.New(
				"the Host of the request is no name of this gateway: use its address, the name in its certificate, or that in admin.address"))
			return
		}
		next.ServeHTTP(rw, r)
	})
}

// known reports whether host is a name of this server, which is configured to
// listen on own. An address needs no name to be resolved, so nobody can have it
// resolved to here.
func (w *Web) known(host, own string) bool {
	if isLoopback(host) || host != "" && strings.EqualFold(host, own) {
		return true
	}
	if isLoopback(own) {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host != "" && w.opt.Serves != nil && w.opt.Serves(host)
}

// hostOf is the host of a Host header, without port and brackets.
func hostOf(hostPort string) string {
	if host, _, err := net.SplitHostPort(hostPort); err == nil {
		return strings.TrimSuffix(host, ".")
	}
	return strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(hostPort, "["), "]"), ".")
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// ownHeader is on every request to the API that changes something. A page of
// another origin cannot set it without asking first, which nobody answers.
const ownHeader = "X-Packetboat"

// sameOrigin refuses changes that a page of another origin asks for.
func (w *Web) sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := w.origins.Check(r); err != nil {
			refuse(rw, http.StatusForbidden, errors.New("a page of another origin asks for a change"))
			return
		}
		form := r.URL.Path == "/login" || r.URL.Path == "/logout"
		if r.Method == http.MethodPost && !form && r.Header.Get(ownHeader) == "" {
			refuse(rw, http.StatusForbidden, fmt.Errorf("a request that changes something needs the header %s: 1", ownHeader))
			return
		}
		next.ServeHTTP(rw, r)
	})
}
