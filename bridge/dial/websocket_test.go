package dial

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// listenHTTP serves HTTP, with TLS when cfg is given.
func listenHTTP(t *testing.T, address string, cfg *tls.Config, handle http.HandlerFunc) Server {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("no %s here: %v", address, err)
	}
	s := Server{Address: ln.Addr().String(), WebSocket: true, TLS: cfg != nil}
	if cfg != nil {
		ln = tls.NewListener(ln, cfg)
	}
	var working sync.WaitGroup
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		working.Add(1) // Shutdown does not wait for upgraded connections
		defer working.Done()
		handle(w, r)
	}), ErrorLog: log.New(io.Discard, "", 0)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() {
		server.Close()
		serving.Wait()
		working.Wait()
	})
	return s
}

// upgraded has a handler talk on the WebSocket, until it returns.
func upgraded(t *testing.T, talk func(net.Conn) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/mqtt" {
			http.NotFound(w, r)
			return
		}
		u := ws.HTTPUpgrader{Protocol: func(name string) bool { return name == "mqtt" }}
		conn, _, _, err := u.Upgrade(r, w)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		if err := talk(conn); err != nil {
			t.Errorf("the server: %v", err)
		}
	}
}

// echoFrames sends each message back, until the client closes.
func echoFrames(conn net.Conn) error {
	if err := wsutil.WriteServerBinary(conn, []byte("hello")); err != nil {
		return err
	}
	for {
		b, op, err := wsutil.ReadClientData(conn)
		var closed wsutil.ClosedError
		if errors.As(err, &closed) && closed.Code == ws.StatusNormalClosure {
			return nil
		}
		if err != nil || op != ws.OpBinary {
			return fmt.Errorf("opcode %d: %w", op, err)
		}
		if err := wsutil.WriteServerBinary(conn, b); err != nil {
			return err
		}
	}
}

// webSocketPair gives a connection of Dial's to a server that talks.
func webSocketPair(t *testing.T, talk func(net.Conn) error) net.Conn {
	t.Helper()
	s := listenHTTP(t, "127.0.0.1:0", nil, upgraded(t, talk))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := newDialer(t, Options{}).Dial(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

func TestWebSockets(t *testing.T) {
	ca := newAuthority("Ours")
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		host, _, _ := net.SplitHostPort(address)
		for _, cfg := range []*tls.Config{nil, {Certificates: []tls.Certificate{ca.issue(host)}}} {
			t.Run(fmt.Sprint(address, ", TLS ", cfg != nil), func(t *testing.T) {
				hosts := make(chan string, 1)
				talk := upgraded(t, echoFrames)
				s := listenHTTP(t, address, cfg, func(w http.ResponseWriter, r *http.Request) {
					hosts <- r.Host
					talk(w, r)
				})
				wantError(t, reach(t, newDialer(t, Options{CA: ca.file(t)}), s), "")
				if got := <-hosts; got != s.Address {
					t.Errorf("asked for %s, not %s", got, s.Address)
				}
			})
		}
	}
}

func TestEverythingAtOnce(t *testing.T) {
	ca, devices := newAuthority("Ours"), newAuthority("Devices")
	target := make(chan string, 1)
	talk := upgraded(t, echoFrames)
	s := listenHTTP(t, "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{ca.issue("broker.test")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: devices.Pool(),
	}, func(w http.ResponseWriter, r *http.Request) {
		target <- r.Host + r.RequestURI
		talk(w, r)
	})
	seen := make(chan string, 1)
	p := connector{to: s.Address, auth: "user:s3cr3t"}
	proxy := listenTLS(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.issue("127.0.0.1")}}, func(conn net.Conn) {
		seen <- conn.RemoteAddr().(*net.TCPAddr).IP.String()
		p.serve(conn)
	})
	o := Options{CA: ca.file(t), Proxy: "https://user:s3cr3t@" + proxy.Address, Source: "127.0.0.2"}
	o.Cert, o.Key = pairFiles(t, devices.Issue("gateway"))
	to, err := Parse("wss://broker.test?token=s3cr3t%20")
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, reach(t, newDialer(t, o), to), "")
	if from, asked := <-seen, <-target; from != "127.0.0.2" || asked != "broker.test/mqtt?token=s3cr3t%20" {
		t.Error(from, asked)
	}
	o.Cert, o.Key = "", "" // TLS 1.3 tells during the upgrade
	go func() { <-seen }()
	wantError(t, reach(t, newDialer(t, o), to), "TLS handshake", "client certificate", "tls.cert")
}

