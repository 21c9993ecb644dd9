package tcp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"packetboat/adapters"
)

// callTimeout is how long a call may take, TLS included.
const callTimeout = 10 * time.Second

// call connects to the device.
func (a *Adapter) call(ctx context.Context) (adapters.Link, adapters.Place, error) {
	host, port, err := net.SplitHostPort(a.opt.Connect)
	if err != nil {
		return nil, adapters.Place{}, err // was checked
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	at := adapters.Place{Remote: adapters.Level(host), Port: port}
	var secure *tls.Config
	if a.files != nil {
		if secure, err = a.current(); err != nil {
			return nil, at, err
		}
	}
	var d net.Dialer // keep-alive probes find peers that are gone after some 2 min
	conn, err := d.DialContext(ctx, "tcp", a.opt.Connect)
	if err != nil {
		return nil, at, fmt.Errorf("connect to %s: %w", a.opt.Connect, err)
	}
	if secure == nil {
		return conn, at, nil
	}
	c := tls.Client(conn, secure)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // nothing was written
		return nil, at, fmt.Errorf("TLS with %s: %w", a.opt.Connect, explain(err))
	}
	return c, at, nil
}
