package dial

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestTheServersCertificateIsVerified(t *testing.T) {
	ours, other := newAuthority(t, "Ours"), newAuthority(t, "Other")
	between := newAuthority(t, "Between") // signed by ours
	der := ours.sign(t, &x509.Certificate{Subject: between.cert.Subject, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, between.key)
	between.cert, _ = x509.ParseCertificate(der)
	ended := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	}
	future := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour)
	}
	manyNames := func(c *x509.Certificate) { c.DNSNames = []string{"a", "b", "c", "d", "e", "f"} }
	noNames := func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, nil }
	wholeChain := between.issue(t, "127.0.0.1", nil)
	wholeChain.Certificate = append(wholeChain.Certificate, between.cert.Raw)
	here := time.Now().UTC().Format("2006-01-02T")
	for _, c := range []struct {
		name  string
		cert  tls.Certificate
		o     Options
		stage string
		words []string
	}{
		{"good", ours.issue(t, "127.0.0.1", nil), Options{}, "", nil},
		{"good by an intermediate", wholeChain, Options{}, "", nil},
		{"good for another name", ours.issue(t, "broker.test", nil), Options{ServerName: "broker.test"}, "", nil},
		{"an intermediate that is not sent", between.issue(t, "127.0.0.1", nil), Options{}, "certificate", []string{`"CN=Between"`, "tls.ca has others", "intermediate"}},
		{"another authority", other.issue(t, "127.0.0.1", nil), Options{}, "certificate", []string{`"CN=Other"`, "tls.ca has others"}},
		{"an authority that the system does not have", ours.issue(t, "127.0.0.1", nil), Options{CA: "system"}, "certificate", []string{`"CN=Ours"`, "give that authority's certificate as tls.ca"}},
		{"another name", ours.issue(t, "broker.test", nil), Options{}, "certificate", []string{"is for broker.test, not for 127.0.0.1", "tls.server_name"}},
		{"another name than is asked for", ours.issue(t, "127.0.0.1", nil), Options{ServerName: "broker.test"}, "certificate", []string{"is for 127.0.0.1, not for broker.test"}},
		{"many names", ours.issue(t, "a", manyNames), Options{}, "certificate", []string{"is for a, b, c, d, and 2 more, not"}},
		{"no name", ours.issue(t, "a", noNames), Options{}, "certificate", []string{"names no host", "made anew"}},
		{"expired", ours.issue(t, "127.0.0.1", ended), Options{}, "certificate", []string{`"CN=127.0.0.1" has expired: it ended on`, "here it is " + here, "renewed there", "clock"}},
		{"not valid yet", ours.issue(t, "127.0.0.1", future), Options{}, "certificate", []string{`"CN=127.0.0.1" is not valid yet: it begins on`, "here it is " + here, "check this machine's clock"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := listenTLS(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c.cert}}, greet)
			if c.o.CA = strings.TrimPrefix(c.o.CA, "system"); c.name != "an authority that the system does not have" {
				c.o.CA = ours.file(t)
			}
			wantError(t, reach(t, newDialer(t, c.o), s), c.stage, c.words...)
		})
	}
}

func TestHostsOfIPv6AreVerified(t *testing.T) {
	ca := newAuthority(t, "Ours")
	s := listenTLS(t, "[::1]:0", &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "::1", nil)}}, greet)
	wantError(t, reach(t, newDialer(t, Options{CA: ca.file(t)}), s), "")
}

func TestVersionsOfTLS(t *testing.T) {
	ca := newAuthority(t, "Ours")
	cert := []tls.Certificate{ca.issue(t, "127.0.0.1", nil)}
	d := newDialer(t, Options{CA: ca.file(t)})
	for version, stage := range map[uint16]string{tls.VersionTLS10: "TLS handshake", tls.VersionTLS11: "TLS handshake", tls.VersionTLS12: "", tls.VersionTLS13: ""} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			got := make(chan uint16, 1)
			s := listenTLS(t, "127.0.0.1:0", &tls.Config{Certificates: cert, MinVersion: version, MaxVersion: version}, func(conn net.Conn) {
				greet(conn)
				got <- conn.(*tls.Conn).ConnectionState().Version
			})
			wantError(t, reach(t, d, s), stage, "no TLS 1.2 or later", "updated")
			if v := <-got; stage == "" && v != version {
				t.Error(tls.VersionName(v))
			}
		})
	}
}