func TestUpgradesThatFail(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, secret, code) }
	}
	protocol := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			u := ws.HTTPUpgrader{Protocol: func(string) bool { return false }, Header: http.Header{}}
			if name != "" {
				u.Header.Set("Sec-WebSocket-Protocol", name)
			}
			if conn, _, _, err := u.Upgrade(r, w); err == nil {
				conn.Close()
			}
		}
	}
	for _, c := range []struct {
		name   string
		handle http.HandlerFunc
		words  []string
	}{
		{"404", status(404), []string{`the path "/there" is 404 Not Found`, "correct the path"}},
		{"403", status(403), []string{"403 Forbidden", "allowed"}},
		{"401", status(401), []string{"401 Unauthorized", "allowed"}},
		{"a redirect", status(302), []string{"302 Found", "has moved"}},
		{"a web page", status(200), []string{"200 OK", "web page"}},
		{"a bad gateway", status(502), []string{"502 Bad Gateway", "not well"}},
		{"a status that nobody knows", status(499), []string{`is 499`}},
		{"no subprotocol", protocol(""), []string{"does not choose the subprotocol mqtt", "correct the path"}},
		{"another subprotocol", protocol("chat"), []string{"does not choose the subprotocol mqtt", "correct the path"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := listenHTTP(t, "127.0.0.1:0", nil, c.handle)
			s.target = "/there?token=s3cr3t"
			wantError(t, reach(t, newDialer(t, Options{}), s), "WebSocket upgrade", c.words...)
		})
	}
	for _, c := range []struct{ name, answer, words string }{
		{"an end", "", "without an answer"},
		{"half an answer", "HTTP/1.1 101 Switching Protocols\r\nUpgr", "without an answer"},
		{"no HTTP", "\x20\x02\x00\x05\r\n\r\n", "not HTTP/1.1"},
		{"HTTP/1.0", "HTTP/1.0 400 Bad Request\r\n\r\n", "not HTTP/1.1"},
		{"no WebSocket", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "not that of a WebSocket"},
		{"another's answer", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", "not that of a WebSocket"},
		{"a line without end", "HTTP/1.1 101 " + strings.Repeat("x", maxAnswer), "without an answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := listen(t, "127.0.0.1:0", func(conn net.Conn) {
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, c.answer)
				}
			})
			wantError(t, reach(t, newDialer(t, Options{}), Server{Address: to, WebSocket: true}), "WebSocket upgrade", c.words)
		})
	}
}

