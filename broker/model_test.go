package broker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/topic"
)

// model is what the specification says about sessions, without connections,
// disks or goroutines: who is to get which message, in which order, and what is
// left of a session when its client is gone.
type model struct {
	sessions map[string]*modelSession
	retained map[string]modelMsg
	shared   map[string]sharedMsg // by payload, which no two messages have in common
	batch    int
	anyOrder bool // what is published now comes in any order
}

type modelSession struct {
	id        string
	connected bool
	expires   uint32 // seconds after the end of its connection; 0 = with it
	offline   time.Time
	subs      map[string]packet.Filter
	ids       map[string]uint32 // subscription identifiers, by filter
	queue     []*modelMsg       // QoS 1 and 2, not acknowledged, in order
	now       []*modelMsg       // QoS 0, to come
	open      map[uint16]bool   // QoS 2 publishes that are not released
	unheard   map[uint16]bool   // those that nobody subscribed to
	unsure    bool              // which of them the broker knows: not those of which nothing was durable, after a restart
	will      *packet.Will
	pending   *packet.Will // with a delay that is not over
	due       time.Time
}

type modelMsg struct {
	topic, payload string
	qos            byte
	retain         bool
	ids            []uint32
	batch          int    // of retained messages, which come in any order; 0 = none
	id             uint16 // packet identifier, once it was sent
	was            uint16 // ... in an earlier connection
	old            bool   // from before a restart: whether it was sent is not durable, so DUP says that it may have been
}

// sharedMsg goes to one member of a shared subscription.
type sharedMsg struct {
	qos  byte
	must bool // a member was connected
}

func newModel() *model {
	return &model{sessions: map[string]*modelSession{}, retained: map[string]modelMsg{}, shared: map[string]sharedMsg{}}
}

const sharedPrefix = "$share/g/"

// connect returns whether the session was there.
func (m *model) connect(p *packet.Connect) (present bool) {
	s := m.sessions[p.ClientID]
	if s != nil && p.CleanStart {
		m.end(s)
		s = nil
	}
	present = s != nil
	if s == nil {
		s = &modelSession{id: p.ClientID, subs: map[string]packet.Filter{}, ids: map[string]uint32{}, open: map[uint16]bool{}, unheard: map[uint16]bool{}}
		m.sessions[p.ClientID] = s
	}
	s.connected, s.will, s.expires, s.pending = true, p.Will, p.SessionExpiry, nil
	if p.Version != packet.V5 && !p.CleanStart {
		s.expires = never
	}
	for _, x := range s.queue {
		if x.id != 0 {
			x.batch = 0 // it is known by now
			x.was, x.id = x.id, 0
		}
	}
	return present
}

// disconnect ends the connection; graceful: by DISCONNECT.
func (m *model) disconnect(s *modelSession, graceful bool) {
	s.connected, s.now, s.offline = false, nil, time.Now()
	if s.will != nil && !graceful {
		s.pending, s.due = s.will, s.offline.Add(time.Duration(s.will.Delay)*time.Second)
	}
	s.will = nil
	switch {
	case s.expires == 0:
		m.end(s)
	case s.pending != nil && s.pending.Delay == 0:
		m.publishWill(s)
	}
}

// end ends a session, and publishes its will.
func (m *model) end(s *modelSession) {
	delete(m.sessions, s.id)
	m.publishWill(s)
}

func (m *model) publishWill(s *modelSession) {
	if w := s.pending; w != nil {
		s.pending = nil
		m.publish(s, w.Topic, string(w.Payload), w.QoS, w.Retain)
	}
}

// pass does what time does: wills that are due, in any order, and sessions that
// have expired.
func (m *model) pass() {
	m.batch++
	m.anyOrder = true
	for _, s := range m.sessions {
		switch {
		case s.connected:
		case s.expires != never && time.Since(s.offline) >= time.Duration(s.expires)*time.Second:
			m.end(s)
		case s.pending != nil && !time.Now().Before(s.due):
			m.publishWill(s)
		}
	}
	m.anyOrder = false
}

// restart: the time that wills have waited is not known any more.
func (m *model) restart() {
	for _, s := range m.sessions {
		if s.pending != nil {
			s.due = time.Now().Add(max(willGrace, time.Duration(s.pending.Delay)*time.Second))
		}
		s.unsure = s.unsure || len(s.open) > 0
		for _, x := range s.queue {
			x.old = true
		}
	}
	m.pass()
}

// subscribe returns nothing: everything is granted.
func (m *model) subscribe(s *modelSession, f packet.Filter, id uint32) {
	_, known := s.subs[f.Filter]
	s.subs[f.Filter], s.ids[f.Filter] = f, id
	if strings.HasPrefix(f.Filter, sharedPrefix) || f.RetainHandling == 2 || f.RetainHandling == 1 && known {
		return
	}
	m.batch++
	for name, r := range m.retained {
		if !topic.Match(f.Filter, name) {
			continue
		}
		r.qos, r.retain, r.batch, r.ids = min(r.qos, f.QoS), true, m.batch, nil
		if id != 0 {
			r.ids = []uint32{id}
		}
		s.push(&r)
	}
}

