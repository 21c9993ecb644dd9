package dial

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOptionsThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name       string
		o          Options
		key, words string
	}{
		{"a proxy that is no URL", Options{Proxy: "proxy:3128"}, "proxy", `neither "env" nor a URL`},
		{"nor with a password", Options{Proxy: "user:s3cr3t@proxy:3128"}, "proxy", "URL"},
		{"nor one that cannot be read", Options{Proxy: "http://user:s3cr3t%@proxy:3128"}, "proxy", "URL"},
		{"of another kind", Options{Proxy: "socks5://user:s3cr3t@proxy"}, "proxy", "scheme socks5; there are http and https"},
		{"with a path", Options{Proxy: "http://user:s3cr3t@proxy/s3cr3t"}, "proxy", "after host and port"},
		{"without a host", Options{Proxy: "http://user:s3cr3t@:3128"}, "proxy", "no host name"},
		{"a source that was meant as IPv4", Options{Source: "192.168.1.300"}, "source", "neither an IP address"},
		{"a source that was meant as IPv6", Options{Source: "fe80:::1"}, "source", "neither an IP address"},
		{"a name that no interface can have", Options{Source: "eth0 "}, "source", "nor a network interface"},
		{"a longer one than they may have", Options{Source: "interface-sixtee"}, "source", "nor a network interface"},
		{"a certificate without a key", Options{Cert: "c.pem"}, "tls.key", "is missing"},
		{"a key without a certificate", Options{Key: "k.pem"}, "tls.cert", "is missing"},
		{"a server name with a port", Options{ServerName: "broker:8883"}, "tls.server_name", "host name alone"},
		{"a server name that is a URL", Options{ServerName: "mqtts://broker"}, "tls.server_name", "host name alone"},
		{"a protocol without a name", Options{ALPN: []string{"mqtt", ""}}, "tls.alpn", "1 to 255"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(c.o)
			var key *KeyError
			if !errors.As(err, &key) || key.Key != c.key {
				t.Fatalf("%v, want one of %s", err, c.key)
			}
			wantWords(t, err, c.words)
		})
	}
	_, err := New(Options{Proxy: "x", Source: "/", Cert: "y", ServerName: "a/b"})
	if all, ok := err.(interface{ Unwrap() []error }); !ok || len(all.Unwrap()) != 4 {
		t.Errorf("not all at once: %v", err)
	}
	for _, source := range []string{"10.1.2.3", "::1", "fe80::1%eth0", "eth0", "eth0.100", "wwan0", "10gbe"} {
		if _, err := New(Options{Source: source}); err != nil {
			t.Error(err)
		}
	}
}

func TestPlainConnections(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		to := listen(t, address, greet)
		wantError(t, reach(t, newDialer(t, Options{}), Server{Address: to}), "")
	}
}

func TestAConnectionThatIsRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	wantError(t, reach(t, newDialer(t, Options{}), Server{Address: ln.Addr().String()}), "connect", "connection refused", "nothing listens")
	proxied := newDialer(t, Options{Proxy: "http://user:s3cr3t@" + ln.Addr().String()})
	wantError(t, reach(t, proxied, Server{Address: "broker.test:1883"}), "proxy", "connection refused", "nothing listens")
}

func TestNamesThatDoNotResolve(t *testing.T) {
	for _, c := range []struct {
		err   net.DNSError
		words string
	}{
		{net.DNSError{Err: "no such host", Name: "broker.test", IsNotFound: true}, "correct the host name"},
		{net.DNSError{Err: "server misbehaving", Name: "broker.test", IsTemporary: true}, "name servers do not answer"},
	} {
		d := newDialer(t, Options{Net: func(_ context.Context, network, address string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: network, Err: &c.err}
		}})
		wantError(t, reach(t, d, Server{Address: "broker.test:1883"}), "connect", "lookup broker.test", c.words)
	}
}

// hangs are the connections whose other end takes everything and says nothing.
var hangs = []struct {
	stage string
	proxy string
	url   string
}{
	{"proxy", "http://user:s3cr3t@proxy", "mqtt://broker"},
	{"proxy", "https://user:s3cr3t@proxy", "mqtt://broker"},
	{"TLS handshake", "", "mqtts://broker"},
	{"WebSocket upgrade", "", "ws://broker"},
}

func TestTheContextBoundsEveryStage(t *testing.T) {
	for _, c := range hangs {
		for _, limit := range []time.Duration{0, time.Minute} { // 0: it is cancelled
			t.Run(c.stage+" "+c.proxy+" "+limit.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					if limit > 0 {
						ctx, cancel = context.WithTimeout(t.Context(), limit)
					}
					defer cancel()
					here, there := net.Pipe()
					end := make(chan struct{})
					go func() {
						defer close(end)
						_, _ = io.Copy(io.Discard, there)
					}()
					d := newDialer(t, Options{Proxy: c.proxy, Net: func(context.Context, string, string) (net.Conn, error) { return here, nil }})
					s, err := Parse(c.url)
					if err != nil {
						t.Fatal(err)
					}
					began := time.Now()
					if limit == 0 {
						go func() {
							synctest.Wait() // until Dial waits for the peer
							cancel()
						}()
					}
					_, err = d.Dial(ctx, s)
					<-end // it is closed
					if !errors.Is(err, ctx.Err()) || time.Since(began) != limit {
						t.Errorf("after %v: %v", time.Since(began), err)
					}
					words := "no answer in time"
					if limit == 0 {
						words = "context canceled"
					}
					wantError(t, err, c.stage, words)
				})
			})
		}
	}
}

func TestTheContextBoundsTheConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		d := newDialer(t, Options{Net: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		_, err := d.Dial(ctx, Server{Address: "broker:1883"})
		wantError(t, err, "connect", "deadline exceeded", "firewall")
	})
}

func TestAnEndedContextGivesNoConnection(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	here, there := net.Pipe()
	defer there.Close()
	d := newDialer(t, Options{Net: func(context.Context, string, string) (net.Conn, error) {
		cancel() // between the stages
		return here, nil
	}})
	conn, err := d.Dial(ctx, Server{Address: "broker:1883"})
	if conn != nil || !errors.Is(err, context.Canceled) {
		t.Error(conn, err)
	}
	if _, err := there.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection was left open: %v", err)
	}
}

func TestErrorsReadAsSentences(t *testing.T) {
	err := error(&Error{Stage: "TLS files", Err: &KeyError{"tls.ca", errors.New("a.pem has no certificate"), "put one there"}})
	if got := err.Error(); got != "TLS files: tls.ca: a.pem has no certificate (put one there)" {
		t.Error(got)
	}
	var key *KeyError
	if !errors.As(err, &key) || strings.Contains((&Error{Stage: "proxy", Err: io.EOF}).Error(), "(") {
		t.Error(err)
	}
}
