package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/client"
)

// messageInfo is a message in JSON. A payload that is no text is in base64.
type messageInfo struct {
	Time            time.Time   `json:"time"`
	Topic           string      `json:"topic"`
	QoS             byte        `json:"qos"`
	Retain          bool        `json:"retain"`
	PacketID        uint16      `json:"packet_id,omitempty"`
	Payload         *string     `json:"payload,omitempty"`
	PayloadBase64   []byte      `json:"payload_base64,omitempty"`
	Expiry          *uint32     `json:"expiry,omitempty"` // seconds
	ContentType     string      `json:"content_type,omitempty"`
	ResponseTopic   string      `json:"response_topic,omitempty"`
	CorrelationData []byte      `json:"correlation_data,omitempty"` // base64
	UserProperties  [][2]string `json:"user_properties,omitempty"`
}

func infoOf(m *client.Message) *messageInfo {
	i := &messageInfo{Time: m.At, Topic: m.Topic, QoS: m.QoS, Retain: m.Retain, PacketID: m.ID}
	if utf8.Valid(m.Payload) {
		text := string(m.Payload)
		i.Payload = &text
	} else {
		i.PayloadBase64 = m.Payload
	}
	if m.HasExpiry {
		i.Expiry = &m.Expiry
	}
	_ = packet.EachProp(m.Props, func(id byte, val, val2 []byte) bool { // they were checked with the packet
		switch id {
		case packet.PropContentType:
			i.ContentType = string(val)
		case packet.PropResponseTopic:
			i.ResponseTopic = string(val)
		case packet.PropCorrelationData:
			i.CorrelationData = val
		case packet.PropUser:
			i.UserProperties = append(i.UserProperties, [2]string{string(val), string(val2)})
		}
		return true
	})
	return i
}

func appendJSON(dst []byte, m *client.Message) []byte {
	b, err := json.Marshal(infoOf(m))
	if err != nil { // it has no value that JSON cannot have
		return fmt.Appendf(dst, "{%q:%q}", "error", err)
	}
	return append(dst, b...)
}

// formatLetters are those behind a percent sign.
const formatLetters = "%CDEIPRUXjlmpqrtx"

// checkFormat says what is wrong with a format.
func checkFormat(format string) error {
	for rest := format; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			return nil
		}
		if after == "" || !strings.Contains(formatLetters, after[:1]) {
			return fmt.Errorf("-F: %%%.1s means nothing; a percent sign is written %%%%", after)
		}
		rest = after[1:]
	}
}

// appendFormat appends a message as the format has it.
func appendFormat(dst []byte, format string, m *client.Message) []byte {
	info := infoOf(m)
	for i := 0; i < len(format); i++ {
		c := format[i]
		switch {
		case c == '\\' && i+1 < len(format):
			i++
			dst = append(dst, unescaped(format[i])...)
		case c == '%' && i+1 < len(format):
			i++
			dst = appendField(dst, format[i], m, info)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func unescaped(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case '0':
		return "\x00"
	case 'a':
		return "\a"
	case 'e':
		return "\x1b"
	case '\\':
		return "\\"
	}
	return "\\" + string(rune(c))
}

func appendField(dst []byte, letter byte, m *client.Message, i *messageInfo) []byte {
	switch letter {
	case 't':
		return append(dst, m.Topic...)
	case 'p':
		return append(dst, m.Payload...)
	case 'l':
		return strconv.AppendInt(dst, int64(len(m.Payload)), 10)
	case 'x':
		return hex.AppendEncode(dst, m.Payload)
	case 'X':
		return fmt.Appendf(dst, "%X", m.Payload)
	case 'q':
		return strconv.AppendInt(dst, int64(m.QoS), 10)
	case 'r':
		if m.Retain {
			return append(dst, '1')
		}
		return append(dst, '0')
	case 'm':
		return strconv.AppendUint(dst, uint64(m.ID), 10)
	case 'I':
		return m.At.AppendFormat(dst, "2006-01-02T15:04:05.000-0700")
	case 'U':
		return fmt.Appendf(dst, "%d.%09d", m.At.Unix(), m.At.Nanosecond())
	case 'C':
		return append(dst, i.ContentType...)
	case 'R':
		return append(dst, i.ResponseTopic...)
	case 'D':
		return base64.StdEncoding.AppendEncode(dst, i.CorrelationData)
	case 'E':
		if i.Expiry != nil {
			return strconv.AppendUint(dst, uint64(*i.Expiry), 10)
		}
	case 'P':
		for n, p := range i.UserProperties {
			if n > 0 {
				dst = append(dst, ' ')
			}
			dst = append(append(append(dst, p[0]...), ':'), p[1]...)
		}
	case 'j':
		return appendJSON(dst, m)
	case '%':
		return append(dst, '%')
	}
	return dst
}
