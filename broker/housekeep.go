package broker

import (
	"context"
	"time"

	"packetboat/broker/packet"
)

// stampAfter is how long a session has to be offline before that is written
// down: a client that comes and goes costs no writes, and one that is away for
// long still expires after restarts.
const stampAfter = time.Minute

// scheduleLocked wakes housekeeping in time for an offline session.
func (b *Broker) scheduleLocked(s *session) {
	due, ok := s.nextDue()
	if !ok || !b.due.IsZero() && !due.Before(b.due) {
		return
	}
	b.due = due
	b.wakeHousekeeping()
}

func (b *Broker) wakeHousekeeping() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// nextDue is when something has to be done about an offline session.
func (s *session) nextDue() (due time.Time, ok bool) {
	earliest := func(t time.Time) {
		if !ok || t.Before(due) {
			due, ok = t, true
		}
	}
	if s.owner != nil {
		return due, false
	}
	if s.will != nil {
		earliest(s.willDue)
	}
	if s.expiry != never {
		earliest(s.expires())
	}
	if !s.stamped {
		earliest(s.offlineSince.Add(stampAfter))
	}
	return due, ok
}

func (s *session) expires() time.Time {
	return s.offlineSince.Add(time.Duration(s.expiry) * time.Second)
}

// sweepEvery is how often retained messages that have expired are removed; they
// are not sent any more at once.
const sweepEvery = time.Minute

// housekeep ends sessions, removes expired retained messages, publishes delayed wills and stamps offline
// sessions until ctx ends.
func (b *Broker) housekeep(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var swept time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		case <-timer.C:
			b.doDue(time.Now())
		}
		more := true
		if now := time.Now(); now.Sub(swept) >= sweepEvery {
			more, swept = b.sweepRetained(), now
		}
		b.mu.RLock()
		due := b.due
		b.mu.RUnlock()
		if next := swept.Add(sweepEvery); more && (due.IsZero() || next.Before(due)) {
			due = next
		}
		if due.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(due))
		}
	}
}

// doDue does what is due for offline sessions and finds out what is next.
func (b *Broker) doDue(now time.Time) {
	type late struct {
		s *session
		w *packet.Will
	}
	var wills []late
	b.mu.Lock()
	b.due = time.Time{}
	for _, s := range b.sessions {
		if s.owner != nil {
			continue
		}
		expired := s.expiry != never && !now.Before(s.expires())
		if s.will != nil && (expired || !now.Before(s.willDue)) {
			wills = append(wills, late{s, s.will})
			s.will = nil
		}
		if expired { // [MQTT-4.1.0-2]
			b.endLocked(s)
			b.stats.expiredSessions.Add(1)
			b.log.Info("session expired", "client", s.id)
			continue
		}
		if !s.stamped && !now.Before(s.offlineSince.Add(stampAfter)) {
			b.stampLocked(s)
		}
		b.scheduleLocked(s)
	}
	for id, s := range b.orphans {
		if now.Before(s.willDue) {
			b.scheduleLocked(s)
			continue
		}
		wills = append(wills, late{s, s.will})
		delete(b.orphans, id)
	}
	b.mu.Unlock()
	for _, l := range wills {
		b.publishWill(l.s, l.w, nil)
	}
}

// stampLocked writes down since when a session has been offline.
func (b *Broker) stampLocked(s *session) {
	at := b.store.Now()
	at.Up -= min(at.Up, uint64(time.Since(s.offlineSince)/time.Microsecond))
	s.record, s.stamped = sessionRecord(s.expiry, at, s.user), true
	b.store.Set(sessionKey(s.id), s.record)
}

// stampOfflineLocked stamps all sessions for a clean end.
func (b *Broker) stampOfflineLocked() {
	for _, s := range b.sessions {
		if s.owner == nil && !s.stamped && s.consumer != nil {
			b.stampLocked(s)
		}
	}
}

// expiredRetained reports whether a retained message is over.
func (b *Broker) expired(m *Message) bool {
	if !m.HasExpiry {
		return false
	}
	_, ok := remaining(m.Expiry, b.store.Age(m.Received))
	return !ok
}

// withRemaining returns m with what is left of its expiry interval.
func (b *Broker) withRemaining(m Message) Message {
	if m.HasExpiry {
		m.Expiry, _ = remaining(m.Expiry, b.store.Age(m.Received))
	}
	return m
}
