package dial

import (
	"errors"
	"net"
	"strings"
	"syscall"
)

// KeyError is a mistake in the options or their files, placed by the key of a
// bridge's section that they come from: "proxy", "tls.ca".
type KeyError struct {
	Key    string
	Err    error
	Remedy string // what to do, "" when Err says it
}

// Error names the key, what is wrong with it and what to do.
func (e *KeyError) Error() string { return e.Key + ": " + withRemedy(e.Err, e.Remedy) }

// Unwrap gives what is wrong.
func (e *KeyError) Unwrap() error { return e.Err }

// Error says why a server cannot be reached.
type Error struct {
	Stage  string // "connect", "proxy", "TLS files", "TLS handshake", "certificate", "WebSocket upgrade"
	Err    error
	Remedy string // what an operator can do, "" for nothing that is known
}

// The stages of a connection.
const (
	stageConnect     = "connect"
	stageProxy       = "proxy"
	stageFiles       = "TLS files"
	stageHandshake   = "TLS handshake"
	stageCertificate = "certificate"
	stageUpgrade     = "WebSocket upgrade"
)

// Error names the stage, what happened and what to do.
func (e *Error) Error() string { return e.Stage + ": " + withRemedy(e.Err, e.Remedy) }

// Unwrap gives what happened.
func (e *Error) Unwrap() error { return e.Err }

func withRemedy(err error, remedy string) string {
	if remedy == "" {
		return err.Error()
	}
	return err.Error() + " (" + remedy + ")"
}

// connectError is the failure to open a TCP connection.
func connectError(stage string, err error) *Error {
	return &Error{Stage: stage, Err: err, Remedy: connectRemedy(err)}
}

// connectRemedy says what the kernel or the name servers mean, and what to do.
func connectRemedy(err error) string {
	var dns *net.DNSError
	var address *net.AddrError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "correct the host name; or the name servers here do not know it"
	case errors.As(err, &dns):
		return "the name servers do not answer: check the link and /etc/resolv.conf"
	case errors.As(err, &address) && strings.Contains(address.Err, "no suitable address"):
		return "source is of IPv4 and the host has only IPv6, or the other way round"
	case isTimeout(err):
		return "check the address, and that no firewall drops what is sent there"
	}
	for _, r := range connectRemedies {
		if errors.Is(err, r.errno) {
			return r.remedy
		}
	}
	from, to := ends(err)
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL) && from == nil && !strings.Contains(err.Error(), "bind"):
		return "this machine has no address to go there from, as IPv6 may be off here (ip addr); or all its ports are in use (ss -s)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "source must be an address that this machine has now"
	case errors.Is(err, syscall.EINVAL) && from != nil && from.IsLoopback():
		return "source is a loopback address, from which nothing leaves this machine: give one of the interface that leads there"
	case errors.Is(err, syscall.EINVAL) && to != nil && to.IsLinkLocalUnicast():
		return "a link-local address is known on one interface only: write it with its name, such as [fe80::1%eth0], or take another address of that host"
	case errors.Is(err, syscall.EINVAL):
		return "the kernel knows no connection from here to that address: check it, and source (ip route get ADDRESS says more)"
	}
	return ""
}

// connectRemedies are for errors of the kernel that have one cause, whoever wants
// to connect.
var connectRemedies = []struct {
	errno  syscall.Errno
	remedy string
}{
	{syscall.ECONNREFUSED, "the host is there and nothing listens at that port: correct it, or start what should"},
	{syscall.ENETUNREACH, "this machine has no route there: check that the link is up and has an address (ip addr), and a default route (ip route)"},
	{syscall.EHOSTUNREACH, "there is a route, and the host or a router on the way cannot be reached: check the address, that the host is on, and the gateway in ip route"},
	{syscall.ENETDOWN, "the network interface is down: ip link set NAME up, and see why it went down (dmesg, networkctl)"},
	{syscall.ENODEV, "source names an interface that is not there now"},
	{syscall.EAFNOSUPPORT, "IPv6 is off on this machine, or RestrictAddressFamilies= in the systemd unit forbids it: take an address of IPv4"},
	{syscall.EACCES, forbidden},
	{syscall.EPERM, forbidden},
	{syscall.EMFILE, "too many files are open: set LimitNOFILE= higher in the systemd unit, ulimit -n in a shell"},
}

const forbidden = "this machine forbids it: look for a rule of its firewall (nft list ruleset), IPAddressDeny= in the systemd unit, or SELinux; or that is the broadcast address of a network"

// ends are the addresses of a connection that failed, nil where they are not known;
// from is only known where one was asked for.
func ends(err error) (from, to net.IP) {
	var op *net.OpError
	if !errors.As(err, &op) {
		return nil, nil
	}
	if a, ok := op.Source.(*net.TCPAddr); ok && a != nil {
		from = a.IP
	}
	if a, ok := op.Addr.(*net.TCPAddr); ok && a != nil {
		to = a.IP
	}
	return from, to
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