// An old server that takes no notice of what versions are offered.
func TestAServerThatChoosesTLS11(t *testing.T) {
	hello := append([]byte{0x03, 0x02}, make([]byte, 32)...)    // version, random
	hello = append(hello, 0, 0xc0, 0x13, 0)                     // no session, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, no compression
	hello = append([]byte{2, 0, 0, byte(len(hello))}, hello...) // ServerHello
	record := append([]byte{22, 0x03, 0x02, 0, byte(len(hello))}, hello...)
	to := listen(t, "127.0.0.1:0", func(conn net.Conn) {
		_, _ = conn.Write(record)
		_, _ = io.Copy(io.Discard, conn)
	})
	wantError(t, reach(t, newDialer(t, Options{}), Server{Address: to, TLS: true}), "TLS handshake", "no TLS 1.2 or later", "updated")
}

func TestServersThatDoNotSpeakTLS(t *testing.T) {
	d := newDialer(t, Options{})
	talks := listen(t, "127.0.0.1:0", greet)
	wantError(t, reach(t, d, Server{Address: talks, TLS: true}), "TLS handshake", "does not speak TLS", "mqtt://")
	ends := listen(t, "127.0.0.1:0", func(conn net.Conn) { _, _ = conn.Read(make([]byte, 4<<10)) })
	wantError(t, reach(t, d, Server{Address: ends, TLS: true}), "TLS handshake", "ends the connection", "speaks TLS at this port")
}

func TestClientCertificates(t *testing.T) {
	ca, devices, other := newAuthority(t, "Ours"), newAuthority(t, "Devices"), newAuthority(t, "Other")
	ended := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	none := tls.Certificate{}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, c := range []struct {
			name  string
			cert  tls.Certificate
			auth  tls.ClientAuthType
			stage string
			words []string
		}{
			{"wanted and given", devices.issue(t, "gateway", nil), tls.RequireAndVerifyClientCert, "", nil},
			{"not wanted and given", devices.issue(t, "gateway", nil), tls.NoClientCert, "", nil},
			{"welcome and not given", none, tls.VerifyClientCertIfGiven, "", nil},
			{"wanted and not given", none, tls.RequireAndVerifyClientCert, "TLS handshake", []string{"wants a client certificate", "give tls.cert and tls.key"}},
			{"of another authority", other.issue(t, "gateway", nil), tls.RequireAndVerifyClientCert, "TLS handshake", []string{"does not take the client certificate", "registered"}},
			{"expired", devices.issue(t, "gateway", ended), tls.RequireAndVerifyClientCert, "TLS handshake", []string{"does not take the client certificate", "not expired"}},
		} {
			t.Run(tls.VersionName(version)+", "+c.name, func(t *testing.T) {
				s := listenTLS(t, "127.0.0.1:0", &tls.Config{
					Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1", nil)}, MaxVersion: version,
					ClientAuth: c.auth, ClientCAs: devices.pool(),
				}, greet)
				o := Options{CA: ca.file(t)}
				if c.cert.PrivateKey != nil {
					o.Cert, o.Key = pairFiles(t, c.cert)
				}
				wantError(t, reach(t, newDialer(t, o), s), c.stage, c.words...)
			})
		}
	}
}

// AWS IoT Core does so.
func TestAnEndWithoutAWordAfterTheCertificate(t *testing.T) {
	ca := newAuthority(t, "Ours")
	cfg := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1", nil)}, ClientAuth: tls.RequestClientCert}
	s := listenTLS(t, "127.0.0.1:0", cfg, func(conn net.Conn) {
		_ = conn.(*tls.Conn).Handshake()
	})
	o := Options{CA: ca.file(t)}
	err := reach(t, newDialer(t, o), s)
	wantError(t, err, "TLS handshake", "asked for a client certificate and got none", "give tls.cert")
	if !errors.Is(err, io.EOF) {
		t.Error("it is no end any more")
	}
	o.Cert, o.Key = pairFiles(t, ca.issue(t, "gateway", nil))
	wantError(t, reach(t, newDialer(t, o), s), "TLS handshake", "after it got the client certificate", "registered there")
}

