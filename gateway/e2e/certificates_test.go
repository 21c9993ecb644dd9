package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"packetboat/broker/packet"
)

// What is wrong with a certificate. The last one is what all of them are while a
// clock is still in 1970.
func ended(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
}

func otherHost(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"other.test"} }

func of1970(c *x509.Certificate) {
	since := time.Since(time.Unix(0, 0))
	c.NotBefore, c.NotAfter = time.Now().Add(since), time.Now().Add(since+time.Hour)
}

// secured is a gateway with a TLS listener.
func secured(t *testing.T, server pair, ca string) (g *gateway, address string) {
	t.Helper()
	address = freePort(t)
	section := fmt.Sprintf("[[listener]]\naddress = %q\n[listener.tls]\ncert = %q\nkey = %q\n", address, server.cert, server.key)
	if ca != "" {
		section += fmt.Sprintf("client_ca = %q\nclient_cert = \"required\"\n", ca)
	}
	g = newGateway(t, section)
	g.start()
	g.await("it listens with TLS", func() bool { return listens(address) })
	return g, address
}

// over tries MQTT over TLS.
func over(address string, cfg *tls.Config) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	cfg.ServerName = "127.0.0.1"
	return mqtt(tls.Client(conn, cfg), packet.Connect{ClientID: "device"})
}

func keyPair(t *testing.T, p pair) []tls.Certificate {
	t.Helper()
	c, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{c}
}

// says checks that a reason is given on both sides.
func says(t *testing.T, g *gateway, err error, there string, here ...string) {
	t.Helper()
	if there == "" && err != nil || there != "" && (err == nil || !strings.Contains(err.Error(), there)) {
		t.Errorf("the client: %v, want %q", err, there)
	}
	for _, text := range here {
		g.await("it says: "+text, func() bool { return g.lines(text) > 0 })
	}
}

func TestClientCertificatesThatAreRefused(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t, "Ours"), newAuthority(t, "Theirs")
	caFile, server := filepath.Join(t.TempDir(), "ca.crt"), newPair(t)
	ours.issue("gateway", server)
	for _, c := range []struct {
		name   string
		by     *authority // nil: no certificate
		change func(*x509.Certificate)
		there  string // what the client hears
		here   []string
	}{
		{"a good one", ours, nil, "", nil},
		{"none", nil, nil, "certificate required", []string{"the client shows no certificate, and tls.client_cert needs one"}},
		{"of another authority", theirs, nil, "unknown certificate authority", []string{"signed by an authority that is not in tls.client_ca"}},
		{"expired", ours, ended, "expired certificate", []string{"has expired", "CN=device", "renew it"}},
		{"not valid yet, as the clock is in 1970", ours, of1970, "expired certificate", []string{"is not valid yet", "CN=device", "check this machine's clock"}},
		{"for servers only", ours, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }, "bad certificate", []string{"the client's certificate is not taken"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ours.file(caFile)
			g, address := secured(t, server, caFile)
			device := newPair(t)
			cfg := &tls.Config{RootCAs: ours.Pool()}
			if c.by != nil {
				c.by.issueAs("device", device, c.change)
				// Shown even when the gateway does not ask for one of that authority.
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &keyPair(t, device)[0], nil }
			}
			says(t, g, over(address, cfg), c.there, c.here...)
		})
	}
}

// TestARevokedAuthority: its clients are refused as soon as the file has changed,
// also those that would resume a session of TLS.
func TestARevokedAuthority(t *testing.T) {
	t.Parallel()
	ours, next := newAuthority(t, "Ours"), newAuthority(t, "Next")
	caFile, server, device := filepath.Join(t.TempDir(), "ca.crt"), newPair(t), newPair(t)
	ours.file(caFile)
	ours.issue("gateway", server)
	ours.issue("device", device)
	g, address := secured(t, server, caFile)
	cfg := &tls.Config{RootCAs: ours.Pool(), Certificates: keyPair(t, device), ClientSessionCache: tls.NewLRUClientSessionCache(10)}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cfg.Certificates[0], nil }
	for range 2 {
		says(t, g, over(address, cfg), "")
	}
	next.file(caFile)
	says(t, g, over(address, cfg), "unknown certificate authority", "the certificate was read again", "signed by an authority that is not in tls.client_ca")
	next.issue("device", device)
	cfg.Certificates = keyPair(t, device)
	says(t, g, over(address, cfg), "")
}

