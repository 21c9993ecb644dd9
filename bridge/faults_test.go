package bridge

import (
	"net"
	"sync"

	"packetboat/broker/packet"
)

// faults is a proxy between a bridge and a cloud that knows packets: it can
// cut the connection before or after any of them, swallow one, or let nothing
// through.
type faults struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup

	// judge is asked about each packet, with mu held; nil passes all.
	judge func(up bool, typ byte, frame []byte) verdict
	down  bool // no new connections
}

type verdict int

const (
	pass verdict = iota
	swallow
	cutBefore
	cutAfter
)

func newFaults() *faults { return &faults{conns: make(map[net.Conn]struct{})} }

// connect makes the two ends of a connection through the proxy.
func (f *faults) connect() (client, server net.Conn, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, nil, false
	}
	client, a := net.Pipe()
	b, server := net.Pipe()
	f.conns[a] = struct{}{}
	f.wg.Add(2)
	go f.copy(a, b, true)
	go f.copy(b, a, false)
	return client, server, true
}

// cut ends all connections: nothing passes after it returned. With down, no
// new ones are made.
func (f *faults) cut(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
	for c := range f.conns {
		_ = c.Close()
		delete(f.conns, c)
	}
}

func (f *faults) set(judge func(up bool, typ byte, frame []byte) verdict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.judge = judge
}

// copy carries whole packets from one end to the other.
func (f *faults) copy(from, to net.Conn, up bool) {
	defer f.wg.Done()
	defer func() {
		_ = from.Close()
		_ = to.Close()
	}()
	var buf []byte
	chunk := make([]byte, 32<<10)
	for {
		n, err := from.Read(chunk)
		if err != nil {
			return
		}
		buf = append(buf, chunk[:n]...)
		for {
			typ, _, _, size, err := packet.Next(buf, 0)
			if err != nil || size == 0 {
				break
			}
			frame := buf[:size]
			f.mu.Lock()
			v := pass
			if f.judge != nil {
				v = f.judge(up, typ, frame)
			}
			f.mu.Unlock()
			if v == cutBefore {
				return
			}
			if v != swallow {
				if _, err := to.Write(frame); err != nil {
					return
				}
			}
			if v == cutAfter {
				return
			}
			buf = buf[size:]
		}
	}
}
