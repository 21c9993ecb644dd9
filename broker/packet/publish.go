package packet

import (
	"bytes"
	"encoding/binary"
	"time"
)

// Publish is a PUBLISH packet, section 3.3.
type Publish struct {
	Dup     bool
	QoS     byte
	Retain  bool
	Topic   string
	ID      uint16 // 0 at QoS 0
	Payload []byte

	// The rest is MQTT 5.0 only.

	// Props holds the properties that a server passes on unaltered (payload
	// format indicator, content type, response topic, correlation data, user
	// properties), encoded, without the length in front.
	Props           []byte
	Expiry          uint32 // message expiry interval in seconds
	HasExpiry       bool
	SubscriptionIDs []uint32
	Alias           uint16 // topic alias, 0 = none

	gathered []byte // Props when other properties stand between them
}

var (
	errQoS3      = &Error{MalformedPacket, "QoS 3"}
	errDupQoS0   = &Error{MalformedPacket, "DUP at QoS 0"}
	errTopicName = &Error{TopicNameInvalid, "topic name with a wildcard"}
	errNoTopic   = &Error{ProtocolError, "no topic and no topic alias"}
)

// AppendPublish appends p as a packet of the given version to dst. It does
// not check p: the topic is at most 65,535 bytes, the packet at most
// [MaxSize].
func AppendPublish(dst []byte, version byte, p *Publish) []byte {
	size := 2 + len(p.Topic) + len(p.Payload)
	if p.QoS > 0 {
		size += 2
	}
	props := 0
	if version == V5 {
		props = p.propsLen()
		size += varintLen(props) + props
	}
	head := PUBLISH<<4 | p.QoS<<1
	if p.Dup {
		head |= 8
	}
	if p.Retain {
		head |= 1
	}
	dst = append(dst, head)
	dst = appendVarint(dst, size)
	dst = appendString(dst, p.Topic)
	if p.QoS > 0 {
		dst = append(dst, byte(p.ID>>8), byte(p.ID))
	}
	if version == V5 {
		dst = appendVarint(dst, props)
		if p.HasExpiry {
			dst = append(dst, PropMessageExpiry)
			dst = binary.BigEndian.AppendUint32(dst, p.Expiry)
		}
		if p.Alias != 0 {
			dst = append(dst, PropTopicAlias, byte(p.Alias>>8), byte(p.Alias))
		}
		for _, id := range p.SubscriptionIDs {
			dst = append(dst, PropSubscriptionID)
			dst = appendVarint(dst, int(id))
		}
		dst = append(dst, p.Props...)
	}
	return append(dst, p.Payload...)
}

func (p *Publish) propsLen() int {
	n := len(p.Props)
	if p.HasExpiry {
		n += 5
	}
	if p.Alias != 0 {
		n += 3
	}
	for _, id := range p.SubscriptionIDs {
		n += 1 + varintLen(int(id))
	}
	return n
}

// PublishSize is the size in bytes of the packet that AppendPublish makes.
func PublishSize(version byte, p *Publish) int {
	size := 2 + len(p.Topic) + len(p.Payload)
	if p.QoS > 0 {
		size += 2
	}
	if version == V5 {
		n := p.propsLen()
		size += varintLen(n) + n
	}
	return 1 + varintLen(size) + size
}

// PublishID returns where the two bytes of the packet identifier stand in a
// PUBLISH with QoS 1 or 2 that AppendPublish made, so that one encoding can be
// shared by many receivers.
func PublishID(frame []byte) int {
	i := headLen(frame)
	return i + 2 + int(binary.BigEndian.Uint16(frame[i:]))
}

// PublishTopic returns the topic of a PUBLISH that AppendPublish made. It aliases
// frame.
func PublishTopic(frame []byte) string {
	i := headLen(frame)
	n := int(binary.BigEndian.Uint16(frame[i:]))
	return alias(frame[i+2 : i+2+n])
}

func headLen(frame []byte) int {
	i := 1
	for frame[i] >= 0x80 {
		i++
	}
	return i + 1
}

// AppendAliased appends frame, an MQTT 5.0 PUBLISH without a topic alias that
// AppendPublish made, with one: together with its topic when the receiver is to
// learn it, else instead.
func AppendAliased(dst, frame []byte, number uint16, tell bool) []byte {
	body := frame[headLen(frame):]
	topic := 2 + int(binary.BigEndian.Uint16(body))
	props := topic // where the properties begin
	if frame[0]>>1&3 > 0 {
		props += 2
	}
	r := reader{b: body[props:]}
	n := int(r.varint())
	size := len(body) + 3 + varintLen(n+3) - varintLen(n)
	if !tell {
		size -= topic - 2
	}
	dst = appendVarint(append(dst, frame[0]), size)
	if tell {
		dst = append(dst, body[:props]...)
	} else {
		dst = append(append(dst, 0, 0), body[topic:props]...)
	}
	dst = append(appendVarint(dst, n+3), PropTopicAlias, byte(number>>8), byte(number))
	return append(dst, r.b...)
}

