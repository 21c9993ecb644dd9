package broker

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// socket reads and writes a connection without owning buffers while nothing
// moves: on TCP and unix sockets, with or without layers above, it waits for
// readability first and borrows a buffer then, and it writes what the kernel
// takes and leaves the rest to its caller. Other connections (pipes) own a
// small read buffer and cannot write without blocking.
type socket struct {
	conn   net.Conn
	layers layers          // nil: none
	raw    syscall.RawConn // nil: no such thing

	// Arguments and results of the callbacks below, which are made once
	// because a closure for each call would be an allocation for each call.
	in      *input
	readErr error
	readN   int
	onRead  func(fd uintptr) bool

	out      []byte
	writeErr error
	writeN   int
	onWrite  func(fd uintptr) bool
}

// layers are what package transport has between a socket and MQTT.
type layers interface {
	// Handshake comes before everything else and blocks, until the deadlines of
	// the connection at the longest.
	Handshake() error
	// ReadReady reads what has come, within Read of the socket's RawConn: EAGAIN
	// when nothing has, 0 when nothing of it is MQTT.
	ReadReady(fd uintptr, b []byte) (int, error)
	// TryWrite writes what the kernel takes. EAGAIN: Write has to see to the
	// rest, even if that is none of b.
	TryWrite(b []byte) (int, error)
	// CertUser is the user that a client certificate names; ok: it is
	// certificates that do.
	CertUser() (name string, ok bool)
}

func (s *socket) init(conn net.Conn) {
	s.conn = conn
	s.layers, _ = conn.(layers)
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	s.raw = raw
	s.onRead = func(fd uintptr) bool {
		for {
			var n int
			var err error
			if s.layers != nil {
				n, err = s.layers.ReadReady(fd, s.in.space())
			} else if n, err = syscall.Read(int(fd), s.in.space()); n == 0 && err == nil {
				err = io.EOF
			}
			if err == syscall.EINTR {
				continue
			}
			if err == syscall.EAGAIN {
				s.in.release()
				return false
			}
			s.readN, s.readErr = n, err
			return true
		}
	}
	s.onWrite = func(fd uintptr) bool {
		for {
			n, err := syscall.Write(int(fd), s.out[s.writeN:])
			switch {
			case err == syscall.EINTR:
			case err != nil:
				if err != syscall.EAGAIN {
					s.writeErr = err
				}
				return true
			default:
				if s.writeN += n; s.writeN == len(s.out) {
					return true
				}
			}
		}
	}
}

// read waits for data and adds it to in. It returns os.ErrDeadlineExceeded
// when the read deadline passes first.
func (s *socket) read(in *input) error {
	if s.raw == nil {
		n, err := s.conn.Read(in.space())
		in.n += n
		return err
	}
	for {
		s.in, s.readN, s.readErr = in, 0, nil
		if err := s.raw.Read(s.onRead); err != nil {
			return err
		}
		in.n += max(s.readN, 0)
		if s.readErr != nil || s.readN > 0 {
			return s.readErr
		}
	}
}

// errBlocking says that a write would have to block.
var errBlocking = errors.New("write would block")

// tryWrite writes what the kernel takes at once and returns how much that was.
// errBlocking: the rest has to wait.
func (s *socket) tryWrite(b []byte) (int, error) {
	if s.raw == nil {
		return 0, errBlocking
	}
	if s.layers != nil {
		n, err := s.layers.TryWrite(b)
		if err == syscall.EAGAIN {
			err = errBlocking
		}
		return n, err
	}
	s.out, s.writeN, s.writeErr = b, 0, nil
	err := s.raw.Write(s.onWrite)
	s.out = nil
	if err == nil {
		err = s.writeErr
	}
	if err == nil && s.writeN < len(b) {
		err = errBlocking
	}
	return s.writeN, err
}

const (
	readBufferSize = 64 << 10 // borrowed
	ownBufferSize  = 4 << 10  // owned by a connection that cannot wait without one
	keepRest       = 512      // a longer beginning of a packet is not worth keeping its memory for
)

type buffer struct{ b []byte }

var readBuffers = sync.Pool{New: func() any { return &buffer{make([]byte, readBufferSize)} }}

// input is the unread part of a connection's byte stream: b.b[:n] while there
// is a buffer, else rest.
type input struct {
	b    *buffer
	n    int
	rest []byte
	own  bool // the buffer is never given back
}

// space returns where the next bytes go, at least one byte long: it borrows a
// buffer, or makes a larger one for a packet that does not fit. The caller
// consumes before it asks for more, so a full buffer is one packet; memory
// grows only with bytes that have come, not with the length they announce.
func (in *input) space() []byte {
	switch {
	case in.b == nil && in.own:
		in.b = &buffer{make([]byte, ownBufferSize)}
	case in.b == nil:
		in.b = readBuffers.Get().(*buffer)
		if len(in.rest) > 0 {
			if len(in.rest) >= len(in.b.b) {
				readBuffers.Put(in.b)
				in.b = &buffer{make([]byte, 2*len(in.rest))}
			}
			in.n = copy(in.b.b, in.rest)
			in.rest = in.rest[:0]
			if cap(in.rest) > keepRest {
				in.rest = nil
			}
		}
	case in.n == len(in.b.b):
		grown := &buffer{make([]byte, 2*in.n)}
		copy(grown.b, in.b.b)
		in.drop()
		in.b = grown
	}
	return in.b.b[in.n:]
}

// consume removes the first k bytes. A buffer made for a large packet is
// dropped once that is done with.
func (in *input) consume(k int) {
	in.n = copy(in.b.b, in.b.b[k:in.n])
	if in.own && len(in.b.b) > ownBufferSize && in.n <= ownBufferSize {
		b := &buffer{make([]byte, ownBufferSize)}
		copy(b.b, in.b.b[:in.n])
		in.b = b
	}
}

// release gives the buffer back and keeps what is unread.
func (in *input) release() {
	if in.b == nil || in.own {
		return
	}
	in.rest = append(in.rest[:0], in.b.b[:in.n]...)
	in.drop()
	in.n = 0
}

func (in *input) drop() {
	if !in.own && len(in.b.b) == readBufferSize {
		readBuffers.Put(in.b)
	}
	in.b = nil
}
