package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// MaxLine is how long a line of an export may be, in bytes: more than the largest
// message that a queue with segments of 8 MiB can have, however it is written.
const MaxLine = 32 << 20

// Exported is a line of an export.
type Exported struct {
	Message *Message // nil: the line has none
	Note    string   // what the export says of itself: why it is not complete

	props []byte
}

// ParseExported reads a line of what `queue export` prints or GET /v1/messages
// answers, and checks the message as the packet of a device is checked. An empty
// line, and the one that ends an answer, have no message. The error says what is
// wrong, without the line's number.
func ParseExported(line []byte) (*Exported, error) {
	line = bytes.TrimSpace(line)
	switch {
	case len(line) == 0:
		return &Exported{}, nil
	case len(line) > MaxLine:
		return nil, fmt.Errorf("the line is longer than %d bytes", MaxLine)
	case !utf8.Valid(line):
		return nil, errors.New("the line is not UTF-8")
	}
	// Both of these would be replaced by other characters without a word.
	if err := checkSurrogates(line); err != nil {
		return nil, err
	}
	e, err := unwrap(line)
	if err != nil || e.Message == nil {
		return e, err
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return e, nil
}

// unwrap reads a message, or what an answer of the API has it in.
func unwrap(line []byte) (*Exported, error) {
	var outer struct {
		Message json.RawMessage `json:"message"`
		Error   string          `json:"error"`
		End     bool            `json:"end"`
	}
	if isWrapped(line) {
		if err := decodeStrict(line, &outer); err != nil {
			return nil, err
		}
		if outer.Message == nil || string(outer.Message) == "null" {
			return &Exported{Note: outer.Error}, nil
		}
		line = outer.Message
	}
	m := new(Message)
	if err := decodeStrict(line, m); err != nil {
		return nil, err
	}
	return &Exported{Message: m}, nil
}

// isWrapped reports whether the first field of an object is one of an answer's.
func isWrapped(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("{"))
	rest = bytes.TrimLeft(rest, " \t\r")
	for _, name := range []string{`"message"`, `"end"`, `"error"`} {
		if ok && bytes.HasPrefix(rest, []byte(name)) {
			return true
		}
	}
	return false
}

// decodeStrict reads one JSON object and nothing else. A field that is not known
// is an error: what it says of the message would be lost.
func decodeStrict(line []byte, into any) error {
	if line[0] != '{' {
		return errors.New("the line is no JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the line is cut off: its JSON object does not end")
		}
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something stands behind the JSON object")
	}
	return nil
}

// checkSurrogates refuses halves of characters, which encoding/json replaces.
func checkSurrogates(line []byte) error {
	half := func(at int) (r uint64, ok bool) {
		if at+6 > len(line) || line[at] != '\\' || line[at+1] != 'u' {
			return 0, false
		}
		r, err := strconv.ParseUint(string(line[at+2:at+6]), 16, 16)
		return r, err == nil && r >= 0xd800 && r < 0xe000
	}
	for i := 0; i < len(line); i++ {
		if line[i] != '\\' {
			continue
		}
		r, ok := half(i)
		if !ok {
			i++ // and what it escapes
			continue
		}
		low, ok := half(i + 6)
		if r >= 0xdc00 || !ok || low < 0xdc00 {
			return fmt.Errorf("%s is half a character", line[i:i+6])
		}
		i += 11
	}
	return nil
}

// check is what the broker does with the packet of a device.
func (e *Exported) check() error {
	m := e.Message
	switch {
	case m.Text == nil && m.Base64 == nil:
		return errors.New(`there is no payload: neither "text" nor "base64"`)
	case m.Text != nil && m.Base64 != nil:
		return errors.New(`there are two payloads: "text" and "base64"`)
	case m.Topic == "":
		return errors.New(`"topic" is missing or empty`)
	case m.QoS > 2:
		return fmt.Errorf(`"qos" is %d, not 0 to 2`, m.QoS)
	case m.PayloadFormat != nil && *m.PayloadFormat > 1:
		return fmt.Errorf(`"payload_format" is %d, not 0 or 1`, *m.PayloadFormat)
	case m.Share != 0 && m.Share <= maxSubscriptionID:
		return fmt.Errorf(`"share" is %d, not above %d`, m.Share, maxSubscriptionID)
	}
	for _, s := range e.strings() {
		if err := s.check(); err != nil {
			return err
		}
	}
	for _, id := range m.SubscriptionIDs {
		if id == 0 || id > maxSubscriptionID {
			return fmt.Errorf(`"subscription_ids" has %d, not 1 to %d`, id, maxSubscriptionID)
		}
	}
	e.props = m.appendProps(nil)
	if why := m.DeadLetter; why != nil && why.Received != "" && !bytes.Contains(e.props, []byte(store.DeadReceived)) {
		e.props = packet.AppendUserProp(e.props, store.DeadReceived, why.Received) // as a replay does
	}
	return e.checkPacket()
}

