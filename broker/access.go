package broker

import (
	"errors"
	"strings"
	"time"

	"packetboat/broker/acl"
	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// Access: what the rules ([Options.Rules], [Broker.SetRules]) let everybody do who
// publishes or subscribes.
//
//	a client publishes         its reader asks, before anything is done with it
//	a client's will            at CONNECT, and again when it is published
//	a client subscribes        a filter is granted whole or not at all, so what it
//	                           matches is not asked about again
//	an adapter, a bridge       Publish asks; the router, for what it subscribes to
//	other rules, another user  the subscriptions of the session are looked through;
//	                           what is queued for it is asked about when it is sent
//
// Without rules nobody is asked.

// ErrDenied is wrapped by the error of Publish for a topic that the rules do not
// allow.
var ErrDenied = errors.New("the access rules do not allow it")

const (
	whyDenied     = "not allowed by the access rules"
	whyDeniedWill = "will topic is not allowed by the access rules"
)

// access is what is known of a client's rights. It follows the rules by itself.
type access struct {
	rules  *acl.Rules // that rights are by
	rights *acl.Rights
	memo   *acl.Memo
}

// renew takes note of the rules that there are now, which are not nil.
func (a *access) renew(rules *acl.Rules, user, id string) {
	if a.rules != rules {
		*a = access{rules, rules.Client(user, id), new(acl.Memo)}
	}
}

// mayPublish is asked by the reader.
func (c *conn) mayPublish(name string) bool {
	rules := c.b.rules.Load()
	if rules == nil {
		return true
	}
	a := &c.publishes
	a.renew(rules, c.user, c.session.id)
	return a.memo.Allows(a.rights.Publish, name)
}

// denied counts a publish of the client that the rules do not allow, and says so.
func (c *conn) denied(name string) {
	c.stats.denied++
	c.noteDenied("publish", name)
	c.b.tellDenied("publish not allowed", "client", c.session.id, "user", c.user, "remote", c.remote, "topic", strings.Clone(name)) // it lies in a buffer; lines are kept
}

func (c *conn) noteDenied(action, topic string) {
	c.b.denied.note(Denial{Who: c.session.id, User: c.user, Remote: c.remote, Action: action, Topic: topic})
}

func (b *Broker) tellDenied(text string, args ...any) {
	ok, missed := b.denials.allow()
	if !ok {
		return
	}
	if missed > 0 {
		args = append(args, "not_logged_before", missed)
	}
	b.log.Warn(text, args...)
}

// checkWill is for the will of a CONNECT. An MQTT 5.0 client is not let in with one
// that would not be published; others are, as they are by Mosquitto.
func (c *conn) checkWill(p *packet.Connect) error {
	rules := c.b.rules.Load()
	if rules == nil || p.Will == nil || rules.Client(c.user, p.ClientID).Publish.Match(p.Will.Topic) {
		return nil
	}
	c.b.denied.note(Denial{Who: p.ClientID, User: c.user, Remote: c.remote, Action: "will", Topic: p.Will.Topic})
	c.b.tellDenied("will not allowed", "client", p.ClientID, "user", c.user, "remote", c.remote, "topic", p.Will.Topic)
	if p.Version != packet.V5 {
		return nil
	}
	return refusal(packet.NotAuthorized, whyDeniedWill)
}

// willAllowed is for a will that is due.
func (b *Broker) willAllowed(s *session, w *packet.Will) bool {
	rules := b.rules.Load()
	if rules == nil {
		return true
	}
	b.mu.RLock()
	user := s.user
	b.mu.RUnlock()
	if rules.Client(user, s.id).Publish.Match(w.Topic) {
		return true
	}
	b.stats.denied.Add(1)
	b.denied.note(Denial{Who: s.id, User: user, Action: "will", Topic: w.Topic})
	b.tellDenied("will not published: not allowed", "client", s.id, "user", user, "topic", w.Topic)
	return false
}

// subscribeRightsLocked gives what the client may subscribe to; nil: everything.
func (c *conn) subscribeRightsLocked() *acl.Rights {
	rules := c.b.rules.Load()
	if rules == nil {
		return nil
	}
	c.publishes.renew(rules, c.user, c.session.id)
	return c.publishes.rights
}

// checkPublish is for a message of an adapter or a bridge.
func (b *Broker) checkPublish(m *Message) error {
	rules := b.rules.Load()
	if rules == nil || m.Origin == "" {
		return nil
	}
	if rights := rules.Inside(m.Origin); rights != nil && !rights.Publish.Match(m.Topic) {
		b.stats.denied.Add(1)
		b.denied.note(Denial{Who: m.Origin, Action: "publish", Topic: m.Topic})
		return ErrDenied
	}
	return nil
}

// mayReceive is asked by the router for each message that a subscription of a
// matches.
func (a *Attachment) mayReceive(name string) bool {
	return a.rights == nil || a.rights.Subscribe.Match(name)
}

// SetRules puts other rules in force, nil for none. Nobody is disconnected: when it
// returns, subscriptions that are not allowed any more are gone, and what is queued
// or published is decided about by the new rules. They stay gone when later rules
// would allow them.
func (b *Broker) SetRules(rules *acl.Rules) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rules.Store(rules)
	for _, s := range b.sessions {
		b.reviewLocked(s)
		if c := s.owner; c != nil && s.consumer != nil && rules != nil {
			s.consumer.Inspect(c.inspect)
		}
	}
	for _, a := range b.attached {
		a.judgeLocked()
	}
}