// PublishExpiry returns where the message expiry interval stands in an MQTT 5.0
// PUBLISH that AppendPublish made, 0 when it has none.
func PublishExpiry(frame []byte) int {
	i := headLen(frame)
	i += 2 + int(binary.BigEndian.Uint16(frame[i:]))
	if frame[0]>>1&3 > 0 {
		i += 2
	}
	r := reader{b: frame[i:]}
	if n := r.varint(); n == 0 || r.b[0] != PropMessageExpiry { // which comes first
		return 0
	}
	return len(frame) - len(r.b) + 1
}

// Age takes what a PUBLISH that AppendPublish made has waited off its message
// expiry interval. It returns false when that has passed.
func Age(frame []byte, waited time.Duration) bool {
	at := PublishExpiry(frame)
	if at == 0 {
		return true
	}
	left, seconds := binary.BigEndian.Uint32(frame[at:]), uint64(max(waited, 0)/time.Second)
	if seconds >= uint64(left) {
		return false
	}
	binary.BigEndian.PutUint32(frame[at:], left-uint32(seconds))
	return true
}

// ParsePublish reads the body of a PUBLISH into p, replacing all of it. Topic,
// Props and Payload alias body (Props possibly a buffer of p), so they are
// valid until body changes or p is used again: copy what is kept.
func ParsePublish(flags byte, body []byte, version byte, p *Publish) error {
	p.Dup, p.QoS, p.Retain = flags&8 != 0, flags>>1&3, flags&1 != 0
	p.ID, p.Alias, p.Expiry, p.HasExpiry = 0, 0, 0, false
	p.Props, p.SubscriptionIDs = nil, p.SubscriptionIDs[:0]
	if p.QoS == 3 { // [MQTT-3.3.1-4]
		return errQoS3
	}
	if p.QoS == 0 && p.Dup { // [MQTT-3.3.1-2]
		return errDupQoS0
	}
	r := reader{b: body}
	topic := r.binary()
	if err := checkTopicName(topic); err != nil && r.err == nil {
		return err
	}
	p.Topic = alias(topic)
	if p.QoS > 0 {
		p.ID = r.id()
	}
	if version == V5 && r.err == nil {
		p.parseProps(&r)
	}
	if r.err != nil {
		return r.err
	}
	if len(p.Topic) == 0 && p.Alias == 0 { // [MQTT-4.7.3-1]
		return errNoTopic
	}
	p.Payload = r.b
	return nil
}

// checkTopicName is one pass over a topic for all that section 4.7 forbids,
// but for the length.
func checkTopicName(b []byte) error {
	ascii := true
	for _, c := range b {
		if c == 0 {
			return errUTF8
		}
		if c == '+' || c == '#' {
			return errTopicName
		}
		if c >= 0x80 {
			ascii = false
		}
	}
	if !ascii && !validUTF8(b) {
		return errUTF8
	}
	return nil
}

// parseProps reads the properties. Those to be passed on are usually
// neighbours, and then Props aliases them where they stand.
func (p *Publish) parseProps(r *reader) {
	n := r.varint()
	if r.err == nil && n == 0 {
		return
	}
	section := r.take(int(n))
	if r.err != nil {
		return
	}
	pr := propReader{reader: reader{b: section}, packet: PUBLISH}
	from, to, gathered := 0, 0, false
	for len(pr.b) > 0 {
		at := len(section) - len(pr.b)
		prop := pr.next()
		if pr.err != nil {
			r.fail(pr.err)
			return
		}
		switch prop.id {
		case PropMessageExpiry:
			p.Expiry, p.HasExpiry = prop.num, true
		case PropTopicAlias:
			p.Alias = uint16(prop.num)
		case PropSubscriptionID:
			p.SubscriptionIDs = append(p.SubscriptionIDs, prop.num)
		default:
			end := len(section) - len(pr.b)
			switch {
			case gathered:
				p.gathered = append(p.gathered, section[at:end]...)
			case from == to:
				from, to = at, end
			case to == at:
				to = end
			default:
				gathered = true
				p.gathered = append(append(p.gathered[:0], section[from:to]...), section[at:end]...)
			}
		}
	}
	if gathered {
		p.Props = p.gathered
	} else if to > from {
		p.Props = section[from:to:to]
	}
}

// ResponseTopic returns the response topic among encoded properties, or nil.
func ResponseTopic(props []byte) []byte {
	var topic []byte
	_ = EachProp(props, func(id byte, v, _ []byte) bool {
		if id == PropResponseTopic {
			topic = v
		}
		return topic == nil
	})
	return topic
}

// hasWildcard is true for what may not be in a topic name [MQTT-3.3.2-14].
func hasWildcard(topic []byte) bool { return bytes.ContainsAny(topic, "+#") }
