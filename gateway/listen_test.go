package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"golang.org/x/sys/unix"

	"packetboat/broker/transport/certtest"
)

// CONNECT of MQTT 5.0 with a clean start, an identifier that the server gives,
// and PINGREQ.
const connectBytes = "\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00"

// served has a client connect and ping over nc.
func served(nc net.Conn) error {
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(nc, connectBytes+"\xc0\x00"); err != nil {
		return err
	}
	head := make([]byte, 2)
	if _, err := io.ReadFull(nc, head); err != nil {
		return err
	}
	rest := make([]byte, head[1]+2)
	if _, err := io.ReadFull(nc, rest); err != nil {
		return err
	}
	if head[0] != 0x20 || rest[1] != 0 || string(rest[len(rest)-2:]) != "\xd0\x00" {
		return fmt.Errorf("% x % x is no CONNACK with success and PINGRESP", head, rest)
	}
	return nil
}

// framed is a client's end of a WebSocket.
type framed struct {
	net.Conn
	r io.Reader
}

func (f framed) Write(b []byte) (int, error) { return len(b), wsutil.WriteClientBinary(f.Conn, b) }
func (f framed) Read(b []byte) (int, error)  { return f.r.Read(b) }

// overWebSocket upgrades.
func overWebSocket(nc net.Conn) (net.Conn, error) {
	d := ws.Dialer{Protocols: []string{"mqtt"}, NetDial: func(context.Context, string, string) (net.Conn, error) { return nc, nil }}
	if _, _, _, err := d.Dial(context.Background(), "ws://gateway/mqtt"); err != nil {
		return nil, err
	}
	pr, pw := io.Pipe()
	go func() {
		for {
			b, err := wsutil.ReadServerBinary(nc)
			if err != nil {
				pw.CloseWithError(err)
				return
			}
			if _, err := pw.Write(b); err != nil {
				return
			}
		}
	}()
	return framed{nc, pr}, nil
}

var addressLogged = regexp.MustCompile(`msg=listening address=(\S+)|listening address=(\S+)`)

// addresses are those that the log names, in order.
func (r *running) addresses() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range addressLogged.FindAllStringSubmatch(r.log.String(), -1) {
		all = append(all, m[1]+m[2])
	}
	return all
}

