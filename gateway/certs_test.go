package gateway

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"packetboat/config"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = tmpl, newKey(t)
	a.pem = a.sign(tmpl, a.key)
	block, _ := pem.Decode(a.pem)
	var err error
	if a.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(tmpl *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// issue makes a certificate for name, as a server on loopback and as a client.
func (a *authority) issue(name string, number int64) (certPEM, keyPEM []byte) {
	a.t.Helper()
	key := newKey(a.t)
	certPEM = a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(number), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"gateway"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return certPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (a *authority) client(name string) tls.Certificate {
	a.t.Helper()
	certPEM, keyPEM := a.issue(name, 7)
	c, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// put writes a file as those who renew certificates do, under its name at once,
// last changed so long ago.
func put(t *testing.T, name string, b []byte, ago time.Duration) {
	t.Helper()
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if then := time.Now().Add(-ago); os.Chtimes(name+".new", then, then) != nil || os.Rename(name+".new", name) != nil {
		t.Fatal("not put")
	}
}

func TestCertificatesAreReadAgainWhenTheyHaveChanged(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	cfg := &config.ListenerTLS{Cert: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key"), ClientCA: filepath.Join(dir, "ca"), ClientCert: "required"}
	cert1, key1 := a.issue("one", 1)
	cert2, key2 := a.issue("two", 2)
	put(t, cfg.Cert, cert1, time.Hour)
	put(t, cfg.Key, key1, time.Hour)
	put(t, cfg.ClientCA, a.pem, time.Hour)
	var log bytes.Buffer
	c, err := newCerts(cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	first := c.config()
	shows := func(step, name string) {
		t.Helper()
		if got := c.config().Certificates[0].Leaf.Subject.CommonName; got != name {
			t.Errorf("%s: the certificate of %s, want that of %s", step, got, name)
		}
	}
	said := func(step string, texts ...string) {
		t.Helper()
		if n := strings.Count(log.String(), "\n"); n != len(texts) {
			t.Errorf("%s: %d lines, want %d: %s", step, n, len(texts), log.String())
		}
		for _, text := range texts {
			if !strings.Contains(log.String(), text) {
				t.Errorf("%s: no %q in %s", step, text, log.String())
			}
		}
		log.Reset()
	}
	if c.config() != first {
		t.Error("read again though nothing has changed")
	}
	put(t, cfg.Cert, cert2, 0)
	shows("the certificate alone has changed, just now", "one")
	said("the key may be about to change")
	put(t, cfg.Cert, cert2, time.Minute)
	shows("the certificate alone has changed", "one")
	shows("still", "one")
	said("said once", "is not the key of the certificate")
	put(t, cfg.Key, key2, 0)
	shows("the key too", "two")
	said("that it was read", "was read again")
	if err := os.Remove(cfg.Key); err != nil {
		t.Fatal(err)
	}
	put(t, cfg.Cert, cert1, time.Minute)
	shows("a file is gone", "two")
	said("a file is gone", "put the file there")
	put(t, cfg.Key, key1, 0)
	shows("all is there again", "one")
	said("that it was read", "was read again")
	other := newAuthority(t)
	put(t, cfg.ClientCA, other.pem, 0)
	if !c.config().ClientCAs.Equal(other.pool) {
		t.Error("the authority of the clients is the old one")
	}
	said("that it was read", "was read again")
}

func TestWhatIsWrongWithCertificatesIsSaid(t *testing.T) {
	a := newAuthority(t)
	cert1, key1 := a.issue("one", 1)
	_, key2 := a.issue("two", 2)
	for _, c := range []struct {
		name          string
		cert, key, ca []byte // nil: no file
		want, remedy  string
	}{
		{"no certificate", nil, key1, a.pem, "tls.cert: open", "put the file there"},
		{"no key", cert1, nil, a.pem, "tls.key: open", "put the file there"},
		{"no authority", cert1, key1, nil, "tls.client_ca: open", "put the file there"},
		{"another's key", cert1, key2, a.pem, "tls.key: ", "openssl x509 -noout -pubkey"},
		{"a key that is none", cert1, []byte("x"), a.pem, "tls.key: ", "PEM form"},
		{"a certificate that is none", []byte("x"), key1, a.pem, "tls.cert: ", "PEM form"},
		{"an authority that is none", cert1, key1, []byte("x"), "tls.client_ca: ", "PEM form"},
		{"a key with a passphrase", cert1, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), a.pem, "passphrase", "openssl pkey"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := &config.ListenerTLS{Cert: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key"), ClientCA: filepath.Join(dir, "ca"), ClientCert: "required"}
			for name, b := range map[string][]byte{cfg.Cert: c.cert, cfg.Key: c.key, cfg.ClientCA: c.ca} {
				if b != nil {
					put(t, name, b, 0)
				}
			}
			_, err := newCerts(cfg, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(remedyOf(err), c.remedy) {
				t.Errorf("%v; %s", err, remedyOf(err))
			}
		})
	}
}