// checkPacket has the parser of packets look at it.
func (e *Exported) checkPacket() error {
	m := e.Message
	p := packet.Publish{Topic: m.Topic, Props: e.props, SubscriptionIDs: m.SubscriptionIDs}
	size := packet.PublishSize(packet.V5, &p)
	if size+len(m.payload()) > packet.MaxSize {
		return fmt.Errorf("the message has %d bytes, which no packet can have", size+len(m.payload()))
	}
	frame := packet.AppendPublish(nil, packet.V5, &p)
	head := 1
	for frame[head] >= 0x80 {
		head++
	}
	var parsed packet.Publish
	if err := packet.ParsePublish(0, frame[head+1:], packet.V5, &parsed); err != nil {
		var bad *packet.Error
		if errors.As(err, &bad) {
			return errors.New(bad.Reason)
		}
		return err
	}
	return nil
}

// field is a string of a message, which has at most 65,535 bytes in a packet.
type field struct {
	name, value string
	topic       bool
}

func (e *Exported) strings() []field {
	m := e.Message
	list := []field{{"topic", m.Topic, true}}
	if m.ContentType != nil {
		list = append(list, field{name: "content_type", value: *m.ContentType})
	}
	if m.ResponseTopic != nil {
		list = append(list, field{"response_topic", *m.ResponseTopic, true})
	}
	if m.CorrelationData != nil && len(*m.CorrelationData) > 0xffff {
		list = append(list, field{name: "correlation_data", value: string(*m.CorrelationData)})
	}
	for _, p := range m.UserProperties {
		list = append(list, field{name: "user_properties", value: p[0]}, field{name: "user_properties", value: p[1]})
	}
	if m.DeadLetter != nil {
		list = append(list, field{name: "dead_letter", value: m.DeadLetter.Received})
	}
	return list
}

func (f *field) check() error {
	switch {
	case len(f.value) > 0xffff:
		return fmt.Errorf("%q has %d bytes, at most 65535", f.name, len(f.value))
	case strings.ContainsRune(f.value, 0):
		return fmt.Errorf("%q has the character U+0000", f.name)
	case f.topic && strings.ContainsAny(f.value, "+#"):
		return fmt.Errorf("%q has a wildcard", f.name)
	case f.topic && f.value == "":
		return fmt.Errorf("%q is empty", f.name)
	}
	return nil
}

// Size is about how many bytes the message takes in the queue.
func (e *Exported) Size() int64 {
	m := e.Message
	n := len(m.Topic) + len(e.props) + len(m.Base64) + 5*len(m.SubscriptionIDs) + 26
	if m.Text != nil {
		n += len(*m.Text)
	}
	return int64(n)
}

// stored is the message for the store, and how its consumer gets it.
func (e *Exported) stored() (*store.Message, store.Target) {
	m := e.Message
	out := &store.Message{
		Topic: m.Topic, Payload: m.payload(), QoS: m.QoS, Props: e.props,
		Earlier: store.WallOf(m.Received, m.Trusted),
	}
	if m.DeadLetter != nil { // m.Received is when it died
		if at, err := time.Parse(time.RFC3339Nano, m.DeadLetter.Received); err == nil {
			out.Earlier = store.WallOf(at, m.Trusted)
		}
	}
	if m.Expiry != nil {
		out.Expiry, out.HasExpiry = *m.Expiry, true
	}
	to := store.Target{QoS: m.QoS, KeepRetain: m.Retain, SubscriptionIDs: m.SubscriptionIDs}
	if m.Share != 0 {
		to.SubscriptionIDs = append(to.SubscriptionIDs[:len(to.SubscriptionIDs):len(to.SubscriptionIDs)], m.Share)
	}
	return out, to
}
