package broker

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/broker/topic"
)

// A session that ends leaves what came to it by a shared subscription to
// another member (section 4.8.2): unfinished QoS 1, and QoS 2 that was never
// sent, as what may have been must not be sent to another [MQTT-4.8.2-5].
//
// A durable session's consumer gets another name then, and is read to its end
// by one goroutine; the name says after a restart that there is more to do.
// Without a durable session the messages are in the output: those that wait for
// the window, and copies of those in flight.

const handoverPrefix = "handover/"

// leavesLocked reports whether somebody may want what the session, which is a member
// of no group any more, has not finished.
func (b *Broker) leavesLocked(s *session) bool {
	return s.shares && len(b.groups) > 0 && s.consumer.Lag().Messages > 0
}

// maxHeritage is how many ended sessions may wait to be handed over. Each has a
// consumer of its own, which max_sessions does not count any more: a client that
// begins its session anew all the time could have any number of them. What is
// beyond ends with its session.
const maxHeritage = 64

// bequeathLocked hands the consumer of a session that ends to runHandover.
func (b *Broker) bequeathLocked(s *session) store.Receipt {
	if len(b.heritage) >= maxHeritage {
		if ok, missed := b.denials.allow(); ok {
			b.log.Warn("messages of an ended session are lost: too many sessions with shared subscriptions have ended",
				"client", s.id, "messages", s.consumer.Lag().Messages, "not_logged_before", missed)
		}
		return b.store.Remove(s.origin)
	}
	name := handoverPrefix + rand.Text()
	r, err := b.store.Rename(s.origin, name)
	if err != nil {
		return b.store.Remove(s.origin)
	}
	b.heritage = append(b.heritage, name)
	select {
	case b.inherit <- struct{}{}:
	default:
	}
	return r
}

// loadHeritage finds what a former life has not handed over.
func (b *Broker) loadHeritage() {
	for _, name := range b.store.Consumers() {
		if strings.HasPrefix(name, handoverPrefix) {
			b.heritage = append(b.heritage, name)
		}
	}
	if len(b.heritage) > 0 {
		b.inherit <- struct{}{}
	}
}

// runHandover hands over what ended sessions have left, until ctx ends.
func (b *Broker) runHandover(ctx context.Context) {
	for {
		select {
		case <-b.inherit:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			b.mu.Lock()
			if len(b.heritage) == 0 {
				b.mu.Unlock()
				break
			}
			name := b.heritage[0]
			b.heritage = b.heritage[1:]
			b.mu.Unlock()
			b.handOverAll(ctx, name)
		}
	}
}

// handOverAll reads a consumer to its end and removes it. What ctx interrupts
// is done after the next start.
func (b *Broker) handOverAll(ctx context.Context, name string) {
	c := b.store.Lookup(name)
	if c == nil {
		return
	}
	more := make(chan struct{}, 1)
	c.OnReady(func() {
		select {
		case more <- struct{}{}:
		default:
		}
	})
	defer c.OnReady(nil)
	c.Rewind()
	var d store.Delivery
	n := 0
	for {
		for c.TryNext(&d) {
			if !b.handOverDurable(ctx, &d) {
				return
			}
			c.Done(d.Seq)
			n++
		}
		if c.Lag().Messages == 0 {
			break
		}
		select { // it is not on disk yet
		case <-more:
		case <-ctx.Done():
			return
		case <-time.After(time.Minute):
			if b.store.Failed() == nil {
				b.log.Error("messages of an ended session are lost", "messages", c.Lag().Messages)
				b.store.Remove(name)
				return
			}
		}
	}
	b.store.Remove(name)
	b.log.Debug("messages of an ended session are handed over", "messages", n)
}

// handOverDurable gives one message to another member, if there is one that it
// may be given to; it waits while the queue does not take it. False: ctx has
// ended.
func (b *Broker) handOverDurable(ctx context.Context, d *store.Delivery) bool {
	_, mark := cutMark(d.SubscriptionIDs)
	if mark == 0 || d.Released || d.QoS == 2 && d.Dup {
		return true
	}
	m := d.Message
	m.Received, m.Earlier, m.PacketID = store.Stamp{}, store.Wall{}, 0 // the rest of an expiry counts from now
	if m.HasExpiry {
		m.Expiry, _ = remaining(m.Expiry, b.store.Age(d.Received))
	}
	for {
		b.mu.RLock()
		g := b.marks[mark]
		b.mu.RUnlock()
		if g == nil || !topic.Match(g.rest, m.Topic) || b.handOver(g.name, &m) == nil {
			return true
		}
		select {
		case <-time.After(parkedRetry):
		case <-ctx.Done():
			return false
		}
	}
}

