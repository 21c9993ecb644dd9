package conformance

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// received is a packet of the server, taken apart.
type received struct {
	typ     byte
	body    []byte
	id      int
	code    byte
	codes   []byte // SUBACK, UNSUBACK
	present bool   // CONNACK
	msg     message
	props   properties
}

func (r *received) String() string {
	if r == nil {
		return "none"
	}
	return fmt.Sprintf("%x % x", r.typ>>4, r.body)
}

// The reason codes that 5.0 has for each packet of a server.
var (
	connackCodes    = x("00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f")
	pubackCodes     = x("00 10 80 83 87 90 91 97 99") // PUBREC too
	pubrelCodes     = x("00 92")                      // PUBCOMP too
	subackCodes     = x("00 01 02 80 83 87 8f 91 97 9e a1 a2")
	unsubackCodes   = x("00 11 80 83 87 8f 91")
	disconnectCodes = x("00 80 81 82 83 87 89 8b 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2")
)

// decode takes a packet apart and holds it against all that the standard says
// about each packet of a server, whatever the case is about.
func (c *client) decode(first byte, body []byte, size int) *received {
	p := &received{typ: first & 0xf0, body: body}
	r := &reader{b: body}
	must := func(ok bool, statement string) {
		if !ok {
			c.w.fatalf("%s breaks [MQTT-%s] of %s", p, statement, versionName(c.v))
		}
	}
	flags := first & 15
	if p.typ == tPUBREL {
		flags ^= 2
	}
	must(p.typ == tPUBLISH || flags == 0, map[byte]string{v5: "2.1.3-1", v311: "2.2.2-1"}[c.v])
	must(c.said.maxPacket == 0 || size <= c.said.maxPacket, "3.1.2-24")
	must(c.accepted || p.typ == tCONNACK, "3.2.0-1")
	must(!c.accepted || p.typ != tCONNACK, "3.2.0-2")
	must(!c.over, "3.14.4-1")

	switch p.typ {
	case tCONNACK:
		c.decodeConnack(p, r, must)
	case tPUBLISH:
		c.decodePublish(p, first, r, must)
	case tPUBACK, tPUBREC, tPUBREL, tPUBCOMP:
		p.id = r.u16()
		codes := pubackCodes
		if p.typ == tPUBREL || p.typ == tPUBCOMP {
			codes = pubrelCodes
		}
		if c.v == v5 && len(r.b) > 0 {
			p.code = r.byte()
			if len(r.b) > 0 {
				p.props = r.props("A")
			}
		}
		must(bytes.IndexByte(codes, p.code) >= 0,
			map[byte]string{tPUBACK: "3.4.2-1", tPUBREC: "3.5.2-1", tPUBREL: "3.6.2-1", tPUBCOMP: "3.7.2-1"}[p.typ])
	case tSUBACK, tUNSUBACK:
		p.id = r.u16()
		if c.v == v5 {
			p.props = r.props("A")
		}
		p.codes = r.take(len(r.b))
		for _, code := range p.codes {
			switch {
			case c.v == v311:
				must(code <= 2 || code == 0x80, "3.9.3-2")
			case p.typ == tSUBACK:
				must(bytes.IndexByte(subackCodes, code) >= 0, "3.9.3-2")
			default:
				must(bytes.IndexByte(unsubackCodes, code) >= 0, "3.11.3-2")
			}
		}
	case tPINGRESP:
	case tDISCONNECT:
		must(c.v == v5, "3.14")
		if len(r.b) > 0 {
			p.code = r.byte()
			if len(r.b) > 0 {
				p.props = r.props("D") // a session expiry is not allowed here [MQTT-3.14.2-2]
			}
		}
		must(bytes.IndexByte(disconnectCodes, p.code) >= 0, "3.14.2-1")
		c.over = true
	case tAUTH:
		must(false, "4.12.0-6") // as no case asks for an authentication method
	default:
		c.w.fatalf("%s is no packet that a server sends", p)
	}
	if len(r.b) > 0 {
		r.fail("%d bytes follow the last field", len(r.b))
	}
	if r.bad != "" {
		c.w.fatalf("%s: %s", p, r.bad)
	}
	for _, q := range p.props {
		if shapes[q.id].kind == 's' || shapes[q.id].kind == 'p' {
			must(wellFormed(q.s) && wellFormed(q.s2), "1.5.4-1")
		}
		if q.id == pReason || q.id == pUser {
			must(!c.said.noProblemInfo || p.typ == tPUBLISH || p.typ == tCONNACK || p.typ == tDISCONNECT, "3.1.2-29")
		}
	}
	return p
}

func (c *client) decodeConnack(p *received, r *reader, must func(bool, string)) {
	flags := r.byte()
	must(flags <= 1, "3.2.2-1")
	p.present, p.code = flags == 1, r.byte()
	must(!p.present || p.code == 0, map[byte]string{v5: "3.2.2-6", v311: "3.2.2-4"}[c.v])
	c.accepted = true
	if c.v != v5 {
		must(p.code <= 5, "3.2.2")
		return
	}
	must(bytes.IndexByte(connackCodes, p.code) >= 0, "3.2.2-8")
	p.props = r.props("C")
	must(c.said.wantResponse || !p.props.has(pResponseInfo), "3.1.2-28")
	must(!p.props.has(pAuthMethod), "4.12.0-6")
}

func (c *client) decodePublish(p *received, first byte, r *reader, must func(bool, string)) {
	m := &p.msg
	m.dup, m.qos, m.retain = first&8 != 0, first>>1&3, first&1 != 0
	must(m.qos != 3, "3.3.1-4")
	must(m.qos > 0 || !m.dup, "3.3.1-2")
	m.topic = r.string()
	must(wellFormed(m.topic), "3.3.2-1")
	must(!strings.ContainsAny(m.topic, "+#"), "3.3.2-2")
	if m.qos > 0 {
		p.id = r.u16()
		must(p.id != 0, map[byte]string{v5: "2.2.1-4", v311: "2.3.1-1"}[c.v])
		must(!c.flying[p.id] || m.dup, map[byte]string{v5: "2.2.1-4", v311: "2.3.1-4"}[c.v])
		must(!m.dup || c.connack != nil && c.connack.present, "3.3.1-1")
		if c.flying == nil {
			c.flying = make(map[int]bool)
		}
		c.flying[p.id] = true
		must(c.said.receiveMax == 0 || len(c.flying) <= c.said.receiveMax, "3.3.4-9")
	}
	if c.v == v5 {
		p.props = r.props("P")
		if a, ok := p.props.get(pAlias); ok {
			must(a.num > 0, "3.3.2-8")
			must(int(a.num) <= c.said.aliasMax, "3.3.2-11")
			if m.topic == "" {
				m.topic = c.aliases[int(a.num)]
			}
			if c.aliases == nil {
				c.aliases = make(map[int]string)
			}
			c.aliases[int(a.num)] = m.topic
		}
		if t, ok := p.props.get(pResponse); ok {
			must(t.s != "" && !strings.ContainsAny(t.s, "+#"), "3.3.2-14")
		}
	}
	must(m.topic != "", "4.7.3-1")
	m.payload = string(r.take(len(r.b)))
}

// wellFormed is what section 1.5.4 wants of a string.
func wellFormed(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }
