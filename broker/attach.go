package broker

import (
	"encoding/binary"
	"fmt"
	"slices"

	"packetboat/broker/acl"
	"packetboat/broker/store"
	"packetboat/broker/topic"
)

// Subscription is one rule of an attached subscriber.
type Subscription struct {
	Filter     string
	Lane       int  // which consumer carries it, 0 without lanes
	QoS        byte // the most it wants
	MinQoS     byte // lower ones are raised to this
	Fixed      bool // always exactly QoS
	KeepRetain bool // messages keep their RETAIN flag
	NoRetained bool // retained messages are not sent when the rule is new

	// Key tells whether a rule is new: one with another key counts as another
	// rule. "" is the filter.
	Key string

	// Judge, if not nil, says why a message that the rule takes is never to be
	// delivered, 0 if it is: it becomes a dead letter at once. It is called by the
	// publishers' goroutines, several at once, and keeps nothing of m.
	Judge func(m *Message, qos byte) (why store.Reason, text string)
}

// target is how the lane of the rule gets m.
func (s *Subscription) target(lane *store.Consumer, m *Message, qos byte) store.Target {
	t := store.Target{Consumer: lane, QoS: qos, KeepRetain: m.Retain && s.KeepRetain}
	if s.Judge != nil {
		t.Refused, t.Why = s.Judge(m, qos)
	}
	return t
}

// grant is the QoS at which a message published at qos goes on.
func (s *Subscription) grant(qos byte) byte {
	if s.Fixed {
		return s.QoS
	}
	return max(min(qos, s.QoS), s.MinQoS)
}

// Live takes QoS 0 messages of an attached subscriber while it is online. It is
// called by the publishers' goroutines, several at once.
type Live interface {
	// Deliver is offered a message for the subscription of that index. False
	// means that it was not taken: it is queued if the configuration wants
	// QoS 0 messages queued. It never blocks and keeps nothing of m.
	Deliver(m *Message, sub int, qos byte) bool
}

// Attachment is a durable subscriber in this process: a bridge, or an
// adapter's commands.
type Attachment struct {
	b     *Broker
	name  string
	slot  int
	subs  []Subscription
	lanes []*store.Consumer
	live  Live

	rights *acl.Rights // nil: all that subs say; Broker.mu guards it
}

// Attach subscribes a durable in-process subscriber, called as its consumer
// in the store ("bridge/cloud", "adapter/scale"). With lanes = 0 it has one
// consumer of that name, else consumers name/0, name/1, … for the lanes. The
// first subscription that matches a message carries it, into its lane; messages
// whose Origin is name are never routed to it.
//
// A rule that name has not been attached with before gets the matching retained
// messages, or when the queue does not take them the next time. Consumers outlive
// Close: the same name goes on where it was. While a name is not attached nothing is queued for it, so attach before anybody can
// publish.
func (b *Broker) Attach(name string, lanes int, subs []Subscription, live Live) (*Attachment, error) {
	a := &Attachment{b: b, name: name, subs: slices.Clone(subs), live: live}
	if err := checkSubscriptions(name, lanes, subs); err != nil {
		return nil, err
	}
	if err := a.openLanes(lanes); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.attached[name] != nil {
		return nil, fmt.Errorf("attach %s: attached already", name)
	}
	a.slot = b.slots.take()
	a.enterLocked()
	return a, nil
}

// Replace puts other subscriptions in the place of a's, at once: each message is
// queued by the old ones or by the new, none by both or by neither. The consumers
// stay. a is used up by it, if there is no error; its Close does nothing more.
func (a *Attachment) Replace(subs []Subscription, live Live) (*Attachment, error) {
	b := a.b
	next := &Attachment{b: b, name: a.name, slot: a.slot, subs: slices.Clone(subs), lanes: a.lanes, live: live}
	if err := checkSubscriptions(a.name, len(a.lanes), subs); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.attached[a.name] != a {
		return nil, fmt.Errorf("attach %s: not attached any more", a.name)
	}
	a.leaveLocked()
	next.enterLocked()
	return next, nil
}

func checkSubscriptions(name string, lanes int, subs []Subscription) error {
	for _, s := range subs {
		if !topic.ValidFilter(s.Filter) {
			return fmt.Errorf("attach %s: filter %q is not valid", name, s.Filter)
		}
		if s.Lane < 0 || s.Lane >= max(lanes, 1) {
			return fmt.Errorf("attach %s: filter %q: no lane %d", name, s.Filter, s.Lane)
		}
	}
	return nil
}

// enterLocked subscribes a, which has its slot.
func (a *Attachment) enterLocked() {
	b := a.b
	b.attached[a.name] = a
	a.judgeLocked()
	for i := range a.subs {
		b.insertLocked(a.subs[i].Filter, a.key(i), &sub{filter: a.subs[i].Filter, att: a, rule: i})
	}
	if err := a.sendRetained(); err != nil {
		b.log.Warn("retained messages are left for the next start", "error", err)
	}
}

