package broker

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/qos"
	"packetboat/broker/store"
)

// session is what the broker knows of a client beyond its connection. One with
// an expiry interval is durable: a record of its own, one for each of its
// subscriptions, and a consumer in the store.
//
//	           CONNECT                  connection ends
//	(none) ───────────────► connected ─────────────────► offline
//	   ▲                      │    ▲                        │  │
//	   │ connection ends,     │    └────────────────────────┘  │
//	   ├──────────────────────┘     CONNECT, Clean Start 0     │
//	   │ expiry 0                                              │
//	   └───────────────────────────────────────────────────────┘
//	     expiry interval passed, or CONNECT with Clean Start 1
//
// Broker.mu guards it, but for what is marked.
type session struct {
	id     string
	origin string // "session/" + id: as publisher and as consumer
	slot   int
	user   string // of the last connection, "" = nobody in particular

	owner     *conn         // claiming, attached or detaching; nil when offline
	requested uint32        // session expiry in CONNECT
	expiry    uint32        // granted, in seconds; never = no end
	record    []byte        // as it is in the store, nil = not there
	saved     store.Receipt // of the last change of its records, also by a former connection: answers about them wait for it
	subs      map[string]*sub
	subCount  int             // len(subs) without the shared ones, for the router
	shares    bool            // is or was a member of a shared subscription
	consumer  *store.Consumer // constant while connected; nil = not durable

	offlineSince time.Time
	stamped      bool         // offlineSince is in the record
	will         *packet.Will // delayed
	willDue      time.Time

	conn atomic.Pointer[conn] // attached: may be sent to

	// received belongs to the reader of the owner.
	received  map[uint16]received // QoS 2 publishes of the client, not released
	recovered bool                // the store may hold identifiers that received does not

	mu       sync.Mutex // guards the rest
	win      *qos.Window
	delivery store.Delivery
}

// never is the session expiry interval that does not end, section 3.1.2.11.2.
const never = 0xFFFFFFFF

// ready is called by the committer.
func (s *session) ready() {
	if c := s.conn.Load(); c != nil {
		c.b.flushers.push(c, workPump)
	}
}

func sessionKey(id string) string     { return store.Key("session", id) }
func subKey(id, filter string) string { return store.Key("sub", id, filter) }

// recordVersion begins the values of sessions and subscriptions in the store.
const recordVersion = 1

// sessionRecord is version | expiry | stamp of when it went offline, which is
// zero while it is connected or has been offline for less than stampAfter | user.
func sessionRecord(expiry uint32, offline store.Stamp, user string) []byte {
	b := append(make([]byte, 0, 17+len(user)), recordVersion)
	b = binary.BigEndian.AppendUint32(b, expiry)
	b = binary.BigEndian.AppendUint32(b, offline.Boot)
	return append(binary.BigEndian.AppendUint64(b, offline.Up), user...)
}

func parseSessionRecord(b []byte) (expiry uint32, offline store.Stamp, user string, ok bool) {
	if len(b) < 17 || b[0] != recordVersion {
		return 0, offline, "", false
	}
	offline.Boot = binary.BigEndian.Uint32(b[5:])
	offline.Up = binary.BigEndian.Uint64(b[9:])
	return binary.BigEndian.Uint32(b[1:]), offline, string(b[17:]), true
}

