package conformance

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// The types of control packets, in the upper half of the first byte.
const (
	tCONNECT     byte = 0x10
	tCONNACK     byte = 0x20
	tPUBLISH     byte = 0x30
	tPUBACK      byte = 0x40
	tPUBREC      byte = 0x50
	tPUBREL      byte = 0x60
	tPUBCOMP     byte = 0x70
	tSUBSCRIBE   byte = 0x80
	tSUBACK      byte = 0x90
	tUNSUBSCRIBE byte = 0xA0
	tUNSUBACK    byte = 0xB0
	tPINGREQ     byte = 0xC0
	tPINGRESP    byte = 0xD0
	tDISCONNECT  byte = 0xE0
	tAUTH        byte = 0xF0
)

// x reads bytes written as hex; spaces are for people.
func x(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// varint is a variable byte integer, section 1.5.5 of 5.0.
func varint(n int) []byte {
	var b []byte
	for {
		c := byte(n % 128)
		if n /= 128; n > 0 {
			c |= 128
		}
		b = append(b, c)
		if n == 0 {
			return b
		}
	}
}

func u16(n int) []byte    { return []byte{byte(n >> 8), byte(n)} }
func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// str is a string or data behind its length.
func str(s string) []byte { return append(u16(len(s)), s...) }

func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// pkt is a packet: the first byte and the body, with the length between them.
func pkt(first byte, body ...[]byte) []byte {
	b := join(body...)
	return join([]byte{first}, varint(len(b)), b)
}

// props is a property section of 5.0 and nothing in 3.1.1.
func props(v byte, list ...[]byte) []byte {
	if v != v5 {
		return nil
	}
	b := join(list...)
	return join(varint(len(b)), b)
}

// Properties, section 2.2.2.2 of 5.0.
const (
	pFormat       byte = 0x01
	pExpiry       byte = 0x02
	pContentType  byte = 0x03
	pResponse     byte = 0x08
	pCorrelation  byte = 0x09
	pSubID        byte = 0x0B
	pSession      byte = 0x11
	pAssigned     byte = 0x12
	pServerAlive  byte = 0x13
	pAuthMethod   byte = 0x15
	pAuthData     byte = 0x16
	pProblemInfo  byte = 0x17
	pWillDelay    byte = 0x18
	pWantResponse byte = 0x19
	pResponseInfo byte = 0x1A
	pReference    byte = 0x1C
	pReason       byte = 0x1F
	pReceiveMax   byte = 0x21
	pAliasMax     byte = 0x22
	pAlias        byte = 0x23
	pMaxQoS       byte = 0x24
	pRetain       byte = 0x25
	pUser         byte = 0x26
	pMaxPacket    byte = 0x27
	pWildcards    byte = 0x28
	pSubIDs       byte = 0x29
	pShared       byte = 0x2A
)

func byteProp(id, n byte) []byte         { return []byte{id, n} }
func u16Prop(id byte, n int) []byte      { return join([]byte{id}, u16(n)) }
func u32Prop(id byte, n uint32) []byte   { return join([]byte{id}, u32(n)) }
func strProp(id byte, s string) []byte   { return join([]byte{id}, str(s)) }
func userProp(name, value string) []byte { return join([]byte{pUser}, str(name), str(value)) }
func subIDProp(n int) []byte             { return join([]byte{pSubID}, varint(n)) }

// property is one that was received. num is the value of a number, s that of a
// string, s and s2 the two halves of a user property.
type property struct {
	id    byte
	num   uint32
	s, s2 string
}

type properties []property

// get finds the first one of that kind.
func (p properties) get(id byte) (property, bool) {
	for _, x := range p {
		if x.id == id {
			return x, true
		}
	}
	return property{}, false
}

// has reports whether there is one of that kind.
func (p properties) has(id byte) bool {
	_, ok := p.get(id)
	return ok
}

// all are those of that kind, in order.
func (p properties) all(id byte) (list properties) {
	for _, x := range p {
		if x.id == id {
			list = append(list, x)
		}
	}
	return list
}

// shape is how a property is encoded, and where a server may send it.
type shape struct {
	kind byte // '1', '2', '4' bytes, 'v'arint, 's'tring, 'd'ata, 'p'air
	in   string
}

// shapes is table 2-4 as far as it is about what a server sends: C for
// CONNACK, P for PUBLISH, A for the acknowledgements, D for DISCONNECT, H for
// AUTH.
var shapes = map[byte]shape{
	pFormat: {'1', "P"}, pExpiry: {'4', "P"}, pContentType: {'s', "P"}, pResponse: {'s', "P"},
	pCorrelation: {'d', "P"}, pSubID: {'v', "P"}, pSession: {'4', "C"}, pAssigned: {'s', "C"},
	pServerAlive: {'2', "C"}, pAuthMethod: {'s', "CH"}, pAuthData: {'d', "CH"}, pResponseInfo: {'s', "C"},
	pReference: {'s', "CD"}, pReason: {'s', "CADH"}, pReceiveMax: {'2', "C"}, pAliasMax: {'2', "C"},
	pAlias: {'2', "P"}, pMaxQoS: {'1', "C"}, pRetain: {'1', "C"}, pUser: {'p', "CPADH"},
	pMaxPacket: {'4', "C"}, pWildcards: {'1', "C"}, pSubIDs: {'1', "C"}, pShared: {'1', "C"},
}

// reader takes a packet apart; what does not fit makes it bad.
type reader struct {
	b   []byte
	bad string
}

func (r *reader) fail(format string, args ...any) {
	if r.bad == "" {
		r.bad = fmt.Sprintf(format, args...)
	}
	r.b = nil
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fail("%d bytes are left of %d", len(r.b), n)
		return make([]byte, n)
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) u16() int       { return int(binary.BigEndian.Uint16(r.take(2))) }
func (r *reader) u32() uint32    { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) string() string { return string(r.take(r.u16())) }

func (r *reader) varint() (n int) {
	for i := range 4 {
		c := r.byte()
		n |= int(c&127) << (7 * i)
		if c < 128 {
			if i > 0 && c == 0 { // [MQTT-1.5.5-1]
				r.fail("a variable byte integer is longer than it has to be")
			}
			return n
		}
	}
	r.fail("a variable byte integer of more than four bytes")
	return 0
}

// props reads a property section that may have what is allowed in where.
func (r *reader) props(where string) (list properties) {
	n := r.varint()
	s := reader{b: r.take(n), bad: r.bad}
	for len(s.b) > 0 {
		p := property{id: s.byte()}
		sh, known := shapes[p.id]
		switch {
		case !known:
			s.fail("property 0x%02X does not exist, or not for a server", p.id)
		case !strings.Contains(sh.in, where):
			s.fail("property 0x%02X may not stand here", p.id)
		case list.has(p.id) && p.id != pUser && p.id != pSubID:
			s.fail("property 0x%02X is there twice", p.id)
		}
		switch sh.kind {
		case '1':
			p.num = uint32(s.byte())
		case '2':
			p.num = uint32(s.u16())
		case '4':
			p.num = s.u32()
		case 'v':
			p.num = uint32(s.varint())
		case 's', 'd':
			p.s = s.string()
		case 'p':
			p.s, p.s2 = s.string(), s.string()
		}
		list = append(list, p)
	}
	if s.bad != "" {
		r.fail("%s", s.bad)
	}
	return list
}
