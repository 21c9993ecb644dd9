package broker

import (
	"errors"
	"strings"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/broker/topic"
)

var (
	errReceiveMaximum = &packet.Error{Code: packet.ReceiveMaximumExceeded, Reason: "more publishes in flight than the receive maximum"}
	errAliasRange     = &packet.Error{Code: packet.TopicAliasInvalid, Reason: "topic alias above the maximum"}
	errAliasUnknown   = &packet.Error{Code: packet.ProtocolError, Reason: "topic alias not set"}
	errSubIDSent      = &packet.Error{Code: packet.ProtocolError, Reason: "subscription identifier in a client's PUBLISH"}
	errRetainSent     = &packet.Error{Code: packet.RetainNotSupported, Reason: "retained messages are switched off"}
	errUnstorable     = &packet.Error{Code: packet.PacketTooLarge, Reason: "message longer than half a segment of the queue"}
	errAnswersFull    = &packet.Error{Code: packet.QuotaExceeded, Reason: "the queue cannot write, and too many answers wait for it"}
)

// received is what a session remembers of an unreleased QoS 2 publish of its
// client.
type received byte

const (
	inMemory received = iota + 1 // nothing about it is durable
	inStore                      // the store knows it and gets a Forget

	// unheard marks, beside these, that nobody subscribed to it: the answer to a
	// repeat says so as well, or its publisher would take it for delivered.
	unheard received = 0x40
)

// code is the reason of the answer, which MQTT 5 has.
func (k received) code(version byte) byte {
	if k&unheard != 0 && version == packet.V5 {
		return packet.NoMatchingSubscribers
	}
	return packet.Success
}

// handlePublish takes a PUBLISH in: it is checked, routed and staged here, in
// the reader, and answered when it is durable.
func (c *conn) handlePublish(flags byte, body []byte) error {
	p := &c.pub
	if err := packet.ParsePublish(flags, body, c.version, p); err != nil {
		return err
	}
	c.stats.publishReceived++
	c.stats.payloadReceived += uint64(len(p.Payload))
	if c.version == packet.V5 {
		if len(p.SubscriptionIDs) > 0 { // [MQTT-3.3.4-6]
			return errSubIDSent
		}
		if p.Alias != 0 {
			if err := c.resolveAlias(p); err != nil {
				return err
			}
		}
	}
	if p.Retain && c.b.opt.NoRetain {
		if c.version == packet.V5 { // [MQTT-3.2.2-14]
			return errRetainSent
		}
		p.Retain = false
	}
	if p.QoS == 0 {
		if code, _ := c.topicCode(p.Topic); code == packet.Success {
			c.route(p, false)
		}
		return nil
	}
	if len(c.parked.q) > 0 {
		return c.park(p) // not past those before it [MQTT-4.6.0-2]
	}
	err := c.takeQuota(p)
	if err == nil {
		err = c.takeIn(p)
	}
	if err == errNoRoom {
		return c.park(p)
	}
	return err
}

// takeIn is handlePublish for a QoS 1 or 2 publish whose turn it is. errNoRoom:
// nothing has become of it.
func (c *conn) takeIn(p *packet.Publish) error {
	if p.QoS == 1 {
		return c.publishOnce(p, packet.PUBACK)
	}
	if kept, held := c.session.received[p.ID]; held { // [MQTT-4.3.3-10]
		c.remember(p.ID, kept)
		return c.repeatPubrec(p.ID, kept&^sentNow)
	}
	if c.session.recovered {
		if r, held := c.b.store.Received(c.session.origin, p.ID); held {
			c.remember(p.ID, inStore)
			c.answer(r, packet.PUBREC, p.ID, packet.Success)
			return nil
		}
	}
	return c.publishOnce(p, packet.PUBREC)
}

// publishOnce routes a QoS 1 or 2 publish and answers it.
func (c *conn) publishOnce(p *packet.Publish, answer byte) error {
	if code, why := c.topicCode(p.Topic); code != packet.Success {
		if c.version == packet.V5 {
			c.answerRefused(answer, p.ID, code, why)
			return nil
		}
		// MQTT 3.1.1 cannot refuse: acknowledged and not delivered [MQTT-3.3.5-2].
		if p.QoS == 2 {
			c.remember(p.ID, inMemory)
		}
		c.answer(store.Receipt{}, answer, p.ID, packet.Success)
		return nil
	}
	res := c.route(p, p.QoS == 2)
	if res.err != nil {
		return c.refusePublish(p, answer, res.err)
	}
	kept := inMemory
	if res.staged {
		kept = inStore
	}
	if res.matched == 0 {
		kept |= unheard
	}
	if p.QoS == 2 {
		c.remember(p.ID, kept)
	}
	c.answer(res.receipt, answer, p.ID, kept.code(c.version))
	return nil
}

