package transport

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// maxChunk is how much plain text goes into one record or frame: what a TLS
// record takes, less a frame's header.
const maxChunk = 16<<10 - maxHeader

// maxRest is how much the wire keeps for a peer that does not read: a record of
// the writer and what the reader answers by itself (pongs, key updates).
const maxRest = 64 << 10

var errNotRead = errors.New("the peer does not read what it asks for")

// errNotReady is a read's word for "not now". TLS takes it as it takes a
// timeout: what has come of a record is kept, and the read may be repeated.
var errNotReady net.Error = notReady{}

type notReady struct{}

func (notReady) Error() string   { return "nothing to read" }
func (notReady) Timeout() bool   { return true }
func (notReady) Temporary() bool { return true }

// wire is the lowest layer: the socket, which after the handshake neither reads
// nor writes with waiting.
type wire struct {
	net.Conn
	raw      syscall.RawConn // nil: not a socket; then everything waits
	blocking bool            // during the handshake

	// The reader's.
	fd     int
	inside bool // a Read of raw

	mu       sync.Mutex // guards the rest
	rest     []byte     // written and not taken by the kernel
	draining bool       // somebody writes what was rest
	err      error      // of the socket

	// Arguments and results of onWrite.
	out     []byte
	outN    int
	outErr  error
	onWrite func(fd uintptr) bool
}

func (w *wire) init(nc net.Conn) {
	w.Conn = nc
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			w.raw, w.onWrite = raw, w.send
		}
	}
}

// Read reads from the socket; within ReadReady it does not wait.
func (w *wire) Read(b []byte) (int, error) {
	if !w.inside {
		return w.Conn.Read(b)
	}
	for {
		n, err := syscall.Read(w.fd, b)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, errNotReady
		case err != nil:
			return 0, err
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write takes all of b, unless the socket is broken or the peer too slow, and
// passes on what the kernel takes now.
func (w *wire) Write(b []byte) (int, error) {
	if w.raw == nil || w.blocking {
		return w.Conn.Write(b)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	if len(w.rest) == 0 && !w.draining && w.err == nil {
		n = w.sendLocked(b)
	}
	if w.err == nil && len(w.rest)+len(b)-n > maxRest {
		w.err = errNotRead
	}
	if w.err != nil {
		return n, w.err
	}
	w.rest = append(w.rest, b[n:]...)
	return len(b), nil
}

// sendLocked writes what the kernel takes.
func (w *wire) sendLocked(b []byte) int {
	w.out, w.outN, w.outErr = b, 0, nil
	err := w.raw.Write(w.onWrite)
	w.out = nil
	if err == nil {
		err = w.outErr
	}
	w.err = err
	return w.outN
}

func (w *wire) send(fd uintptr) bool {
	for w.outN < len(w.out) {
		n, err := syscall.Write(int(fd), w.out[w.outN:])
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return true
		case err != nil:
			w.outErr = err
			return true
		default:
			w.outN += n
		}
	}
	return true
}

// push writes of the rest what the kernel takes; EAGAIN: not all of it.
func (w *wire) push() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rest) > 0 && !w.draining && w.err == nil {
		n := w.sendLocked(w.rest)
		w.dropLocked(n)
	}
	if w.err == nil && (len(w.rest) > 0 || w.draining) {
		return syscall.EAGAIN
	}
	return w.err
}

func (w *wire) dropLocked(n int) {
	if n == len(w.rest) {
		w.rest = nil // an idle connection keeps no buffer
		return
	}
	w.rest = w.rest[:copy(w.rest, w.rest[n:])]
}

// drain writes the rest and waits for that. Others may add to it meanwhile.
func (w *wire) drain() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.rest) > 0 && w.err == nil {
		out := w.rest
		w.rest, w.draining = nil, true
		w.mu.Unlock()
		_, err := w.Conn.Write(out)
		w.mu.Lock()
		w.draining, w.err = false, err
	}
	return w.err
}
