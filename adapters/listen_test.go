package adapters

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestAnAddressThatCannotBeListenedOnHasARemedy(t *testing.T) {
	failed := func(errno error) error { return &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", errno)} }
	for _, c := range []struct {
		name, address string
		err           error
		want          string
	}{
		{"a port that is taken: how to find who has it", ":7000", failed(syscall.EADDRINUSE), "ss -ltnp 'sport = :7000'"},
		{"a socket that is taken", "unix:/run/x", failed(syscall.EADDRINUSE), "set another path"},
		{"an address of no interface", "10.9.9.9:7000", failed(syscall.EADDRNOTAVAIL), "no network interface"},
		{"a port below 1024", ":102", failed(syscall.EACCES), "CAP_NET_BIND_SERVICE"},
		{"anything else", "x", errors.New("x"), "set another address"},
	} {
		if got := ListenRemedy(c.address, c.err); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}
