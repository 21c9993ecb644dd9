package tcp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/adapters"
	"packetboat/broker/transport/certtest"
	"packetboat/config"
)

// authority signs certificates, into files of dir.
type authority struct {
	certtest.Pair
	t   *testing.T
	dir string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{certtest.NewAuthority("authority"), t, t.TempDir()}
	a.Files(a.dir, "ca")
	return a
}

// file is the path of NAME.crt or NAME.key.
func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) issue(name, cn string) {
	a.Issue(cn, certtest.Hosts("device.test", "127.0.0.1")).Files(a.dir, name)
}

// client is the TLS configuration of a device; with a certificate when name is
// given.
func (a *authority) client(name string) *tls.Config {
	a.t.Helper()
	cfg := &tls.Config{RootCAs: a.Pool(), ServerName: "127.0.0.1"}
	if name != "" {
		pair, err := tls.LoadX509KeyPair(a.file(name+".crt"), a.file(name+".key"))
		if err != nil {
			a.t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg
}

func (a *authority) listening() config.TCPTLS {
	return config.TCPTLS{Cert: a.file("server.crt"), Key: a.file("server.key"), ClientCert: "optional"}
}

// awaitRefused waits until so many connections were refused.
func (f *fixture) awaitRefused(t *testing.T, want uint64) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for f.Stats().Refused != want {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d refused, not %d", f.Stats().Refused, want)
		}
	}
}

func TestDevicesConnectByTLS(t *testing.T) {
	ca := newAuthority(t)
	ca.issue("server", "gateway")
	f := start(t, func(o *Options) { o.TLS, o.Stream.Ack = ca.listening(), []byte("OK\n") })
	c, err := tls.Dial("tcp", f.Addr().String(), ca.client(""))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "hello\nworld\n")
	for _, want := range []string{"hello", "world"} {
		if m := <-f.broker.c; string(m.Payload) != want || m.Topic != "gw/dev/127.0.0.1" {
			t.Fatalf("%s %q", m.Topic, m.Payload)
		}
	}
	c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "OK\nOK\n" {
		t.Fatalf("%q, %v", got, err)
	}

	plain := f.dial(t)
	io.WriteString(plain, "hello\n")
	if b, _ := io.ReadAll(plain); strings.Contains(string(b), "OK") {
		t.Error("somebody without TLS is served")
	}
	f.awaitRefused(t, 1)
	if n := f.Stats().Opened; n != 1 {
		t.Errorf("%d opened", n)
	}
}

func TestARenewedCertificateCountsFromTheNextConnection(t *testing.T) {
	ca := newAuthority(t)
	ca.issue("server", "first")
	f := start(t, func(o *Options) { o.TLS = ca.listening() })
	seen := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", f.Addr().String(), ca.client(""))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if cn := seen(); cn != "first" {
		t.Fatal(cn)
	}
	ca.issue("server", "second, with a longer name")
	if cn := seen(); cn != "second, with a longer name" {
		t.Fatal(cn)
	}
	if err := os.WriteFile(ca.file("server.key"), []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if cn := seen(); cn != "second, with a longer name" {
		t.Fatal(cn)
	}
	ca.issue("server", "third")
	if cn := seen(); cn != "third" {
		t.Fatal(cn)
	}
}

func TestWhatCannotBeListenedOnWithoutItsFilesIsTriedAgain(t *testing.T) {
	ca := newAuthority(t)
	a, err := NewAdapter(Options{Listen: "127.0.0.1:0", TLS: ca.listening(), Stream: adapters.Options{
		Name: "dev", Topic: tmpl(t, "x"), Broker: broker{nil}, Disk: disk{}, Jitter: func() time.Duration { return time.Millisecond },
	}})
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	once := sync.OnceFunc(func() { close(up) })
	a.listen = func(ctx context.Context, address string) (net.Listener, error) {
		once()
		return adapters.ListenTCP(ctx, address)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = a.Run(ctx) })
	<-a.Tried()
	select {
	case <-up:
		t.Error("it listens without its certificate")
	default:
	}
	ca.issue("server", "gateway")
	<-up
	stop()
	wg.Wait()
}