func TestFramesRightBehindTheAnswerAreNotLost(t *testing.T) {
	for _, n := range []int{1, 100, 20_000} {
		long := bytes.Repeat([]byte{'x'}, n)
		to := listen(t, "127.0.0.1:0", func(conn net.Conn) {
			var answer bytes.Buffer
			u := ws.Upgrader{Protocol: func(b []byte) bool { return string(b) == "mqtt" }}
			if _, err := u.Upgrade(struct {
				io.Reader
				io.Writer
			}{conn, &answer}); err != nil {
				t.Error(err)
			}
			_ = ws.WriteFrame(&answer, ws.NewBinaryFrame([]byte("hello")))
			_ = ws.WriteFrame(&answer, ws.NewBinaryFrame(long))
			_, _ = conn.Write(answer.Bytes()) // in one piece
			_, _ = io.Copy(io.Discard, conn)
		})
		conn, err := newDialer(t, Options{}).Dial(t.Context(), Server{Address: to, WebSocket: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		got := make([]byte, 5+n)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello"+string(long) {
			t.Errorf("%d bytes: %.20q, %v", n, got, err)
		}
	}
}

func TestFragmentsAndControlFrames(t *testing.T) {
	conn := webSocketPair(t, func(conn net.Conn) error {
		first, middle, last := ws.NewBinaryFrame([]byte("he")), ws.NewFrame(ws.OpContinuation, false, []byte("ll")), ws.NewFrame(ws.OpContinuation, true, []byte("o"))
		first.Header.Fin = false
		for _, f := range []ws.Frame{first, ws.NewPingFrame([]byte("are you")), middle, ws.NewPongFrame([]byte("unasked")), ws.NewPingFrame(nil), last, ws.NewBinaryFrame(nil)} {
			if err := ws.WriteFrame(conn, f); err != nil {
				return err
			}
		}
		for _, want := range []string{"are you", ""} {
			h, payload, err := readFrame(conn)
			if err != nil || h.OpCode != ws.OpPong || string(payload) != want {
				return fmt.Errorf("%+v %q, not a pong with %q: %w", h, payload, want, err)
			}
		}
		return echoFrames(conn)
	})
	b := make([]byte, 5)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	wantError(t, greeted(conn), "")
	conn.Close() // echoFrames wants to hear of it
}

func TestTheEndOfAWebSocket(t *testing.T) {
	for _, c := range []struct {
		name   string
		sent   []byte
		want   error // that the reader's is, nil: another
		words  string
		answer ws.StatusCode
	}{
		{"a close frame", ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, ""))), io.EOF, "EOF", 1000},
		{"an empty close frame", ws.MustCompileFrame(ws.NewCloseFrame(nil)), io.EOF, "EOF", 1000},
		{"a close frame with a reason", ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1008, "no"))), io.EOF, `1008 "no"`, 1008},
		{"a text frame", ws.MustCompileFrame(ws.NewTextFrame([]byte("x"))), nil, "text frame", 1003},
		{"a breach", ws.MustCompileFrame(ws.NewPingFrame(make([]byte, 126))), nil, "too long", 1002},
		{"no close frame", nil, io.EOF, "EOF", 0},
		{"the end within a header", []byte{0x82}, io.ErrUnexpectedEOF, "EOF", 0},
		{"the end within a frame", []byte{0x82, 2, 'x'}, io.ErrUnexpectedEOF, "EOF", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			answers := make(chan ws.StatusCode, 1)
			conn := webSocketPair(t, func(conn net.Conn) error {
				if _, err := conn.Write(append(ws.MustCompileFrame(ws.NewBinaryFrame([]byte("last"))), c.sent...)); err != nil || c.answer == 0 {
					return err
				}
				h, payload, err := readFrame(conn)
				if err != nil || h.OpCode != ws.OpClose {
					return fmt.Errorf("%+v, %w", h, err)
				}
				code, _ := ws.ParseCloseFrameData(payload)
				answers <- code
				return nil
			})
			b, err := readUntilEnd(conn)
			if !strings.HasPrefix("last"+"x", string(b)) || len(b) < 4 {
				t.Errorf("%q", b)
			}
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if _, again := conn.Read(make([]byte, 1)); fmt.Sprint(again) != fmt.Sprint(err) && c.answer != 0 {
				t.Errorf("then %v", again)
			}
			if c.answer == 0 {
				return
			}
			if got := <-answers; got != c.answer {
				t.Errorf("answered with %d", got)
			}
			if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("written after the close frame: %v", err)
			}
		})
	}
}

func readUntilEnd(conn net.Conn) (all []byte, err error) {
	b := make([]byte, 3)
	for err == nil {
		var n int
		n, err = conn.Read(b)
		all = append(all, b[:n]...)
	}
	return all, err
}