// reviewLocked removes the subscriptions of a session that the rules do not allow
// its client.
func (b *Broker) reviewLocked(s *session) {
	rules := b.rules.Load()
	if rules == nil || len(s.subs) == 0 {
		return
	}
	rights := rules.Client(s.user, s.id)
	for filter, sb := range s.subs {
		if rights.Subscribe.Covers(filter) {
			continue
		}
		b.removeSubLocked(s, sb)
		if s.consumer != nil {
			s.saved = s.saved.After(b.store.Delete(subKey(s.id, filter)))
		}
		b.tellDenied("subscription removed: not allowed any more", "client", s.id, "user", s.user, "filter", filter)
	}
}

// inspect is asked before a delivery of a durable session counts as sent, with
// session.mu held.
func (c *conn) inspect(d *store.Delivery, age time.Duration) (why store.Reason, text string) {
	if rules := c.b.rules.Load(); rules != nil {
		a := &c.receives
		a.renew(rules, c.user, c.session.id)
		if !a.memo.Allows(a.rights.Subscribe, d.Topic) {
			c.b.stats.withheld.Add(1)
			return store.Denied, ""
		}
	}
	if c.maxPacket > 0 {
		return c.tooLarge(d, age)
	}
	return 0, ""
}

// judgeLocked finds what the rules say about a. An adapter's commands that are
// queued are asked about when they are sent, too; a bridge's own rules say what
// becomes of what it has in its queue.
func (a *Attachment) judgeLocked() {
	b := a.b
	a.rights = nil
	if rules := b.rules.Load(); rules != nil {
		a.rights = rules.Inside(a.name)
	}
	for i := range a.subs {
		if f := a.subs[i].Filter; a.rights != nil && !a.rights.Subscribe.Covers(f) {
			b.log.Info("the access rules keep messages from a subscriber", "subscriber", a.name, "filter", f, "allowed", a.rights.Subscribe)
		}
	}
	if !strings.HasPrefix(a.name, "adapter/") {
		return
	}
	rights := a.rights
	if rights == nil {
		a.lanes[0].Inspect(nil)
		return
	}
	a.lanes[0].Inspect(func(d *store.Delivery, _ time.Duration) (store.Reason, string) {
		if rights.Subscribe.Match(d.Topic) {
			return 0, ""
		}
		b.stats.withheld.Add(1)
		return store.Denied, ""
	})
}