func TestClientCertificates(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	for name, cn := range map[string]string{"server": "gateway", "pump": "pump/7", "nameless": ""} {
		ca.issue(name, cn)
	}
	other.issue("stranger", "pump/7")
	for _, tt := range []struct {
		mode   string
		device *tls.Config
		want   string // the topic; "": refused
	}{
		{"optional", ca.client(""), "gw/dev/127.0.0.1"},
		{"optional", ca.client("pump"), "gw/dev/127.0.0.1"},
		{"required", ca.client("pump"), "gw/dev/127.0.0.1"},
		{"required", ca.client(""), ""},
		{"required", &tls.Config{RootCAs: ca.client("").RootCAs, ServerName: "127.0.0.1", Certificates: other.client("stranger").Certificates}, ""},
		{"username", ca.client("pump"), "gw/dev/pump_7"},
		{"username", ca.client("nameless"), ""},
		{"username", ca.client(""), ""},
	} {
		f := start(t, func(o *Options) {
			o.TLS = ca.listening()
			o.TLS.ClientCA, o.TLS.ClientCert = ca.file("ca.crt"), tt.mode
		})
		conn := f.dial(t)
		c := tls.Client(conn, tt.device)
		io.WriteString(c, "x\n") // with TLS 1.3 this end believes that all is well
		if tt.want == "" {
			f.awaitRefused(t, 1)
		} else if m := <-f.broker.c; m.Topic != tt.want {
			t.Errorf("%s: %s", tt.mode, m.Topic)
		}
		c.Close()
		f.stop()
	}
}

// device is a device that is called.
func device(t *testing.T, secure *tls.Config) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if secure != nil {
		ln = tls.NewListener(ln, secure)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func TestADeviceIsCalledAgainAfterEachCut(t *testing.T) {
	ca := newAuthority(t)
	ca.issue("server", "device")
	ca.issue("gateway", "gateway")
	mutual := ca.client("server")
	mutual.ClientCAs, mutual.ClientAuth, mutual.NextProtos = mutual.RootCAs, tls.RequireAndVerifyClientCert, []string{"x/1"}
	for _, tt := range []struct {
		name string
		ln   net.Listener
		tls  config.TCPTLS
	}{
		{"in the clear", device(t, nil), config.TCPTLS{}},
		{"over TLS, by its address", device(t, ca.client("server")), config.TCPTLS{CA: ca.file("ca.crt")}},
		{"over TLS, by another name, with a certificate of our own", device(t, mutual),
			config.TCPTLS{CA: ca.file("ca.crt"), ServerName: "device.test", Cert: ca.file("gateway.crt"), Key: ca.file("gateway.key"), ALPN: []string{"x/1"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, port, _ := net.SplitHostPort(tt.ln.Addr().String())
			f := call(t, tt.ln.Addr().String(), func(o *Options) { o.TLS, o.Stream.Topic = tt.tls, tmpl(t, "gw/{remote}/{port}") })
			for i := range 5 {
				c, err := tt.ln.Accept()
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(c, "line %d\nhalf", i)
				if m := <-f.broker.c; string(m.Payload) != fmt.Sprint("line ", i) || m.Topic != "gw/127.0.0.1/"+port {
					t.Fatalf("%s %q", m.Topic, m.Payload)
				}
				c.Close()
			}
			c, err := tt.ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			f.command("on")
			if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "on\n" {
				t.Fatalf("%q, %v", line, err)
			}
			if !f.Stats().Ready {
				t.Error("not ready")
			}
			f.stop()
			if st := f.Stats(); st.Ready || st.Opened != 6 || st.Frame.Frames != 5 {
				t.Errorf("%+v", st)
			}
		})
	}
}

func TestWhatKeepsADeviceFromBeingCalledIsSaid(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	ca.issue("server", "device")
	plain := device(t, nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := plain.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "hello, I am a scale\r\n")
			c.Close()
		}
	})
	secure := device(t, ca.client("server"))
	wg.Go(func() {
		for {
			c, err := secure.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			c.Close()
		}
	})
	closed := device(t, nil)
	closed.Close()
	for _, tt := range []struct {
		ln   net.Listener
		tls  config.TCPTLS
		want string
	}{
		{closed, config.TCPTLS{}, "connection refused"},
		{plain, config.TCPTLS{CA: ca.file("ca.crt")}, "does not speak TLS"},
		{secure, config.TCPTLS{CA: other.file("ca.crt")}, "must be in tls.ca"},
		{secure, config.TCPTLS{CA: ca.file("ca.crt"), ServerName: "other.test"}, "give one of its names as tls.server_name"},
		{secure, config.TCPTLS{CA: ca.file("none.crt")}, "tls.ca: "},
	} {
		a, err := NewAdapter(Options{Connect: tt.ln.Addr().String(), TLS: tt.tls, Stream: adapters.Options{Topic: tmpl(t, "x")}})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := a.call(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q is missing in: %v", tt.want, err)
		}
	}
	plain.Close()
	secure.Close()
	wg.Wait()
}