// refusePublish is for a publish that nobody got. MQTT 3.1.1 has no words for
// it: there it is parked, or when it will never fit the connection ends, as
// what is not stored is not acknowledged.
func (c *conn) refusePublish(p *packet.Publish, answer byte, err error) error {
	if errors.Is(err, store.ErrTooLarge) {
		c.stats.refused++
		c.log.Warn("publish refused", "client", c.session.id, "remote", c.remote, "topic", strings.Clone(p.Topic), "error", err)
		return errUnstorable // a reason for DISCONNECT; PUBACK has none like it [MQTT-3.4.2-1]
	}
	if c.version != packet.V5 {
		return errNoRoom
	}
	c.stats.refused++
	code, why := codeOf(err)
	c.answerRefused(answer, p.ID, code, why) // [MQTT-4.3.3-9]
	return nil
}

// repeatPubrec answers a repeated QoS 2 publish when the first one is durable.
func (c *conn) repeatPubrec(id uint16, kept received) error {
	var r store.Receipt
	if kept&^unheard == inStore {
		r, _ = c.b.store.Received(c.session.origin, id)
	}
	c.answer(r, packet.PUBREC, id, kept.code(c.version))
	return nil
}

// handlePubrel releases a QoS 2 publish. PUBCOMP leaves after the forget is
// durable: until then the id could come back to us as one that we hold.
func (c *conn) handlePubrel(a packet.Ack) error {
	s := c.session
	kept, held := s.received[a.ID]
	kept &^= sentNow | unheard
	if !held && s.recovered {
		if _, held = c.b.store.Received(s.origin, a.ID); held {
			kept = inStore
		}
	}
	// Also of an identifier that is not held any more: the connection may have
	// been cut while its forget was on the way to the disk.
	var r store.Receipt
	if kept != inMemory {
		r = c.b.store.Forget(s.origin, a.ID)
	}
	code := packet.PacketIDNotFound
	if held {
		code = packet.Success
	}
	c.release(a.ID)
	c.answer(r, packet.PUBCOMP, a.ID, code) // [MQTT-4.3.3-11]
	return nil
}

// boundAnswers waits while as many answers wait for the disk as there may be.
// errNoRoom: the disk has failed, and that may last.
func (c *conn) boundAnswers() error {
	limit := c.b.opt.MaxInflight
	all, _ := c.unanswered()
	for all >= limit {
		if c.b.store.Failed() != nil {
			return errNoRoom
		}
		c.b.held.add(c) // a disk that fails meanwhile releases no answers
		c.endRound()
		select {
		case <-c.resume:
		case <-c.stop:
			return errClosed
		}
		all, _ = c.unanswered()
	}
	return nil
}

// boundControl is boundAnswers for SUBSCRIBE and UNSUBSCRIBE, which are taken
// also while the disk has failed: up to twice as many answers wait then.
func (c *conn) boundControl() error {
	err := c.boundAnswers()
	if err != errNoRoom {
		return err
	}
	if all, _ := c.unanswered(); all >= 2*c.b.opt.MaxInflight {
		return errAnswersFull
	}
	return nil
}

// resolveAlias sets or uses a topic alias. The topic of an alias is a copy.
func (c *conn) resolveAlias(p *packet.Publish) error {
	if int(p.Alias) > c.b.opt.TopicAliasMax { // [MQTT-3.3.2-9]
		return errAliasRange
	}
	i := int(p.Alias) - 1
	for len(c.aliases) <= i {
		c.aliases = append(c.aliases, "")
	}
	switch {
	case p.Topic == "" && c.aliases[i] == "":
		return errAliasUnknown
	case p.Topic == "":
		p.Topic = c.aliases[i]
	case p.Topic != c.aliases[i]:
		c.aliases[i] = string([]byte(p.Topic))
	}
	return nil
}

// topicCode decides about a publish to a topic whose form is right already.
func (c *conn) topicCode(name string) (code byte, why string) {
	switch {
	case name[0] == '$' && reserved(name):
		return packet.NotAuthorized, "the topic is the broker's own"
	case topic.Levels(name) > c.b.opt.MaxTopicLevels:
		return packet.TopicNameInvalid, "too many topic levels"
	case !c.mayPublish(name):
		c.denied(name)
		return packet.NotAuthorized, whyDenied
	}
	return packet.Success, ""
}

// route hands the publish to the router. remember: the store has to know the
// packet identifier.
func (c *conn) route(p *packet.Publish, remember bool) routed {
	m := &c.msg
	*m = Message{
		Topic: p.Topic, Payload: p.Payload, QoS: p.QoS, Retain: p.Retain,
		Props: p.Props, Expiry: p.Expiry, HasExpiry: p.HasExpiry,
		Origin: c.session.origin,
	}
	if remember {
		m.PacketID = p.ID
	}
	c.needRouter()
	return c.router.route(c.session, m)
}
