package packet

// Connect is a CONNECT packet, section 3.1.
type Connect struct {
	Version    byte // V31, V311 or V5
	CleanStart bool // "clean session" before 5.0
	KeepAlive  uint16
	ClientID   string
	Will       *Will
	HasUser    bool
	User       string
	HasPass    bool
	Password   []byte

	// The rest is MQTT 5.0 only.

	SessionExpiry   uint32 // seconds, 0xFFFFFFFF = never
	ReceiveMaximum  uint16 // 0 = not given, which means 65,535
	MaxPacketSize   uint32 // 0 = no limit
	TopicAliasMax   uint16
	RequestResponse bool
	NoProblemInfo   bool   // request problem information is 0
	AuthMethod      string // "" = none
	AuthData        []byte
	UserProps       []byte // encoded user properties
}

// Will is the message that the server publishes when the connection ends.
type Will struct {
	Topic     string
	Payload   []byte
	QoS       byte
	Retain    bool
	Delay     uint32 // seconds
	Props     []byte // as [Publish.Props]
	Expiry    uint32
	HasExpiry bool
}

var (
	errProtocolName = &Error{UnsupportedProtocolVersion, "unknown protocol name"}
	errVersion      = &Error{UnsupportedProtocolVersion, "unsupported protocol version"}
	errConnectFlags = &Error{MalformedPacket, "connect flags contradict each other"}
	errAuthData     = &Error{ProtocolError, "authentication data without a method"}
	errWillTopic    = &Error{TopicNameInvalid, "will topic is no topic name"}
)

// ParseConnect reads the body of a CONNECT. Everything in c is copied except
// Password, AuthData, UserProps and what Will points to, which alias body.
// After an error, c.Version tells in which language to refuse, as far as it
// was read.
func ParseConnect(body []byte, c *Connect) error {
	*c = Connect{}
	r := reader{b: body}
	name := string(r.binary())
	c.Version = r.u8()
	flags := r.u8()
	if r.err != nil {
		return r.err
	}
	switch {
	case name == "MQTT" && (c.Version == V311 || c.Version == V5):
	case name == "MQIsdp" && c.Version == V31:
	case name == "MQTT" || name == "MQIsdp":
		return errVersion
	default:
		return errProtocolName
	}
	willFlag, willQoS, willRetain := flags&0x04 != 0, flags>>3&3, flags&0x20 != 0
	c.HasUser, c.HasPass = flags&0x80 != 0, flags&0x40 != 0
	c.CleanStart = flags&0x02 != 0
	bad := willQoS == 3 || !willFlag && (willQoS != 0 || willRetain) // [MQTT-3.1.2-11] to [MQTT-3.1.2-13]
	if c.Version != V31 && flags&1 != 0 {                            // [MQTT-3.1.2-3]
		bad = true
	}
	if c.Version == V311 && c.HasPass && !c.HasUser { // [MQTT-3.1.2-22] of 3.1.1
		bad = true
	}
	if bad {
		return errConnectFlags
	}
	c.KeepAlive = r.u16()
	if c.Version == V5 {
		c.parseProps(&r)
	}
	c.ClientID = string(r.utf8())
	if willFlag {
		c.Will = &Will{QoS: willQoS, Retain: willRetain}
		c.Will.parse(&r, c.Version)
	}
	// MQTT 3.1 allows the flags without the fields (section 3.1 there).
	absent := func() bool { return c.Version == V31 && r.err == nil && len(r.b) == 0 }
	if c.HasUser = c.HasUser && !absent(); c.HasUser {
		c.User = string(r.utf8())
	}
	if c.HasPass = c.HasPass && !absent(); c.HasPass {
		c.Password = r.binary()
	}
	return r.end()
}

