package adapters

import (
	"context"
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
		{"a directory that is missing", "unix:/run/x/y", failed(syscall.ENOENT), "RuntimeDirectory="},
		{"an address of no interface", "10.9.9.9:7000", failed(syscall.EADDRNOTAVAIL), "no network interface"},
		{"a port below 1024", ":102", failed(syscall.EACCES), "CAP_NET_BIND_SERVICE"},
		{"anything else", "x", errors.New("x"), "set another address"},
	} {
		if got := ListenRemedy(c.address, c.err); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

func TestAnIPv4AddressIsNoIPv6Address(t *testing.T) {
	for _, c := range []struct {
		address string
		v4, v6  bool
	}{
		{"0.0.0.0:0", true, false},
		{"127.0.0.1:0", true, false},
		{":0", true, true},
		{"[::]:0", true, true},
		{"[::1]:0", false, true},
	} {
		ln, err := ListenTCP(context.Background(), c.address)
		if err != nil && c.v6 {
			t.Logf("no IPv6 here: %v", err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		for host, want := range map[string]bool{"127.0.0.1": c.v4, "::1": c.v6} {
			nc, err := net.Dial("tcp", net.JoinHostPort(host, port))
			if (err == nil) != want {
				t.Errorf("%s is reached at %s: %v, want %v", c.address, host, err == nil, want)
			}
			if err == nil {
				nc.Close()
			}
		}
		ln.Close()
	}
}
