package gateway

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"packetboat/config"
)

// certs is the TLS configuration of a listener, which follows its files: they
// are looked at for each handshake and read again when one of them has changed.
// While they do not fit together, the configuration that they last gave stays.
type certs struct {
	cfg *config.ListenerTLS
	log *slog.Logger

	mu     sync.Mutex
	looks  [3]look // of cert, key, client_ca, when they were last read
	newest *tls.Config
	told   string // what is wrong with the files, since they last were right
	cure   string // ... and what to do about it
}

// A look tells whether a file is another one by now.
type look struct {
	name string
	mod  time.Time
	size int64
	ino  uint64
}

// settling is how long after a change of a file what is wrong with it is not
// complained about: the others may be about to change too.
const settling = 5 * time.Second

// newCerts reads the files. Its error is a *tlsError.
func newCerts(cfg *config.ListenerTLS, log *slog.Logger) (*certs, error) {
	c := &certs{cfg: cfg, log: log}
	c.looks = c.look()
	var err error
	if c.newest, err = readCerts(cfg); err != nil {
		return nil, err
	}
	c.warnOutOfTime()
	return c, nil
}

// config gives the configuration for a handshake.
func (c *certs) config() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.look()
	if now == c.looks {
		return c.newest
	}
	cfg, err := readCerts(c.cfg)
	if err == nil {
		c.looks, c.newest, c.told, c.cure = now, cfg, "", ""
		c.log.Info("the certificate was read again", "cert", c.cfg.Cert)
		c.warnOutOfTime()
		return cfg
	}
	for _, l := range now {
		if time.Since(l.mod) < settling {
			return c.newest
		}
	}
	c.looks = now
	if text := err.Error(); text != c.told {
		c.told, c.cure = text, remedyOf(err)
		c.log.Error("the changed certificate cannot be used; the old one stays in use", "error", err, "remedy", remedyOf(err))
	}
	return c.newest
}

func (c *certs) look() (all [3]look) {
	for i, name := range []string{c.cfg.Cert, c.cfg.Key, c.cfg.ClientCA} {
		all[i].name = name
		var st unix.Stat_t
		if name != "" && unix.Stat(name, &st) == nil {
			all[i].mod, all[i].size, all[i].ino = time.Unix(st.Mtim.Unix()), st.Size, st.Ino
		}
	}
	return all
}

// warnOutOfTime says what clients will say. It is no reason not to listen: they go
// by their own clocks, and this one may be in 1970 until the network has told it.
func (c *certs) warnOutOfTime() {
	leaf := c.newest.Certificates[0].Leaf
	switch now := time.Now(); {
	case now.After(leaf.NotAfter):
		c.log.Warn("the certificate has expired: clients that verify it will not connect", "cert", c.cfg.Cert, "not_after", leaf.NotAfter,
			"now", now, "remedy", "renew it; or check this machine's clock (timedatectl)")
	case now.Before(leaf.NotBefore):
		c.log.Warn("the certificate is not valid yet: clients that verify it will not connect, unless it is this machine's clock that is wrong",
			"cert", c.cfg.Cert, "not_before", leaf.NotBefore, "now", now,
			"remedy", "check this machine's clock (timedatectl): without a battery it may be wrong until the network has told it")
	}
}

// trouble is what is wrong with the certificate that is in use, or with the files
// that should replace it, and what to do about it; "" for nothing. Any goroutine.
func (c *certs) trouble(now time.Time) (what, remedy string) {
	leaf := c.config().Certificates[0].Leaf
	c.mu.Lock()
	told, cure := c.told, c.cure
	c.mu.Unlock()
	switch {
	case told != "":
		return "the changed TLS files cannot be used, the old certificate stays in use: " + told, cure
	case now.After(leaf.NotAfter):
		return fmt.Sprintf("the certificate in %s has expired on %s: clients that verify it will not connect", c.cfg.Cert, leaf.NotAfter.UTC().Format(time.RFC3339)),
			"renew it; or check this machine's clock (timedatectl)"
	case now.Before(leaf.NotBefore):
		return fmt.Sprintf("the certificate in %s is not valid before %s, and here it is %s: clients that verify it will not connect, unless it is this machine's clock that is wrong",
				c.cfg.Cert, leaf.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)),
			"check this machine's clock (timedatectl): without a battery it may be wrong until the network has told it"
	case leaf.NotAfter.Sub(now) < min(expiresSoon, leaf.NotAfter.Sub(leaf.NotBefore)/3):
		return fmt.Sprintf("the certificate in %s expires on %s", c.cfg.Cert, leaf.NotAfter.UTC().Format(time.RFC3339)),
			"renew it; the new file is taken without a restart"
	}
	return "", ""
}

// expiresSoon is how long before its end a certificate is a problem: time enough
// to renew it. Those that are made for some days only are renewed by programs, late in
// their time.
const expiresSoon = 14 * 24 * time.Hour

