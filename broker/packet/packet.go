// Package packet reads and writes the control packets of MQTT 3.1, 3.1.1 and
// 5.0, in both directions.
//
// Encoders append to the caller's slice and allocate nothing else; decoders
// take the body that [Next] cut out of the byte stream, check it against the
// specification, and alias it: what they return is valid as long as the body
// is. Every decoding error is an [Error] with the MQTT 5.0 reason code to
// close the connection with.
package packet

import "fmt"

// Protocol levels as they stand in CONNECT.
const (
	V31  byte = 3 // MQTT 3.1, "MQIsdp"
	V311 byte = 4
	V5   byte = 5
)

// Control packet types, section 2.1.2.
const (
	CONNECT byte = iota + 1
	CONNACK
	PUBLISH
	PUBACK
	PUBREC
	PUBREL
	PUBCOMP
	SUBSCRIBE
	SUBACK
	UNSUBSCRIBE
	UNSUBACK
	PINGREQ
	PINGRESP
	DISCONNECT
	AUTH
)

// MaxSize is the largest packet that the format can express, in bytes with
// its fixed header.
const MaxSize = 5 + maxVarint

const maxVarint = 268_435_455

// Next cuts the first packet off buf. body aliases buf, n is the size of the
// whole packet; n = 0 without an error means that buf does not hold all of it
// yet. A packet above max bytes is an error as soon as its length is known
// (max 0: no limit), as are a malformed length [MQTT-1.5.5-1] and wrong
// reserved flags [MQTT-2.1.3-1].
func Next(buf []byte, max int) (typ, flags byte, body []byte, n int, err error) {
	return next(buf, max, 0)
}

// Next31 is Next for MQTT 3.1, where SUBSCRIBE, UNSUBSCRIBE and PUBREL have DUP
// set when they are sent again (section 3.1 there); it is taken off.
func Next31(buf []byte, max int) (typ, flags byte, body []byte, n int, err error) {
	return next(buf, max, dup)
}

const dup = 8

func next(buf []byte, max int, ignore byte) (typ, flags byte, body []byte, n int, err error) {
	if len(buf) == 0 {
		return 0, 0, nil, 0, nil
	}
	typ, flags = buf[0]>>4, buf[0]&0x0f
	switch typ {
	case PUBLISH:
	case 0:
		return 0, 0, nil, 0, errReservedType
	case PUBREL, SUBSCRIBE, UNSUBSCRIBE:
		if flags &^= ignore; flags != 2 {
			return 0, 0, nil, 0, errFlags
		}
	default:
		if flags != 0 {
			return 0, 0, nil, 0, errFlags
		}
	}
	var size, i int
	for {
		i++
		if i == len(buf) {
			return 0, 0, nil, 0, nil
		}
		c := buf[i]
		size |= int(c&0x7f) << (7 * (i - 1))
		if c < 0x80 {
			if c == 0 && i > 1 {
				return 0, 0, nil, 0, errVarint
			}
			break
		}
		if i == 4 {
			return 0, 0, nil, 0, errVarint
		}
	}
	i++
	n = i + size
	if max > 0 && n > max {
		return 0, 0, nil, 0, errTooLarge
	}
	if len(buf) < n {
		return 0, 0, nil, 0, nil
	}
	return typ, flags, buf[i:n:n], n, nil
}

// Size is the size of the packet that buf begins with, as far as it can be
// told: 0 when buf is too short for that. It does not check anything that
// Next does not have to check again.
func Size(buf []byte) int {
	size := 0
	for i := 1; i < len(buf) && i <= 4; i++ {
		size |= int(buf[i]&0x7f) << (7 * (i - 1))
		if buf[i] < 0x80 {
			return i + 1 + size
		}
	}
	return 0
}

// An Error says why a packet was refused.
type Error struct {
	Code   byte   // MQTT 5.0 reason code, at least 0x80
	Reason string // one lower-case phrase
}

func (e *Error) Error() string { return fmt.Sprintf("%s (0x%02X)", e.Reason, e.Code) }

// CodeOf returns the reason code to close a connection with after err.
func CodeOf(err error) byte {
	if e, ok := err.(*Error); ok {
		return e.Code
	}
	return UnspecifiedError
}

var (
	errReservedType = &Error{MalformedPacket, "packet type 0 is reserved"}
	errFlags        = &Error{MalformedPacket, "reserved flags of the fixed header are wrong"}
	errVarint       = &Error{MalformedPacket, "malformed variable byte integer"}
	errTooLarge     = &Error{PacketTooLarge, "packet too large"}
	errShort        = &Error{MalformedPacket, "packet ends within a field"}
	errTrailing     = &Error{MalformedPacket, "bytes after the last field"}
	errUTF8         = &Error{MalformedPacket, "malformed UTF-8 string"}
	errPacketID     = &Error{ProtocolError, "packet identifier 0"}
	errCode         = &Error{ProtocolError, "reason code not defined for this packet"}
)

// Reason codes of MQTT 5.0, section 2.4.
const (
	Success                     byte = 0x00
	NormalDisconnection         byte = 0x00
	GrantedQoS1                 byte = 0x01
	GrantedQoS2                 byte = 0x02
	DisconnectWithWill          byte = 0x04
	NoMatchingSubscribers       byte = 0x10
	NoSubscriptionExisted       byte = 0x11
	ContinueAuthentication      byte = 0x18
	Reauthenticate              byte = 0x19
	UnspecifiedError            byte = 0x80
	MalformedPacket             byte = 0x81
	ProtocolError               byte = 0x82
	ImplementationSpecificError byte = 0x83
	UnsupportedProtocolVersion  byte = 0x84
	ClientIDNotValid            byte = 0x85
	BadUserNameOrPassword       byte = 0x86
	NotAuthorized               byte = 0x87
	ServerUnavailable           byte = 0x88
	ServerBusy                  byte = 0x89
	Banned                      byte = 0x8A
	ServerShuttingDown          byte = 0x8B
	BadAuthenticationMethod     byte = 0x8C
	KeepAliveTimeout            byte = 0x8D
	SessionTakenOver            byte = 0x8E
	TopicFilterInvalid          byte = 0x8F
	TopicNameInvalid            byte = 0x90
	PacketIDInUse               byte = 0x91
	PacketIDNotFound            byte = 0x92
	ReceiveMaximumExceeded      byte = 0x93
	TopicAliasInvalid           byte = 0x94
	PacketTooLarge              byte = 0x95
	MessageRateTooHigh          byte = 0x96
	QuotaExceeded               byte = 0x97
	AdministrativeAction        byte = 0x98
	PayloadFormatInvalid        byte = 0x99
	RetainNotSupported          byte = 0x9A
	QoSNotSupported             byte = 0x9B
	UseAnotherServer            byte = 0x9C
	ServerMoved                 byte = 0x9D
	SharedNotSupported          byte = 0x9E
	ConnectionRateExceeded      byte = 0x9F
	MaximumConnectTime          byte = 0xA0
	SubscriptionIDsNotSupported byte = 0xA1
	WildcardsNotSupported       byte = 0xA2
)
