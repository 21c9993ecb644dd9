package dial

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// connector is a proxy: it hands all connections on to one place, whatever
// their target is.
type connector struct {
	to      string
	auth    string // USER:PASSWORD that it wants
	answer  string // in place of its own
	rest    string // what comes in one piece with its own
	targets chan string
}

func (p *connector) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	if p.targets != nil {
		p.targets <- r.Method + " " + r.RequestURI + " " + r.Host
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.auth))
	switch {
	case p.answer != "":
		// One that repeats what it was told is not repeated.
		fmt.Fprintf(conn, "%s", strings.ReplaceAll(p.answer, "AUTH", r.Header.Get("Proxy-Authorization")+secret))
		return
	case p.auth != "" && r.Header.Get("Proxy-Authorization") != want:
		_, _ = io.WriteString(conn, "HTTP/1.1 407 s3cr3t\r\nProxy-Authenticate: Basic realm=\"s3cr3t\"\r\nContent-Length: 6\r\n\r\ns3cr3t")
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"+p.rest)
	if p.to == "" {
		_, _ = io.Copy(conn, in)
		return
	}
	there, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(conn, there)
		conn.Close()
	})
	_, _ = io.Copy(there, in)
	there.Close()
	back.Wait()
}

func TestProxies(t *testing.T) {
	ca := newAuthority("Ours")
	plain := listen(t, "127.0.0.1:0", greet)
	// The certificate is for the name that only the proxy can resolve.
	over := listenTLS(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.issue("broker.test")}}, greet)
	forProxy := &tls.Config{Certificates: []tls.Certificate{ca.issue("127.0.0.1")}}
	for _, c := range []struct {
		name   string
		user   string // in the proxy's URL
		secure bool   // https://
		proxy  connector
		s      Server
	}{
		{"to a plain server", "", false, connector{to: plain}, Server{Address: "broker.test:1883"}},
		{"with a password", "user:s3cr3t@", false, connector{to: plain, auth: "user:s3cr3t"}, Server{Address: "broker.test:1883"}},
		{"with one that needs escapes", "us%40er:s3cr3t%3A%2F@", false, connector{to: plain, auth: "us@er:s3cr3t:/"}, Server{Address: "broker.test:1883"}},
		{"to a server with TLS", "", false, connector{to: over.Address}, Server{Address: "broker.test:8883", TLS: true}},
		{"to an address of IPv6", "", false, connector{to: plain}, Server{Address: "[fe80::1%eth0]:1883"}},
		{"with TLS to a plain server", "user:s3cr3t@", true, connector{to: plain, auth: "user:s3cr3t"}, Server{Address: "broker.test:1883"}},
		{"with TLS to a server with TLS", "", true, connector{to: over.Address}, Server{Address: "broker.test:8883", TLS: true}},
		{"whose answer brings more", "", false, connector{rest: "hello"}, Server{Address: "broker.test:1883"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.proxy.targets = make(chan string, 1)
			o := Options{CA: ca.file(t)}
			if c.secure {
				o.Proxy = "https://" + c.user + listenTLS(t, "127.0.0.1:0", forProxy, c.proxy.serve).Address
			} else {
				o.Proxy = "http://" + c.user + listen(t, "127.0.0.1:0", c.proxy.serve)
			}
			wantError(t, reach(t, newDialer(t, o), c.s), "")
			to := strings.Replace(c.s.Address, "%eth0", "", 1)
			if got := <-c.proxy.targets; got != "CONNECT "+to+" "+to {
				t.Error(got)
			}
		})
	}
}

