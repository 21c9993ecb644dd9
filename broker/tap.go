package broker

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of what a tap keeps.
const (
	tapTopics  = 10_000
	tapPayload = 256     // bytes of each payload
	tapSize    = 8 << 20 // bytes of all names and payloads
	tapFor     = 30 * time.Second
)

// TopicValue is the latest value of a topic.
type TopicValue struct {
	Topic   string
	Payload []byte // its first 256 bytes
	Bytes   int    // of the whole payload
	QoS     byte
	Retain  bool
	At      time.Time // when it was published
	Count   uint64    // messages that the tap has seen; 0: it is the retained one
}

// tap looks at what is routed, while somebody wants to know. There is none
// otherwise, which costs a publisher the look at a pointer.
//
// It is bounded by tapTopics and tapSize; topics beyond that are not kept.
type tap struct {
	mu     sync.Mutex
	topics map[string]*TopicValue
	size   int
	missed bool // there were more
}

// taps is the tap and how long it is wanted. The lock guards the change of both.
type taps struct {
	mu    sync.Mutex
	until time.Time
	timer *time.Timer
}

// see takes note of a message that was accepted.
func (t *tap) see(m *Message) {
	if reserved(m.Topic) {
		return
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.topics[m.Topic]
	if v == nil {
		if len(t.topics) >= tapTopics || t.size+len(m.Topic)+tapPayload > tapSize {
			t.missed = true
			return
		}
		v = &TopicValue{Topic: strings.Clone(m.Topic)}
		t.topics[v.Topic] = v
		t.size += len(v.Topic) + tapPayload
	}
	v.Payload = append(v.Payload[:0], m.Payload[:min(len(m.Payload), tapPayload)]...)
	v.Bytes, v.QoS, v.Retain, v.At = len(m.Payload), m.QoS, m.Retain, now
	v.Count++
}

// openTap returns the tap, which stays for a while.
func (b *Broker) openTap() *tap {
	x := &b.taps
	x.mu.Lock()
	defer x.mu.Unlock()
	t := b.tap.Load()
	if t == nil {
		t = &tap{topics: make(map[string]*TopicValue)}
		b.tap.Store(t)
	}
	x.until = time.Now().Add(tapFor)
	if x.timer == nil {
		x.timer = time.AfterFunc(tapFor, b.closeTap)
	} else {
		x.timer.Reset(tapFor)
	}
	return t
}

// closeTap ends the tap, unless somebody has just asked for it.
func (b *Broker) closeTap() {
	x := &b.taps
	x.mu.Lock()
	defer x.mu.Unlock()
	if !time.Now().Before(x.until) {
		b.tap.Store(nil)
	}
}

// endTap is for the broker's end.
func (b *Broker) endTap() {
	x := &b.taps
	x.mu.Lock()
	defer x.mu.Unlock()
	b.tap.Store(nil)
	if x.timer != nil {
		x.timer.Stop()
	}
}

// Topics lists the latest values of the topics that have match in them, by name, at
// most limit: those published since somebody has begun to ask, which is forgotten
// 30 s after the last time, and else the retained ones. all is how many there are;
// more: there were more topics than are kept.
func (b *Broker) Topics(match string, limit int) (list []TopicValue, all int, more bool) {
	t := b.openTap()
	retained := b.matchRetained("#")
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, v := range t.topics {
		if strings.Contains(name, match) {
			list = append(list, *v)
		}
	}
	for _, m := range retained {
		if t.topics[m.Topic] == nil && strings.Contains(m.Topic, match) {
			list = append(list, b.retainedValue(m))
		}
	}
	slices.SortFunc(list, func(x, y TopicValue) int { return strings.Compare(x.Topic, y.Topic) })
	all = len(list)
	list = slices.Clip(list[:min(all, max(limit, 0))])
	for i := range list {
		list[i].Payload = slices.Clone(list[i].Payload) // the tap's are written again
	}
	return list, all, t.missed
}

func (b *Broker) retainedValue(m *Message) TopicValue {
	v := TopicValue{Topic: m.Topic, Payload: m.Payload[:min(len(m.Payload), tapPayload)], Bytes: len(m.Payload), QoS: m.QoS, Retain: true}
	if !m.Received.IsZero() {
		v.At, _ = b.store.Wall(m.Received)
	}
	return v
}