func TestTLSFilesThatCannotBeUsedAreNamed(t *testing.T) {
	ca := newAuthority(t)
	ca.issue("server", "gateway")
	ca.issue("other", "other")
	for name, text := range map[string]string{"text": "nothing", "locked.key": "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"} {
		if err := os.WriteFile(ca.file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := ca.file("server.crt"), ca.file("server.key")
	for _, tt := range []struct {
		tls       config.TCPTLS
		connect   string
		key, want string
	}{
		{config.TCPTLS{Cert: cert, Key: key, ClientCA: ca.file("ca.crt")}, "", "", ""},
		{config.TCPTLS{}, "", "", ""},
		{config.TCPTLS{Cert: ca.file("none"), Key: key}, "", "tls.cert", "put the file there"},
		{config.TCPTLS{Cert: cert, Key: ca.file("none")}, "", "tls.key", "put the file there"},
		{config.TCPTLS{Cert: cert, Key: ca.dir}, "", "tls.key", "is a directory"},
		{config.TCPTLS{Cert: ca.file("text"), Key: key}, "", "tls.cert", "PEM form"},
		{config.TCPTLS{Cert: cert, Key: ca.file("text")}, "", "tls.key", "has no private key"},
		{config.TCPTLS{Cert: cert, Key: ca.file("locked.key")}, "", "tls.key", "passphrase"},
		{config.TCPTLS{Cert: cert, Key: ca.file("other.key")}, "", "tls.key", "is not the key of"},
		{config.TCPTLS{Cert: cert, Key: key, ClientCA: ca.file("text")}, "", "tls.client_ca", "has no certificate"},
		{config.TCPTLS{CA: ca.file("text")}, "h:1", "tls.ca", "has no certificate"},
		{config.TCPTLS{ServerName: "x"}, "h:1", "", ""},
	} {
		err := CheckFiles(config.TCP{TLS: tt.tls, Connect: tt.connect})
		var e *adapters.KeyError
		switch {
		case tt.key == "":
			if err != nil {
				t.Error(err)
			}
		case !errors.As(err, &e) || e.Key != tt.key || !strings.Contains(err.Error(), tt.want):
			t.Errorf("want %s: …%s…, got %v", tt.key, tt.want, err)
		}
	}
}

// TestAHandshakeIsBoundedInTime: a peer that sends a byte now and then holds its
// place for 10 s.
func TestAHandshakeIsBoundedInTime(t *testing.T) {
	ca := newAuthority(t)
	ca.issue("server", "gateway")
	synctest.Test(t, func(t *testing.T) {
		a, err := NewAdapter(Options{Listen: ":0", TLS: ca.listening(), Stream: adapters.Options{Topic: tmpl(t, "x"), Broker: broker{nil}, Disk: disk{}}})
		if err != nil {
			t.Fatal(err)
		}
		peer, ours := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() { // the beginning of a ClientHello, and then zeros
			peer.Write([]byte{22, 3, 1, 1, 0, 1, 0, 0, 250})
			for {
				time.Sleep(time.Second)
				if _, err := peer.Write([]byte{0}); err != nil {
					return
				}
			}
		})
		began := time.Now()
		if err := a.serve(t.Context(), ours, ""); err == nil || !strings.Contains(err.Error(), "takes too long") {
			t.Error(err)
		}
		if d := time.Since(began); d != handshakeTimeout {
			t.Errorf("after %v", d)
		}
		wg.Wait()
		if a.Stats().Refused != 1 {
			t.Errorf("%+v", a.Stats())
		}
	})
}
