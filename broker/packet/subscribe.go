package packet

// Subscribe is a SUBSCRIBE packet, section 3.8.
type Subscribe struct {
	ID             uint16
	SubscriptionID uint32 // 0 = none; MQTT 5.0 only, as UserProps
	UserProps      []byte // encoded user properties
	Filters        []Filter
}

// Filter is one topic filter with its options. Below MQTT 5.0 only QoS means
// something.
type Filter struct {
	Filter         string
	QoS            byte
	NoLocal        bool
	RetainAsIs     bool // retain as published
	RetainHandling byte // 0 send, 1 send when new, 2 do not send
}

// Unsubscribe is an UNSUBSCRIBE packet, section 3.10.
type Unsubscribe struct {
	ID        uint16
	UserProps []byte // encoded user properties; MQTT 5.0 only
	Filters   []string
}

var (
	errNoFilters  = &Error{ProtocolError, "no topic filter"}
	errSubOptions = &Error{MalformedPacket, "reserved bits of the subscription options are set"}
	errSubQoS     = &Error{ProtocolError, "subscription options out of range"}
)

// ParseSubscribe reads the body of a SUBSCRIBE. The filters are strings of
// their own; whether they are valid filters is the broker's to answer, one by
// one.
func ParseSubscribe(body []byte, version byte, s *Subscribe) error {
	*s = Subscribe{Filters: s.Filters[:0]}
	r := reader{b: body}
	s.ID = r.id()
	if version == V5 {
		r.props(SUBSCRIBE, func(p *property) {
			if p.id == PropSubscriptionID {
				s.SubscriptionID = p.num
			} else {
				s.UserProps = appendUser(s.UserProps, p)
			}
		})
	}
	for r.err == nil && len(r.b) > 0 {
		f := Filter{Filter: string(r.utf8())}
		options := r.u8()
		if r.err != nil {
			break
		}
		f.QoS = options & 3
		if version == V5 {
			f.NoLocal, f.RetainAsIs, f.RetainHandling = options&4 != 0, options&8 != 0, options>>4&3
			options &^= 0x3f
		} else {
			options &^= 3
		}
		switch {
		case options != 0: // [MQTT-3.8.3-5]
			r.fail(errSubOptions)
		case f.QoS == 3 || f.RetainHandling == 3:
			r.fail(errSubQoS)
		}
		s.Filters = append(s.Filters, f)
	}
	if r.err == nil && len(s.Filters) == 0 { // [MQTT-3.8.3-2]
		return errNoFilters
	}
	return r.err
}

// AppendSubscribe appends s.
func AppendSubscribe(dst []byte, version byte, s *Subscribe) []byte {
	dst, start := begin(dst)
	dst = append(dst, byte(s.ID>>8), byte(s.ID))
	if version == V5 {
		var at int
		dst, at = beginProps(dst)
		if s.SubscriptionID != 0 {
			dst = appendVarint(append(dst, PropSubscriptionID), int(s.SubscriptionID))
		}
		dst = endProps(append(dst, s.UserProps...), at)
	}
	for i := range s.Filters {
		f := &s.Filters[i]
		dst = appendString(dst, f.Filter)
		options := f.QoS
		if version == V5 {
			options |= f.RetainHandling << 4
			if f.NoLocal {
				options |= 4
			}
			if f.RetainAsIs {
				options |= 8
			}
		}
		dst = append(dst, options)
	}
	return finish(dst, start, SUBSCRIBE, 2)
}

// ParseUnsubscribe reads the body of an UNSUBSCRIBE.
func ParseUnsubscribe(body []byte, version byte, u *Unsubscribe) error {
	*u = Unsubscribe{Filters: u.Filters[:0]}
	r := reader{b: body}
	u.ID = r.id()
	if version == V5 {
		r.props(UNSUBSCRIBE, func(p *property) { u.UserProps = appendUser(u.UserProps, p) })
	}
	for r.err == nil && len(r.b) > 0 {
		u.Filters = append(u.Filters, string(r.utf8()))
	}
	if r.err == nil && len(u.Filters) == 0 { // [MQTT-3.10.3-2]
		return errNoFilters
	}
	return r.err
}

// AppendUnsubscribe appends u.
func AppendUnsubscribe(dst []byte, version byte, u *Unsubscribe) []byte {
	dst, start := begin(dst)
	dst = append(dst, byte(u.ID>>8), byte(u.ID))
	if version == V5 {
		var at int
		dst, at = beginProps(dst)
		dst = endProps(append(dst, u.UserProps...), at)
	}
	for _, f := range u.Filters {
		dst = appendString(dst, f)
	}
	return finish(dst, start, UNSUBSCRIBE, 2)
}

// Suback is a SUBACK or an UNSUBACK, sections 3.9 and 3.11.
type Suback struct {
	ID    uint16
	Codes []byte // one per filter; UNSUBACK below MQTT 5.0 has none
	Props []byte // encoded reason string and user properties; MQTT 5.0 only
}

// AppendSuback appends s as typ, SUBACK or UNSUBACK. Below MQTT 5.0 every code
// from 0x80 on is sent as 0x80 [MQTT-3.9.3-2].
func AppendSuback(dst []byte, version, typ byte, s *Suback) []byte {
	dst, start := begin(dst)
	dst = append(dst, byte(s.ID>>8), byte(s.ID))
	switch {
	case version == V5:
		var at int
		dst, at = beginProps(dst)
		dst = endProps(append(dst, s.Props...), at)
		dst = append(dst, s.Codes...)
	case typ == SUBACK:
		for _, c := range s.Codes {
			dst = append(dst, min(c, UnspecifiedError))
		}
	}
	return finish(dst, start, typ, 0)
}

// ParseSuback reads the body of a SUBACK or UNSUBACK. Codes and Props alias
// body.
func ParseSuback(typ byte, body []byte, version byte, s *Suback) error {
	*s = Suback{}
	r := reader{b: body}
	s.ID = r.id()
	if version == V5 && r.err == nil {
		s.Props = r.rawProps(typ)
	}
	if r.err != nil {
		return r.err
	}
	s.Codes = r.b
	if version != V5 && typ == UNSUBACK {
		return r.end()
	}
	for _, c := range s.Codes {
		if !definedSubackCode(typ, version, c) {
			return errCode
		}
	}
	if len(s.Codes) == 0 {
		return errShort
	}
	return nil
}

// definedSubackCode: [MQTT-3.9.3-2] and [MQTT-3.11.3-2].
func definedSubackCode(typ, version, code byte) bool {
	if typ == SUBACK {
		if code <= GrantedQoS2 || code == UnspecifiedError {
			return true
		}
		switch code {
		case QuotaExceeded, SharedNotSupported, SubscriptionIDsNotSupported, WildcardsNotSupported:
			return version == V5
		}
	} else if code == Success || code == NoSubscriptionExisted || code == UnspecifiedError {
		return true
	}
	switch code {
	case ImplementationSpecificError, NotAuthorized, TopicFilterInvalid, PacketIDInUse:
		return version == V5
	}
	return false
}
