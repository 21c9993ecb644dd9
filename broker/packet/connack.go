package packet

// Connack is a CONNACK packet, section 3.2.
type Connack struct {
	SessionPresent bool

	// Code is the MQTT 5.0 reason code also for older versions; it is
	// translated to their return codes and back.
	Code byte

	// The rest is MQTT 5.0 only.

	SessionExpiry        uint32
	HasSessionExpiry     bool
	ReceiveMaximum       uint16 // 0 = not given: 65,535
	MaximumQoS           byte   // meaningful with HasMaximumQoS, else 2
	HasMaximumQoS        bool
	RetainUnavailable    bool
	MaxPacketSize        uint32 // 0 = no limit
	AssignedClientID     string
	TopicAliasMax        uint16
	ReasonString         string
	WildcardsUnavailable bool
	SubIDsUnavailable    bool
	SharedUnavailable    bool
	ServerKeepAlive      uint16
	HasServerKeepAlive   bool
	ResponseInfo         string
	ServerReference      string
	AuthMethod           string
	AuthData             []byte
	UserProps            []byte // encoded user properties
}

// ReturnCode translates a reason code into the CONNACK return code of MQTT
// 3.1 and 3.1.1; 0xFF means that none fits and the connection is closed
// without a CONNACK [MQTT-3.2.2-6].
func ReturnCode(code byte) byte {
	switch code {
	case Success:
		return 0
	case UnsupportedProtocolVersion:
		return 1
	case ClientIDNotValid:
		return 2
	case ServerUnavailable, ServerBusy, QuotaExceeded, ConnectionRateExceeded, ImplementationSpecificError:
		return 3
	case BadUserNameOrPassword:
		return 4
	case NotAuthorized, Banned:
		return 5
	}
	return 0xff
}

var reasonOfReturn = [...]byte{Success, UnsupportedProtocolVersion, ClientIDNotValid, ServerUnavailable, BadUserNameOrPassword, NotAuthorized}

// AppendConnack appends c. Below MQTT 5.0 a Code without a return code is sent
// as 3, server unavailable; see [ReturnCode].
func AppendConnack(dst []byte, version byte, c *Connack) []byte {
	dst, start := begin(dst)
	var flags byte
	if c.SessionPresent && version != V31 {
		flags = 1
	}
	if version != V5 {
		code := ReturnCode(c.Code)
		if code == 0xff {
			code = 3
		}
		return finish(append(dst, flags, code), start, CONNACK, 0)
	}
	dst = append(dst, flags, c.Code)
	dst, at := beginProps(dst)
	if c.HasSessionExpiry {
		dst = AppendUint32Prop(dst, PropSessionExpiry, c.SessionExpiry)
	}
	if c.ReceiveMaximum != 0 {
		dst = AppendUint16Prop(dst, PropReceiveMaximum, c.ReceiveMaximum)
	}
	if c.HasMaximumQoS {
		dst = AppendByteProp(dst, PropMaximumQoS, c.MaximumQoS)
	}
	if c.RetainUnavailable {
		dst = AppendByteProp(dst, PropRetainAvailable, 0)
	}
	if c.MaxPacketSize != 0 {
		dst = AppendUint32Prop(dst, PropMaximumPacketSize, c.MaxPacketSize)
	}
	dst = appendText(dst, PropAssignedClientID, c.AssignedClientID)
	if c.TopicAliasMax != 0 {
		dst = AppendUint16Prop(dst, PropTopicAliasMaximum, c.TopicAliasMax)
	}
	dst = appendText(dst, PropReasonString, c.ReasonString)
	if c.WildcardsUnavailable {
		dst = AppendByteProp(dst, PropWildcardAvailable, 0)
	}
	if c.SubIDsUnavailable {
		dst = AppendByteProp(dst, PropSubscriptionIDsAllowed, 0)
	}
	if c.SharedUnavailable {
		dst = AppendByteProp(dst, PropSharedAvailable, 0)
	}
	if c.HasServerKeepAlive {
		dst = AppendUint16Prop(dst, PropServerKeepAlive, c.ServerKeepAlive)
	}
	dst = appendText(dst, PropResponseInfo, c.ResponseInfo)
	dst = appendText(dst, PropServerReference, c.ServerReference)
	dst = appendText(dst, PropAuthMethod, c.AuthMethod)
	if c.AuthData != nil {
		dst = AppendStringProp(dst, PropAuthData, c.AuthData)
	}
	dst = endProps(append(dst, c.UserProps...), at)
	return finish(dst, start, CONNACK, 0)
}

