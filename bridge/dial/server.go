package dial

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Server is a cloud broker's address. Parse makes it from a URL; one that is
// put together has the path /mqtt.
type Server struct {
	Address   string // host:port
	TLS       bool
	WebSocket bool

	target string // path and query of the WebSocket, "" for defaultPath
}

const defaultPath = "/mqtt"

// Parse takes the URL of a server: mqtt://, mqtts://, ws:// or wss://, a host
// and, unless it is 1883, 8883, 80 or 443 in turn, a port; for the last two also
// a path, which is /mqtt when there is none, and a query. Its errors never quote
// the URL: there may be a password in it.
func Parse(rawURL string) (Server, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme == "" || u.Opaque != "" {
		return Server{}, errors.New("is not a URL such as mqtts://mqtt.example.com:8883")
	}
	var s Server
	var port string
	switch u.Scheme {
	case "mqtt":
		port = "1883"
	case "mqtts":
		port, s.TLS = "8883", true
	case "ws":
		port, s.WebSocket = "80", true
	case "wss":
		port, s.TLS, s.WebSocket = "443", true, true
	default:
		return Server{}, fmt.Errorf("has the scheme %s; there are mqtt, mqtts, ws and wss", u.Scheme)
	}
	if s.Address, err = hostPort(u, port); err != nil {
		return Server{}, err
	}
	switch {
	case u.User != nil:
		return Server{}, errors.New("must not have a user name in it; there are the keys username and password")
	case u.Fragment != "":
		return Server{}, errors.New("must not have a # in it")
	case !s.WebSocket && (u.Path != "" && u.Path != "/" || u.RawQuery != ""):
		return Server{}, errors.New("must end after host and port")
	case strings.Contains(u.RawQuery, " "):
		return Server{}, errors.New("must not have a space in it; write %20")
	}
	if s.WebSocket && (u.Path != "" || u.RawQuery != "") {
		if u.Path == "" {
			u.Path = defaultPath
		}
		s.target = u.RequestURI()
	}
	return s, nil
}

// hostPort gives the address in u.
func hostPort(u *url.URL, port string) (string, error) {
	host := u.Hostname()
	if host == "" {
		return "", errors.New("has no host name")
	}
	for _, r := range host {
		if r >= 0x80 {
			return "", errors.New("must have the host name in its ASCII form, which begins with xn--")
		}
	}
	if p := u.Port(); p != "" {
		port = p
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", errors.New("must have a port from 1 to 65535")
	}
	return net.JoinHostPort(host, port), nil
}

// bare is an address without the zone of an IPv6 address, which means nothing
// to others.
func bare(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return net.JoinHostPort(hostOf(host), port)
}

// hostOf is a host without a zone, and without the dot that ends an absolute
// name: what certificates are for.
func hostOf(host string) string {
	if i := strings.LastIndexByte(host, '%'); i >= 0 {
		host = host[:i]
	}
	return strings.TrimSuffix(host, ".")
}
