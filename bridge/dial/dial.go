package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Options say how servers are reached. The zero value reaches them directly.
type Options struct {
	// Proxy is "" for none, the URL of an HTTP proxy that knows CONNECT
	// (http://USER:PASSWORD@HOST:PORT, or https://), or "env": what the
	// environment's HTTPS_PROXY and NO_PROXY say for the server's host and port,
	// as they were when the process first looked.
	Proxy string

	// Source is the local IP address of connections, or the network interface
	// that they leave by. Where the kernel does not let this process bind to
	// an interface (before Linux 5.7), connections get an address of it, and leave
	// by where the routes lead. Host names are resolved as the system does it.
	Source string

	// Files of TLS, in PEM form, read for each connection: the authorities that
	// the server is verified by ("": the system's), and the client's certificate
	// and key ("": none).
	CA, Cert, Key string

	// ServerName is whom the server's certificate must be for; "" is the host of
	// its address. It also tells the server which certificate to show.
	ServerName string

	// ALPN are the protocols that a server may choose from. One that does not
	// know of ALPN is content with that; one that wants another one is not.
	ALPN []string

	// Net opens TCP connections; nil is net.Dialer's. Given, Source has no effect.
	Net func(ctx context.Context, network, address string) (net.Conn, error)

	// Connected and Secured, unless nil, are told during a Dial that there is a TCP
	// connection, to the proxy if there is one, and that the server's certificate
	// was found good.
	Connected func(c net.Conn)
	Secured   func(s tls.ConnectionState)
}

// Dialer reaches servers, any number at once.
type Dialer struct {
	opt   Options
	net   func(ctx context.Context, network, address string) (net.Conn, error)
	proxy func(address string) (*proxy, error) // nil without an error: none for that address
}

// New checks what can be checked without the network and the files. Its errors
// are [KeyError]s, joined.
func New(o Options) (*Dialer, error) {
	o.ALPN = slices.Clone(o.ALPN)
	d := &Dialer{opt: o, net: o.Net, proxy: environment}
	var errs []error
	bad := func(key string, err error, remedy string) { errs = append(errs, &KeyError{key, err, remedy}) }
	if o.Proxy != "env" {
		var p *proxy
		if o.Proxy != "" {
			var err error
			if p, err = parseProxy(o.Proxy); err != nil {
				bad("proxy", err, "")
			}
		}
		d.proxy = func(string) (*proxy, error) { return p, nil }
	}
	from, err := parseSource(o.Source)
	if err != nil {
		bad("source", err, "")
	}
	if d.net == nil {
		d.net = from.dialer().DialContext
	}
	if o.Cert != "" && o.Key == "" {
		bad("tls.key", errors.New("is missing"), "give the file of the key that belongs to tls.cert")
	}
	if o.Key != "" && o.Cert == "" {
		bad("tls.cert", errors.New("is missing"), "give the file of the certificate that belongs to tls.key")
	}
	if strings.ContainsAny(o.ServerName, "/@ ") || strings.Count(o.ServerName, ":") == 1 {
		bad("tls.server_name", errors.New("must be a host name alone, such as mqtt.example.com"), "")
	}
	for _, name := range o.ALPN {
		if name == "" || len(name) > 255 {
			bad("tls.alpn", errors.New("must have names of 1 to 255 bytes"), "")
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return d, nil
}

// CheckFiles reads the TLS files and says what is wrong with them, also what
// Dial leaves to the server to judge: a certificate that has expired. Its
// errors are [KeyError]s, joined.
func (d *Dialer) CheckFiles() error {
	f, err := readFiles(&d.opt)
	return errors.Join(err, f.check(&d.opt, time.Now()))
}

// Dial connects to a server, up to where MQTT begins. The end of ctx ends all of
// it. Its errors are [Error]s; with TLS, so may be the first one of the
// connection's Read or Write: servers may tell then only that they want
// another client certificate.
//
// The connection may be used as those of package net: one goroutine may read
// and one write at a time, any may set deadlines and close.
func (d *Dialer) Dial(ctx context.Context, s Server) (net.Conn, error) {
	via, err := d.proxy(s.Address)
	if err != nil {
		return nil, err
	}
	var f *files
	if s.TLS || via != nil && via.tls {
		if f, err = readFiles(&d.opt); err != nil {
			return nil, &Error{Stage: stageFiles, Err: err}
		}
	}
	address, stage := s.Address, stageConnect
	if via != nil {
		address, stage = via.address, stageProxy
	}
	raw, err := d.net(ctx, "tcp", address)
	if err != nil {
		return nil, connectError(stage, err)
	}
	if d.opt.Connected != nil {
		d.opt.Connected(raw)
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = raw.Close() // releases whoever waits for the peer
	})
	conn, err := d.layers(raw, s, via, f)
	if !stop() {
		<-closed
		err = interrupted(ctx, err)
	}
	if err != nil {
		_ = raw.Close() // it is of no use any more
		return nil, err
	}
	return conn, nil
}

// layers puts on a TCP connection what is between it and MQTT.
func (d *Dialer) layers(conn net.Conn, s Server, via *proxy, f *files) (_ net.Conn, err error) {
	if via != nil && via.tls {
		if conn, err = secureProxy(conn, via, f); err != nil {
			return nil, err
		}
	}
	if via != nil {
		if conn, err = via.connect(conn, s.Address); err != nil {
			return nil, err
		}
	}
	if s.TLS {
		if conn, err = d.secure(conn, s.Address, f); err != nil {
			return nil, err
		}
	}
	if s.WebSocket {
		return upgrade(conn, s)
	}
	return conn, nil
}

// interrupted is the error of a Dial whose context has ended: err is what that
// caused, at its stage.
func interrupted(ctx context.Context, err error) *Error {
	stage := stageConnect
	var at *Error
	if errors.As(err, &at) {
		stage = at.Stage
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Error{stage, fmt.Errorf("no answer in time: %w", ctx.Err()), "check that the other end is alive and what is in between lets it answer"}
	}
	return &Error{Stage: stage, Err: ctx.Err()}
}