func (c *Connect) parseProps(r *reader) {
	hasData := false
	r.props(CONNECT, func(p *property) {
		switch p.id {
		case PropSessionExpiry:
			c.SessionExpiry = p.num
		case PropReceiveMaximum:
			c.ReceiveMaximum = uint16(p.num)
		case PropMaximumPacketSize:
			c.MaxPacketSize = p.num
		case PropTopicAliasMaximum:
			c.TopicAliasMax = uint16(p.num)
		case PropRequestResponseInfo:
			c.RequestResponse = p.num == 1
		case PropRequestProblemInfo:
			c.NoProblemInfo = p.num == 0
		case PropAuthMethod:
			c.AuthMethod = string(p.val)
		case PropAuthData:
			c.AuthData, hasData = p.val, true
		case PropUser:
			c.UserProps = appendUser(c.UserProps, p)
		}
	})
	if hasData && c.AuthMethod == "" {
		r.fail(errAuthData)
	}
}

func (w *Will) parse(r *reader, version byte) {
	if version == V5 {
		r.props(will, func(p *property) {
			switch p.id {
			case PropWillDelay:
				w.Delay = p.num
			case PropMessageExpiry:
				w.Expiry, w.HasExpiry = p.num, true
			default:
				w.Props = appendProp(w.Props, p)
			}
		})
	}
	topic := r.utf8()
	if r.err == nil && (len(topic) == 0 || hasWildcard(topic)) {
		r.fail(errWillTopic)
	}
	w.Topic = string(topic)
	w.Payload = r.binary()
}

// appendProp appends a property as it stood.
func appendProp(dst []byte, p *property) []byte {
	return append(append(dst, p.id), p.raw...)
}

func appendUser(dst []byte, p *property) []byte { return appendProp(dst, p) }

// AppendConnect appends c. It does not check c.
func AppendConnect(dst []byte, c *Connect) []byte {
	dst, start := begin(dst)
	name := "MQTT"
	if c.Version == V31 {
		name = "MQIsdp"
	}
	dst = appendString(dst, name)
	dst = append(dst, c.Version)
	var flags byte
	if c.CleanStart {
		flags |= 0x02
	}
	if w := c.Will; w != nil {
		flags |= 0x04 | w.QoS<<3
		if w.Retain {
			flags |= 0x20
		}
	}
	if c.HasPass {
		flags |= 0x40
	}
	if c.HasUser {
		flags |= 0x80
	}
	dst = append(dst, flags, byte(c.KeepAlive>>8), byte(c.KeepAlive))
	if c.Version == V5 {
		dst = c.appendProps(dst)
	}
	dst = appendString(dst, c.ClientID)
	if w := c.Will; w != nil {
		if c.Version == V5 {
			var at int
			dst, at = beginProps(dst)
			if w.Delay != 0 {
				dst = AppendUint32Prop(dst, PropWillDelay, w.Delay)
			}
			if w.HasExpiry {
				dst = AppendUint32Prop(dst, PropMessageExpiry, w.Expiry)
			}
			dst = endProps(append(dst, w.Props...), at)
		}
		dst = appendString(dst, w.Topic)
		dst = appendString(dst, w.Payload)
	}
	if c.HasUser {
		dst = appendString(dst, c.User)
	}
	if c.HasPass {
		dst = appendString(dst, c.Password)
	}
	return finish(dst, start, CONNECT, 0)
}

func (c *Connect) appendProps(dst []byte) []byte {
	dst, at := beginProps(dst)
	if c.SessionExpiry != 0 {
		dst = AppendUint32Prop(dst, PropSessionExpiry, c.SessionExpiry)
	}
	if c.ReceiveMaximum != 0 {
		dst = AppendUint16Prop(dst, PropReceiveMaximum, c.ReceiveMaximum)
	}
	if c.MaxPacketSize != 0 {
		dst = AppendUint32Prop(dst, PropMaximumPacketSize, c.MaxPacketSize)
	}
	if c.TopicAliasMax != 0 {
		dst = AppendUint16Prop(dst, PropTopicAliasMaximum, c.TopicAliasMax)
	}
	if c.RequestResponse {
		dst = AppendByteProp(dst, PropRequestResponseInfo, 1)
	}
	if c.NoProblemInfo {
		dst = AppendByteProp(dst, PropRequestProblemInfo, 0)
	}
	if c.AuthMethod != "" {
		dst = AppendStringProp(dst, PropAuthMethod, c.AuthMethod)
		if c.AuthData != nil {
			dst = AppendStringProp(dst, PropAuthData, c.AuthData)
		}
	}
	return endProps(append(dst, c.UserProps...), at)
}