// TestOwnCertificatesThatClientsRefuse: the gateway starts with any of them and
// says what it can see.
func TestOwnCertificatesThatClientsRefuse(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t, "Ours"), newAuthority(t, "Theirs")
	const refused = "the client does not take this gateway's certificate"
	for _, c := range []struct {
		name   string
		by     *authority
		change func(*x509.Certificate)
		there  string
		here   []string
	}{
		{"a good one", ours, nil, "", nil},
		{"of another authority", theirs, nil, "signed by unknown authority", []string{refused}},
		{"for another host", ours, otherHost, "doesn't contain any IP SANs", []string{refused}},
		{"expired", ours, ended, "has expired", []string{refused, "the certificate has expired", "renew it"}},
		{"not valid yet, as the clock is in 1970", ours, of1970, "is not yet valid", []string{refused, "the certificate is not valid yet", "check this machine's clock"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := newPair(t)
			c.by.issueAs("gateway", server, c.change)
			g, address := secured(t, server, "")
			says(t, g, over(address, &tls.Config{RootCAs: ours.Pool()}), c.there, c.here...)
			if c.change == nil {
				return
			}
			if out, code := g.tool("check"); code != 0 {
				t.Errorf("check: exit code %d: %s", code, out)
			}
		})
	}
}

// TestCloudsWithCertificatesThatAreRefused: the state says why, messages wait, and
// go when the certificate, or the clock, is right.
func TestCloudsWithCertificatesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*x509.Certificate)
		here   []string
	}{
		{"expired", ended, []string{"has expired: it ended on", "clock"}},
		{"not valid yet, as the clock is in 1970", of1970, []string{"is not valid yet: it begins on", "check this machine's clock"}},
		{"for another host", otherHost, []string{"is for other.test, not for 127.0.0.1", "tls.server_name"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ours, server := newAuthority(t, "Ours"), newPair(t)
			caFile := filepath.Join(t.TempDir(), "ca.crt")
			ours.file(caFile)
			ours.issueAs("cloud", server, c.change)
			cloud := packetboatCloud(t, way{tls: true}, server, "")
			g := newGateway(t, bridgeOver("mqtts://"+cloud.bridged, "", fmt.Sprintf("ca = %q\n", caFile)))
			g.start()
			l := newLoad(t, g, cloud)
			l.accepted()
			g.complains(c.here...)
			ours.issue("cloud", server)
			l.settled()
			g.stop()
		})
	}
}

// TestVersionsAndCiphersOfListeners offers each version and each cipher suite that
// there is alone.
func TestVersionsAndCiphersOfListeners(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t, "Ours")
	server := newPair(t)
	ours.issue("gateway", server)
	_, address := secured(t, server, "")
	try := func(low, high uint16, suites ...uint16) (tls.ConnectionState, error) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := tls.Client(conn, &tls.Config{RootCAs: ours.Pool(), ServerName: "127.0.0.1", MinVersion: low, MaxVersion: high, CipherSuites: suites})
		err = c.Handshake()
		return c.ConnectionState(), err
	}
	for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		if _, err := try(version, version); (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
	if state, err := try(tls.VersionTLS12, 0); err != nil || state.Version != tls.VersionTLS13 {
		t.Errorf("the best version for both is %s, %v", tls.VersionName(state.Version), err)
	}
	var good []string
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if s.SupportedVersions[0] == tls.VersionTLS13 {
			continue // there it cannot be chosen, and all are good
		}
		_, err := try(tls.VersionTLS12, tls.VersionTLS12, s.ID)
		forward := strings.HasPrefix(s.Name, "TLS_ECDHE_")
		sealed := strings.Contains(s.Name, "_GCM_") || strings.Contains(s.Name, "_POLY1305_")
		if err == nil && (s.Insecure || !forward || !sealed) {
			t.Errorf("%s is taken", s.Name)
		}
		if err == nil {
			good = append(good, strings.TrimPrefix(s.Name, "TLS_"))
		}
	}
	if len(good) < 3 {
		t.Errorf("only %v are taken", good)
	}
	t.Logf("TLS 1.3, and 1.2 with %s", strings.Join(good, ", "))
}