// loadSessions makes the sessions that the store holds. Those whose age at the
// time of their last stamp is unknown count as having gone offline now.
func (b *Broker) loadSessions() error {
	type kv struct {
		parts []string
		value []byte
	}
	var sessions, subs []kv
	for prefix, list := range map[string]*[]kv{"session": &sessions, "sub": &subs} {
		b.store.Each(store.Key(prefix), func(key string, value []byte) {
			*list = append(*list, kv{store.KeyParts(key), value})
		})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, x := range sessions {
		expiry, offline, user, ok := parseSessionRecord(x.value)
		if len(x.parts) != 2 || !ok {
			return fmt.Errorf("session record %q: unknown format", x.parts)
		}
		s := b.newSessionLocked(x.parts[1])
		s.expiry, s.record, s.recovered, s.user = expiry, x.value, true, user
		s.offlineSince = now
		if !offline.IsZero() {
			s.offlineSince, s.stamped = now.Add(-b.store.Age(offline)), true
		}
		var err error
		if s.consumer, err = b.sessionConsumer(s); err != nil {
			return err
		}
		b.lasting++
		b.scheduleLocked(s)
	}
	for _, x := range subs {
		if len(x.parts) != 3 {
			return fmt.Errorf("subscription record %q: unknown format", x.parts)
		}
		s := b.sessions[x.parts[1]]
		if s == nil { // its session's removal was the last thing that was durable
			b.store.Delete(subKey(x.parts[1], x.parts[2]))
			continue
		}
		sb, ok := parseSubRecord(x.value)
		if !ok {
			return fmt.Errorf("subscription record %q: unknown format", x.parts)
		}
		sb.filter = x.parts[2]
		b.subscribeLocked(s, sb)
	}
	for _, s := range b.sessions {
		b.reviewLocked(s) // the rules may be others than in the former life
	}
	return nil
}

func (b *Broker) newSessionLocked(id string) *session {
	s := &session{id: id, origin: "session/" + id, slot: b.slots.take(), subs: make(map[string]*sub)}
	b.sessions[id] = s
	return s
}

// sessionConsumer returns the session's consumer, under the limits of sessions.
func (b *Broker) sessionConsumer(s *session) (*store.Consumer, error) {
	c, err := b.store.Consumer(s.origin, store.SessionIDs)
	if err != nil {
		return nil, fmt.Errorf("consumer of session %q: %w", s.id, err)
	}
	c.SetLimit(uint64(b.opt.MaxSessionMessages), uint64(b.opt.MaxSessionSize))
	return c, nil
}

// persistLocked makes the session durable with its granted expiry, or changes
// its record; nothing is written when nothing changed.
func (b *Broker) persistLocked(s *session) error {
	if s.consumer == nil {
		c, err := b.sessionConsumer(s)
		if err != nil {
			return err
		}
		s.consumer = c
		b.lasting++
	}
	record := sessionRecord(s.expiry, store.Stamp{}, s.user)
	if string(record) != string(s.record) {
		s.record, s.stamped = record, false
		s.saved = s.saved.After(b.store.Set(sessionKey(s.id), record))
	}
	return nil
}

// endLocked removes the session and everything of it. The will of a session
// that ends is the caller's to publish.
func (b *Broker) endLocked(s *session) {
	delete(b.sessions, s.id)
	var r store.Receipt
	for filter, sb := range s.subs {
		b.removeSubLocked(s, sb)
		if s.consumer != nil {
			r = r.After(b.store.Delete(subKey(s.id, filter)))
		}
	}
	b.slots.give(s.slot)
	r = r.After(b.store.Forget(s.origin, 0))
	if s.consumer != nil {
		b.lasting--
		s.consumer.OnReady(nil)
		r = r.After(b.store.Delete(sessionKey(s.id)))
		if b.leavesLocked(s) {
			r = r.After(b.bequeathLocked(s))
		} else {
			r = r.After(b.store.Remove(s.origin))
		}
	}
	b.ended = b.ended.After(r)
}

// grantExpiry limits what a client asks for.
func (b *Broker) grantExpiry(requested uint32) uint32 {
	most := uint64(b.opt.MaxSessionExpiry / time.Second)
	return uint32(min(uint64(requested), most))
}

// changeExpiry takes the session expiry interval of a DISCONNECT.
func (b *Broker) changeExpiry(s *session, requested uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	expiry := b.grantExpiry(requested)
	if expiry == s.expiry || s.consumer == nil {
		return
	}
	s.expiry = expiry
	if expiry > 0 {
		// Nobody waits for it: what a crash forgets is a longer or shorter life.
		if err := b.persistLocked(s); err != nil {
			b.log.Error("session not saved", "client", s.id, "error", err)
		}
	}
}

// detach parts the connection from its session; the reader has ended. A
// takeover goes on after this.
func (c *conn) detach() {
	s := c.session
	if s == nil {
		return
	}
	b := c.b
	if s.conn.Swap(nil) != nil {
		b.stats.online.Add(-1)
	}
	if s.consumer != nil {
		s.consumer.OnReady(nil)
	}
	s.mu.Lock()
	s.win = nil
	s.delivery = store.Delivery{}
	s.mu.Unlock()

	b.mu.Lock()
	if l := b.wills[s.id]; l != nil && c.will == nil { // DISCONNECT discarded it
		b.dropWillLocked(s.id, l.w)
	}
	now := c.will != nil && (s.expiry == 0 || c.will.Delay == 0) // [MQTT-3.1.2-8]
	if c.will != nil && !now {
		s.will = c.will
		s.willDue = time.Now().Add(time.Duration(c.will.Delay) * time.Second)
	}
	b.mu.Unlock()
	if now {
		b.publishWill(s, c.will, c) // before a takeover can have a record of its own
	}
	b.mu.Lock()
	s.owner = nil
	if s.consumer != nil {
		s.consumer.Inspect(nil)
	}
	if s.expiry == 0 {
		b.endLocked(s)
	} else {
		s.offlineSince, s.stamped = time.Now(), false
		b.scheduleLocked(s)
	}
	live := s.shares && s.consumer == nil // from here on s may have another owner
	b.mu.Unlock()
	if live {
		c.handOverLive()
	}
}