func TestALaterEndIsAnEnd(t *testing.T) {
	ca := newAuthority(t, "Ours")
	cfg := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1", nil)}, ClientAuth: tls.RequestClientCert}
	s := listenTLS(t, "127.0.0.1:0", cfg, func(conn net.Conn) { _, _ = io.WriteString(conn, "bye") })
	conn, err := newDialer(t, Options{CA: ca.file(t)}).Dial(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Unix(1, 0))
	var explained *Error
	if _, err := conn.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &explained) {
		t.Error(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(conn)
	if string(b) != "bye" || err != nil { // io.EOF itself
		t.Errorf("%q, %v", b, err)
	}
}

func TestTheFilesAreReadForEachConnection(t *testing.T) {
	ours, other, devices := newAuthority(t, "Ours"), newAuthority(t, "Other"), newAuthority(t, "Devices")
	names := make(chan string, 1)
	s := listenTLS(t, "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{ours.issue(t, "127.0.0.1", nil)}, ClientAuth: tls.RequireAnyClientCert,
	}, func(conn net.Conn) {
		if c := conn.(*tls.Conn); c.Handshake() == nil {
			names <- c.ConnectionState().PeerCertificates[0].Subject.CommonName
			greet(conn)
		}
	})
	first, second := devices.issue(t, "first", nil), devices.issue(t, "second", nil)
	o := Options{CA: ours.file(t)}
	o.Cert, o.Key = pairFiles(t, first)
	d := newDialer(t, o)
	wantName := func(want string) {
		t.Helper()
		wantError(t, reach(t, d, s), "")
		if got := <-names; got != want {
			t.Errorf("the certificate of %s", got)
		}
	}
	wantName("first")

	writeFile(t, o.Cert, certPEM(second.Certificate...))
	wantError(t, reach(t, d, s), "TLS files", "tls.key: ", "is not the key of")
	writeFile(t, o.Key, keyPEM(t, second))
	wantName("second")

	writeFile(t, o.CA, certPEM(other.cert.Raw)) // trusted no more: no session may be resumed
	wantError(t, reach(t, d, s), "certificate", `"CN=Ours"`)
	writeFile(t, o.CA, certPEM(other.cert.Raw, ours.cert.Raw))
	wantName("second")

	if err := os.Remove(o.CA); err != nil {
		t.Fatal(err)
	}
	wantError(t, reach(t, d, s), "TLS files", "tls.ca: ", "put the file there")
	writeFile(t, o.CA, certPEM(ours.cert.Raw))
	wantName("second")
}

func TestALPN(t *testing.T) {
	ca := newAuthority(t, "Ours")
	d := newDialer(t, Options{CA: ca.file(t), ALPN: []string{"x-amzn-mqtt-ca", "mqtt"}})
	for _, c := range []struct {
		name, want string
		offers     []string
		stage      string
	}{
		{"chosen", "mqtt", []string{"mqtt"}, ""},
		{"not known", "", nil, ""},
		{"another wanted", "", []string{"h2"}, "TLS handshake"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := make(chan string, 1)
			s := listenTLS(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1", nil)}, NextProtos: c.offers}, func(conn net.Conn) {
				greet(conn)
				got <- conn.(*tls.Conn).ConnectionState().NegotiatedProtocol
			})
			wantError(t, reach(t, d, s), c.stage, "none of the protocols", "tls.alpn")
			if g := <-got; g != c.want {
				t.Error(g)
			}
		})
	}
}

func TestTheServerIsToldTheNameThatItsCertificateMustHave(t *testing.T) {
	ca := newAuthority(t, "Ours")
	names := make(chan string, 1)
	s := listenTLS(t, "127.0.0.1:0", &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		names <- h.ServerName
		c := ca.issue(t, h.ServerName, nil)
		return &c, nil
	}}, greet)
	wantError(t, reach(t, newDialer(t, Options{CA: ca.file(t), ServerName: "broker.test"}), s), "")
	if got := <-names; got != "broker.test" {
		t.Error(got)
	}
}

