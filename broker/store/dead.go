package store

import (
	"slices"
	"time"
)

// Dead letters: a message that a consumer's peer will never take is given up for
// one of the reasons from Refused on. Where SetDead names a consumer, a copy of it
// is stored there first, in the same commit or an earlier one, so that a crash
// leaves both or a copy too many. Nothing reads that consumer but operators; its
// bound is SetLimit's. The copy's last user properties say what happened.

// The user properties of a dead letter, by name.
const (
	DeadReason   = "dead-letter-reason"
	DeadQueue    = "dead-letter-queue"    // the consumer that gave it up
	DeadReceived = "dead-letter-received" // RFC 3339, where it is known
)

// isDead reports whether messages that are given up for that reason are kept as
// dead letters: the operator can do something about those.
func (r Reason) isDead() bool { return r >= Refused }

// SetDead has a copy of each message that is given up because the peer will not
// take it stored for dead; nil for none.
func (c *Consumer) SetDead(dead *Consumer) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.dead = dead
}

// keepDeadLocked stages the copy of a message. It is left out when the queue has
// no room for it: the gap marker still tells of the message.
func (c *Consumer) keepDeadLocked(d *Delivery, why Reason, text string) {
	s, dead := c.s, c.dead
	if dead == nil || dead.removed || !why.isDead() {
		return
	}
	m := d.Message
	m.Retain, m.Origin, m.PacketID, m.HasExpiry, m.Received, m.Earlier = false, "", 0, false, Stamp{}, Wall{}
	m.Props = appendUserProperty(append([]byte(nil), d.Props...), DeadReason, deadText(why, text))
	m.Props = appendUserProperty(m.Props, DeadQueue, c.name)
	if at, _ := s.clocks.received(&d.Message); !at.IsZero() {
		m.Props = appendUserProperty(m.Props, DeadReceived, at.UTC().Format(time.RFC3339Nano))
	}
	if !s.haveRoomLocked(int64(len(m.Payload) + len(m.Topic) + len(m.Props) + 64)) {
		s.log.Warn("the queue has no room for a dead letter; its gap marker is all that is kept", "queue", c.name, "topic", d.Topic)
		return
	}
	// Not QoS 2: that would say of it that it may have been sent.
	s.stageLocked(&m, []Target{{Consumer: dead, QoS: min(d.QoS, 1), KeepRetain: d.Retain}}, nil)
}

func deadText(why Reason, text string) string {
	if text == "" {
		return why.String()
	}
	return why.String() + ": " + text
}

// appendUserProperty appends a property of MQTT 5 [2.2.2.2]; what is too long for
// it is cut.
func appendUserProperty(dst []byte, key, value string) []byte {
	const userProperty = 0x26
	dst = append(dst, userProperty)
	for _, s := range []string{key, value} {
		s = s[:min(len(s), 1<<16-1)]
		dst = append(append(dst, byte(len(s)>>8), byte(len(s))), s...)
	}
	return dst
}

// refuseNewLocked ends a message that was not stored for c, because the peer will
// not take it: it has a seq and a gap marker, so that the ledger balances, and a
// copy as a dead letter.
func (c *Consumer) refuseNewLocked(m *Message, t *Target) {
	at := c.s.clocks.now()
	d := Delivery{Message: *m}
	d.QoS, d.Retain, d.Received = t.QoS, t.KeepRetain, at
	c.keepDeadLocked(&d, t.Refused, t.Why)
	size := uint64(len(m.Payload)+len(m.Topic)+len(m.Props)) + 64
	c.dropNewestLocked(size, m.Topic, t.Refused)
}

// splitRefused takes the targets apart for which the message is not to be stored.
func splitRefused(to []Target) (left, refused []Target) {
	isRefused := func(t Target) bool { return t.Refused != 0 }
	if !slices.ContainsFunc(to, isRefused) {
		return to, nil
	}
	for _, t := range to {
		if isRefused(t) {
			refused = append(refused, t)
		} else {
			left = append(left, t)
		}
	}
	return left, refused
}
