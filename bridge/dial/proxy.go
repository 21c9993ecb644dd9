package dial

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// proxy is an HTTP proxy that hands connections on.
type proxy struct {
	address string
	tls     bool
	auth    string // Proxy-Authorization, "" for none
}

// parseProxy takes a proxy's URL. Its errors do not quote it.
func parseProxy(s string) (*proxy, error) {
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || !strings.Contains(s, "://") {
		return nil, errors.New(`is neither "env" nor a URL such as http://proxy.example.com:3128`)
	}
	return newProxy(u)
}

func newProxy(u *url.URL) (*proxy, error) {
	p := new(proxy)
	port := "80"
	switch u.Scheme {
	case "http":
	case "https":
		port, p.tls = "443", true
	default:
		return nil, fmt.Errorf("has the scheme %s; there are http and https", u.Scheme)
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("must end after host and port")
	}
	var err error
	if p.address, err = hostPort(u, port); err != nil {
		return nil, err
	}
	if u.User != nil {
		password, _ := u.User.Password()
		p.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	}
	return p, nil
}

// environment gives the proxy that HTTPS_PROXY and NO_PROXY (or https_proxy and
// no_proxy) name for an address, nil for none: hosts of this machine need none.
// net/http reads them once, at the first use in the process.
func environment(address string) (*proxy, error) {
	u, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: bare(address)}})
	switch {
	case err != nil || u == nil && unreadable(cmp.Or(os.Getenv("HTTPS_PROXY"), os.Getenv("https_proxy"))):
		err = errors.New("is not a URL such as http://proxy.example.com:3128") // err may quote it
	case u == nil:
		return nil, nil
	default:
		var p *proxy
		if p, err = newProxy(u); err == nil {
			return p, nil
		}
	}
	return nil, &Error{stageProxy, fmt.Errorf("the environment's HTTPS_PROXY %w", err), "correct it where the service is started, or give the bridge its proxy"}
}

// unreadable reports whether net/http takes that for no proxy without a word.
func unreadable(value string) bool {
	_, err := url.Parse(value)
	_, err2 := url.Parse("http://" + value)
	return err != nil && err2 != nil
}

// maxAnswer is how long the answer of an HTTP server may be, to its empty line.
const maxAnswer = 32 << 10

// connect has the proxy hand conn on to address.
func (p *proxy) connect(conn net.Conn, address string) (net.Conn, error) {
	address = bare(address)
	request := "CONNECT " + address + " HTTP/1.1\r\nHost: " + address + "\r\n"
	if p.auth != "" {
		request += "Proxy-Authorization: " + p.auth + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		return nil, &Error{Stage: stageProxy, Err: err}
	}
	in := bufio.NewReader(io.LimitReader(conn, maxAnswer))
	answer, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, answerError(err)
	}
	if answer.StatusCode/100 != 2 {
		return nil, p.refused(address, answer)
	}
	if in.Buffered() == 0 {
		return conn, nil
	}
	rest, _ := in.Peek(in.Buffered())
	return &resumed{conn, bytes.Clone(rest)}, nil
}

// answerError says why there is no answer that can be read. What cannot be is
// not repeated.
func answerError(err error) *Error {
	var broken *net.OpError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &Error{stageProxy, fmt.Errorf("it ends the connection without an answer: %w", err), "check that it is an HTTP proxy, and whether it wants TLS (https://)"}
	case errors.As(err, &broken):
		return &Error{Stage: stageProxy, Err: err}
	}
	return &Error{stageProxy, errors.New("its answer is not HTTP"), "check that it is an HTTP proxy"}
}

// refused says why the proxy does not hand the connection on.
func (p *proxy) refused(address string, answer *http.Response) *Error {
	e := &Error{Stage: stageProxy}
	code := answer.StatusCode
	status := strings.TrimSpace(fmt.Sprint(code, " ", http.StatusText(code)))
	switch offers := strings.ToLower(strings.Join(answer.Header.Values("Proxy-Authenticate"), ",")); {
	case code == http.StatusProxyAuthRequired && offers != "" && !strings.Contains(offers, "basic"):
		e.Err = fmt.Errorf("it wants a login of another kind than Basic, the only one there is here (%s)", status)
		e.Remedy = "have it let this machine, or that server, through without"
	case code == http.StatusProxyAuthRequired && p.auth == "":
		e.Err = fmt.Errorf("it wants a user name and a password (%s)", status)
		e.Remedy = "put them into its URL: http://USER:PASSWORD@HOST:PORT"
	case code == http.StatusProxyAuthRequired:
		e.Err = fmt.Errorf("it does not take the user name and password (%s)", status)
		e.Remedy = "correct them in its URL; characters such as @ : / are written %40 %3A %2F there"
	case code >= 500:
		e.Err = fmt.Errorf("it does not reach %s (%s)", address, status)
		e.Remedy = "check the server's address, and that the proxy knows the way"
	default:
		e.Err = fmt.Errorf("it does not hand connections on to %s (%s)", address, status)
		e.Remedy = "have it allow CONNECT to that host and port; many allow no port but 443, where wss:// is"
	}
	return e
}

// resumed is a connection of which something has been read already.
type resumed struct {
	net.Conn
	rest []byte
}

// Read gives what was read first.
func (c *resumed) Read(b []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(b, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}
