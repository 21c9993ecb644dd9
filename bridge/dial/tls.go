package dial

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// peer is who is at the other end of a TLS connection, and what it was asked.
type peer struct {
	proxy  bool
	name   string // that its certificate must have
	hasCA  bool   // Options.CA is given
	offers bool   // there is a client certificate
	alpn   bool   // Options.ALPN is given
	asked  bool   // it asked for a client certificate
}

// secured is a TLS connection that can say why the server ends it before it has
// said anything: with TLS 1.3, that is when it tells what it thinks of the
// client's certificate.
type secured struct {
	*tls.Conn
	peer  peer
	spoke atomic.Bool // the server has sent something: it is content
}

// secure negotiates TLS with the server on conn.
func (d *Dialer) secure(conn net.Conn, address string, f *files) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &Error{Stage: stageHandshake, Err: err}
	}
	name := hostOf(host)
	if d.opt.ServerName != "" {
		name = d.opt.ServerName
	}
	c := &secured{peer: peer{name: name, hasCA: f.authorities != nil, offers: f.cert != nil, alpn: len(d.opt.ALPN) > 0}}
	cfg := tlsConfig(name, f.pool())
	cfg.NextProtos = d.opt.ALPN
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		c.peer.asked = true
		if f.cert == nil {
			return new(tls.Certificate), nil
		}
		// Whatever authorities the server names: clouds know the devices'
		// certificates themselves, and what is wrong with this one they can say.
		return f.cert, nil
	}
	c.Conn = tls.Client(conn, cfg)
	if err := c.Handshake(); err != nil {
		return nil, c.peer.explain(err)
	}
	if d.opt.Secured != nil {
		d.opt.Secured(c.ConnectionState())
	}
	return c, nil
}

// secureProxy negotiates TLS with the proxy on conn.
func secureProxy(conn net.Conn, p *proxy, f *files) (net.Conn, error) {
	host, _, err := net.SplitHostPort(p.address)
	if err != nil {
		return nil, &Error{Stage: stageProxy, Err: err}
	}
	to := peer{proxy: true, name: hostOf(host), hasCA: f.authorities != nil}
	c := tls.Client(conn, tlsConfig(to.name, f.proxyPool()))
	if err := c.Handshake(); err != nil {
		e := to.explain(err)
		return nil, &Error{stageProxy, fmt.Errorf("%s: %w", e.Stage, e.Err), e.Remedy}
	}
	return c, nil
}

func tlsConfig(name string, roots *x509.CertPool) *tls.Config {
	return &tls.Config{
		ServerName: name,
		RootCAs:    roots,
		MinVersion: tls.VersionTLS12,
		// Many small records in the beginning are for web pages; here they are
		// system calls.
		DynamicRecordSizingDisabled: true,
	}
}

// Read reads what the server has sent.
func (c *secured) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.spoke.Load() {
		c.spoke.Store(true)
	}
	return n, c.explain(err)
}

// Write writes to the server.
func (c *secured) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.explain(err)
}

// explain adds what an end before the first word may mean.
func (c *secured) explain(err error) error {
	if err == nil || c.spoke.Load() || isTimeout(err) || errors.Is(err, net.ErrClosed) {
		return err
	}
	if c.peer.asked || alertOf(err) != 0 {
		return c.peer.explain(err)
	}
	return err
}

// The alerts of RFC 8446 section 6 (and 5246 section 7.2) that are explained.
const (
	alertHandshakeFailure  tls.AlertError = 40
	alertBadCertificate    tls.AlertError = 42
	alertUnsupported       tls.AlertError = 43
	alertRevoked           tls.AlertError = 44
	alertExpired           tls.AlertError = 45
	alertUnknown           tls.AlertError = 46
	alertUnknownCA         tls.AlertError = 48
	alertAccessDenied      tls.AlertError = 49
	alertProtocolVersion   tls.AlertError = 70
	alertUnrecognizedName  tls.AlertError = 112
	alertCertificateNeeded tls.AlertError = 116
	alertNoALPN            tls.AlertError = 120
)

// ofCertificates are what servers say about client certificates, or their lack.
var ofCertificates = []tls.AlertError{
	alertHandshakeFailure, alertBadCertificate, alertUnsupported, alertRevoked, alertExpired, alertUnknown, alertUnknownCA,
	alertAccessDenied, alertCertificateNeeded,
}

// alertOf is the alert that the peer has sent, 0 for none. crypto/tls gives it
// with its text only.
func alertOf(err error) tls.AlertError {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return 0
	}
	for _, a := range append(ofCertificates, alertProtocolVersion, alertUnrecognizedName, alertNoALPN) {
		if op.Err.Error() == a.Error() {
			return a
		}
	}
	return 0
}