// appendText appends a string property unless it is empty.
func appendText(dst []byte, id byte, s string) []byte {
	if s == "" {
		return dst
	}
	return AppendStringProp(dst, id, s)
}

// ParseConnack reads the body of a CONNACK. AuthData aliases body.
func ParseConnack(body []byte, version byte, c *Connack) error {
	*c = Connack{}
	r := reader{b: body}
	flags := r.u8()
	c.Code = r.u8()
	if r.err != nil {
		return r.err
	}
	if version == V31 {
		flags = 0 // reserved there
	}
	if flags > 1 { // [MQTT-3.2.2-1]
		return errFlags
	}
	c.SessionPresent = flags == 1
	if version != V5 {
		if int(c.Code) >= len(reasonOfReturn) {
			return errCode
		}
		c.Code = reasonOfReturn[c.Code]
	} else {
		if !definedConnackCode(c.Code) {
			return errCode
		}
		c.parseProps(&r)
	}
	if r.err == nil && c.SessionPresent && c.Code != Success { // [MQTT-3.2.2-6]
		return &Error{ProtocolError, "session present in a refusal"}
	}
	return r.end()
}

func (c *Connack) parseProps(r *reader) {
	r.props(CONNACK, func(p *property) {
		switch p.id {
		case PropSessionExpiry:
			c.SessionExpiry, c.HasSessionExpiry = p.num, true
		case PropReceiveMaximum:
			c.ReceiveMaximum = uint16(p.num)
		case PropMaximumQoS:
			c.MaximumQoS, c.HasMaximumQoS = byte(p.num), true
		case PropRetainAvailable:
			c.RetainUnavailable = p.num == 0
		case PropMaximumPacketSize:
			c.MaxPacketSize = p.num
		case PropAssignedClientID:
			c.AssignedClientID = string(p.val)
		case PropTopicAliasMaximum:
			c.TopicAliasMax = uint16(p.num)
		case PropReasonString:
			c.ReasonString = string(p.val)
		case PropWildcardAvailable:
			c.WildcardsUnavailable = p.num == 0
		case PropSubscriptionIDsAllowed:
			c.SubIDsUnavailable = p.num == 0
		case PropSharedAvailable:
			c.SharedUnavailable = p.num == 0
		case PropServerKeepAlive:
			c.ServerKeepAlive, c.HasServerKeepAlive = uint16(p.num), true
		case PropResponseInfo:
			c.ResponseInfo = string(p.val)
		case PropServerReference:
			c.ServerReference = string(p.val)
		case PropAuthMethod:
			c.AuthMethod = string(p.val)
		case PropAuthData:
			c.AuthData = p.val
		case PropUser:
			c.UserProps = appendUser(c.UserProps, p)
		}
	})
}

// definedConnackCode: [MQTT-3.2.2-8].
func definedConnackCode(code byte) bool {
	switch code {
	case Success, TopicNameInvalid, PacketTooLarge, QuotaExceeded, PayloadFormatInvalid, RetainNotSupported,
		QoSNotSupported, UseAnotherServer, ServerMoved, ConnectionRateExceeded:
		return true
	}
	return code >= UnspecifiedError && code <= BadAuthenticationMethod && code != ServerShuttingDown
}
