package dial

import (
	"errors"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// from gives the address that a server sees.
func from(t *testing.T, d *net.Dialer, listener string) string {
	t.Helper()
	seen := make(chan string, 1)
	to := listen(t, listener, func(conn net.Conn) { seen <- conn.RemoteAddr().(*net.TCPAddr).IP.String() })
	conn, err := d.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	return <-seen
}

func TestTheSourceIsAnAddress(t *testing.T) {
	seen := make(chan string, 2)
	to := listen(t, "127.0.0.1:0", func(conn net.Conn) {
		seen <- conn.RemoteAddr().(*net.TCPAddr).IP.String()
		greet(conn)
	})
	d := newDialer(t, Options{Source: "127.0.0.2"})
	wantError(t, reach(t, d, Server{Address: to}), "")
	proxied := newDialer(t, Options{Source: "::ffff:127.0.0.3", Proxy: "http://" + listen(t, "127.0.0.1:0", func(conn net.Conn) {
		seen <- conn.RemoteAddr().(*net.TCPAddr).IP.String()
		(&connector{rest: "hello"}).serve(conn)
	})})
	wantError(t, reach(t, proxied, Server{Address: "broker.test:1883"}), "")
	if a, b := <-seen, <-seen; a != "127.0.0.2" || b != "127.0.0.3" {
		t.Error(a, b)
	}
	wantError(t, reach(t, newDialer(t, Options{Source: notHere(t)}), Server{Address: to}), "connect", "that this machine has")
	wantError(t, reach(t, newDialer(t, Options{Source: "::1"}), Server{Address: to}), "connect", "no suitable address", "IPv4")
}

// notHere is an address of IPv4 that this machine does not have.
func notHere(t *testing.T) string {
	t.Helper()
	have, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"192.0.2.77", "198.51.100.77", "203.0.113.77"} { // for documents [RFC 5737]
		if !slices.ContainsFunc(have, func(h net.Addr) bool { return strings.HasPrefix(h.String(), a+"/") }) {
			return a
		}
	}
	t.Skip("this machine has all addresses")
	return ""
}

func TestTheSourceIsAnInterface(t *testing.T) {
	to := listen(t, "127.0.0.1:0", greet)
	conn, err := newDialer(t, Options{Source: "lo"}).Dial(t.Context(), Server{Address: to})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var device string
	if e := raw.Control(func(fd uintptr) {
		device, err = unix.GetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
	}); e != nil || err != nil {
		t.Fatal(e, err)
	}
	if device != "lo" && mayBind() {
		t.Errorf("bound to %q", device)
	}
	wantError(t, greeted(conn), "")
	if mayBind() {
		err := reach(t, newDialer(t, Options{Source: "nosuch0"}), Server{Address: to})
		wantError(t, err, "connect", "bind to interface nosuch0: no such device", "not there now")
	}
}

// mayBind reports whether this process may bind sockets to interfaces.
func mayBind() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.BindToDevice(fd, "lo") == nil
}

func TestWithoutTheRightToBindToAnInterfaceItsAddressIsUsed(t *testing.T) {
	with := func(s source) *net.Dialer {
		return &net.Dialer{Control: func(network, address string, raw syscall.RawConn) error {
			var err error
			return errors.Join(raw.Control(func(fd uintptr) { err = s.bindAddress(int(fd), network, address) }), err)
		}}
	}
	if got := from(t, with(source{device: "lo"}), "127.0.0.1:0"); got != "127.0.0.1" {
		t.Error(got)
	}
	if err := (source{device: "lo"}).bindAddress(-1, "tcp6", "[fe80::1%lo]:1883"); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Error(err)
	}
	if err := (source{device: "nosuch0"}).bindAddress(-1, "tcp4", "127.0.0.1:1883"); !errors.Is(err, unix.ENODEV) {
		t.Error(err)
	}
	if got := from(t, with(source{device: "lo"}), "[::1]:0"); got != "::1" {
		t.Error(got)
	}
}
