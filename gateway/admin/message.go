package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// Message is one that waits, with all that an import needs to queue it again.
type Message struct {
	Seq      uint64    `json:"seq"`
	Topic    string    `json:"topic"`
	QoS      byte      `json:"qos"`
	Retain   bool      `json:"retain,omitempty"`
	Received time.Time `json:"received"`
	Trusted  bool      `json:"received_trusted"`         // the clock was synchronised
	Expiry   *uint32   `json:"expiry_seconds,omitempty"` // from when it was received
	Text     *string   `json:"text,omitempty"`
	Base64   []byte    `json:"base64,omitempty"` // a payload that is no text

	// Properties of MQTT 5; what is not given the message has not.
	PayloadFormat   *byte       `json:"payload_format,omitempty"`
	ContentType     *string     `json:"content_type,omitempty"`
	ResponseTopic   *string     `json:"response_topic,omitempty"`
	CorrelationData *[]byte     `json:"correlation_data,omitempty"`
	UserProperties  []Property  `json:"user_properties,omitempty"`
	SubscriptionIDs []uint32    `json:"subscription_ids,omitempty"` // of the session that it waits for
	Share           uint32      `json:"share,omitempty"`            // stands for the shared subscription by which it came
	DeadLetter      *DeadLetter `json:"dead_letter,omitempty"`
}

// Property is a user property: its name and its value, in JSON an array of both.
type Property [2]string

// UnmarshalJSON takes exactly two strings.
func (p *Property) UnmarshalJSON(b []byte) error {
	var list []*string
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	if len(list) != 2 || list[0] == nil || list[1] == nil {
		return errors.New(`each of "user_properties" is a name and a value`)
	}
	p[0], p[1] = *list[0], *list[1]
	return nil
}

// maxSubscriptionID is the highest subscription identifier [3.3.2.3.8]; the broker
// marks what came by a shared subscription with a higher number behind them.
const maxSubscriptionID = 1<<28 - 1

// messageOf is what waits in a queue; of one of dead letters, the properties that
// the message had and why it is dead.
func messageOf(d *store.Delivery, dead bool) Message {
	m := Message{Seq: d.Seq, Topic: d.Topic, QoS: d.QoS, Retain: d.Retain, Received: d.At, Trusted: d.AtTrusted}
	if !d.At.IsZero() {
		m.Received = d.At.UTC()
	}
	if d.HasExpiry {
		expiry := d.Expiry
		m.Expiry = &expiry
	}
	if utf8.Valid(d.Payload) {
		text := string(d.Payload)
		m.Text = &text
	} else {
		m.Base64 = bytes.Clone(d.Payload)
	}
	props := d.Props
	if dead {
		rest, why := splitDead(props)
		if m.DeadLetter = why; why != nil {
			props = rest
		}
	}
	m.setProps(props)
	for _, id := range d.SubscriptionIDs {
		if id > maxSubscriptionID {
			m.Share = id
		} else {
			m.SubscriptionIDs = append(m.SubscriptionIDs, id)
		}
	}
	return m
}

// setProps takes in encoded properties, which were checked when they came.
func (m *Message) setProps(props []byte) {
	_ = packet.EachProp(props, func(id byte, val, val2 []byte) bool {
		text := func() *string { s := string(val); return &s }
		switch id {
		case packet.PropPayloadFormat:
			m.PayloadFormat = &bytes.Clone(val)[0]
		case packet.PropContentType:
			m.ContentType = text()
		case packet.PropResponseTopic:
			m.ResponseTopic = text()
		case packet.PropCorrelationData:
			data := append([]byte{}, val...)
			m.CorrelationData = &data
		case packet.PropUser:
			m.UserProperties = append(m.UserProperties, Property{string(val), string(val2)})
		}
		return true
	})
}

// appendProps appends the properties in MQTT's encoding, without their length.
// Their strings are at most 65,535 bytes long.
func (m *Message) appendProps(dst []byte) []byte {
	if m.PayloadFormat != nil {
		dst = packet.AppendByteProp(dst, packet.PropPayloadFormat, *m.PayloadFormat)
	}
	if m.ContentType != nil {
		dst = packet.AppendStringProp(dst, packet.PropContentType, *m.ContentType)
	}
	if m.ResponseTopic != nil {
		dst = packet.AppendStringProp(dst, packet.PropResponseTopic, *m.ResponseTopic)
	}
	if m.CorrelationData != nil {
		dst = packet.AppendStringProp(dst, packet.PropCorrelationData, *m.CorrelationData)
	}
	for _, p := range m.UserProperties {
		dst = packet.AppendUserProp(dst, p[0], p[1])
	}
	return dst
}

// payload is that of either form.
func (m *Message) payload() []byte {
	if m.Text != nil {
		return []byte(*m.Text)
	}
	return m.Base64
}