// leaveLocked takes a's subscriptions away; its slot stays taken.
func (a *Attachment) leaveLocked() {
	delete(a.b.attached, a.name)
	for i := range a.subs {
		a.b.removeLocked(a.subs[i].Filter, a.key(i))
	}
}

func (a *Attachment) openLanes(lanes int) error {
	if lanes == 0 {
		c, err := a.b.store.Consumer(a.name, store.SessionIDs)
		if err != nil {
			return fmt.Errorf("attach %s: %w", a.name, err)
		}
		a.lanes = []*store.Consumer{c}
		return nil
	}
	for i := range lanes {
		c, err := a.b.store.Consumer(LaneName(a.name, i), store.LaneIDs(i))
		if err != nil {
			return fmt.Errorf("attach %s: lane %d: %w", a.name, i, err)
		}
		a.lanes = append(a.lanes, c)
	}
	return nil
}

// LaneName is the name of the consumer of a lane of what is attached as name.
func LaneName(name string, lane int) string { return fmt.Sprintf("%s/%d", name, lane) }

func (a *Attachment) key(rule int) string { return fmt.Sprintf("%s\x00%d", a.name, rule) }

// Lane returns the consumer of a lane; 0 without lanes.
func (a *Attachment) Lane(i int) *store.Consumer { return a.lanes[i] }

// Close unsubscribes. The consumers and what is queued for them stay.
func (a *Attachment) Close() {
	b := a.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.attached[a.name] != a {
		return
	}
	a.leaveLocked()
	b.slots.give(a.slot)
}

// firstRule returns the index of the rule that carries name, or -1.
func firstRule(subs []Subscription, name string) int {
	for i := range subs {
		if topic.Match(subs[i].Filter, name) {
			return i
		}
	}
	return -1
}

// SendRetained queues the retained messages of a lane's rules once more, after
// changes of them were lost.
func (a *Attachment) SendRetained(lane int) error {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	if a.b.attached[a.name] != a {
		return nil
	}
	return a.queueRetained(func(rule int) bool { return a.subs[rule].Lane == lane })
}

// sendRetained queues the retained messages for the rules that are new, and
// remembers all rules as served. The record is a list of their keys.
func (a *Attachment) sendRetained() error {
	b := a.b
	key := store.Key("attached", a.name)
	value, _ := b.store.Get(key)
	served := parseServed(value)
	if err := a.queueRetained(func(rule int) bool { return !slices.Contains(served, a.subs[rule].key()) }); err != nil {
		return err
	}
	record := servedRecord(a.subs)
	if string(record) != string(value) {
		b.store.Set(key, record)
	}
	return nil
}

func (s *Subscription) key() string {
	if s.Key != "" {
		return s.Key
	}
	return s.Filter
}

// queueRetained queues the retained messages that those rules carry. Broker.mu is
// held.
func (a *Attachment) queueRetained(those func(rule int) bool) error {
	b := a.b
	found := b.retainedFor(a.name, a.subs, those)
	for rule, messages := range found {
		s := &a.subs[rule]
		for _, m := range messages {
			if !a.mayReceive(m.Topic) {
				continue
			}
			qos := s.grant(m.QoS)
			if qos == 0 && b.opt.QueueQoS0 == QueueForNone {
				continue
			}
			to := []store.Target{s.target(a.lanes[s.Lane], m, qos)}
			out := *m
			out.Retain, out.Origin, out.PacketID = false, "", 0
			if _, err := b.store.Publish(&out, to); err != nil {
				// Not remembered as served, so the next start tries again.
				return fmt.Errorf("attach %s: queue retained messages of %q: %w", a.name, s.Filter, err)
			}
		}
	}
	return nil
}

// Abandoned is told of a name that is not attached, and will not be for now: what is
// retained meanwhile it misses, so all of its rules are new when it comes back.
func (b *Broker) Abandoned(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.attached[name] != nil {
		return
	}
	key := store.Key("attached", name)
	if _, ok := b.store.Get(key); ok {
		b.store.Delete(key)
	}
}

func servedRecord(subs []Subscription) []byte {
	b := []byte{recordVersion}
	for i := range subs {
		key := subs[i].key()
		b = binary.AppendUvarint(b, uint64(len(key)))
		b = append(b, key...)
	}
	return b
}

func parseServed(b []byte) (keys []string) {
	if len(b) == 0 || b[0] != recordVersion {
		return nil
	}
	for b = b[1:]; len(b) > 0; {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			return nil
		}
		keys = append(keys, string(b[k:k+int(n)]))
		b = b[k+int(n):]
	}
	return keys
}
