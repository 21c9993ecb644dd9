package broker

import (
	"encoding/binary"

	"packetboat/broker/acl"
	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/broker/topic"
)

// sub is one subscription in the tree: of a session, of an attached
// subscriber, or of a group, which stands for its members.
type sub struct {
	filter      string // as subscribed, $share/… included
	s           *session
	att         *Attachment
	rule        int // of att
	group       *group
	qos         byte
	noLocal     bool
	asPublished bool
	handling    byte
	id          uint32
}

// subRecord is version | options as in SUBSCRIBE | subscription identifier.
func (s *sub) record() []byte {
	options := s.qos | s.handling<<4
	if s.noLocal {
		options |= 4
	}
	if s.asPublished {
		options |= 8
	}
	return binary.BigEndian.AppendUint32([]byte{recordVersion, options}, s.id)
}

func parseSubRecord(b []byte) (*sub, bool) {
	if len(b) != 6 || b[0] != recordVersion {
		return nil, false
	}
	o := b[1]
	return &sub{
		qos: o & 3, noLocal: o&4 != 0, asPublished: o&8 != 0, handling: o >> 4 & 3,
		id: binary.BigEndian.Uint32(b[2:]),
	}, true
}

func newSub(f *packet.Filter, id uint32) *sub {
	return &sub{
		filter: f.Filter, qos: f.QoS, noLocal: f.NoLocal, asPublished: f.RetainAsIs,
		handling: f.RetainHandling, id: id,
	}
}

// subscribeLocked puts sb into the tree in place of the session's subscription
// to the same filter [MQTT-3.8.4-3], and returns that.
func (b *Broker) subscribeLocked(s *session, sb *sub) (old *sub) {
	sb.s = s
	old = s.subs[sb.filter]
	s.subs[sb.filter] = sb
	if _, rest, shared := topic.CutShare(sb.filter); shared {
		b.joinLocked(sb, rest)
		return old
	}
	if old == nil {
		s.subCount++
	}
	b.insertLocked(sb.filter, s.origin, sb)
	return old
}

func (b *Broker) removeSubLocked(s *session, sb *sub) {
	delete(s.subs, sb.filter)
	if sb.group != nil {
		b.leaveLocked(sb)
		return
	}
	s.subCount--
	b.removeLocked(sb.filter, s.origin)
}

// insertLocked and removeLocked change the tree, and know how many filters are
// for the broker's own topics.
func (b *Broker) insertLocked(filter, key string, sb *sub) {
	if _, replaced := b.tree.Insert(filter, key, sb); !replaced && reserved(filter) {
		b.sys.wanted.Add(1)
	}
}

func (b *Broker) removeLocked(filter, key string) {
	if _, ok := b.tree.Remove(filter, key); ok && reserved(filter) {
		b.sys.wanted.Add(-1)
	}
}

var errSharedNoLocal = &packet.Error{Code: packet.ProtocolError, Reason: "no local on a shared subscription"}

// handleSubscribe takes the filters of a SUBSCRIBE in turn [MQTT-3.8.4-5]. SUBACK
// waits for the records of a persistent session; retained messages follow.
func (c *conn) handleSubscribe(body []byte) error {
	var p packet.Subscribe
	if err := packet.ParseSubscribe(body, c.version, &p); err != nil {
		return err
	}
	if err := c.boundControl(); err != nil {
		return err
	}
	b, s := c.b, c.session
	ack := packet.Suback{ID: p.ID, Codes: make([]byte, 0, len(p.Filters))}
	var fresh []*sub // to be sent retained messages
	b.mu.Lock()
	rights := c.subscribeRightsLocked()
	for i := range p.Filters {
		f := &p.Filters[i]
		_, _, shared := topic.CutShare(f.Filter)
		if shared && f.NoLocal { // [MQTT-3.8.3-4]
			b.mu.Unlock()
			return errSharedNoLocal
		}
		sb := newSub(f, p.SubscriptionID)
		code, wrote := b.grantLocked(s, sb, rights)
		if code == packet.NotAuthorized {
			c.noteDenied("subscribe", sb.filter)
			b.tellDenied("subscription not allowed", "client", s.id, "user", c.user, "remote", c.remote, "filter", sb.filter)
		}
		if code >= packet.UnspecifiedError && c.version == packet.V31 {
			b.mu.Unlock()
			return &packet.Error{Code: code, Reason: "subscription refused, which MQTT 3.1 has no words for"}
		}
		if code < packet.UnspecifiedError {
			old := s.subs[f.Filter]
			b.subscribeLocked(s, sb)
			// [MQTT-3.3.1-9] to [MQTT-3.3.1-11]
			if !shared && (f.RetainHandling == 0 || f.RetainHandling == 1 && old == nil) {
				fresh = append(fresh, sb)
			}
			s.saved = s.saved.After(wrote)
		}
		ack.Codes = append(ack.Codes, code)
	}
	r := s.saved
	b.mu.Unlock()
	c.frame = packet.AppendSuback(c.frame[:0], c.version, packet.SUBACK, &ack)
	if err := c.answerFrame(r, c.frame); err != nil {
		return err
	}
	for _, sb := range fresh {
		c.sendRetained(sb)
	}
	return nil
}

// grantLocked decides about one subscription and writes its record, if it is
// to be durable and has changed. rights of nil allow everything.
func (b *Broker) grantLocked(s *session, sb *sub, rights *acl.Rights) (code byte, r store.Receipt) {
	switch {
	case !topic.ValidFilter(sb.filter):
		return packet.TopicFilterInvalid, r
	case topic.Levels(sb.filter) > b.opt.MaxTopicLevels:
		return packet.TopicFilterInvalid, r
	case rights != nil && !rights.Subscribe.Covers(sb.filter):
		return packet.NotAuthorized, r
	}
	old := s.subs[sb.filter]
	if old == nil && len(s.subs) >= b.opt.MaxSubscriptions {
		return packet.QuotaExceeded, r
	}
	if s.consumer == nil {
		return sb.qos, r
	}
	record := sb.record()
	if old != nil && string(old.record()) == string(record) {
		return sb.qos, r
	}
	if b.store.Failed() != nil {
		return packet.ImplementationSpecificError, r
	}
	return sb.qos, b.store.Set(subKey(s.id, sb.filter), record)
}

// handleUnsubscribe removes filters, compared byte by byte [MQTT-3.10.4-1].
// What is in the session's queue already is still delivered [MQTT-3.10.4-3].
func (c *conn) handleUnsubscribe(body []byte) error {
	var p packet.Unsubscribe
	if err := packet.ParseUnsubscribe(body, c.version, &p); err != nil {
		return err
	}
	if err := c.boundControl(); err != nil {
		return err
	}
	b, s := c.b, c.session
	ack := packet.Suback{ID: p.ID, Codes: make([]byte, 0, len(p.Filters))}
	b.mu.Lock()
	for _, f := range p.Filters {
		sb := s.subs[f]
		if sb == nil {
			ack.Codes = append(ack.Codes, packet.NoSubscriptionExisted)
			continue
		}
		b.removeSubLocked(s, sb)
		if s.consumer != nil {
			s.saved = s.saved.After(b.store.Delete(subKey(s.id, f)))
		}
		ack.Codes = append(ack.Codes, packet.Success)
	}
	r := s.saved
	b.mu.Unlock()
	c.frame = packet.AppendSuback(c.frame[:0], c.version, packet.UNSUBACK, &ack)
	return c.answerFrame(r, c.frame)
}