func (s *modelSession) push(x *modelMsg) {
	switch {
	case x.qos > 0:
		s.queue = append(s.queue, x)
	case s.connected:
		s.now = append(s.now, x)
	}
}

// publish returns how many subscribers there were.
func (m *model) publish(from *modelSession, name, payload string, qos byte, retain bool) (matched int) {
	if retain && payload == "" {
		delete(m.retained, name)
	} else if retain {
		m.retained[name] = modelMsg{topic: name, payload: payload, qos: qos}
	}
	members, online := 0, false
	for _, s := range m.sessions {
		x := &modelMsg{topic: name, payload: payload}
		if m.anyOrder {
			x.batch = m.batch
		}
		hits := 0
		for filter, f := range s.subs {
			if rest, shared := strings.CutPrefix(filter, sharedPrefix); shared {
				if topic.Match(rest, name) {
					members++
					online = online || s.connected
				}
				continue
			}
			if !topic.Match(filter, name) || f.NoLocal && s == from {
				continue
			}
			hits++
			x.qos = max(x.qos, min(qos, f.QoS))
			x.retain = x.retain || retain && f.RetainAsIs
			if id := s.ids[filter]; id != 0 {
				x.ids = append(x.ids, id)
			}
		}
		if hits > 0 {
			matched++
			s.push(x)
		}
	}
	if members > 0 {
		matched++
		m.shared[payload] = sharedMsg{qos, online}
	}
	return matched
}

// receive takes a PUBLISH that the session's client got.
func (m *model) receive(s *modelSession, version byte, p *packet.Publish) error {
	payload := string(p.Payload)
	if x, ok := m.shared[payload]; ok && strings.HasPrefix(p.Topic, "$") {
		if p.QoS > x.qos {
			return fmt.Errorf("shared %s at QoS %d", payload, p.QoS)
		}
		delete(m.shared, payload)
		return nil
	}
	list := s.now
	if p.QoS > 0 {
		list = s.queue
		for len(list) > 0 && list[0].id != 0 { // what is in flight already
			list = list[1:]
		}
	}
	if len(list) == 0 {
		return fmt.Errorf("%s %q at QoS %d is not expected", p.Topic, payload, p.QoS)
	}
	at := 0
	for list[at].payload != payload || list[at].topic != p.Topic {
		if at++; at == len(list) || list[at].batch == 0 || list[at].batch != list[0].batch {
			return fmt.Errorf("%s %q at QoS %d, expected %s %q", p.Topic, payload, p.QoS, list[0].topic, list[0].payload)
		}
	}
	x := list[at]
	copy(list[1:at+1], list[:at])
	list[0] = x
	slices.Sort(x.ids)
	ids := slices.Sorted(slices.Values(p.SubscriptionIDs))
	if p.QoS != x.qos || p.Retain != x.retain || version == packet.V5 && !slices.Equal(ids, x.ids) || version != packet.V5 && len(ids) > 0 {
		return fmt.Errorf("%s %q: QoS %d, retain %v, ids %d; expected %d, %v, %d", p.Topic, payload, p.QoS, p.Retain, ids, x.qos, x.retain, x.ids)
	}
	if p.Dup != (x.was != 0) && !(x.old && p.Dup) || x.was != 0 && x.was != p.ID { // [MQTT-3.3.1-1], [MQTT-4.4.0-1]
		return fmt.Errorf("%s %q: DUP %v, id %d; it was sent as %d", p.Topic, payload, p.Dup, p.ID, x.was)
	}
	x.id = p.ID
	if p.QoS == 0 {
		s.now = s.now[1:]
	}
	return nil
}

// settled checks that the client has got what it is to have by now: inflight is
// its receive maximum.
func (m *model) settled(s *modelSession, inflight int) error {
	if len(s.now) > 0 {
		return fmt.Errorf("%s %q at QoS 0 is missing", s.now[0].topic, s.now[0].payload)
	}
	for i, x := range s.queue {
		if sent := x.id != 0; sent != (i < inflight) {
			return fmt.Errorf("%s %q, number %d of %d: sent %v, with %d in flight at most", x.topic, x.payload, i, len(s.queue), sent, inflight)
		}
	}
	for payload, x := range m.shared {
		if x.must {
			return fmt.Errorf("shared %s went to no member", payload)
		}
	}
	return nil
}

// acknowledged takes the first count messages in flight out of the queue.
func (s *modelSession) acknowledged(id uint16) bool {
	for i, x := range s.queue {
		if x.id == id {
			s.queue = slices.Delete(s.queue, i, i+1)
			return true
		}
	}
	return false
}
