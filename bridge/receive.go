package bridge

import (
	"errors"
	"sync"

	"time"

	"packetboat/broker/packet"
	"packetboat/broker/qos"
	"packetboat/broker/store"

	"github.com/eclipse/paho.golang/packets"
)

// The way down. A PUBLISH from the cloud is published locally by the reader
// and acknowledged when it is on disk: the answer waits in the connection's
// queue of answers, the reader does not wait.
//
// A cloud is never refused (a PUBACK of 0x80 and more would end a command for
// good): when the local queue is full or its disk has failed, the message is
// parked with its answer withheld, and those behind it too, so that their
// order holds. The cloud stops by itself at our receive maximum.

// inbound is what of the cloud's messages has no answer yet.
type inbound struct {
	mu     sync.Mutex // order of publishing: the reader and the retry
	parked []*store.Message
}

// retryParked is how often parked messages are tried again.
const retryParked = time.Second

var (
	errTooManyAnswers = errors.New("the server demands more answers than it may")
	errReceiveMaximum = errors.New("the server exceeds our receive maximum")
)

// received takes a PUBLISH from the cloud. It runs on the reader, and for QoS
// 0 on the goroutine on which paho hands those out.
func (c *conn) received(p *packet.Publish) {
	c.b.count.received.Add(1)
	m := c.local(p)
	if m == nil {
		c.answerPublish(p.QoS, p.ID, store.Receipt{})
		return
	}
	if p.QoS == 0 {
		if _, err := c.b.publish(m); err != nil {
			c.b.warn.downLost.warn(c.b.log, 1, "QoS 0 messages from the cloud were not taken", "topic", m.Topic, "error", err)
		}
		return
	}
	m.PacketID = p.ID // of QoS 1 only until it is published
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	if len(c.in.parked) == 0 && c.publishLocked(m) {
		return
	}
	if len(c.in.parked) >= int(c.receiveMaximum) {
		c.link.fail(errReceiveMaximum)
		return
	}
	c.in.parked = append(c.in.parked, m)
	if len(c.in.parked) == 1 {
		select {
		case c.hasParked <- struct{}{}:
		default:
		}
	}
}

// local makes the message of the first down rule that takes the packet, or nil.
func (c *conn) local(p *packet.Publish) *store.Message {
	rule, topic := c.b.rules.local(p.Topic)
	if topic == "" {
		c.b.count.unmatched.Add(1)
		c.b.warn.unmatched.warn(c.b.log, 1, "messages from the cloud that no down rule takes were dropped", "topic", p.Topic)
		return nil
	}
	if c.loops(p) {
		c.b.count.looped.Add(1)
		return nil
	}
	return &store.Message{
		Topic: topic, Payload: p.Payload, QoS: p.QoS, Retain: p.Retain && rule.retain,
		Props: remapResponse(p.Props, c.b.rules.back.down, c.b.rules.firstUp), Expiry: p.Expiry, HasExpiry: p.HasExpiry, Origin: c.b.origin,
	}
}

// loops reports whether a message from the cloud has been here before; guard.go says
// how that is known.
func (c *conn) loops(p *packet.Publish) bool {
	if c.version == packet.V5 {
		return wasHere(p.Props, c.b.cfg.Gateway)
	}
	if p.Retain {
		return false // what the cloud had kept, sent for a new subscription [MQTT-3.3.1-8]
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	return c.b.echoes.cancels(p.Topic, p.Payload)
}

// fromPaho is paho's PUBLISH as ours. It keeps the payload of p.
func fromPaho(p *packets.Publish) packet.Publish {
	m := packet.Publish{Topic: p.Topic, Payload: p.Payload, QoS: p.QoS, Retain: p.Retain, Dup: p.Duplicate, ID: p.PacketID, Props: forwarded(p.Properties)}
	if p.Properties != nil && p.Properties.MessageExpiry != nil {
		m.Expiry, m.HasExpiry = *p.Properties.MessageExpiry, true
	}
	return m
}

// forwarded encodes the properties that pass on unaltered [MQTT-3.3.2-17].
func forwarded(p *packets.Properties) []byte {
	if p == nil {
		return nil
	}
	var dst []byte
	if p.PayloadFormat != nil {
		dst = packet.AppendByteProp(dst, packet.PropPayloadFormat, *p.PayloadFormat)
	}
	if p.ContentType != "" {
		dst = packet.AppendStringProp(dst, packet.PropContentType, p.ContentType)
	}
	if p.ResponseTopic != "" {
		dst = packet.AppendStringProp(dst, packet.PropResponseTopic, p.ResponseTopic)
	}
	if p.CorrelationData != nil {
		dst = packet.AppendStringProp(dst, packet.PropCorrelationData, p.CorrelationData)
	}
	for _, u := range p.User {
		dst = packet.AppendUserProp(dst, u.Key, u.Value)
	}
	return dst
}

// publishLocked publishes m locally and queues the answer; false: not now.
// inbound.mu is held, Bridge.mu is not: the broker may call us back.
func (c *conn) publishLocked(m *store.Message) bool {
	id := m.PacketID
	if m.QoS == 1 {
		m.PacketID = 0 // nothing to remember: a repeat is a new message
	}
	receipt, err := c.b.publish(m)
	switch {
	case errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrFailed):
		m.PacketID = id
		c.b.warn.parked.warn(c.b.log, 1, "the local queue takes nothing; messages from the cloud wait unanswered", "error", err)
		return false
	case err != nil:
		c.b.warn.downLost.warn(c.b.log, 1, "messages from the cloud were not taken and are lost", "topic", m.Topic, "error", err)
	}
	c.answerPublish(m.QoS, id, receipt)
	return true
}

// unpark tries parked messages again, in order. It reports whether some are
// left.
func (c *conn) unpark() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	for len(c.in.parked) > 0 {
		if !c.publishLocked(c.in.parked[0]) {
			return true
		}
		c.in.parked[0] = nil
		c.in.parked = c.in.parked[1:]
	}
	return false
}

// answerPublish acknowledges a PUBLISH once its receipt is durable
// [MQTT-4.3.2-4] [MQTT-4.3.3-8].
func (c *conn) answerPublish(level byte, id uint16, after store.Receipt) {
	switch level {
	case 1:
		c.owe(after, qos.Answer{Type: packet.PUBACK, ID: id})
	case 2:
		c.owe(after, qos.Answer{Type: packet.PUBREC, ID: id})
	}
}

// pubrel ends a QoS 2 message from the cloud: its identifier is free when the
// forgetting is on disk, and only then PUBCOMP may say so [MQTT-4.3.3-11].
func (c *conn) pubrel(id uint16) {
	c.owe(c.b.store.Forget(c.b.origin, id), qos.Answer{Type: packet.PUBCOMP, ID: id})
}

func (c *conn) owe(after store.Receipt, a qos.Answer) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.answerLocked(after, a)
}
