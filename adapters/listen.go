package adapters

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
)

// ListenRemedy is what an operator can do about an address, host:port or
// unix:PATH, that cannot be listened on.
func ListenRemedy(address string, err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && strings.HasPrefix(address, "unix:"):
		return "another program listens there: stop it, or set another path"
	case errors.Is(err, syscall.EADDRINUSE):
		_, port, _ := net.SplitHostPort(address) // what is listened on has one
		return fmt.Sprintf("another program listens there (ss -ltnp 'sport = :%s' names it, often it is mosquitto): stop it, or set another address", port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no network interface has this address now"
	case errors.Is(err, syscall.EACCES):
		return "this user may not: a port below 1024 needs CAP_NET_BIND_SERVICE, a socket a directory that is writable"
	}
	return "set another address"
}