// explain says why a handshake has failed, or the connection right after it.
func (p *peer) explain(err error) *Error {
	var invalid *tls.CertificateVerificationError
	if errors.As(err, &invalid) {
		return p.explainCertificate(invalid)
	}
	who, ownKey := "the server", "tls.server_name"
	if p.proxy {
		who, ownKey = "the proxy", "its URL"
	}
	e := &Error{Stage: stageHandshake, Err: err}
	alert := alertOf(err)
	refused := slices.Contains(ofCertificates, alert) && p.asked
	ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	var header tls.RecordHeaderError
	switch {
	case refused && !p.offers, alert == alertCertificateNeeded && !p.offers:
		e.Err = fmt.Errorf("%s wants a client certificate: %w", who, err)
		e.Remedy = "give tls.cert and tls.key"
		if p.proxy {
			e.Remedy = "have it let this machine through without"
		}
	case refused:
		e.Err = fmt.Errorf("%s does not take the client certificate: %w", who, err)
		e.Remedy = "check that the certificate in tls.cert is the one that is registered there, active and not expired"
	case ended && p.asked && !p.offers:
		e.Err = fmt.Errorf("%s ends the connection; it had asked for a client certificate and got none: %w", who, err)
		e.Remedy = "if it needs one, give tls.cert and tls.key"
	case ended && p.asked:
		e.Err = fmt.Errorf("%s ends the connection without an answer, after it got the client certificate: %w", who, err)
		e.Remedy = "check that the certificate in tls.cert is registered there and active, and that what it may do there includes this client id"
	case ended:
		e.Err = fmt.Errorf("%s ends the connection: %w", who, err)
		e.Remedy = "check that it speaks TLS at this port"
	case errors.As(err, &header):
		e.Err = fmt.Errorf("%s does not speak TLS at this port", who)
		e.Remedy = "correct the port; or the URL, mqtt:// and ws:// are without TLS"
		if p.proxy {
			e.Remedy = "correct the port, or the URL: http:// is without TLS"
		}
	case alert == alertProtocolVersion, strings.Contains(err.Error(), "unsupported protocol version"):
		e.Err = fmt.Errorf("%s has no TLS 1.2 or later: %w", who, err)
		e.Remedy = "have it updated: older versions are not safe"
	case alert == alertUnrecognizedName:
		e.Err = fmt.Errorf("%s does not know the name %s: %w", who, p.name, err)
		e.Remedy = "correct " + ownKey
	case alert == alertNoALPN, p.alpn && strings.Contains(err.Error(), "ALPN"):
		e.Err = fmt.Errorf("%s takes none of the protocols offered: %w", who, err)
		e.Remedy = "correct tls.alpn; most servers need none"
	}
	return e
}

// explainCertificate says why the peer's certificate is not good.
func (p *peer) explainCertificate(invalid *tls.CertificateVerificationError) *Error {
	e := &Error{Stage: stageCertificate, Err: invalid.Err}
	leaf := invalid.UnverifiedCertificates[0]
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	var other x509.CertificateInvalidError
	var system x509.SystemRootsError
	switch now := time.Now(); {
	case errors.As(invalid.Err, &system):
		e.Remedy = "install the system's authorities (ca-certificates), or give the server's as tls.ca"
	case errors.As(invalid.Err, &name):
		e.Remedy, e.Err = p.otherName(leaf)
	case errors.As(invalid.Err, &authority):
		e.Err = fmt.Errorf("it is signed by an authority that is not known here, %q: %w", leaf.Issuer.String(), invalid.Err)
		e.Remedy = "give that authority's certificate as tls.ca"
		if p.hasCA {
			e.Remedy = "tls.ca has others: give that authority's certificate there"
		}
		e.Remedy += "; or have the intermediate certificates sent with the server's"
		if p.proxy {
			e.Remedy = "give that authority's certificate as tls.ca, beside the server's"
		}
	case errors.As(invalid.Err, &other) && other.Reason == x509.Expired && now.Before(other.Cert.NotBefore):
		e.Err = fmt.Errorf("that of %q is not valid yet: %s", other.Cert.Subject.String(), validity(other.Cert.NotBefore, now))
		e.Remedy = remedyClock
	case errors.As(invalid.Err, &other) && other.Reason == x509.Expired:
		e.Err = fmt.Errorf("that of %q has expired: %s", other.Cert.Subject.String(), validity(other.Cert.NotAfter, now))
		e.Remedy = "it must be renewed there; unless this machine's clock is wrong (timedatectl)"
	}
	return e
}

// otherName says for whom the certificate is.
func (p *peer) otherName(leaf *x509.Certificate) (remedy string, err error) {
	names := slices.Clone(leaf.DNSNames)
	for _, a := range leaf.IPAddresses {
		names = append(names, a.String())
	}
	switch n := len(names); {
	case n == 0:
		return "have it made anew, with the name that is used here", fmt.Errorf("it names no host (no subjectAltName), so not %s either", p.name)
	case n > 4:
		names = append(names[:4], fmt.Sprintf("and %d more", n-4))
	}
	remedy = "if that is the right server, give one of its names as tls.server_name; else correct the URL"
	if p.proxy {
		remedy = "use one of its names in the proxy's URL"
	}
	return remedy, fmt.Errorf("it is for %s, not for %s", strings.Join(names, ", "), p.name)
}