// A tlsError is what is wrong with one of the files.
type tlsError struct {
	key    string // of [listener.tls]
	err    error
	remedy string
}

// Error says what is wrong.
func (e *tlsError) Error() string { return "tls." + e.key + ": " + e.err.Error() }

// Unwrap gives the cause.
func (e *tlsError) Unwrap() error { return e.err }

// readCerts reads the files. Its error is a *tlsError.
func readCerts(cfg *config.ListenerTLS) (*tls.Config, error) {
	certPEM, err := readPEM("cert", cfg.Cert)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readPEM("key", cfg.Key)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(keyPEM, []byte("ENCRYPTED")) {
		return nil, &tlsError{"key", fmt.Errorf("%s is protected with a passphrase", cfg.Key),
			"store the key without one: openssl pkey -in KEY -out NEWKEY"}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, pairError(cfg, certPEM, err)
	}
	t := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		CipherSuites: cipherSuites(),
		// Many small records in the beginning are for web pages; here they are
		// system calls.
		DynamicRecordSizingDisabled: true,
	}
	if cfg.ClientCA == "" {
		return t, nil
	}
	caPEM, err := readPEM("client_ca", cfg.ClientCA)
	if err != nil {
		return nil, err
	}
	t.ClientCAs = x509.NewCertPool()
	if !t.ClientCAs.AppendCertsFromPEM(caPEM) {
		return nil, &tlsError{"client_ca", fmt.Errorf("%s has no certificate that can be read", cfg.ClientCA), remedyPEM}
	}
	t.ClientAuth = tls.VerifyClientCertIfGiven
	if cfg.ClientCert != "optional" {
		t.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return t, nil
}

// cipherSuites are those of TLS 1.2 that are as good as all of TLS 1.3 are: with
// forward secrecy and authenticated encryption. crypto/tls would take CBC too.
func cipherSuites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// pairError says which of the two files is wrong.
func pairError(cfg *config.ListenerTLS, certPEM []byte, err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "private key type does not match") || strings.Contains(text, "private key does not match"):
		return &tlsError{"key", fmt.Errorf("%s is not the key of the certificate in %s", cfg.Key, cfg.Cert),
			"give the key that the certificate was made for, and in cert the gateway's own certificate before those of authorities; `openssl x509 -noout -pubkey -in CERT` and `openssl pkey -pubout -in KEY` print the same when they fit"}
	case x509.NewCertPool().AppendCertsFromPEM(certPEM):
		return &tlsError{"key", fmt.Errorf("%s has no private key that can be read: %w", cfg.Key, err), remedyPEM}
	}
	return &tlsError{"cert", fmt.Errorf("%s has no certificate that can be read: %w", cfg.Cert, err), remedyPEM}
}

const remedyPEM = "the file must be in PEM form, text with -----BEGIN lines; openssl converts others"

// readPEM reads a file of [listener.tls].
func readPEM(key, name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &tlsError{key, err, "put the file there, or correct the path"}
	case errors.Is(err, fs.ErrPermission):
		return nil, &tlsError{key, err, permissionRemedy(name)}
	case err != nil:
		return nil, &tlsError{key, err, "correct the path"}
	}
	return b, nil
}

// permissionRemedy names what keeps this user from reading a file: the first
// directory on the way that cannot be entered, or the file itself.
func permissionRemedy(name string) string {
	who := "this user"
	if u, err := user.Current(); err == nil {
		who = "user " + u.Username
	}
	what, need := name, uint32(unix.R_OK)
	for dir := filepath.Dir(name); ; dir = filepath.Dir(dir) {
		if unix.Access(dir, unix.X_OK) != nil {
			what, need = dir, unix.X_OK // the outermost one in the end
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	verb := "read"
	if need == unix.X_OK {
		verb = "enter"
	}
	var st unix.Stat_t
	if err := unix.Stat(what, &st); err != nil {
		return fmt.Sprintf("%s may not %s %s", who, verb, what)
	}
	owner, group := userName(st.Uid), groupName(st.Gid)
	is := fmt.Sprintf("%s may not %s %s, which belongs to %s:%s with mode %04o", who, verb, what, owner, group, st.Mode&0o7777)
	if st.Gid != 0 && st.Mode>>3&need != 0 {
		return fmt.Sprintf("%s: add it to group %s (usermod -aG %s USER, then restart the service)", is, group, group)
	}
	mode := "g+r"
	if need == unix.X_OK {
		mode = "g+x"
	}
	return fmt.Sprintf("%s: give it to the service's group (chgrp packetboat %s; chmod %s %s)", is, what, mode, what)
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}

// remedyOf gives the remedy of a *tlsError.
func remedyOf(err error) string {
	var e *tlsError
	if errors.As(err, &e) {
		return e.remedy
	}
	return ""
}
