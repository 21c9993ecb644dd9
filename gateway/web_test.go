package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"packetboat/broker/transport/certtest"
)

var webAddress = regexp.MustCompile(`serving operators by HTTP.*address="?([^" \n]+)`)

// await polls until ok.
func (r *running) await(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("still not so: %s\n%s", what, r.log.String())
		}
	}
}

// web waits for the HTTP server and gives its address.
func (r *running) web() (address string) {
	r.t.Helper()
	r.await("operators are served", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if m := webAddress.FindStringSubmatch(r.log.String()); m != nil {
			address = m[1]
		}
		return address != ""
	})
	return address
}

// withAdmin is a configuration with that in [admin].
func withAdmin(t *testing.T, admin, more string) string {
	t.Helper()
	text := sections(t, "[[listener]]\naddress = \"127.0.0.1:0\"\n"+more)
	return strings.Replace(text, "address = \"\"\n", admin, 1)
}

func get(t *testing.T, client *http.Client, url string) (status int, body string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// newClient is one that keeps no connections.
func newClient(t *testing.T, cfg *tls.Config) *http.Client {
	tr := &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func TestOperatorsAreServedByHTTPAndToldNoSecrets(t *testing.T) {
	dir := t.TempDir()
	a := certtest.NewAuthority("authority")
	own := a.Issue("gateway", certtest.Hosts("gateway"))
	put(t, filepath.Join(dir, "crt"), own.CertPEM(), time.Hour)
	put(t, filepath.Join(dir, "key"), own.KeyPEM(), time.Hour)
	file := usersFile(t, "ann")
	hashes, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := begin(t, withAdmin(t,
		fmt.Sprintf("address = \"0.0.0.0:0\"\nusers = [\"ann\"]\ntls = { cert = %q, key = %q }\n", filepath.Join(dir, "crt"), filepath.Join(dir, "key")),
		fmt.Sprintf("[auth]\nusers = %q\n", file)+`
[[bridge]]
name = "cloud"
servers = ["mqtt://127.0.0.1:1"]
username = "me"
password = "the-password-of-the-bridge"
[[bridge.up]]
filter = "#"
`))
	_, port, _ := net.SplitHostPort(r.web())
	base := "https://127.0.0.1:" + port
	client := newClient(t, &tls.Config{RootCAs: a.Pool(), ServerName: "gateway"})
	for path, want := range map[string]int{
		"/healthz": 200, "/readyz": 200, "/login": 200, "/page/base.css": 200,
		"/": 303, "/v1/status": 401, "/v1/bridges": 401, "/v1/queues": 401, "/v1/messages?queue=bridge/cloud/0": 401, "/metrics": 401, "/page/app.js": 401,
	} {
		if got, body := get(t, client, base+path); got != want {
			t.Errorf("nobody, %s: %d %s", path, got, body)
		}
	}
	for _, path := range []string{"/", "/page/app.js", "/v1/status", "/v1/bridges", "/v1/queues", "/v1/messages?queue=bridge/cloud/0", "/metrics", "/nothing"} {
		got, body := get(t, client, "https://ann:ann@127.0.0.1:"+port+path)
		if want := map[bool]int{true: 404, false: 200}[path == "/nothing"]; got != want {
			t.Errorf("ann, %s: %d %s", path, got, body)
		}
		_, hash, _ := strings.Cut(strings.TrimSpace(string(hashes)), ":")
		for _, secret := range []string{"the-password", hash, "argon2", "PRIVATE KEY"} {
			if strings.Contains(body, secret) {
				t.Errorf("%s tells %s", path, secret)
			}
		}
	}
	if r.logged("the-password") || r.logged("argon2") {
		t.Errorf("the log tells a secret")
	}

	own = a.Issue("renewed", certtest.Hosts("gateway"))
	put(t, filepath.Join(dir, "crt"), own.CertPEM(), time.Minute)
	put(t, filepath.Join(dir, "key"), own.KeyPEM(), time.Minute)
	shown := ""
	renewed := newClient(t, &tls.Config{RootCAs: a.Pool(), ServerName: "gateway", VerifyConnection: func(s tls.ConnectionState) error {
		shown = s.PeerCertificates[0].Subject.CommonName
		return nil
	}})
	if get(t, renewed, base+"/healthz"); shown != "renewed" {
		t.Errorf("the certificate is that of %s", shown)
	}
	if _, err := newClient(t, &tls.Config{RootCAs: a.Pool(), ServerName: "gateway", MaxVersion: tls.VersionTLS11}).Get(base + "/healthz"); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	if resp, err := http.Get("http://127.0.0.1:" + port + "/healthz"); err == nil {
		defer resp.Body.Close()
		if resp.StatusCode == 200 {
			t.Error("answered without TLS")
		}
	}
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestAPortThatIsTakenIsOneErrorAndTheRestRuns(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r := begin(t, withAdmin(t, fmt.Sprintf("address = %q\n", ln.Addr()), ""))
	if s := r.state("READY=1"); !strings.Contains(s, "not listening on "+ln.Addr().String()+" (admin.address)") {
		t.Error(s)
	}
	const text = "operators cannot be served by HTTP; will keep trying"
	if !r.logged(text) || !r.logged("stop it, or set another address") || !r.logged("p.toml:") {
		t.Errorf("no remedy in: %s", r.log.String())
	}
	ln.Close()
	address := r.web() // it was tried again
	if got, body := get(t, newClient(t, nil), "http://"+address+"/readyz"); got != 200 {
		t.Errorf("%d %s", got, body)
	}
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(r.log.String(), text); n != 1 {
		t.Errorf("%d lines about it: %s", n, r.log.String())
	}
}

func TestACertificateThatIsMissingIsOneErrorAndTheRestRuns(t *testing.T) {
	r := begin(t, withAdmin(t, "address = \"127.0.0.1:0\"\ntls = { cert = \"/nowhere/crt\", key = \"/nowhere/key\" }\n", ""))
	r.state("READY=1")
	if !r.logged("put the file there, or correct the path") || !r.logged("open /nowhere/crt") {
		t.Errorf("no remedy in: %s", r.log.String())
	}
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestAListenerThatIsShutIsNotReady(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r := begin(t, withAdmin(t, "address = \"127.0.0.1:0\"\n", fmt.Sprintf("[[listener]]\naddress = %q\n", ln.Addr())))
	base := "http://" + r.web()
	client := newClient(t, nil)
	if got, body := get(t, client, base+"/readyz"); got != 503 || body != "1 of 2 listeners are not open\n" {
		t.Errorf("%d %q", got, body)
	}
	if got, body := get(t, client, base+"/healthz"); got != 200 || body != "ok\n" {
		t.Errorf("%d %q", got, body)
	}
	if _, body := get(t, client, base+"/v1/status"); !strings.Contains(body, `"flowing":"partly"`) || !strings.Contains(body, `"of":"listener/`+ln.Addr().String()+`"`) {
		t.Error(body)
	}
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestOneAddressDoesNotTakeAllConnections(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := newSharedListener(inner, 2)
	defer ln.Close()
	from := func(address string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		c, err := d.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	accept := func() net.Conn {
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	from("127.0.0.1")
	first := accept()
	from("127.0.0.1")
	accept()
	third := from("127.0.0.1")
	from("127.0.0.2")
	if c := accept(); !strings.HasPrefix(c.RemoteAddr().String(), "127.0.0.2:") {
		t.Errorf("a third one was accepted: %v", c.RemoteAddr())
	}
	if _, err := third.Read(make([]byte, 1)); err == nil {
		t.Error("the third one was not closed")
	}
	first.Close()
	first.Close() // gives no second place
	from("127.0.0.1")
	accept()
	if n := ln.open[addressOf("127.0.0.1:1")]; n != 2 {
		t.Errorf("%d are open", n)
	}
}

func TestAPulse(t *testing.T) {
	wedged := make(chan struct{})
	p := newPulse(func() { <-wedged })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.run(ctx) }()
	gone, give := context.WithCancel(t.Context())
	give()
	if err := p.feel(gone); !errors.Is(err, errNoPulse) {
		t.Errorf("wedged: %v", err)
	}
	close(wedged)
	for range 3 {
		if err := p.feel(t.Context()); err != nil {
			t.Error(err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAnAdminAddressWhereNobodyCanLogInIsNamed(t *testing.T) {
	with, none := usersFile(t, "bob"), filepath.Join(t.TempDir(), "none")
	const local = "[admin]\naddress = \"127.0.0.1:8580\"\nusers = "
	for _, c := range []struct{ name, file, text, check, files string }{
		{"a user", with, local + "[\"bob\"]\n", "", ""},
		{"nobody needs to", none, "", "", ""},
		{"no address", none, "[admin]\naddress = \"\"\nusers = [\"eve\"]\n", "", ""},
		{"there is no file", none, local + "[\"bob\"]\n", "admin.users: lets nobody log in: there is no users file " + none + ". Make the user (packetboat passwd NAME)", ""},
		{"none of them is a user", with, local + "[\"eve\", \"joe\"]\n", "admin.users: lets nobody log in: none of them is in " + with + ". Make the user (packetboat passwd eve)", ""},
		{"one of them is no user", with, local + "[\"bob\", \"eve\"]\n", "", `admin.users[1]: "eve" is not in ` + with + ": make the user (packetboat passwd eve), or remove the name"},
		{"files of TLS that are not there", with, "[admin.tls]\ncert = \"/nowhere/c\"\nkey = \"/nowhere/k\"\n", "", "admin.tls.cert: open /nowhere/c: no such file or directory (put the file there, or correct the path)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := parse(t, fmt.Sprintf("[auth]\nusers = %q\n%s", c.file, c.text))
			for _, x := range []struct{ got, want string }{{Check(cfg).Error(), c.check}, {CheckFiles(cfg).Error(), c.files}} {
				if !strings.HasSuffix(x.got, x.want) || x.want == "" && x.got != "" {
					t.Errorf("%s\nnot\n%s", x.got, x.want)
				}
			}
		})
	}
}
