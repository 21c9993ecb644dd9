package broker

import (
	"io"
	"net"
	"sync"

	"packetboat/broker/packet"
)

// player is one connected client.
type player struct {
	w       *play
	id      string
	version byte
	nc      net.Conn
	s       *modelSession
	max     int    // receive maximum
	most    uint16 // topic aliases
	aliases aliased
	hold    bool // acknowledges nothing

	mu    sync.Mutex
	in    []byte
	ended bool
	mine  map[uint16]byte // answers that are expected: packet identifier to type of the packet
	code  map[uint16]byte // ... and their reason codes
	bye   byte            // the server is to end the connection with this code; 0 = not at all
}

func (p *player) handle(typ, flags byte, body []byte) {
	w := p.w
	switch typ {
	case packet.PUBLISH:
		var m packet.Publish
		if err := packet.ParsePublish(flags, body, p.version, &m); err != nil {
			w.failf("%s got %x: %v", p.id, body, err)
			return
		}
		m.Topic = p.aliases.topic(w.t, &m, p.most)
		shared := m.Topic[0] == '$'
		if err := w.m.receive(p.s, p.version, &m); err != nil {
			w.failf("%s: %v", p.id, err)
			return
		}
		if m.QoS > 0 && (!p.hold || shared) {
			p.acknowledge(m.QoS, m.ID)
		}
	case packet.SUBACK, packet.UNSUBACK:
		var a packet.Suback
		if err := packet.ParseSuback(typ, body, p.version, &a); err != nil {
			w.failf("%s got %x: %v", p.id, body, err)
		}
		p.answered(typ, a.ID)
		if typ == packet.SUBACK && a.Codes[0] != p.code[a.ID] {
			w.failf("%s: SUBACK %x", p.id, a.Codes)
		}
	case packet.DISCONNECT:
		var d packet.Disconnect
		if err := packet.ParseDisconnect(body, p.version, &d); err != nil || p.version != packet.V5 || p.bye == 0 || d.Code != p.bye {
			w.failf("%s got DISCONNECT %x, want code %02x", p.id, body, p.bye)
		}
		p.bye = 0
	case packet.PINGRESP:
		p.answered(typ, 0)
	default:
		a, err := packet.ParseAck(typ, flags, body, p.version)
		if err != nil {
			w.failf("%s got %x: %v", p.id, body, err)
			return
		}
		if typ == packet.PUBREL {
			p.send(packet.AppendAck(nil, p.version, packet.PUBCOMP, a.ID, 0))
			return
		}
		p.answered(typ, a.ID)
		if want := p.code[a.ID]; a.Code != want {
			w.failf("%s: packet type %d with code %02x, want %02x", p.id, typ, a.Code, want)
		}
		delete(p.code, a.ID)
		if typ == packet.PUBREC && !p.s.open[a.ID] {
			p.mine[a.ID] = packet.PUBCOMP
			p.send(packet.AppendAck(nil, p.version, packet.PUBREL, a.ID, 0))
		}
	}
}

func (p *player) answered(typ byte, id uint16) {
	if p.mine[id] != typ {
		p.w.failf("%s: packet type %d for %d, want type %d", p.id, typ, id, p.mine[id])
	}
	delete(p.mine, id)
}

func (p *player) acknowledge(qos byte, id uint16) {
	p.s.acknowledged(id)
	typ := packet.PUBACK
	if qos == 2 {
		typ = packet.PUBREC
	}
	p.send(packet.AppendAck(nil, p.version, typ, id, 0))
}

func (p *player) send(b []byte) { _, _ = p.nc.Write(b) }

// read gathers what comes until the connection ends.
func (p *player) read() {
	buf := make([]byte, 4096)
	for {
		n, err := p.nc.Read(buf)
		p.mu.Lock()
		p.in = append(p.in, buf[:n]...)
		p.ended = err != nil
		p.mu.Unlock()
		if err != nil {
			if err != io.EOF && err != io.ErrClosedPipe {
				p.w.t.Errorf("read: %v", err)
			}
			return
		}
	}
}

func (p *player) next() (typ, flags byte, body []byte, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	typ, flags, body, n, err := packet.Next(p.in, 0)
	if err != nil || n == 0 {
		return 0, 0, nil, false
	}
	p.in = p.in[n:]
	return typ, flags, body, true
}
