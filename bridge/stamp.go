package bridge

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// stamp tells the cloud of each message from the queue when the gateway took it
// in, which one of its lane it is, and which gateway that was: as user
// properties behind the message's own (the same name twice is allowed there), or
// as a field of a payload that is a JSON object.
//
//	received          RFC 3339 with milliseconds, UTC
//	received_trusted  "false" when the clock was never known to be synchronised
//	                  in the boot of the receipt; else absent
//	seq               LANE/SEQ, without gaps within a lane but for those that a
//	                  gap marker tells
//	gateway           its id
//
// The time is worked out when the message is sent, so that a clock which was
// synchronised meanwhile is taken into account. What is handed over directly at
// QoS 0 has no seq, is received when it is sent, and carries no stamp.
type stamp struct {
	props   bool
	field   []byte // "FIELD": of the object, as JSON; nil = none
	name    []byte // FIELD as in a payload, quoted
	gateway string
	quoted  []byte // gateway as JSON
}

// newStamp reads the configuration's value: off, properties or json:FIELD.
func newStamp(mode, gateway string) stamp {
	s := stamp{gateway: gateway, quoted: quote(gateway)}
	if mode == "properties" {
		s.props = true
	} else if field, ok := strings.CutPrefix(mode, "json:"); ok {
		s.name = quote(field)
		s.field = append(bytes.Clone(s.name), ':')
	}
	return s
}

func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // a string always can
		panic(err)
	}
	return b
}

// stampTime is RFC 3339 with milliseconds.
const stampTime = "2006-01-02T15:04:05.000Z07:00"

// stamper applies a stamp; its buffers hold the last result. Not for concurrent
// use.
type stamper struct {
	props, payload []byte
}

// apply puts the stamp of a delivery of that lane on p. It returns false when
// the payload is not an object that can take it; p is then as it was.
func (w *stamper) apply(s *stamp, lane int, d *store.Delivery, p *packet.Publish) bool {
	switch {
	case s.props:
		w.props = s.appendProps(append(w.props[:0], p.Props...), lane, d)
		p.Props = w.props
	case s.field != nil:
		body := bytes.TrimRight(p.Payload, " \t\r\n")
		if !takesField(body, s.name) {
			return false
		}
		body = bytes.TrimRight(body[:len(body)-1], " \t\r\n")
		w.payload = append(w.payload[:0], body...)
		if body[len(body)-1] != '{' {
			w.payload = append(w.payload, ',')
		}
		w.payload = append(s.appendObject(append(w.payload, s.field...), lane, d), '}')
		p.Payload = w.payload
	}
	return true
}

func (s *stamp) appendProps(dst []byte, lane int, d *store.Delivery) []byte {
	var buf [32]byte
	if !d.At.IsZero() {
		dst = packet.AppendUserProp(dst, "received", string(d.At.UTC().AppendFormat(buf[:0], stampTime)))
		if !d.AtTrusted {
			dst = packet.AppendUserProp(dst, "received_trusted", "false")
		}
	}
	dst = packet.AppendUserProp(dst, "seq", string(appendSeq(buf[:0], lane, d.Seq)))
	return packet.AppendUserProp(dst, "gateway", s.gateway)
}

func (s *stamp) appendObject(dst []byte, lane int, d *store.Delivery) []byte {
	dst = append(dst, '{')
	if !d.At.IsZero() {
		dst = append(dst, `"received":"`...)
		dst = append(d.At.UTC().AppendFormat(dst, stampTime), `",`...)
		if !d.AtTrusted {
			dst = append(dst, `"received_trusted":false,`...)
		}
	}
	dst = appendSeq(append(dst, `"seq":"`...), lane, d.Seq)
	dst = append(append(dst, `","gateway":`...), s.quoted...)
	return append(dst, '}')
}

func appendSeq(dst []byte, lane int, seq uint64) []byte {
	dst = append(strconv.AppendInt(dst, int64(lane), 10), '/')
	return strconv.AppendUint(dst, seq, 10)
}

// takesField reports whether b is a JSON object without a field of that (quoted)
// name.
func takesField(b, name []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	if len(b) < 2 || b[0] != '{' || b[len(b)-1] != '}' || !json.Valid(b) {
		return false
	}
	if !bytes.Contains(b, name) {
		return true
	}
	depth := 0 // b is sound, so that nothing below runs over its end
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			from := i
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if rest := bytes.TrimLeft(b[i+1:], " \t\r\n"); depth == 1 && rest[0] == ':' && bytes.Equal(b[from:i+1], name) {
				return false
			}
		}
	}
	return true
}
