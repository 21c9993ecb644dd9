package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// explained says in the words of the configuration why a TLS handshake has failed.
// What is nobody's mistake, such as the end of the connection, stays as it is.
func explained(err error, now time.Time) error {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("the client's certificate is signed by an authority that is not in tls.client_ca: %w", err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return outOfTime(invalid.Cert, now)
	case errors.As(err, &invalid):
		return fmt.Errorf("the client's certificate is not taken: %w", err)
	case refusedOurs(err):
		return fmt.Errorf("the client does not take this gateway's certificate (%w); its authority must be known there, its names be what clients connect to, its time not be over, and the clocks right", err)
	case errors.As(err, &record):
		return fmt.Errorf("the client does not speak TLS: %w", err)
	case strings.Contains(err.Error(), "client didn't provide a certificate"):
		return fmt.Errorf("the client shows no certificate, and tls.client_cert needs one: %w", err)
	case strings.Contains(err.Error(), "client offered only unsupported versions"):
		return fmt.Errorf("the client speaks no TLS 1.2 or later: %w", err)
	}
	return err
}

// outOfTime is about a certificate of the client's chain.
func outOfTime(c *x509.Certificate, now time.Time) error {
	who, here := c.Subject.String(), now.UTC().Format(time.RFC3339)
	if now.Before(c.NotBefore) {
		return fmt.Errorf("the client's certificate is not valid yet: that of %q begins on %s, and here it is %s; check this machine's clock (timedatectl): without a battery it may be wrong until the network has told it",
			who, c.NotBefore.UTC().Format(time.RFC3339), here)
	}
	return fmt.Errorf("the client's certificate has expired: that of %q ended on %s, and here it is %s; renew it, or check this machine's clock (timedatectl)",
		who, c.NotAfter.UTC().Format(time.RFC3339), here)
}

// refusedOurs: the alert that the client has sent is one of 42 to 46 and 48 of RFC
// 8446 section 6.2, which are about certificates. crypto/tls gives it with its text
// only.
func refusedOurs(err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return false
	}
	for _, a := range []tls.AlertError{42, 43, 44, 45, 46, 48} {
		if op.Err.Error() == a.Error() {
			return true
		}
	}
	return false
}
