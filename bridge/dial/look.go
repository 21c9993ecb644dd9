package dial

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// For those who want to know how a server is reached, step by step.

// Via is the address, host:port, that a connection to s is made to first: that of
// the proxy, or of the server itself. Its error is that of Dial.
func (d *Dialer) Via(s Server) (address string, proxied bool, err error) {
	p, err := d.proxy(s.Address)
	if err != nil || p == nil {
		return s.Address, false, err
	}
	return p.address, true, nil
}

// Lookup asks for the addresses of a host, host:port, as Dial does. Its errors are
// [Error]s. Of an address it gives that one.
func Lookup(ctx context.Context, address string) ([]netip.Addr, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &Error{Stage: stageConnect, Err: err}
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, connectError(stageConnect, err)
	}
	for i := range all {
		all[i] = all[i].Unmap()
	}
	return all, nil
}

// Way is which local address, and of which interface, connections to a remote one
// leave by. Nothing is sent. Its errors are [Error]s.
func (d *Dialer) Way(ctx context.Context, to netip.Addr) (local netip.Addr, device string, err error) {
	from, err := parseSource(d.opt.Source)
	if err != nil {
		return local, "", &Error{Stage: stageConnect, Err: err}
	}
	dialer := from.dialer()
	if a, ok := dialer.LocalAddr.(*net.TCPAddr); ok {
		dialer.LocalAddr = (*net.UDPAddr)(a)
	}
	c, err := dialer.DialContext(ctx, "udp", netip.AddrPortFrom(to, 9).String())
	if err != nil {
		return local, "", connectError(stageConnect, err)
	}
	defer c.Close()
	local = c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	return local, deviceOf(local.WithZone("")), nil
}

// deviceOf is the interface that has an address, "" when none has it now.
func deviceOf(local netip.Addr) string {
	all, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range all {
		addresses, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().WithZone("").Unmap() == local {
				return i.Name
			}
		}
	}
	return ""
}

// Name is whom a server's certificate has to be for, which is also told to the
// server (SNI) unless it is an address.
func (d *Dialer) Name(s Server) string {
	if d.opt.ServerName != "" {
		return d.opt.ServerName
	}
	host, _, err := net.SplitHostPort(s.Address)
	if err != nil {
		return s.Address
	}
	return hostOf(host)
}

// String is the server as in its URL.
func (s Server) String() string {
	scheme := "mqtt"
	if s.WebSocket {
		scheme = "ws"
	}
	if s.TLS {
		scheme += "s"
	}
	return fmt.Sprintf("%s://%s%s", scheme, s.Address, pathOf(s.target))
}

// pathOf leaves out the query, which may have a secret.
func pathOf(target string) string {
	path, _, _ := strings.Cut(target, "?")
	return path
}
