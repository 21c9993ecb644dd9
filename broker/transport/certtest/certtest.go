// Package certtest makes authorities and certificates for tests of TLS, as
// net/http/httptest makes servers. Only tests import it. What cannot be made or
// written panics.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A Pair is a certificate and its key; that of an authority signs others. It may
// be used from several goroutines.
type Pair struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// NewAuthority makes the pair of an authority.
func NewAuthority(name string) Pair { return SelfSigned(name, CA) }

// SelfSigned makes a certificate that has signed itself. It has the common name,
// is good from an hour ago for two hours, for servers and for clients, and names
// no host; the changes, nil for none, make it another one.
func SelfSigned(name string, changes ...func(*x509.Certificate)) Pair {
	return Pair{}.Issue(name, changes...)
}

// Issue makes a certificate like that of SelfSigned, which p has signed, and a key
// of its own.
func (p Pair) Issue(name string, changes ...func(*x509.Certificate)) Pair {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, change := range changes {
		if change != nil {
			change(c)
		}
	}
	if p.Key == nil {
		p = Pair{c, key}
	}
	der := must(x509.CreateCertificate(rand.Reader, c, p.Cert, &key.PublicKey, p.Key))
	return Pair{must(x509.ParseCertificate(der)), key}
}

// CA changes a certificate to one of an authority.
func CA(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.ExtKeyUsage = true, true, nil
	c.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
}

// Hosts changes a certificate to one for these names and addresses.
func Hosts(hosts ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for _, h := range hosts {
			if ip := net.ParseIP(h); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else {
				c.DNSNames = append(c.DNSNames, h)
			}
		}
	}
}

// Valid changes when a certificate is good.
func Valid(from, to time.Time) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }
}

// TLS is the pair for crypto/tls.
func (p Pair) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.Key, Leaf: p.Cert}
}

// Pool has the certificate alone.
func (p Pair) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.Cert)
	return pool
}

// CertPEM is the certificate as in a file.
func (p Pair) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Cert.Raw})
}

// KeyPEM is the key as in a file.
func (p Pair) KeyPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(p.Key))})
}

// Files writes the certificate to NAME.crt and the key to NAME.key, in dir.
func (p Pair) Files(dir, name string) (cert, key string) {
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	for file, b := range map[string][]byte{cert: p.CertPEM(), key: p.KeyPEM()} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			panic(err)
		}
	}
	return cert, key
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