func TestCheckFiles(t *testing.T) {
	ca := newAuthority(t, "Ours")
	pair, other := ca.issue(t, "gateway", nil), ca.issue(t, "other", nil)
	cert, key := pairFiles(t, pair)
	otherCert, otherKey := pairFiles(t, other)
	endedCert, endedKey := pairFiles(t, ca.issue(t, "gateway", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }))
	futureCert, futureKey := pairFiles(t, ca.issue(t, "gateway", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }))
	endedDER := ca.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(-time.Minute)}, ca.key)
	dir := t.TempDir()
	for _, c := range []struct {
		name   string
		o      Options
		key    string // "": nothing is wrong
		words  string
		remedy string
	}{
		{"none", Options{}, "", "", ""},
		{"all good", Options{CA: ca.file(t), Cert: cert, Key: key}, "", "", ""},
		{"one authority of two has expired", Options{CA: writeFile(t, "ca.pem", certPEM(endedDER, ca.cert.Raw))}, "", "", ""},
		{"no file of authorities", Options{CA: dir + "/none.pem"}, "tls.ca", "no such file", "put the file there"},
		{"a directory", Options{CA: dir}, "tls.ca", "is a directory", "correct the path"},
		{"authorities in DER", Options{CA: writeFile(t, "ca.der", ca.cert.Raw)}, "tls.ca", "has no certificate", "PEM form"},
		{"a broken certificate among the authorities", Options{CA: writeFile(t, "ca.pem", certPEM(ca.cert.Raw, []byte("x")))}, "tls.ca", "cannot be read", "anew"},
		{"authorities that have expired", Options{CA: writeFile(t, "ca.pem", certPEM(endedDER))}, "tls.ca", "has expired", "renew"},
		{"no certificate file", Options{Cert: dir + "/none.pem", Key: key}, "tls.cert", "no such file", "put the file there"},
		{"no key file", Options{Cert: cert, Key: dir + "/none.pem"}, "tls.key", "no such file", "put the file there"},
		{"a key in place of the certificate", Options{Cert: key, Key: key}, "tls.cert", "has no certificate", "PEM form"},
		{"a certificate in place of the key", Options{Cert: cert, Key: cert}, "tls.key", "has no private key", "PEM form"},
		{"a key that is none", Options{Cert: cert, Key: writeFile(t, "key.pem", []byte(secret))}, "tls.key", "has no private key", "PEM form"},
		{"a key with a passphrase", Options{Cert: cert, Key: writeFile(t, "key.pem", []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))}, "tls.key", "passphrase", "openssl pkey"},
		{"another's key", Options{Cert: cert, Key: otherKey}, "tls.key", "is not the key of", "made for"},
		{"another's certificate", Options{Cert: otherCert, Key: key}, "tls.key", "is not the key of", "made for"},
		{"an expired certificate", Options{Cert: endedCert, Key: endedKey}, "tls.cert", "has expired: it ended on", "renew it"},
		{"a certificate that is not valid yet", Options{Cert: futureCert, Key: futureKey}, "tls.cert", "is not valid yet: it begins on", "clock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := newDialer(t, c.o).CheckFiles()
			if c.key == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var e *KeyError
			if !errors.As(err, &e) || e.Key != c.key || !strings.Contains(e.Remedy, c.remedy) {
				t.Fatalf("%v, want one of %s", err, c.key)
			}
			wantWords(t, err, c.words)
		})
	}
	err := newDialer(t, Options{CA: "/none", Cert: "/none", Key: "/none"}).CheckFiles()
	wantWords(t, err, "tls.ca: ", "tls.cert: ", "tls.key: ")
	if os.Getuid() != 0 {
		if err := os.Chmod(key, 0); err != nil {
			t.Fatal(err)
		}
		wantWords(t, newDialer(t, Options{Cert: cert, Key: key}).CheckFiles(), "tls.key: ", "service's group")
	}
}