// handOver gives a message to a member of the group, if there is one.
func (b *Broker) handOver(name string, m *Message) error {
	r := b.router()
	defer b.routers.Put(r)
	r.waitForRoom(nil)
	retain := m.Retain
	m.Retain = false // it was kept when it was published
	defer func() { m.Retain = retain }()
	r.m = m
	r.frames.reset()
	r.matches = r.matches[:0]
	b.mu.RLock()
	if g := b.groups[name]; g != nil {
		if sb := g.pick(); sb != nil {
			r.put(sb, g)
		}
	}
	r.sort()
	for i := range r.matches {
		r.matches[i].retain = retain && r.matches[i].sub.asPublished
	}
	for i := range r.targets {
		r.targets[i].KeepRetain = retain && r.matches[0].sub.asPublished
	}
	var err error
	if len(r.targets) > 0 {
		_, err = b.store.Publish(m, r.targets)
	}
	b.mu.RUnlock()
	if err == nil {
		r.deliver()
	}
	r.flush()
	r.m = nil
	clear(r.lives)
	clear(r.targets)
	return err
}

// keptShare is a copy of a QoS 1 publish that a connection without a durable
// session has not acknowledged.
type keptShare struct {
	group *group
	frame []byte
	order uint64
}

// shares holds these, by packet identifier; the output's lock guards it. It is
// bounded by keptShares bytes: what is beyond is lost with the connection.
type shares struct {
	kept  map[uint16]keptShare
	bytes int
	order uint64
	free  [][]byte // to be used again
}

const keptShares = 1 << 20

func (s *shares) keep(id uint16, g *group, frame []byte) {
	if s.bytes+len(frame) > keptShares {
		return
	}
	if s.kept == nil {
		s.kept = make(map[uint16]keptShare)
	}
	var b []byte
	if n := len(s.free); n > 0 {
		b, s.free = s.free[n-1][:0], s.free[:n-1]
	}
	s.order++
	s.kept[id] = keptShare{g, append(b, frame...), s.order}
	s.bytes += len(frame)
}

func (s *shares) drop(id uint16) {
	x, ok := s.kept[id]
	if !ok {
		return
	}
	delete(s.kept, id)
	s.bytes -= len(x.frame)
	if len(s.free) < 16 && cap(x.frame) <= 4<<10 {
		s.free = append(s.free, x.frame)
	}
}

// takeShares takes what of an ended connection's output came by shared
// subscriptions and may go to other members, in order.
func (o *output) takeShares() (left []keptShare) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.shares.kept {
		left = append(left, x)
	}
	slices.SortFunc(left, func(a, b keptShare) int { return int(a.order) - int(b.order) })
	o.shares = shares{}
	for ; o.pend.len() > 0; o.pend.drop() {
		if frame, x := o.pend.first(); x.group != nil {
			left = append(left, keptShare{group: x.group, frame: slices.Clone(frame)})
		}
	}
	return left
}

// handOverLive is for a session that was not durable; it has left its groups.
func (c *conn) handOverLive() {
	for _, x := range c.out.takeShares() {
		binary.BigEndian.PutUint16(x.frame[packet.PublishID(x.frame):], 1) // any, but 0 is none
		typ, flags, body, _, err := packet.Next(x.frame, 0)
		var p packet.Publish
		if err == nil {
			err = packet.ParsePublish(flags, body, c.version, &p)
		}
		if err != nil || typ != packet.PUBLISH {
			c.log.Error("message of an ended session is lost", "client", c.session.id, "error", err)
			continue
		}
		m := Message{
			Topic: p.Topic, Payload: p.Payload, QoS: p.QoS, Retain: p.Retain,
			Props: p.Props, Expiry: p.Expiry, HasExpiry: p.HasExpiry,
		}
		if err := c.b.handOver(x.group.name, &m); err != nil {
			c.log.Warn("message of an ended session is lost", "client", c.session.id, "topic", strings.Clone(m.Topic), "error", err)
		}
	}
}
