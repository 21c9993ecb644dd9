package broker

import (
	"errors"
	"strings"
	"sync"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/broker/topic"
)

// errRetainedFull: an MQTT 5.0 publisher is told that its message cannot be
// retained.
var errRetainedFull = errors.New("too many retained messages")

// retained is the tree of retained messages. The messages are immutable and
// shared with the store.
//
// It is bounded by Options.MaxRetained and MaxRetainedSize. Beyond them an
// MQTT 5.0 publish with QoS 1 or 2 is refused with 0x97; any other is
// delivered but not retained, counted and warned about.
type retained struct {
	mu   sync.RWMutex // held while a retained message is staged: tree and log agree about which came last
	tree topic.Names[*Message]
	size int64

	expiring int       // messages that expire
	warned   time.Time // when it was last said that there are too many
}

// warnEvery is how often it is said that messages are not retained.
const warnEvery = time.Hour

func retainedSize(m *Message) int64 {
	return int64(len(m.Topic) + len(m.Payload) + len(m.Props))
}

func (b *Broker) loadRetained() {
	b.store.Retained(func(m *Message) { b.retained.setLocked(m) })
}

// setLocked keeps m, which nobody changes any more, or removes what there is
// when its payload is empty [MQTT-3.3.1-6] [MQTT-3.3.1-7].
func (t *retained) setLocked(m *Message) {
	if len(m.Payload) == 0 {
		if old, ok := t.tree.Delete(m.Topic); ok {
			t.goneLocked(old)
		}
		return
	}
	old, replaced := t.tree.Set(m.Topic, m)
	if replaced {
		t.goneLocked(old)
	}
	t.size += retainedSize(m)
	if m.HasExpiry {
		t.expiring++
	}
}

func (t *retained) goneLocked(old *Message) {
	t.size -= retainedSize(old)
	if old.HasExpiry {
		t.expiring--
	}
}

// fits reports whether m can be kept under the bounds.
func (t *retained) fitsLocked(m *Message, opt *Options) bool {
	size, n := t.size+retainedSize(m), t.tree.Len()+1
	if old, ok := t.tree.Get(m.Topic); ok {
		size, n = size-retainedSize(old), n-1
	}
	return n <= opt.MaxRetained && size <= opt.MaxRetainedSize
}

// stageRetained is the end of router.stage for a message with RETAIN set.
func (r *router) stageRetained(res routed) routed {
	b, m := r.b, r.m
	t := &b.retained
	t.mu.Lock()
	defer t.mu.Unlock()
	_, exists := t.tree.Get(m.Topic)
	keep := exists || len(m.Payload) > 0
	if keep && len(m.Payload) > 0 && !t.fitsLocked(m, &b.opt) && b.purgeRetainedLocked() && !t.fitsLocked(m, &b.opt) {
		if r.strict() {
			res.err = errRetainedFull
			return res
		}
		keep = false
		b.stats.notRetained.Add(1)
		if now := time.Now(); t.warned.IsZero() || now.Sub(t.warned) >= warnEvery {
			t.warned = now
			b.log.Warn("too many retained messages, more are delivered but not retained", "messages", t.tree.Len(), "bytes", t.size, "topic", strings.Clone(m.Topic))
		}
		if exists { // an old value would pass for the last one [MQTT-3.3.1-7] of 3.1.1
			b.removeRetainedLocked(m.Topic)
		}
	}
	if !keep && len(r.targets) == 0 && !(m.PacketID != 0 && r.from == nil) {
		return res
	}
	staged := *m
	staged.Retain = keep
	if staged.Received.IsZero() {
		staged.Received = b.store.Now()
	}
	res.receipt, res.err = b.store.Publish(&staged, r.targets)
	res.staged = true
	if res.err != nil && keep && r.unheard() {
		b.stats.notRetained.Add(1)
	}
	if res.err != nil || !keep {
		return res
	}
	if len(m.Payload) == 0 {
		t.setLocked(m)
	} else if kept := b.store.RetainedMessage(m.Topic); kept != nil {
		t.setLocked(kept)
		if kept.HasExpiry && t.expiring == 1 {
			b.wakeHousekeeping()
		}
	}
	return res
}