func TestPongsDoNotInterleaveWithWrites(t *testing.T) {
	const many = 300
	conn := webSocketPair(t, func(conn net.Conn) error {
		var pinging sync.WaitGroup
		defer pinging.Wait()
		pinging.Go(func() {
			for i := range many {
				if ws.WriteFrame(conn, ws.NewPingFrame([]byte(fmt.Sprint(i)))) != nil {
					return
				}
			}
			_ = ws.WriteFrame(conn, ws.NewBinaryFrame([]byte("end")))
		})
		for pongs, bytes := 0, 0; pongs < many || bytes < many*1000; {
			h, payload, err := readFrame(conn)
			switch {
			case err != nil:
				return err
			case h.OpCode == ws.OpPong && string(payload) == fmt.Sprint(pongs):
				pongs++
			case h.OpCode == ws.OpBinary && len(payload) == 1000:
				bytes += 1000
			default:
				return fmt.Errorf("%+v %q", h, payload)
			}
		}
		return nil
	})
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		for range many {
			if n, err := conn.Write(make([]byte, 1000)); n != 1000 || err != nil {
				t.Error(n, err)
				return
			}
		}
	})
	b := make([]byte, 3)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "end" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestDeadlinesPassThrough(t *testing.T) {
	conn := webSocketPair(t, func(conn net.Conn) error {
		if _, _, err := wsutil.ReadClientData(conn); err != nil { // the client's time has passed
			return err
		}
		return echoFrames(conn)
	})
	_ = conn.SetReadDeadline(time.Unix(1, 0))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	_ = conn.SetWriteDeadline(time.Unix(1, 0))
	if n, err := conn.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(n, err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience)) // nothing is lost
	if _, err := conn.Write([]byte("go on")); err != nil {
		t.Fatal(err)
	}
	wantError(t, greeted(conn), "")
	conn.Close()
}

// counted counts what arrives at a connection, and takes no more than it may.
type counted struct {
	net.Conn
	writes [][]byte
	takes  int // bytes of the next Write, -1: all
}

func (c *counted) Write(b []byte) (int, error) {
	if c.takes >= 0 && c.takes < len(b) {
		return c.takes, os.ErrDeadlineExceeded
	}
	c.writes = append(c.writes, bytes.Clone(b))
	return len(b), nil
}

func (c *counted) SetWriteDeadline(time.Time) error { return nil }
func (c *counted) Close() error                     { return nil }

func TestOneWriteIsOneFrame(t *testing.T) {
	below := &counted{takes: -1}
	c := newWebSocket(below)
	masks := map[[4]byte]bool{}
	for i, n := range []int{0, 1, 200, 70_000, 3} {
		if got, err := c.Write(make([]byte, n)); got != n || err != nil {
			t.Error(got, err)
		}
		if len(below.writes) != i {
			t.Fatalf("%d writes for %d", len(below.writes), i)
		}
		if i == 0 {
			continue // of nothing there is no frame
		}
		h, payload, err := readFrame(bytes.NewReader(below.writes[i-1]))
		if err != nil || len(payload) != n {
			t.Error(len(payload), err)
		}
		masks[h.Mask] = true
	}
	if len(masks) != 4 {
		t.Errorf("%d masks for 4 frames", len(masks))
	}
	if cap(c.out) > maxKept {
		t.Errorf("keeps %d bytes", cap(c.out))
	}
}

func TestAFrameThatLeftInPartIsTheLast(t *testing.T) {
	below := &counted{takes: 10} // 6 of header
	c := newWebSocket(below)
	if n, err := c.Write(make([]byte, 50)); n != 4 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(n, err)
	}
	below.takes = -1
	if n, err := c.Write([]byte("x")); n != 0 || err == nil {
		t.Error(n, err)
	}
	if err := c.Close(); err != nil || len(below.writes) > 0 {
		t.Errorf("%v, %x", err, below.writes)
	}
}

func TestCloseReleasesAWriteThatIsStuck(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	c := newWebSocket(here)
	stuck := make(chan error)
	go func() {
		_, err := c.Write([]byte("packet"))
		stuck <- err
	}()
	if _, err := there.Read(make([]byte, 3)); err != nil { // it is in the middle of it
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-stuck; !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