// passedListener is a socket as systemd has it: open, and a file.
func passedListener(t *testing.T, network, address string) *os.File {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// hasIPv6 reports whether this machine has loopback of IPv6.
func hasIPv6() bool {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err == nil {
		ln.Close()
	}
	return err == nil
}

func TestEveryKindOfListener(t *testing.T) {
	dir, err := os.MkdirTemp("", "gw-") // sockets' paths are short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	a := certtest.NewAuthority("authority")
	own := a.Issue("gateway", certtest.Hosts("gateway"))
	put(t, filepath.Join(dir, "crt"), own.CertPEM(), 0)
	put(t, filepath.Join(dir, "key"), own.KeyPEM(), 0)
	put(t, filepath.Join(dir, "ca"), a.CertPEM(), 0)
	stranger := certtest.NewAuthority("authority").Issue("stranger").TLS()
	device := a.Issue("device").TLS()

	const secure, mutual = "crt, key", "crt, key, ca"
	type kind struct {
		name, address, transport string
		tls                      string
		cert                     string // client_cert
		passed                   string // address of systemd's socket
	}
	kinds := []kind{
		{name: "TCP on IPv4", address: "127.0.0.1:0"},
		{name: "TCP on IPv6", address: "[::1]:0"},
		{name: "TCP on all addresses", address: ":0"},
		{name: "TCP on all of IPv4", address: "0.0.0.0:0"},
		{name: "unix", address: "unix:" + dir + "/a"},
		{name: "WebSocket", address: "127.0.0.1:0", transport: "websocket"},
		{name: "WebSocket on a unix socket", address: "unix:" + dir + "/b", transport: "websocket"},
		{name: "TLS", address: "127.0.0.1:0", tls: secure},
		{name: "TLS on a unix socket", address: "unix:" + dir + "/c", tls: secure},
		{name: "WebSocket over TLS", address: "127.0.0.1:0", transport: "websocket", tls: secure},
		{name: "TLS with client certificates", address: "127.0.0.1:0", tls: mutual, cert: "optional"},
		{name: "TLS with client certificates that are required", address: "127.0.0.1:0", tls: mutual, cert: "required"},
		{name: "TLS with client certificates that name users", address: "0.0.0.0:0", tls: mutual, cert: "username"},
		{name: "WebSocket over TLS with client certificates", address: "127.0.0.1:0", transport: "websocket", tls: mutual, cert: "required"},
		{name: "a socket of systemd", address: "systemd:mqtt", passed: "127.0.0.1:0"},
		{name: "a unix socket of systemd, with TLS", address: "systemd:unix", passed: dir + "/d", tls: secure},
	}
	if !hasIPv6() {
		kinds = slices.DeleteFunc(kinds, func(k kind) bool { return k.address == "[::1]:0" })
	}
	var text strings.Builder
	passed := sockets{}
	for _, k := range kinds {
		fmt.Fprintf(&text, "[[listener]]\naddress = %q\n", k.address)
		if k.transport != "" {
			fmt.Fprintf(&text, "transport = %q\n", k.transport)
		}
		if k.cert != "username" {
			text.WriteString("anonymous = true\n")
		}
		if k.tls != "" {
			fmt.Fprintf(&text, "[listener.tls]\ncert = %q\nkey = %q\n", dir+"/crt", dir+"/key")
		}
		if k.cert != "" {
			fmt.Fprintf(&text, "client_ca = %q\nclient_cert = %q\n", dir+"/ca", k.cert)
		}
		if name, ok := strings.CutPrefix(k.address, "systemd:"); ok {
			network := "tcp"
			if strings.HasPrefix(k.passed, "/") {
				network = "unix"
			}
			passed[name] = append(passed[name], passedListener(t, network, k.passed))
		}
	}
	r := beginWith(t, sections(t, text.String()), passed)
	r.state("READY=1")
	addresses := r.addresses()
	if len(addresses) != len(kinds) {
		t.Fatalf("%d of %d listen: %s", len(addresses), len(kinds), r.log.String())
	}
	for i, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			// try connects through the layers and tries MQTT.
			try := func(network, address string, certs ...tls.Certificate) error {
				nc, err := net.Dial(network, address)
				if err != nil {
					return err
				}
				defer func() { nc.Close() }()
				_ = nc.SetDeadline(time.Now().Add(patience))
				if k.tls != "" {
					nc = tls.Client(nc, &tls.Config{RootCAs: a.Pool(), ServerName: "gateway", Certificates: certs})
				}
				if k.transport == "websocket" {
					web, err := overWebSocket(nc)
					if err != nil {
						return err
					}
					nc = web
				}
				return served(nc)
			}
			network, address := "tcp", addresses[i]
			if strings.HasPrefix(address, "/") {
				network = "unix"
			}
			_, port, _ := net.SplitHostPort(address)
			to := []string{address}
			switch k.address {
			case ":0":
				if to = []string{"127.0.0.1:" + port}; hasIPv6() {
					to = append(to, "[::1]:"+port)
				}
			case "0.0.0.0:0":
				to = []string{"127.0.0.1:" + port}
				if err := try("tcp", "[::1]:"+port); err == nil {
					t.Error("it is on IPv6 too")
				}
			}
			for _, address := range to {
				if err := try(network, address); (err != nil) != (k.cert == "required" || k.cert == "username") {
					t.Errorf("%s without a certificate: %v", address, err)
				}
				if k.cert == "" {
					continue
				}
				if err := try(network, address, device); err != nil {
					t.Errorf("with a certificate: %v", err)
				}
				if err := try(network, address, stranger); k.cert != "optional" && err == nil { // there the client does not even show it
					t.Error("a certificate of a stranger's is good enough")
				}
			}
		})
	}
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

