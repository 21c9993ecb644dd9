package packet

import "encoding/binary"

// Property identifiers, section 2.2.2.2.
const (
	PropPayloadFormat          byte = 0x01
	PropMessageExpiry          byte = 0x02
	PropContentType            byte = 0x03
	PropResponseTopic          byte = 0x08
	PropCorrelationData        byte = 0x09
	PropSubscriptionID         byte = 0x0B
	PropSessionExpiry          byte = 0x11
	PropAssignedClientID       byte = 0x12
	PropServerKeepAlive        byte = 0x13
	PropAuthMethod             byte = 0x15
	PropAuthData               byte = 0x16
	PropRequestProblemInfo     byte = 0x17
	PropWillDelay              byte = 0x18
	PropRequestResponseInfo    byte = 0x19
	PropResponseInfo           byte = 0x1A
	PropServerReference        byte = 0x1C
	PropReasonString           byte = 0x1F
	PropReceiveMaximum         byte = 0x21
	PropTopicAliasMaximum      byte = 0x22
	PropTopicAlias             byte = 0x23
	PropMaximumQoS             byte = 0x24
	PropRetainAvailable        byte = 0x25
	PropUser                   byte = 0x26
	PropMaximumPacketSize      byte = 0x27
	PropWildcardAvailable      byte = 0x28
	PropSubscriptionIDsAllowed byte = 0x29
	PropSharedAvailable        byte = 0x2A
)

type kind byte

const (
	none kind = iota
	flag      // a byte, 0 or 1
	u16
	u16n0 // not 0
	u32
	u32n0
	varint // not 0
	text
	data
	pair
)

// will stands for the will properties in CONNECT where packet types are
// listed.
const will byte = 0

func in(types ...byte) (set uint16) {
	for _, t := range types {
		set |= 1 << t
	}
	return set
}

const anywhere = 0xffff

// properties is table 2-4: the type of each property and the packets it may
// stand in.
var properties = [...]struct {
	kind kind
	in   uint16
}{
	PropPayloadFormat:          {flag, in(PUBLISH, will)},
	PropMessageExpiry:          {u32, in(PUBLISH, will)},
	PropContentType:            {text, in(PUBLISH, will)},
	PropResponseTopic:          {text, in(PUBLISH, will)},
	PropCorrelationData:        {data, in(PUBLISH, will)},
	PropSubscriptionID:         {varint, in(PUBLISH, SUBSCRIBE)},
	PropSessionExpiry:          {u32, in(CONNECT, CONNACK, DISCONNECT)},
	PropAssignedClientID:       {text, in(CONNACK)},
	PropServerKeepAlive:        {u16, in(CONNACK)},
	PropAuthMethod:             {text, in(CONNECT, CONNACK, AUTH)},
	PropAuthData:               {data, in(CONNECT, CONNACK, AUTH)},
	PropRequestProblemInfo:     {flag, in(CONNECT)},
	PropWillDelay:              {u32, in(will)},
	PropRequestResponseInfo:    {flag, in(CONNECT)},
	PropResponseInfo:           {text, in(CONNACK)},
	PropServerReference:        {text, in(CONNACK, DISCONNECT)},
	PropReasonString:           {text, in(CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH)},
	PropReceiveMaximum:         {u16n0, in(CONNECT, CONNACK)},
	PropTopicAliasMaximum:      {u16, in(CONNECT, CONNACK)},
	PropTopicAlias:             {u16n0, in(PUBLISH)},
	PropMaximumQoS:             {flag, in(CONNACK)},
	PropRetainAvailable:        {flag, in(CONNACK)},
	PropUser:                   {pair, anywhere},
	PropMaximumPacketSize:      {u32n0, in(CONNECT, CONNACK)},
	PropWildcardAvailable:      {flag, in(CONNACK)},
	PropSubscriptionIDsAllowed: {flag, in(CONNACK)},
	PropSharedAvailable:        {flag, in(CONNACK)},
}

var (
	errPropID        = &Error{MalformedPacket, "unknown property"}
	errPropPacket    = &Error{ProtocolError, "property not allowed in this packet"}
	errPropTwice     = &Error{ProtocolError, "property given twice"}
	errPropValue     = &Error{ProtocolError, "value of a property out of range"}
	errAlias         = &Error{TopicAliasInvalid, "topic alias 0"}
	errResponseTopic = &Error{ProtocolError, "response topic is no topic name"}
)

// property is one decoded property: num for the numbers, val for strings and
// data, val and val2 for a user property.
type property struct {
	id        byte
	num       uint32
	val, val2 []byte
	raw       []byte // the value as it stands
}

