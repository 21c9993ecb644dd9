package dial

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/gobwas/ws"
)

const subprotocol = "mqtt" // [MQTT-6.0.0-3]

// upgrading is a connection during the upgrade, when what is read has a bound:
// the upgrader has none of its own, for a line neither.
type upgrading struct {
	io.Reader
	io.Writer
}

// upgrade makes conn a WebSocket.
func upgrade(conn net.Conn, s Server) (net.Conn, error) {
	target := s.target
	if target == "" {
		target = defaultPath
	}
	u, err := url.ParseRequestURI(target)
	if err != nil { // and it quotes the query
		return nil, &Error{Stage: stageUpgrade, Err: errors.New("the URL's path cannot be asked for")}
	}
	how := ws.Dialer{Protocols: []string{subprotocol}, Host: hostHeader(s)}
	early, hs, err := how.Upgrade(upgrading{io.LimitReader(conn, maxAnswer), conn}, u)
	if err == nil && hs.Protocol != subprotocol {
		err = ws.ErrHandshakeBadSubProtocol // none was chosen
	}
	if err != nil {
		return nil, upgradeError(u.Path, err)
	}
	c := newWebSocket(conn)
	if early != nil {
		b, _ := early.Peek(early.Buffered())
		c.early = bytes.Clone(b)
		ws.PutReader(early)
	}
	return c, nil
}

// hostHeader is how HTTP names the server: with the port if it is another one
// than the scheme has.
func hostHeader(s Server) string {
	address := bare(s.Address)
	if s.TLS {
		return strings.TrimSuffix(address, ":443")
	}
	return strings.TrimSuffix(address, ":80")
}

// upgradeError says why there is no WebSocket at that path.
func upgradeError(path string, err error) error {
	var told *Error
	if errors.As(err, &told) { // of TLS
		return told
	}
	e := &Error{Stage: stageUpgrade, Err: err}
	var status ws.StatusError
	switch {
	case errors.As(err, &status):
		e.Err = fmt.Errorf("the answer for the path %q is %s", path, strings.TrimSpace(fmt.Sprint(int(status), " ", http.StatusText(int(status)))))
		e.Remedy = statusRemedy(int(status))
	case errors.Is(err, ws.ErrHandshakeBadSubProtocol):
		e.Err = fmt.Errorf("the server does not choose the subprotocol mqtt at the path %q", path)
		e.Remedy = "there is something else than MQTT: correct the path in the URL"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.Err = fmt.Errorf("the server ends the connection without an answer: %w", err)
		e.Remedy = remedyNoHTTP
	case errors.Is(err, ws.ErrMalformedResponse), errors.Is(err, ws.ErrHandshakeBadProtocol):
		e.Err = errors.New("the server's answer is not HTTP/1.1")
		e.Remedy = remedyNoHTTP
	case errors.Is(err, ws.ErrHandshakeBadUpgrade), errors.Is(err, ws.ErrHandshakeBadConnection), errors.Is(err, ws.ErrHandshakeBadSecAccept), errors.Is(err, ws.ErrHandshakeBadExtensions):
		e.Err = fmt.Errorf("the server's answer is not that of a WebSocket: %w", err)
		e.Remedy = "something in between may not let WebSockets through"
	}
	return e
}

const remedyNoHTTP = "check that the port is one of WebSocket, and with TLS exactly when the URL is wss://; mqtt:// and mqtts:// are without WebSocket"

func statusRemedy(status int) string {
	switch {
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return "correct the path in the URL: brokers have their WebSocket at /mqtt, at / or somewhere of their own"
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return "the server lets nobody in there: correct the path or the query in the URL, or have this machine allowed"
	case status/100 == 3:
		return "it has moved: put its new place into the URL"
	case status == http.StatusBadRequest, status == http.StatusUpgradeRequired, status/100 == 2:
		return "the path may be that of a web page, and something in between may not let WebSockets through"
	case status/100 == 5:
		return "the server, or the broker behind it, is not well: try again, look there"
	}
	return ""
}
