package gateway

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"packetboat/broker/transport/certtest"
	"packetboat/config"
)

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
	a := certtest.NewAuthority("authority")
	dir := t.TempDir()
	cfg := &config.ListenerTLS{Cert: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key"), ClientCA: filepath.Join(dir, "ca"), ClientCert: "required"}
	one, two := a.Issue("one"), a.Issue("two")
	cert1, key1, cert2, key2 := one.CertPEM(), one.KeyPEM(), two.CertPEM(), two.KeyPEM()
	put(t, cfg.Cert, cert1, time.Hour)
	put(t, cfg.Key, key1, time.Hour)
	put(t, cfg.ClientCA, a.CertPEM(), time.Hour)
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
	other := certtest.NewAuthority("authority")
	put(t, cfg.ClientCA, other.CertPEM(), 0)
	if !c.config().ClientCAs.Equal(other.Pool()) {
		t.Error("the authority of the clients is the old one")
	}
	said("that it was read", "was read again")
}

func TestWhatIsWrongWithCertificatesIsSaid(t *testing.T) {
	a := certtest.NewAuthority("authority")
	one := a.Issue("one")
	cert1, key1, key2, ca := one.CertPEM(), one.KeyPEM(), a.Issue("two").KeyPEM(), a.CertPEM()
	for _, c := range []struct {
		name          string
		cert, key, ca []byte // nil: no file
		want, remedy  string
	}{
		{"no certificate", nil, key1, ca, "tls.cert: open", "put the file there"},
		{"no key", cert1, nil, ca, "tls.key: open", "put the file there"},
		{"no authority", cert1, key1, nil, "tls.client_ca: open", "put the file there"},
		{"another's key", cert1, key2, ca, "tls.key: ", "openssl x509 -noout -pubkey"},
		{"a key that is none", cert1, []byte("x"), ca, "tls.key: ", "PEM form"},
		{"a certificate that is none", []byte("x"), key1, ca, "tls.cert: ", "PEM form"},
		{"an authority that is none", cert1, key1, []byte("x"), "tls.client_ca: ", "PEM form"},
		{"a key with a passphrase", cert1, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), ca, "passphrase", "openssl pkey"},
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
