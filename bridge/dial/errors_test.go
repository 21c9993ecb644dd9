package dial

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestWhatTheKernelSaysHasARemedy(t *testing.T) {
	failed := func(from, to string, errno syscall.Errno) error {
		op := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.ParseIP(to), Port: 1883}, Err: os.NewSyscallError("connect", errno)}
		if from != "" {
			op.Source = &net.TCPAddr{IP: net.ParseIP(from)}
		}
		return op
	}
	for _, c := range []struct {
		err   error
		words string
	}{
		{failed("", "192.0.2.1", syscall.ENETUNREACH), "no route there"},
		{failed("", "192.0.2.1", syscall.EHOSTUNREACH), "that the host is on"},
		{failed("", "192.0.2.1", syscall.ENETDOWN), "interface is down"},
		{failed("", "2001:db8::1", syscall.EAFNOSUPPORT), "IPv6 is off"},
		{failed("", "192.0.2.1", syscall.EACCES), "firewall"},
		{failed("", "192.0.2.1", syscall.EPERM), "IPAddressDeny="},
		{failed("", "2001:db8::1", syscall.EADDRNOTAVAIL), "no address to go there from"},
		{failed("192.0.2.9", "192.0.2.1", syscall.EADDRNOTAVAIL), "source must be"},
		{fmt.Errorf("bind to interface wwan0: it has no address: %w", syscall.EADDRNOTAVAIL), "source must be"},
		{failed("", "fe80::1", syscall.EINVAL), "%eth0"},
		{failed("127.0.0.1", "192.0.2.1", syscall.EINVAL), "loopback"},
		{failed("192.0.2.9", "0.0.0.5", syscall.EINVAL), "ip route get"},
		{failed("", "192.0.2.1", syscall.ETIMEDOUT), "firewall drops"},
		{failed("", "192.0.2.1", syscall.EMFILE), "LimitNOFILE="},
	} {
		if e := connectError(stageConnect, c.err); !strings.Contains(e.Remedy, c.words) {
			t.Errorf("%v: %q", c.err, e.Remedy)
		}
	}
}
