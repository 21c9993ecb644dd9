package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// client is the guest's end of the protocol.
type client struct {
	t *testing.T
	net.Conn
	cookie uint64
}

// connect offers d and connects to it.
func connect(t *testing.T, d *disk) (*client, *export) {
	t.Helper()
	e, err := offer(d, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", e.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	x := &client{t: t, Conn: c}
	if got := binary.BigEndian.Uint64(x.get(8)); int64(got) != d.size() {
		t.Fatalf("the disk says it has %d bytes", got)
	}
	return x, e
}

func (c *client) get(n int) []byte {
	c.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		c.t.Fatal(err)
	}
	return b
}

// send sends a request.
func (c *client) send(typ, flags uint16, off int64, n int, data []byte) {
	c.t.Helper()
	c.cookie++
	be := binary.BigEndian
	b := be.AppendUint16(be.AppendUint16(be.AppendUint32(nil, nbdRequest), flags), typ)
	b = be.AppendUint32(be.AppendUint64(be.AppendUint64(b, c.cookie), uint64(off)), uint32(n))
	if _, err := c.Write(append(b, data...)); err != nil {
		c.t.Fatal(err)
	}
}

// ask sends a request and returns the error code of the reply.
func (c *client) ask(typ, flags uint16, off int64, n int, data []byte) uint32 {
	c.t.Helper()
	c.send(typ, flags, off, n, data)
	b := c.get(16)
	if m, cookie := binary.BigEndian.Uint32(b), binary.BigEndian.Uint64(b[8:]); m != nbdReply || cookie != c.cookie {
		c.t.Fatalf("reply %x to request %d", b, c.cookie)
	}
	return binary.BigEndian.Uint32(b[4:])
}

func TestTheProtocolTellsWritesThatMustSurviveFromThoseThatMayNot(t *testing.T) {
	d := newDisk(block('.', 4))
	c, e := connect(t, d)
	for _, q := range []struct {
		what  string
		typ   uint16
		flags uint16
		off   int64
		data  []byte
		want  uint32
	}{
		{"write", nbdWrite, 0, 0, block('a', 1), 0},
		{"flush", nbdFlush, 0, 0, nil, 0},
		{"write in the cache", nbdWrite, 0, sector, block('b', 1), 0},
		{"write with FUA", nbdWrite, nbdFUA, 2 * sector, block('c', 1), 0},
		{"write behind the end", nbdWrite, 0, 3 * sector, block('d', 2), nbdInvalid},
		{"write of half a sector", nbdWrite, 0, 100, block('d', 1), nbdInvalid},
		{"trim", 4, 0, 0, nil, nbdInvalid},
	} {
		if got := c.ask(q.typ, q.flags, q.off, len(q.data), q.data); got != q.want {
			t.Errorf("%s: error %d, want %d", q.what, got, q.want)
		}
	}
	if code := c.ask(nbdRead, 0, 0, 4*sector, nil); code != 0 {
		t.Fatalf("read: error %d", code)
	}
	if got := c.get(4 * sector); !bytes.Equal(got, append(append(append(block('a', 1), block('b', 1)...), block('c', 1)...), block('.', 1)...)) {
		t.Error("other bytes are read than were written")
	}
	if err := e.close(); err != nil {
		t.Error(err)
	}
	d.cut(drop, rand.New(rand.NewPCG(1, 0)))
	if got := content(d, 4); got != "a.c." {
		t.Errorf("the cut leaves %q", got)
	}
}

func TestTheDiskIsFreeWhenItsServiceIsClosed(t *testing.T) {
	t.Run("before a guest came", func(t *testing.T) {
		e, err := offer(newDisk(block('.', 1)), "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		if err := e.close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("while a flush takes its time", func(t *testing.T) {
		d := newDisk(block('.', 1))
		d.latency = 1 << 62
		c, e := connect(t, d)
		if code := c.ask(nbdWrite, 0, 0, sector, block('x', 1)); code != 0 {
			t.Fatalf("write: error %d", code)
		}
		c.send(nbdFlush, 0, 0, 0, nil)
		if err := e.close(); err != nil {
			t.Error(err)
		}
		if n, err := c.Read(make([]byte, 16)); err == nil {
			t.Errorf("%d bytes of a reply to a flush that was not done", n)
		}
		d.cut(drop, nil)
		if got := content(d, 1); got != "." {
			t.Errorf("the cut leaves %q", got)
		}
	})
	t.Run("after something that is not a request", func(t *testing.T) {
		c, e := connect(t, newDisk(block('.', 1)))
		if _, err := c.Write(make([]byte, 28)); err != nil {
			t.Fatal(err)
		}
		<-e.ended
		if err := e.close(); err == nil {
			t.Error("no error")
		}
	})
}