// Open connections stay, new ones are shown the new certificate.
func TestARenewedCertificateNeedsNoRestart(t *testing.T) {
	a := certtest.NewAuthority("authority")
	dir := t.TempDir()
	renew := func(number int64) {
		p := a.Issue("gateway", certtest.Hosts("gateway"), func(c *x509.Certificate) { c.SerialNumber = big.NewInt(number) })
		put(t, filepath.Join(dir, "crt"), p.CertPEM(), 0)
		put(t, filepath.Join(dir, "key"), p.KeyPEM(), 0)
	}
	renew(1)
	r := begin(t, sections(t, fmt.Sprintf("[[listener]]\naddress = \"127.0.0.1:0\"\n[listener.tls]\ncert = %q\nkey = %q\n", dir+"/crt", dir+"/key")))
	r.state("READY=1")
	connect := func(number int64) *tls.Conn {
		t.Helper()
		c, err := tls.Dial("tcp", r.addresses()[0], &tls.Config{RootCAs: a.Pool(), ServerName: "gateway"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if got := c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != number {
			t.Errorf("certificate %d, want %d", got, number)
		}
		if err := served(c); err != nil {
			t.Error(err)
		}
		return c
	}
	old := connect(1)
	renew(2)
	connect(2)
	answer := make([]byte, 2)
	if _, err := io.WriteString(old, "\xc0\x00"); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(old, answer); err != nil || string(answer) != "\xd0\x00" {
		t.Errorf("the open connection: % x, %v", answer, err)
	}
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestOneListenerThatDoesNotOpenLeavesTheOthers(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := beginWith(t, sections(t, fmt.Sprintf(`
[[listener]]
address = %q
[[listener]]
address = "127.0.0.1:0"
[[listener]]
address = "systemd:mqtt"
anonymous = true
[[listener]]
address = "127.0.0.1:0"
tls = { cert = "/nowhere/crt", key = "/nowhere/key" }
`, taken.Addr())), sockets{"other": {passedListener(t, "tcp", "127.0.0.1:0")}})
	r.state("READY=1")
	addresses := r.addresses()
	if len(addresses) != 1 {
		t.Fatalf("%q", addresses)
	}
	nc, err := net.Dial("tcp", addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := served(nc); err != nil {
		t.Error(err)
	}
	for _, want := range []string{
		"stop it, or set another address",
		"systemd has passed no socket named \\\"mqtt\\\"; it has passed other",
		"set FileDescriptorName=mqtt in the socket unit",
		"systemd has passed a socket that no [[listener]] takes\" name=other",
		"tls.cert: open /nowhere/crt",
	} {
		if !r.logged(want) {
			t.Errorf("no %q in: %s", want, r.log.String())
		}
	}
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestThatFewerFilesMayBeOpenThanConnectionsIsSaid(t *testing.T) {
	var may unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &may); err != nil {
		t.Fatal(err)
	}
	if may.Cur+1 < may.Max { // package syscall raises it so far
		t.Errorf("the soft limit is %d, the hard one %d", may.Cur, may.Max)
	}
	for most, want := range map[uint64]bool{may.Cur: true, 1: false} {
		r := &running{}
		text := fmt.Sprintf("[[listener]]\naddress = \"127.0.0.1:0\"\nmax_connections = %d\n", min(most, 1<<30))
		if most > 1<<30 {
			continue // no limit here
		}
		g := New(parse(t, sections(t, text)), Options{Log: slog.New(newHandler("debug", "journal", r))})
		g.checkFiles(g.cfg)
		if got := r.logged(fmt.Sprintf("set LimitNOFILE=%d in the systemd unit", most+100)); got != want {
			t.Errorf("%d connections, %d files: %s", most, may.Cur, r.log.String())
		}
	}
}

func TestDefaultListenersNeedNoManyFiles(t *testing.T) {
	for _, x := range []struct {
		name, text string
		want       uint64
	}{
		{"two on loopback that nobody has asked for", "", 200},
		{"one that leaves the limit open", "[[listener]]\naddress = \"127.0.0.1:0\"\n", 200},
		{"one with a limit", "[[listener]]\naddress = \"127.0.0.1:0\"\nmax_connections = 10000\n", 10100},
		{"both, and devices", "[[listener]]\naddress = \"127.0.0.1:1\"\nmax_connections = 500\n[[listener]]\naddress = \"127.0.0.1:2\"\n[[tcp]]\nname = \"t\"\nlisten = \":7000\"\nframe = { type = \"line\" }\n", 956},
	} {
		c := parse(t, sections(t, x.text))
		if got := FilesNeeded(c); got != x.want {
			t.Errorf("%s: %d files", x.name, got)
		}
		var room fileRoom
		if room.share(c, 20000); room.most.Load() != int64(20000-x.want)+leastRoom && x.want != 10100 {
			t.Errorf("%s: room for %d", x.name, room.most.Load())
		}
		if room.share(c, 50); room.most.Load() != leastRoom {
			t.Errorf("%s: room for %d", x.name, room.most.Load())
		}
	}
}

func TestListenersWithoutALimitShareTheFiles(t *testing.T) {
	var log bytes.Buffer
	files := new(fileRoom)
	files.most.Store(2)
	var conns []net.Conn
	var lns []*limitedListener
	for range 2 {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer inner.Close()
		lns = append(lns, &limitedListener{Listener: inner, most: 10000, open: new(atomic.Int64), files: files, log: slog.New(slog.NewTextHandler(&log, nil))})
	}
	connect := func(ln net.Listener) net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for _, ln := range lns { // one for each
		connect(ln)
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	refused := connect(lns[0])
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if c, err := lns[0].Accept(); err != nil {
			t.Error(err)
		} else {
			_ = c.Close()
		}
	}()
	if _, err := refused.Read(make([]byte, 1)); err == nil {
		t.Error("a third connection is open")
	}
	_ = conns[1].Close()
	_ = conns[1].Close() // gives back once
	connect(lns[0])
	<-ended
	if !strings.Contains(log.String(), "as many are open as files may be") || files.open.Load() != 1 {
		t.Errorf("%d open: %s", files.open.Load(), log.String())
	}
}
