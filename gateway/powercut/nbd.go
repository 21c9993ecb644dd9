package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// The transmission phase of the Network Block Device protocol, which is what
// the kernel's nbd module speaks:
//
//	request  magic 4 | flags 2 | type 2 | cookie 8 | offset 8 | length 4 | data of a write
//	reply    magic 4 | error 4 | cookie 8 | data of a read
//
// As both ends are ours, the disk's size in eight bytes stands for the
// handshake. User Mode Linux has a disk driver of its own, but that one drops
// flushes, and a rig on top of it would prove nothing.
const (
	nbdRequest = 0x25609513
	nbdReply   = 0x67446698

	nbdRead       = 0
	nbdWrite      = 1
	nbdDisconnect = 2
	nbdFlush      = 3

	nbdFUA = 1 // flag of a request: on the media before the reply

	nbdInvalid = 22 // EINVAL

	// nbdMost bounds a request; the kernel splits at less.
	nbdMost = 32 << 20
)

// export is a disk that is offered to one guest.
type export struct {
	ln    net.Listener
	power chan struct{} // closed when it goes
	ended chan struct{} // closed when nothing touches the disk any more

	err error // read when ended is closed

	mu   sync.Mutex
	conn *net.TCPConn
}

// offer serves d, to the first that connects to an address on ip.
func offer(d *disk, ip string) (*export, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		return nil, fmt.Errorf("offer the disk: %w", err)
	}
	e := &export{ln: ln, power: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(e.ended)
		c, err := ln.Accept()
		if err != nil {
			return // closed before the guest came
		}
		defer c.Close()
		if e.take(c.(*net.TCPConn)) {
			err = serve(c, d, e.power)
		}
		select {
		case <-e.power: // whatever the error is, that is why
		default:
			e.err = err
		}
	}()
	return e, nil
}

// take notes the guest's connection; false: it comes too late.
func (e *export) take(c *net.TCPConn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.power:
		return false
	default:
		e.conn = c
		return true
	}
}

func (e *export) address() string { return e.ln.Addr().String() }

// close takes the disk away; when it returns, nothing touches the disk any
// more. The error is what ended the service before that, if anything did.
func (e *export) close() error {
	_ = e.ln.Close()
	e.mu.Lock()
	close(e.power)
	if e.conn != nil {
		// The guest is dead and will answer no FIN: do not leave a socket
		// behind that the next guest's might be taken for.
		_ = e.conn.SetLinger(0)
		_ = e.conn.Close()
	}
	e.mu.Unlock()
	<-e.ended
	return e.err
}

// serve answers requests, one after the other, until the connection ends.
func serve(c io.ReadWriter, d *disk, power <-chan struct{}) error {
	r, w := bufio.NewReaderSize(c, 64<<10), bufio.NewWriterSize(c, 64<<10)
	if _, err := w.Write(d.sizeHeader()); err != nil {
		return err
	}
	var head [28]byte
	var buf []byte
	for {
		if r.Buffered() == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
		if _, err := io.ReadFull(r, head[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		be := binary.BigEndian
		flags, typ, cookie := be.Uint16(head[4:]), be.Uint16(head[6:]), head[8:16]
		off, n := int64(be.Uint64(head[16:])), int64(be.Uint32(head[24:]))
		if be.Uint32(head[:]) != nbdRequest || (typ <= nbdWrite && n > nbdMost) {
			return fmt.Errorf("nbd: not a request: %x", head)
		}
		code, answer := uint32(0), []byte(nil)
		switch {
		case typ == nbdDisconnect:
			return w.Flush()
		case typ == nbdFlush:
			if !d.flush(power, 0, d.size()) {
				return nil // no reply: it was not done
			}
		case typ == nbdRead && d.within(off, n):
			answer = grow(&buf, n)
			d.read(answer, off)
		case typ == nbdWrite:
			data := grow(&buf, n)
			if _, err := io.ReadFull(r, data); err != nil {
				return err // the guest died in the middle: this write never came
			}
			if !d.within(off, n) {
				code = nbdInvalid
				break
			}
			d.write(data, off)
			if flags&nbdFUA != 0 && !d.flush(power, off, n) {
				return nil
			}
		default:
			code = nbdInvalid
		}
		reply := be.AppendUint32(be.AppendUint32(nil, nbdReply), code)
		// An error of the writer stays and comes out of Flush.
		_, _ = w.Write(append(reply, cookie...))
		_, _ = w.Write(answer)
	}
}

// grow returns n bytes of *buf, valid until the next call.
func grow(buf *[]byte, n int64) []byte {
	if int64(cap(*buf)) < n {
		*buf = make([]byte, n)
	}
	return (*buf)[:n]
}