func TestProxiesThatDoNot(t *testing.T) {
	for _, c := range []struct {
		name  string
		user  string
		proxy connector
		words []string
	}{
		{"a password is wanted", "", connector{auth: "user:s3cr3t"}, []string{"wants a user name and a password (407 Proxy", "put them into its URL"}},
		{"another password is wanted", "user:s3cr3t@", connector{auth: "user:other"}, []string{"does not take the user name", "correct them", "%40"}},
		{"another login is wanted", "user:s3cr3t@", connector{answer: "HTTP/1.1 407 AUTH\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Negotiate\r\n\r\n"}, []string{"another kind than Basic"}},
		{"the target is not allowed", "user:s3cr3t@", connector{answer: "HTTP/1.1 403 AUTH\r\n\r\nAUTH"}, []string{"broker.test:8883 (403 Forbidden)", "allow CONNECT", "443"}},
		{"there is no CONNECT", "user:s3cr3t@", connector{answer: "HTTP/1.1 405 AUTH\r\n\r\n"}, []string{"(405 Method Not Allowed)", "allow CONNECT"}},
		{"the target is not reached", "user:s3cr3t@", connector{answer: "HTTP/1.0 502 AUTH\r\n\r\n"}, []string{"does not reach broker.test:8883 (502 Bad Gateway)"}},
		{"a status that nobody knows", "user:s3cr3t@", connector{answer: "HTTP/1.1 599 AUTH\r\n\r\n"}, []string{"(599)"}},
		{"no HTTP", "user:s3cr3t@", connector{answer: "AUTH\r\n\r\n"}, []string{"answer is not HTTP"}},
		{"a header that is none", "user:s3cr3t@", connector{answer: "HTTP/1.1 200 OK\r\nAUTH\r\n\r\n"}, []string{"answer is not HTTP"}},
		{"an answer without end", "user:s3cr3t@", connector{answer: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: AUTH\r\n", maxAnswer)}, []string{"without an answer"}},
		{"an end", "user:s3cr3t@", connector{answer: "HTTP/1.1 200"}, []string{"without an answer", "HTTP proxy", "https://"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := Options{Proxy: "http://" + c.user + listen(t, "127.0.0.1:0", c.proxy.serve)}
			wantError(t, reach(t, newDialer(t, o), Server{Address: "broker.test:8883", TLS: true}), "proxy", c.words...)
		})
	}
}

func TestProxiesAreVerified(t *testing.T) {
	ours, other := newAuthority("Ours"), newAuthority("Other")
	for _, c := range []struct {
		name  string
		cert  tls.Certificate
		words []string
	}{
		{"another authority", other.issue("127.0.0.1"), []string{"certificate: ", `"CN=Other"`, "beside the server's"}},
		{"another name", ours.issue("proxy.test"), []string{"certificate: ", "for proxy.test, not for 127.0.0.1", "in the proxy's URL"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := listenTLS(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c.cert}}, (&connector{}).serve).Address
			o := Options{Proxy: "https://user:s3cr3t@" + to, CA: ours.file(t)}
			wantError(t, reach(t, newDialer(t, o), Server{Address: "broker.test:1883"}), "proxy", c.words...)
		})
	}
	o := Options{Proxy: "https://" + listen(t, "127.0.0.1:0", greet)}
	wantError(t, reach(t, newDialer(t, o), Server{Address: "broker.test:1883"}), "proxy", "the proxy does not speak TLS", "http://")
}

// The environment is read once in a process, so each test of it is one: this
// runs itself with CHILD set to what it has to find.
func TestTheEnvironmentNamesTheProxy(t *testing.T) {
	if words, child := os.LookupEnv("CHILD"); child {
		environmentChild(t, words)
		return
	}
	good := connector{to: listen(t, "127.0.0.1:0", greet), auth: "user:s3cr3t"}
	proxy := "http://user:s3cr3t@" + listen(t, "127.0.0.1:0", good.serve)
	for _, c := range []struct{ name, value, words string }{
		{"a proxy", proxy, ""},
		{"a proxy without a scheme", strings.TrimPrefix(proxy, "http://"), ""},
		{"of another kind", "socks5://user:s3cr3t@proxy.test", "HTTPS_PROXY has the scheme socks5"},
		{"no URL", "http://user:s3cr3t%@proxy.test", "HTTPS_PROXY is not a URL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestTheEnvironmentNamesTheProxy$", "-test.v")
			cmd.Env = []string{"GORACE=atexit_sleep_ms=0", "CHILD=" + c.words, "HTTPS_PROXY=" + c.value, "NO_PROXY=direct.test,.here.test,10.0.0.0/8,port.test:8883"}
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func environmentChild(t *testing.T, words string) {
	var dialled string
	direct := errors.New("not through the proxy")
	d := newDialer(t, Options{Proxy: "env", Net: func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled = address
		if strings.Contains(os.Getenv("HTTPS_PROXY"), address) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		return nil, direct
	}})
	if words != "" {
		wantError(t, reach(t, d, Server{Address: "broker.test:1883"}), "proxy", words, "the bridge its proxy")
		return
	}
	for _, address := range []string{"broker.test:1883", "port.test:1883", "11.0.0.1:1883"} {
		wantError(t, reach(t, d, Server{Address: address}), "")
	}
	for _, address := range []string{"direct.test:1883", "a.here.test:443", "10.1.2.3:1883", "port.test:8883", "localhost:1883", "[::1]:1883"} {
		if err := reach(t, d, Server{Address: address}); !errors.Is(err, direct) || dialled != address {
			t.Errorf("%s: %v, dialled %s", address, err, dialled)
		}
	}
}
