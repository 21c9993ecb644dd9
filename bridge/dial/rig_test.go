package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"packetboat/broker/transport/certtest"
)

// patience is for what must happen.
const patience = 20 * time.Second

// secret is in all passwords; no error may have it.
const secret = "s3cr3t"

// listen serves each connection to a new listener until the end of the test.
func listen(t *testing.T, address string, handle func(net.Conn)) (to string) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("no %s here: %v", address, err)
	}
	serve(t, ln, handle)
	return ln.Addr().String()
}

func serve(t *testing.T, ln net.Listener, handle func(net.Conn)) {
	var mu sync.Mutex
	over := false
	var open []net.Conn
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			if open = append(open, conn); over {
				conn.Close()
			}
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		over = true
		for _, c := range open {
			if s, ok := c.(*tls.Conn); ok {
				c = s.NetConn() // at once
			}
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

// greet says hello, and then what it is told.
func greet(conn net.Conn) {
	if _, err := io.WriteString(conn, "hello"); err == nil {
		_, _ = io.Copy(conn, conn)
	}
}

// greeted reads what greet says, and talks with it.
func greeted(conn net.Conn) error {
	b := make([]byte, 5)
	if _, err := io.ReadFull(conn, b); err != nil {
		return err
	}
	if string(b) != "hello" {
		return fmt.Errorf("not the greeting: %q", b)
	}
	if _, err := io.WriteString(conn, "there"); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "there" {
		return fmt.Errorf("not what was said: %q, %w", b, err)
	}
	return nil
}

// reach dials and talks with greet.
func reach(t *testing.T, d *Dialer, s Server) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := d.Dial(ctx, s)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	return greeted(conn)
}

func newDialer(t *testing.T, o Options) *Dialer {
	t.Helper()
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// wantError checks an error of Dial: its stage, words of its text, and that it
// tells no secret. No stage: no error.
func wantError(t *testing.T, err error, stage string, words ...string) {
	t.Helper()
	if stage == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("%v (%T), want one at stage %s", err, err, stage)
		return
	}
	if e.Stage != stage {
		t.Errorf("%v, want it at stage %s", err, stage)
	}
	wantWords(t, err, words...)
}

func wantWords(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v; lacks %q", err, w)
		}
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("%v; tells a secret", err)
	}
}

// authority makes certificates.
type authority struct{ certtest.Pair }

func newAuthority(name string) authority { return authority{certtest.NewAuthority(name)} }

// issue makes a certificate for a host.
func (a authority) issue(host string, changes ...func(*x509.Certificate)) tls.Certificate {
	return a.Issue(host, append([]func(*x509.Certificate){certtest.Hosts(host)}, changes...)...).TLS()
}

func (a authority) file(t testing.TB) string { return writeFile(t, "ca.pem", a.CertPEM()) }

// pairFiles writes a certificate and its key.
func pairFiles(t testing.TB, p certtest.Pair) (cert, key string) {
	return p.Files(t.TempDir(), "client")
}

func writeFile(t testing.TB, name string, b []byte) string {
	if !filepath.IsAbs(name) {
		name = filepath.Join(t.TempDir(), name)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// listenTLS is listen, with TLS.
func listenTLS(t *testing.T, address string, cfg *tls.Config, handle func(net.Conn)) Server {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("no %s here: %v", address, err)
	}
	serve(t, tls.NewListener(ln, cfg), handle)
	return Server{Address: ln.Addr().String(), TLS: true}
}
