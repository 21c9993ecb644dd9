package dial

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// files are what the TLS files had when they were last read.
type files struct {
	authorities []*x509.Certificate // of CA; nil when there is none: the system's
	cert        *tls.Certificate    // nil: none
}

// readFiles reads what is named, all of it: the errors are [KeyError]s, joined.
func readFiles(o *Options) (*files, error) {
	f := new(files)
	var errs []error
	if o.CA != "" {
		b, err := readFile("tls.ca", o.CA)
		if err == nil {
			f.authorities, err = certificates("tls.ca", o.CA, b)
		}
		errs = append(errs, err)
	}
	if o.Cert != "" {
		var err error
		f.cert, err = readPair(o.Cert, o.Key)
		errs = append(errs, err)
	}
	return f, errors.Join(errs...)
}

// readPair reads a certificate and its key.
func readPair(certFile, keyFile string) (*tls.Certificate, error) {
	cert, certErr := readFile("tls.cert", certFile)
	key, keyErr := readFile("tls.key", keyFile)
	if certErr == nil {
		_, certErr = certificates("tls.cert", certFile, cert)
	}
	if err := errors.Join(certErr, keyErr); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	switch {
	case err == nil:
		return &pair, nil
	case bytes.Contains(key, []byte("ENCRYPTED")):
		return nil, &KeyError{"tls.key", fmt.Errorf("%s is protected with a passphrase", keyFile),
			"store the key without one: openssl pkey -in KEY -out NEWKEY"}
	case strings.Contains(err.Error(), "does not match"):
		return nil, &KeyError{"tls.key", fmt.Errorf("%s is not the key of the certificate in %s", keyFile, certFile),
			"give the key that the certificate was made for; in tls.cert, the gateway's own certificate comes before those of authorities"}
	}
	return nil, &KeyError{"tls.key", fmt.Errorf("%s has no private key that can be read: %w", keyFile, err), remedyPEM}
}

const remedyPEM = "the file must be in PEM form, text with -----BEGIN lines; openssl converts others"

func readFile(key, name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	switch {
	case err == nil:
		return b, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, &KeyError{key, err, "put the file there, or correct the path"}
	case errors.Is(err, fs.ErrPermission):
		return nil, &KeyError{key, err, "let the service's group read it, and enter the directories above: chgrp packetboat FILE; chmod g+r FILE"}
	}
	return nil, &KeyError{key, err, "correct the path"}
}

// certificates gives those in a file, at least one.
func certificates(key, name string, b []byte) (all []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, &KeyError{key, fmt.Errorf("%s has a certificate that cannot be read: %w", name, err), "get the file anew"}
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, &KeyError{key, fmt.Errorf("%s has no certificate", name), remedyPEM}
	}
	return all, nil
}

// check finds certificates whose time is not now. They are no reason not to
// try: the clock may be wrong, and the server decides.
func (f *files) check(o *Options, now time.Time) error {
	var errs []error
	if f.cert != nil {
		errs = append(errs, outOfTime("tls.cert", o.Cert, f.cert.Leaf, now))
	}
	var last error // when none of the authorities is good
	for _, c := range f.authorities {
		if last = outOfTime("tls.ca", o.CA, c, now); last == nil {
			break
		}
	}
	return errors.Join(append(errs, last)...)
}

func outOfTime(key, name string, c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return &KeyError{key, fmt.Errorf("the certificate in %s has expired: %s", name, validity(c.NotAfter, now)), "renew it; or check this machine's clock"}
	case now.Before(c.NotBefore):
		return &KeyError{key, fmt.Errorf("the certificate in %s is not valid yet: %s", name, validity(c.NotBefore, now)), remedyClock}
	}
	return nil
}

const remedyClock = "check this machine's clock (timedatectl): without a battery it may be wrong until the network has told it"

// validity compares an end of a certificate's time with the clock.
func validity(end, now time.Time) string {
	word := "it ended on"
	if now.Before(end) {
		word = "it begins on"
	}
	return fmt.Sprintf("%s %s, here it is %s", word, end.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
}

// pool is what a server is verified by; nil: the system's authorities.
func (f *files) pool() *x509.CertPool {
	if f.authorities == nil {
		return nil
	}
	p := x509.NewCertPool()
	for _, c := range f.authorities {
		p.AddCert(c)
	}
	return p
}

// proxyPool is what a proxy is verified by.
func (f *files) proxyPool() *x509.CertPool {
	if f.authorities == nil {
		return nil
	}
	p, err := x509.SystemCertPool()
	if err != nil { // there are none
		return f.pool()
	}
	for _, c := range f.authorities {
		p.AddCert(c)
	}
	return p
}