// propReader reads the properties of one packet in turn and checks that each
// is known, allowed there, well-formed and given once.
type propReader struct {
	reader
	packet byte
	any    bool // do not check for packet and repetition
	seen   uint64
}

func (r *propReader) next() (p property) {
	p.id = r.u8()
	if r.err != nil {
		return p
	}
	if int(p.id) >= len(properties) || properties[p.id].kind == none {
		r.fail(errPropID)
		return p
	}
	def := &properties[p.id]
	if !r.any {
		if def.in&(1<<r.packet) == 0 {
			r.fail(errPropPacket)
			return p
		}
		repeats := p.id == PropUser || p.id == PropSubscriptionID && r.packet == PUBLISH
		if r.seen&(1<<p.id) != 0 && !repeats {
			r.fail(errPropTwice)
			return p
		}
		r.seen |= 1 << p.id
	}
	at := r.b
	bad := errPropValue
	ok := true
	switch def.kind {
	case flag:
		p.num = uint32(r.u8())
		ok = p.num <= 1
	case u16:
		p.num = uint32(r.u16())
	case u16n0:
		p.num = uint32(r.u16())
		ok = p.num != 0
		if p.id == PropTopicAlias {
			bad = errAlias // [MQTT-3.3.2-8]
		}
	case u32:
		p.num = r.u32()
	case u32n0:
		p.num = r.u32()
		ok = p.num != 0
	case varint:
		p.num = r.varint()
		ok = p.num != 0
	case text:
		p.val = r.utf8()
		if p.id == PropResponseTopic {
			ok, bad = len(p.val) > 0 && !hasWildcard(p.val), errResponseTopic
		}
	case data:
		p.val = r.binary()
	case pair: // [MQTT-1.5.7-1]
		p.val = r.utf8()
		p.val2 = r.utf8()
	}
	if r.err == nil && !ok {
		r.fail(bad)
	}
	if r.err == nil {
		p.raw = at[:len(at)-len(r.b)]
	}
	return p
}

// props reads a property section, its length first, of the packet type and
// calls set for each.
func (r *reader) props(packet byte, set func(p *property)) {
	n := r.varint()
	if r.err != nil {
		return
	}
	pr := propReader{reader: reader{b: r.take(int(n))}, packet: packet}
	for len(pr.b) > 0 {
		p := pr.next()
		if pr.err != nil {
			r.fail(pr.err)
			return
		}
		set(&p)
	}
}

// EachProp calls f for each property of raw, a sequence of encoded properties
// without the length in front, until f returns false. val is the value without
// a length in front: big-endian bytes of a number, the bytes of a string or of
// data; val2 is the value of a user property, whose name is val. Both alias
// raw.
func EachProp(raw []byte, f func(id byte, val, val2 []byte) bool) error {
	r := propReader{reader: reader{b: raw}, any: true}
	for len(r.b) > 0 {
		p := r.next()
		if r.err != nil {
			return r.err
		}
		v := p.raw
		switch properties[p.id].kind {
		case text, data, pair:
			v = p.val
		}
		if !f(p.id, v, p.val2) {
			return nil
		}
	}
	return nil
}

// AppendByteProp appends a property whose value is one byte.
func AppendByteProp(dst []byte, id, v byte) []byte { return append(dst, id, v) }

// AppendUint16Prop appends a property whose value is a two byte integer.
func AppendUint16Prop(dst []byte, id byte, v uint16) []byte {
	return append(dst, id, byte(v>>8), byte(v))
}

// AppendUint32Prop appends a property whose value is a four byte integer.
func AppendUint32Prop(dst []byte, id byte, v uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, id), v)
}

// AppendStringProp appends a property whose value is a string or data of at
// most 65,535 bytes.
func AppendStringProp[T string | []byte](dst []byte, id byte, s T) []byte {
	return appendString(append(dst, id), s)
}

// AppendUserProp appends a user property.
func AppendUserProp(dst []byte, name, value string) []byte {
	return appendString(appendString(append(dst, PropUser), name), value)
}

// beginProps leaves one byte for the length of a property section, which is
// nearly always enough.
func beginProps(dst []byte) ([]byte, int) { return append(dst, 0), len(dst) }

// endProps writes the length of the section that began at start.
func endProps(dst []byte, start int) []byte {
	n := len(dst) - start - 1
	w := varintLen(n)
	if w > 1 {
		dst = append(dst, 0, 0, 0)[:len(dst)+w-1]
		copy(dst[start+w:], dst[start+1:start+1+n])
	}
	appendVarint(dst[start:start], n)
	return dst
}