// purgeRetainedLocked removes the retained messages that have expired. It
// always returns true.
func (b *Broker) purgeRetainedLocked() bool {
	t := &b.retained
	if t.expiring == 0 {
		return true
	}
	var over []string
	t.tree.Match("#", func(name string, old *Message) bool {
		if b.expired(old) {
			over = append(over, name)
		}
		return true
	})
	for _, name := range over {
		b.removeRetainedLocked(name)
	}
	return true
}

func (b *Broker) removeRetainedLocked(name string) {
	removal := &Message{Topic: name, Retain: true}
	if _, err := b.store.Publish(removal, nil); err != nil {
		b.log.Warn("retained message not removed", "topic", strings.Clone(name), "error", err)
		return
	}
	b.retained.setLocked(removal)
}

// sweepRetained removes what has expired, and reports whether more will.
func (b *Broker) sweepRetained() bool {
	b.retained.mu.Lock()
	defer b.retained.mu.Unlock()
	b.purgeRetainedLocked()
	return b.retained.expiring > 0
}

// strict: the publisher can be told that a message is not retained.
func (r *router) strict() bool {
	if r.from == nil || r.m.QoS == 0 {
		return false
	}
	c := r.from.owner
	return c != nil && c.version == packet.V5
}

// matchRetained collects the retained messages that filter matches and that
// are not over.
func (b *Broker) matchRetained(filter string) []*Message {
	var found []*Message
	b.retained.mu.RLock()
	b.retained.tree.Match(filter, func(_ string, m *Message) bool {
		found = append(found, m)
		return true
	})
	b.retained.mu.RUnlock()
	live := found[:0]
	for _, m := range found {
		if !b.expired(m) {
			live = append(live, m)
		}
	}
	if reserved(filter) {
		live = append(live, b.matchSys(filter)...)
	}
	return live
}

// sendRetained gives the retained messages of a new subscription to its
// session: to a durable one as records of its own, so that they are not lost
// either, else directly [MQTT-3.3.1-9].
func (c *conn) sendRetained(sb *sub) {
	b, s := c.b, c.session
	filter := sb.filter
	if sb.group != nil {
		return // section 4.8.2: none for shared subscriptions
	}
	var ids []uint32
	if sb.id != 0 {
		ids = []uint32{sb.id}
	}
	c.needRouter()
	r := c.router
	refused, why := 0, error(nil)
	for _, m := range b.matchRetained(filter) {
		granted := min(m.QoS, sb.qos)
		if s.consumer != nil && (granted > 0 || s.consumer.QueuedQoS0()) {
			out := *m
			out.Retain, out.Origin, out.PacketID = false, "", 0
			to := []store.Target{{Consumer: s.consumer, QoS: granted, KeepRetain: true, SubscriptionIDs: ids}}
			r.waitForRoom(c)
			if _, err := b.store.Publish(&out, to); err != nil {
				refused, why = refused+1, err
			}
			continue
		}
		out := b.withRemaining(*m)
		r.frames.reset()
		r.m = &out
		r.send(c, &match{qos: granted, retain: true, ids: ids}, true)
	}
	r.m = nil
	if refused > 0 {
		c.log.Warn("retained messages not queued", "client", s.id, "filter", filter, "messages", refused, "error", why)
	}
}

func (c *conn) needRouter() {
	if c.router == nil {
		c.router = c.b.router()
	}
}

// retainedFor collects the retained messages that the first matching one of
// the attached subscriptions is a new one for, but for those that origin itself
// has brought.
func (b *Broker) retainedFor(origin string, subs []Subscription, isNew func(rule int) bool) map[int][]*Message {
	found := make(map[int][]*Message)
	for i := range subs {
		if !isNew(i) || subs[i].NoRetained {
			continue
		}
		for _, m := range b.matchRetained(subs[i].Filter) {
			if firstRule(subs, m.Topic) == i && m.Origin != origin && !strings.HasPrefix(m.Topic, "$SYS/") {
				found[i] = append(found[i], m)
			}
		}
	}
	return found
}
