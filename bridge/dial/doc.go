// Package dial reaches a cloud broker: from a local address or interface,
// through a proxy, with TLS, over WebSocket, in any combination.
//
//	TCP ─► proxy (CONNECT) ─► TLS ─► WebSocket ─► net.Conn
//
// [Dialer.Dial] goes through these stages within its context, and says at
// which one it failed ([Error]), why, and what an operator can do about it. What
// is wrong with the options is said by their key ([KeyError]), before any
// network is needed.
//
// # What is trusted
//
// The server's certificate is always verified, by the authorities in the file
// Options.CA, or the system's when there is none. The TLS files are read for
// each connection, so that a renewed certificate, and an authority that is
// trusted no more, count at the next one; for the same reason TLS sessions are
// not resumed. The system's authorities are read once in a process's life (by
// crypto/x509).
//
// A proxy with an https URL is verified by the system's authorities and those of
// Options.CA together: companies often give their proxies certificates of their
// own. It gets no client certificate.
//
// # What is never said
//
// Errors quote neither the URL of a server or proxy nor anything of it that may
// be secret, nor what a proxy has answered, which may repeat that.
package dial
