package packet

// Ack is a PUBACK, PUBREC, PUBREL or PUBCOMP, sections 3.4 to 3.7.
type Ack struct {
	ID    uint16
	Code  byte
	Props []byte // encoded reason string and user properties, aliasing the packet
}

// AppendAck appends the acknowledgement typ (PUBACK, PUBREC, PUBREL, PUBCOMP)
// without properties. Below MQTT 5.0 there is no reason code.
func AppendAck(dst []byte, version, typ byte, id uint16, code byte) []byte {
	head := typ << 4
	if typ == PUBREL {
		head |= 2
	}
	if version == V5 && code != Success {
		return append(dst, head, 3, byte(id>>8), byte(id), code)
	}
	return append(dst, head, 2, byte(id>>8), byte(id))
}

// AppendAckReason is AppendAck for MQTT 5.0 with a reason string.
func AppendAckReason(dst []byte, typ byte, id uint16, code byte, reason string) []byte {
	var flags byte
	if typ == PUBREL {
		flags = 2
	}
	dst, start := begin(dst)
	dst, at := beginProps(append(dst, byte(id>>8), byte(id), code))
	dst = endProps(appendText(dst, PropReasonString, reason), at)
	return finish(dst, start, typ, flags)
}

// ParseAck reads the body of the acknowledgement typ.
func ParseAck(typ, flags byte, body []byte, version byte) (Ack, error) {
	if typ == PUBREL != (flags == 2) || typ != PUBREL && flags != 0 { // [MQTT-3.6.1-1]
		return Ack{}, errFlags
	}
	r := reader{b: body}
	a := Ack{ID: r.id()}
	if version == V5 && r.err == nil && len(r.b) > 0 {
		a.Code = r.u8()
		if !definedAckCode(typ, a.Code) {
			r.fail(errCode)
		}
		if len(r.b) > 0 {
			a.Props = r.rawProps(typ)
		}
	}
	return a, r.end()
}

// rawProps checks a property section and returns it encoded.
func (r *reader) rawProps(typ byte) []byte {
	at := *r
	n := at.varint()
	section := at.take(int(n))
	r.props(typ, func(*property) {})
	if r.err != nil || len(section) == 0 {
		return nil
	}
	return section
}

// definedAckCode: [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1] and
// [MQTT-3.7.2-1].
func definedAckCode(typ, code byte) bool {
	if typ == PUBREL || typ == PUBCOMP {
		return code == Success || code == PacketIDNotFound
	}
	switch code {
	case Success, NoMatchingSubscribers, UnspecifiedError, ImplementationSpecificError,
		NotAuthorized, TopicNameInvalid, PacketIDInUse, QuotaExceeded, PayloadFormatInvalid:
		return true
	}
	return false
}
