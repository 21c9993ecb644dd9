package adapters

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// ListenTCP listens on host:port. An IPv4 address, 0.0.0.0 too, is IPv4 alone:
// package net would have that one mean both families, and open to the world what
// was meant for a private network.
func ListenTCP(ctx context.Context, address string) (net.Listener, error) {
	network := "tcp"
	if a, err := netip.ParseAddrPort(address); err == nil && a.Addr().Is4() {
		network = "tcp4"
	}
	var lc net.ListenConfig // keep-alive probes find peers that are gone after some 2 min
	return lc.Listen(ctx, network, address)
}

// ListenRemedy is what an operator can do about an address, host:port or
// unix:PATH, that cannot be listened on.
func ListenRemedy(address string, err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && strings.HasPrefix(address, "unix:"):
		return "another program listens there, or the file is no socket: stop it, or set another path"
	case errors.Is(err, syscall.EADDRINUSE):
		_, port, _ := net.SplitHostPort(address) // what is listened on has one
		return fmt.Sprintf("another program listens there (ss -ltnp 'sport = :%s' names it, often it is mosquitto): stop it, or set another address", port)
	case errors.Is(err, syscall.ENOENT) && strings.HasPrefix(address, "unix:"):
		return "its directory does not exist: make it; below /run, RuntimeDirectory= in the systemd unit does"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no network interface has this address now"
	case errors.Is(err, syscall.EACCES):
		return "this user may not: a port below 1024 needs CAP_NET_BIND_SERVICE, a socket a directory that is writable"
	}
	return "set another address"
}
