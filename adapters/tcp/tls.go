package tcp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"packetboat/adapters"
	"packetboat/config"
)

// files is the TLS configuration that follows its files: they are looked at for
// each connection, and read again when one of them is another.
type files struct {
	cfg  config.TCPTLS
	host string // of the device that is called; "": devices connect

	mu     sync.Mutex
	looks  [4]look // of cert, key, client_ca, ca, when newest was made
	newest *tls.Config
	told   string // what is wrong with the files since
}

// A look tells whether a file is another one by now.
type look struct {
	mod  time.Time
	size int64
	ino  uint64
}

// newFiles is for devices that connect, or for the one that is at connect.
func newFiles(cfg config.TCPTLS, connect string) *files {
	f := &files{cfg: cfg}
	if connect != "" {
		f.host, _, _ = net.SplitHostPort(connect) // was checked
	}
	return f
}

func (f *files) look() (all [4]look) {
	for i, name := range []string{f.cfg.Cert, f.cfg.Key, f.cfg.ClientCA, f.cfg.CA} {
		var st unix.Stat_t
		if name != "" && unix.Stat(name, &st) == nil {
			all[i] = look{time.Unix(st.Mtim.Unix()), st.Size, st.Ino}
		}
	}
	return all
}

// current is the configuration for a connection. While changed files do not fit
// together, what they gave last stays.
func (a *Adapter) current() (*tls.Config, error) {
	f := a.files
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.look()
	if f.newest != nil && now == f.looks {
		return f.newest, nil
	}
	cfg, err := f.config()
	switch {
	case err == nil:
		if f.newest != nil {
			a.Log().Info("the TLS files were read again")
		}
		f.looks, f.newest, f.told = now, cfg, ""
	case f.newest == nil:
		return nil, err
	case err.Error() != f.told:
		f.told = err.Error()
		a.Log().Error("the changed TLS files cannot be used; what they had stays in use", "error", err)
	}
	return f.newest, nil
}

// config reads the files. Its error is a *adapters.KeyError.
func (f *files) config() (*tls.Config, error) {
	t := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: f.cfg.ALPN,
		// Many small records in the beginning are for web pages; here they are
		// system calls.
		DynamicRecordSizingDisabled: true,
	}
	if f.cfg.Cert != "" {
		pair, err := readPair(f.cfg.Cert, f.cfg.Key)
		if err != nil {
			return nil, err
		}
		t.Certificates = []tls.Certificate{pair}
	}
	var err error
	if f.host != "" {
		t.ServerName = f.host
		if f.cfg.ServerName != "" {
			t.ServerName = f.cfg.ServerName
		}
		t.RootCAs, err = readAuthorities("ca", f.cfg.CA)
		return t, err
	}
	if t.ClientCAs, err = readAuthorities("client_ca", f.cfg.ClientCA); err != nil {
		return nil, err
	}
	switch {
	case t.ClientCAs == nil:
	case f.cfg.ClientCert == "required" || f.cfg.ClientCert == "username":
		t.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		t.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return t, nil
}

const pemRemedy = "; it must be in PEM form, text with -----BEGIN lines"

// readPair reads a certificate and its key.
func readPair(certFile, keyFile string) (tls.Certificate, error) {
	var none tls.Certificate
	certPEM, err := readFile("cert", certFile)
	if err != nil {
		return none, err
	}
	keyPEM, err := readFile("key", keyFile)
	if err != nil {
		return none, err
	}
	if bytes.Contains(keyPEM, []byte("ENCRYPTED")) {
		return none, wrong("key", fmt.Errorf("%s is protected with a passphrase: store it without one (openssl pkey -in KEY -out NEWKEY)", keyFile))
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	switch {
	case err == nil:
		return pair, nil
	case !x509.NewCertPool().AppendCertsFromPEM(certPEM):
		return none, wrong("cert", fmt.Errorf("%s has no certificate that can be read: %w%s", certFile, err, pemRemedy))
	case !bytes.Contains(keyPEM, []byte("PRIVATE KEY-----")):
		return none, wrong("key", fmt.Errorf("%s has no private key%s", keyFile, pemRemedy))
	}
	return none, wrong("key", fmt.Errorf("%s is not the key of the first certificate in %s: %w", keyFile, certFile, err))
}

// readAuthorities reads a file of certificates; nil when there is none.
func readAuthorities(key, name string) (*x509.CertPool, error) {
	if name == "" {
		return nil, nil
	}
	b, err := readFile(key, name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, wrong(key, fmt.Errorf("%s has no certificate that can be read%s", name, pemRemedy))
	}
	return pool, nil
}

func readFile(key, name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, wrong(key, fmt.Errorf("%w: put the file there, or correct the path", err))
	case errors.Is(err, fs.ErrPermission):
		return nil, wrong(key, fmt.Errorf("%w: let the service's group read it, and enter the directories above (chgrp packetboat; chmod g+r, g+x)", err))
	case err != nil:
		return nil, wrong(key, err)
	}
	return b, nil
}

func wrong(key string, err error) error { return &adapters.KeyError{Key: "tls." + key, Err: err} }

// explain adds to an error of a handshake what it means.
func explain(err error) error {
	var header tls.RecordHeaderError
	var invalid *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("the handshake takes too long")
	case errors.As(err, &header):
		return errors.New("the other side does not speak TLS")
	case errors.As(err, &invalid):
		var authority x509.UnknownAuthorityError
		var name x509.HostnameError
		switch {
		case errors.As(err, &authority):
			return fmt.Errorf("%w: the certificate of the authority that has signed it must be in tls.ca, for a client in tls.client_ca", invalid.Err)
		case errors.As(err, &name):
			return fmt.Errorf("%w: if it is the right device, give one of its names as tls.server_name", invalid.Err)
		}
		return invalid.Err
	case errors.Is(err, io.EOF):
		return errors.New("the other side ends the connection")
	}
	return err
}
