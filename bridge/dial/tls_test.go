package dial

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"packetboat/broker/transport/certtest"
)

func TestTheServersCertificateIsVerified(t *testing.T) {
	ours, other := newAuthority("Ours"), newAuthority("Other")
	between := authority{ours.Issue("Between", certtest.CA)}
	ended := certtest.Valid(time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
	future := certtest.Valid(time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour))
	manyNames := func(c *x509.Certificate) { c.DNSNames = []string{"a", "b", "c", "d", "e", "f"} }
	noNames := func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, nil }
	wholeChain := between.issue("127.0.0.1")
	wholeChain.Certificate = append(wholeChain.Certificate, between.Cert.Raw)
	here := time.Now().UTC().Format("2006-01-02T")
	for _, c := range []struct {
		name  string
		cert  tls.Certificate
		o     Options
		stage string
		words []string
	}{
		{"good", ours.issue("127.0.0.1"), Options{}, "", nil},
		{"good by an intermediate", wholeChain, Options{}, "", nil},
		{"good for another name", ours.issue("broker.test"), Options{ServerName: "broker.test"}, "", nil},
		{"an intermediate that is not sent", between.issue("127.0.0.1"), Options{}, "certificate", []string{`"CN=Between"`, "tls.ca has others", "intermediate"}},
		{"another authority", other.issue("127.0.0.1"), Options{}, "certificate", []string{`"CN=Other"`, "tls.ca has others"}},
		{"an authority that the system does not have", ours.issue("127.0.0.1"), Options{CA: "system"}, "certificate", []string{`"CN=Ours"`, "give that authority's certificate as tls.ca"}},
		{"another name", ours.issue("broker.test"), Options{}, "certificate", []string{"is for broker.test, not for 127.0.0.1", "tls.server_name"}},
		{"another name than is asked for", ours.issue("127.0.0.1"), Options{ServerName: "broker.test"}, "certificate", []string{"is for 127.0.0.1, not for broker.test"}},
		{"many names", ours.issue("a", manyNames), Options{}, "certificate", []string{"is for a, b, c, d, and 2 more, not"}},
		{"no name", ours.issue("a", noNames), Options{}, "certificate", []string{"names no host", "made anew"}},
		{"expired", ours.issue("127.0.0.1", ended), Options{}, "certificate", []string{`"CN=127.0.0.1" has expired: it ended on`, "here it is " + here, "renewed there", "clock"}},
		{"not valid yet", ours.issue("127.0.0.1", future), Options{}, "certificate", []string{`"CN=127.0.0.1" is not valid yet: it begins on`, "here it is " + here, "check this machine's clock"}},
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
	ca := newAuthority("Ours")
	s := listenTLS(t, "[::1]:0", &tls.Config{Certificates: []tls.Certificate{ca.issue("::1")}}, greet)
	wantError(t, reach(t, newDialer(t, Options{CA: ca.file(t)}), s), "")
}

func TestVersionsOfTLS(t *testing.T) {
	ca := newAuthority("Ours")
	cert := []tls.Certificate{ca.issue("127.0.0.1")}
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
	ca, devices, other := newAuthority("Ours"), newAuthority("Devices"), newAuthority("Other")
	ended := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	none := certtest.Pair{}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, c := range []struct {
			name  string
			cert  certtest.Pair
			auth  tls.ClientAuthType
			stage string
			words []string
		}{
			{"wanted and given", devices.Issue("gateway"), tls.RequireAndVerifyClientCert, "", nil},
			{"not wanted and given", devices.Issue("gateway"), tls.NoClientCert, "", nil},
			{"welcome and not given", none, tls.VerifyClientCertIfGiven, "", nil},
			{"wanted and not given", none, tls.RequireAndVerifyClientCert, "TLS handshake", []string{"wants a client certificate", "give tls.cert and tls.key"}},
			{"of another authority", other.Issue("gateway"), tls.RequireAndVerifyClientCert, "TLS handshake", []string{"does not take the client certificate", "registered"}},
			{"expired", devices.Issue("gateway", ended), tls.RequireAndVerifyClientCert, "TLS handshake", []string{"does not take the client certificate", "not expired"}},
		} {
			t.Run(tls.VersionName(version)+", "+c.name, func(t *testing.T) {
				s := listenTLS(t, "127.0.0.1:0", &tls.Config{
					Certificates: []tls.Certificate{ca.issue("127.0.0.1")}, MaxVersion: version,
					ClientAuth: c.auth, ClientCAs: devices.Pool(),
				}, greet)
				o := Options{CA: ca.file(t)}
				if c.cert.Key != nil {
					o.Cert, o.Key = pairFiles(t, c.cert)
				}
				wantError(t, reach(t, newDialer(t, o), s), c.stage, c.words...)
			})
		}
	}
}

