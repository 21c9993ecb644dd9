package broker

import (
	"errors"
	"maps"
	"slices"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// lateWill is a will that the store did not take when it was due. It is tried
// again until it does, or until the client is back. There are as many as there
// may be persistent sessions, at most; more are lost.
type lateWill struct {
	s  *session
	w  *packet.Will
	by *conn // whose end it is, nil when that is past
}

// publishWill publishes a will as if the client had, now or when the store
// takes it, and then removes its record. by is the connection that ends with
// it, if one does.
func (b *Broker) publishWill(s *session, w *packet.Will, by *conn) {
	err := b.tryWill(s, w)
	if err == nil {
		b.dropWill(s.id, w)
		return
	}
	if (errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrFailed)) && b.keepLate(lateWill{s, w, by}) {
		b.log.Warn("will waits for the queue", "client", s.id, "topic", w.Topic, "error", err)
		b.held.kick()
		return
	}
	b.dropWill(s.id, w)
	if ok, missed := b.ends.allow(); ok {
		b.log.Warn("will not published", "client", s.id, "topic", w.Topic, "error", err, "not_logged_before", missed)
	}
}

func (b *Broker) keepLate(l lateWill) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.sessions[l.s.id]; now != nil && now.owner != nil && now.owner != l.by || len(b.late) >= b.opt.MaxSessions {
		return false
	}
	b.late[l.s.id] = l
	return true
}

// retryWills publishes the late wills that the store takes now, and returns how
// many are left.
func (b *Broker) retryWills() int {
	b.mu.RLock()
	late := slices.Collect(maps.Values(b.late))
	b.mu.RUnlock()
	left := 0
	for _, l := range late {
		if b.tryWill(l.s, l.w) != nil {
			left++
			continue
		}
		b.mu.Lock()
		b.dropWillLocked(l.s.id, l.w)
		if b.late[l.s.id] == l {
			delete(b.late, l.s.id)
		}
		b.mu.Unlock()
	}
	return left
}

func (b *Broker) tryWill(s *session, w *packet.Will) error {
	if b.checkTopic(w.Topic) != nil || reserved(w.Topic) {
		return nil // nobody to tell
	}
	if !b.willAllowed(s, w) {
		return nil
	}
	m := Message{
		Topic: w.Topic, Payload: w.Payload, QoS: w.QoS, Retain: w.Retain && !b.opt.NoRetain,
		Props: w.Props, Expiry: w.Expiry, HasExpiry: w.HasExpiry, Origin: s.origin,
	}
	r := b.router()
	res := r.route(s, &m)
	r.flush()
	b.routers.Put(r)
	if m.QoS == 0 {
		return nil // who could be served without the store was
	}
	return res.err
}

// keepWill copies a will out of the read buffer.
func keepWill(w *packet.Will) *packet.Will {
	if w == nil {
		return nil
	}
	c := *w
	c.Payload = append([]byte(nil), w.Payload...)
	c.Props = append([]byte(nil), w.Props...)
	return &c
}
