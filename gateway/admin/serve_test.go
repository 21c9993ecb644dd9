package admin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestMain fails when a goroutine of ours outlives the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	buf := make([]byte, 1<<20)
	for end := time.Now().Add(2 * time.Second); ; runtime.Gosched() { // those that have just been told to end
		left := ""
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "packetboat/") && !strings.Contains(g, "TestMain") {
				left += g + "\n\n"
			}
		}
		if left == "" {
			break
		}
		if time.Now().After(end) {
			fmt.Fprintf(os.Stderr, "goroutines left:\n%s", left)
			code = 1
			break
		}
	}
	os.Exit(code)
}

// pipes is a listener whose connections are in memory.
type pipes struct {
	conns chan net.Conn
	shut  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.shut:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.shut:
	default:
		close(p.shut)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// serving serves in the bubble; dial gives a connection, stop ends all.
func serving(w *Web) (dial func() net.Conn, stop func() error) {
	ln := &pipes{conns: make(chan net.Conn), shut: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Serve(ctx, ln) }()
	dial = func() net.Conn {
		a, b := net.Pipe()
		ln.conns <- b
		return a
	}
	return dial, func() error { cancel(); return <-ended }
}

func TestWhoIsSlowIsCutOff(t *testing.T) {
	for _, c := range []struct {
		name, sends string
		within      time.Duration
	}{
		{"nothing at all", "", headTime + time.Second},
		{"half a header", "GET / HTTP/1.1\r\nHost: localhost\r\n", headTime + time.Second},
		{"half a body", "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nuser=", readTime + time.Second},
		{"half a body that nobody reads", "POST /v1/purge HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 100\r\n\r\n{", readTime + time.Second},
		{"no second request", "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n", idleTime + time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWeb(t, "127.0.0.1:8580", "ann")
			synctest.Test(t, func(t *testing.T) {
				dial, stop := serving(w.Web)
				conn := dial()
				began := time.Now()
				go func() { _, _ = io.WriteString(conn, c.sends) }()
				_, _ = io.Copy(io.Discard, conn)
				if took := time.Since(began); took > c.within {
					t.Errorf("after %v", took)
				}
				conn.Close()
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestWhoReadsNothingIsCutOff(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580")
	synctest.Test(t, func(t *testing.T) {
		dial, stop := serving(w.Web)
		conn := dial()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		time.Sleep(writeTime + readTime) // of the bubble: at once
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Error(err)
		}
		conn.Close()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestAnAnswerMayTakeLong: beyond the bounds of a request, as long as it goes on.
func TestAnAnswerMayTakeLong(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580")
	const lines = 10
	w.routes = w.hardened(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		for range lines {
			time.Sleep(writeTime - time.Second)
			if err := r.Context().Err(); err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(rw, "line\n")
			_ = http.NewResponseController(rw).Flush()
		}
	}))
	synctest.Test(t, func(t *testing.T) {
		dial, stop := serving(w.Web)
		conn := dial()
		go func() {
			_, _ = io.WriteString(conn, "POST /v1/verify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != strings.Repeat("line\n", lines) {
			t.Errorf("%q, %v", body, err)
		}
		conn.Close()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestALongHeaderIsRefused(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580")
	synctest.Test(t, func(t *testing.T) {
		dial, stop := serving(w.Web)
		conn := dial()
		go func() {
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 4*maxHead)+"\r\n\r\n")
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%v, %v", resp, err)
		}
		conn.Close()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
