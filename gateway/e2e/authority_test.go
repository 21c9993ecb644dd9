package e2e

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"packetboat/broker/transport/certtest"
)

// authority signs certificates, into files.
type authority struct {
	certtest.Pair
	t *testing.T
}

func newAuthority(t *testing.T, name string) *authority {
	return &authority{certtest.NewAuthority(name), t}
}

// file writes the authority's own certificate; what was in the file is replaced at
// once, as whoever renews certificates should do it.
func (a *authority) file(name string) {
	a.t.Helper()
	replace(a.t, name, string(a.CertPEM()))
}

// A pair is the files of a certificate and its key.
type pair struct{ cert, key string }

// newPair names the files of a pair in a directory of their own.
func newPair(t *testing.T) pair {
	dir := t.TempDir()
	return pair{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
}

// issue writes a new certificate of that name, which is good for servers on
// loopback and for clients, and a new key.
func (a *authority) issue(name string, to pair) { a.t.Helper(); a.issueAs(name, to, nil) }

// issueAs is issue with something changed.
func (a *authority) issueAs(name string, to pair, change func(*x509.Certificate)) {
	a.t.Helper()
	p := a.Issue(name, certtest.Hosts("127.0.0.1"), change)
	replace(a.t, to.cert, string(p.CertPEM()))
	replace(a.t, to.key, string(p.KeyPEM()))
}

func replace(t *testing.T, file, text string) {
	t.Helper()
	write(t, file+".new", text)
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}
