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
	e := &Error{Stage: stage, Err: err}
	var dns *net.DNSError
	var address *net.AddrError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		e.Remedy = "correct the host name; or the name servers here do not know it"
	case errors.As(err, &dns):
		e.Remedy = "the name servers do not answer: check the link and /etc/resolv.conf"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Remedy = "the host is there and nothing listens at that port: correct it, or start what should"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		e.Remedy = "there is no way to that address: check the link and the routes"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.Remedy = "source must be an address that this machine has now"
	case errors.Is(err, syscall.ENODEV):
		e.Remedy = "source names an interface that is not there now"
	case errors.As(err, &address) && strings.Contains(address.Err, "no suitable address"):
		e.Remedy = "source is of IPv4 and the host has only IPv6, or the other way round"
	case isTimeout(err):
		e.Remedy = "check the address, and that no firewall drops what is sent there"
	}
	return e
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
