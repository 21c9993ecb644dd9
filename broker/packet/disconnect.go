package packet

// Disconnect is a DISCONNECT packet, section 3.14. Below MQTT 5.0 it is empty
// and comes only from clients.
type Disconnect struct {
	Code             byte
	SessionExpiry    uint32
	HasSessionExpiry bool
	ReasonString     string
	ServerReference  string
	UserProps        []byte // encoded user properties
}

// AppendDisconnect appends d.
func AppendDisconnect(dst []byte, version byte, d *Disconnect) []byte {
	plain := !d.HasSessionExpiry && d.ReasonString == "" && d.ServerReference == "" && len(d.UserProps) == 0
	switch {
	case version != V5 || plain && d.Code == NormalDisconnection:
		return append(dst, DISCONNECT<<4, 0)
	case plain:
		return append(dst, DISCONNECT<<4, 1, d.Code)
	}
	dst, start := begin(dst)
	dst, at := beginProps(append(dst, d.Code))
	if d.HasSessionExpiry {
		dst = AppendUint32Prop(dst, PropSessionExpiry, d.SessionExpiry)
	}
	dst = appendText(dst, PropReasonString, d.ReasonString)
	dst = appendText(dst, PropServerReference, d.ServerReference)
	dst = endProps(append(dst, d.UserProps...), at)
	return finish(dst, start, DISCONNECT, 0)
}

// ParseDisconnect reads the body of a DISCONNECT.
func ParseDisconnect(body []byte, version byte, d *Disconnect) error {
	*d = Disconnect{}
	r := reader{b: body}
	if version != V5 || len(body) == 0 {
		return r.end()
	}
	d.Code = r.u8()
	if !definedDisconnectCode(d.Code) {
		return errCode
	}
	if len(r.b) > 0 {
		r.props(DISCONNECT, func(p *property) {
			switch p.id {
			case PropSessionExpiry:
				d.SessionExpiry, d.HasSessionExpiry = p.num, true
			case PropReasonString:
				d.ReasonString = string(p.val)
			case PropServerReference:
				d.ServerReference = string(p.val)
			case PropUser:
				d.UserProps = appendUser(d.UserProps, p)
			}
		})
	}
	return r.end()
}

// definedDisconnectCode: [MQTT-3.14.2-1].
func definedDisconnectCode(code byte) bool {
	switch code {
	case NormalDisconnection, DisconnectWithWill, NotAuthorized, ServerBusy:
		return true
	case UnsupportedProtocolVersion, ClientIDNotValid, BadUserNameOrPassword, ServerUnavailable, Banned, BadAuthenticationMethod,
		PacketIDInUse, PacketIDNotFound:
		return false
	}
	return code >= UnspecifiedError && code <= WildcardsNotSupported
}

// Auth is an AUTH packet, section 3.15; MQTT 5.0 only.
type Auth struct {
	Code         byte
	Method       string
	Data         []byte
	ReasonString string
	UserProps    []byte // encoded user properties
}

// AppendAuth appends a.
func AppendAuth(dst []byte, a *Auth) []byte {
	if a.Code == Success && a.Method == "" && a.Data == nil && a.ReasonString == "" && len(a.UserProps) == 0 {
		return append(dst, AUTH<<4, 0)
	}
	dst, start := begin(dst)
	dst, at := beginProps(append(dst, a.Code))
	dst = appendText(dst, PropAuthMethod, a.Method)
	if a.Data != nil {
		dst = AppendStringProp(dst, PropAuthData, a.Data)
	}
	dst = appendText(dst, PropReasonString, a.ReasonString)
	dst = endProps(append(dst, a.UserProps...), at)
	return finish(dst, start, AUTH, 0)
}

// ParseAuth reads the body of an AUTH. Data aliases body.
func ParseAuth(body []byte, a *Auth) error {
	*a = Auth{}
	r := reader{b: body}
	if len(body) == 0 {
		return nil
	}
	a.Code = r.u8()
	if a.Code != Success && a.Code != ContinueAuthentication && a.Code != Reauthenticate { // [MQTT-3.15.2-1]
		return errCode
	}
	r.props(AUTH, func(p *property) {
		switch p.id {
		case PropAuthMethod:
			a.Method = string(p.val)
		case PropAuthData:
			a.Data = p.val
		case PropReasonString:
			a.ReasonString = string(p.val)
		case PropUser:
			a.UserProps = appendUser(a.UserProps, p)
		}
	})
	return r.end()
}

// AppendPing appends typ, PINGREQ or PINGRESP.
func AppendPing(dst []byte, typ byte) []byte { return append(dst, typ<<4, 0) }