// AWS IoT Core does so.
func TestAnEndWithoutAWordAfterTheCertificate(t *testing.T) {
	ca := newAuthority("Ours")
	cfg := &tls.Config{Certificates: []tls.Certificate{ca.issue("127.0.0.1")}, ClientAuth: tls.RequestClientCert}
	s := listenTLS(t, "127.0.0.1:0", cfg, func(conn net.Conn) {
		_ = conn.(*tls.Conn).Handshake()
	})
	o := Options{CA: ca.file(t)}
	err := reach(t, newDialer(t, o), s)
	wantError(t, err, "TLS handshake", "asked for a client certificate and got none", "give tls.cert")
	if !errors.Is(err, io.EOF) {
		t.Error("it is no end any more")
	}
	o.Cert, o.Key = pairFiles(t, ca.Issue("gateway"))
	wantError(t, reach(t, newDialer(t, o), s), "TLS handshake", "after it got the client certificate", "registered there")
}

func TestALaterEndIsAnEnd(t *testing.T) {
	ca := newAuthority("Ours")
	cfg := &tls.Config{Certificates: []tls.Certificate{ca.issue("127.0.0.1")}, ClientAuth: tls.RequestClientCert}
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
	ours, other, devices := newAuthority("Ours"), newAuthority("Other"), newAuthority("Devices")
	names := make(chan string, 1)
	s := listenTLS(t, "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{ours.issue("127.0.0.1")}, ClientAuth: tls.RequireAnyClientCert,
	}, func(conn net.Conn) {
		if c := conn.(*tls.Conn); c.Handshake() == nil {
			names <- c.ConnectionState().PeerCertificates[0].Subject.CommonName
			greet(conn)
		}
	})
	first, second := devices.Issue("first"), devices.Issue("second")
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

	writeFile(t, o.Cert, second.CertPEM())
	wantError(t, reach(t, d, s), "TLS files", "tls.key: ", "is not the key of")
	writeFile(t, o.Key, second.KeyPEM())
	wantName("second")

	writeFile(t, o.CA, other.CertPEM()) // trusted no more: no session may be resumed
	wantError(t, reach(t, d, s), "certificate", `"CN=Ours"`)
	writeFile(t, o.CA, slices.Concat(other.CertPEM(), ours.CertPEM()))
	wantName("second")

	if err := os.Remove(o.CA); err != nil {
		t.Fatal(err)
	}
	wantError(t, reach(t, d, s), "TLS files", "tls.ca: ", "put the file there")
	writeFile(t, o.CA, ours.CertPEM())
	wantName("second")
}

func TestALPN(t *testing.T) {
	ca := newAuthority("Ours")
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
			s := listenTLS(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.issue("127.0.0.1")}, NextProtos: c.offers}, func(conn net.Conn) {
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
	ca := newAuthority("Ours")
	names := make(chan string, 1)
	s := listenTLS(t, "127.0.0.1:0", &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		names <- h.ServerName
		c := ca.issue(h.ServerName)
		return &c, nil
	}}, greet)
	wantError(t, reach(t, newDialer(t, Options{CA: ca.file(t), ServerName: "broker.test"}), s), "")
	if got := <-names; got != "broker.test" {
		t.Error(got)
	}
}

func TestCheckFiles(t *testing.T) {
	ca := newAuthority("Ours")
	ended := certtest.Valid(time.Now().Add(-time.Hour), time.Now().Add(-time.Minute))
	future := certtest.Valid(time.Now().Add(time.Minute), time.Now().Add(time.Hour))
	cert, key := pairFiles(t, ca.Issue("gateway"))
	otherCert, otherKey := pairFiles(t, ca.Issue("other"))
	endedCert, endedKey := pairFiles(t, ca.Issue("gateway", ended))
	futureCert, futureKey := pairFiles(t, ca.Issue("gateway", future))
	endedCA := ca.Issue("Ended", certtest.CA, ended).CertPEM()
	broken := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})
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
		{"one authority of two has expired", Options{CA: writeFile(t, "ca.pem", slices.Concat(endedCA, ca.CertPEM()))}, "", "", ""},
		{"no file of authorities", Options{CA: dir + "/none.pem"}, "tls.ca", "no such file", "put the file there"},
		{"a directory", Options{CA: dir}, "tls.ca", "is a directory", "correct the path"},
		{"authorities in DER", Options{CA: writeFile(t, "ca.der", ca.Cert.Raw)}, "tls.ca", "has no certificate", "PEM form"},
		{"a broken certificate among the authorities", Options{CA: writeFile(t, "ca.pem", slices.Concat(ca.CertPEM(), broken))}, "tls.ca", "cannot be read", "anew"},
		{"authorities that have expired", Options{CA: writeFile(t, "ca.pem", endedCA)}, "tls.ca", "has expired", "renew"},
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
