package broker

import (
	"encoding/binary"
	"fmt"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// A will is durable with its CONNECT when its session is, or when it has
// RETAIN: a crash of the gateway must not leave "online" standing for a device
// that is gone. Its record is in the store from CONNACK on until the will is
// published or discarded. After a crash there is no connection whose end could
// publish it, so it is published when the client has not come back in time.
//
//	         CONNECT              DISCONNECT 0x00, CONNECT without one
//	(none) ───────────► recorded ─────────────────────────────────────► (none)
//	                     │    ▲                                            ▲
//	               crash │    │ connection ends, will delay                │
//	                     ▼    ▼            willGrace, or as it was due     │
//	                    pending ────────────────────────────► published ───┘

// willGrace is how long after a start a client has at least to come back
// before its will is published.
const willGrace = 30 * time.Second

func willKey(id string) string { return store.Key("will", id) }

// lasts reports whether a will is durable. expiry is that of its session.
func lasts(w *packet.Will, expiry uint32) bool { return w != nil && (w.Retain || expiry > 0) }

// record is version | flags | delay | grace | expiry | topic | properties | user |
// payload, in which the flags are QoS, RETAIN (4), an expiry interval (8) and a
// user (16), without which there is none, and all but the payload have a length in
// front.
func (l *lastWill) record() []byte {
	w := l.w
	flags := w.QoS
	if l.user != "" {
		flags |= 16
	}
	if w.Retain {
		flags |= 4
	}
	if w.HasExpiry {
		flags |= 8
	}
	b := append(make([]byte, 0, 24+len(w.Topic)+len(w.Props)+len(l.user)+len(w.Payload)), recordVersion, flags)
	b = binary.BigEndian.AppendUint32(b, w.Delay)
	b = binary.BigEndian.AppendUint32(b, uint32(l.grace/time.Second))
	b = binary.BigEndian.AppendUint32(b, w.Expiry)
	b = append(binary.AppendUvarint(b, uint64(len(w.Topic))), w.Topic...)
	b = append(binary.AppendUvarint(b, uint64(len(w.Props))), w.Props...)
	if l.user != "" {
		b = append(binary.AppendUvarint(b, uint64(len(l.user))), l.user...)
	}
	return append(b, w.Payload...)
}

func parseWillRecord(b []byte) (_ *lastWill, ok bool) {
	if len(b) < 14 || b[0] != recordVersion {
		return nil, false
	}
	hasUser := b[1]&16 != 0
	w := &packet.Will{
		QoS: b[1] & 3, Retain: b[1]&4 != 0, HasExpiry: b[1]&8 != 0,
		Delay: binary.BigEndian.Uint32(b[2:]), Expiry: binary.BigEndian.Uint32(b[10:]),
	}
	l := &lastWill{w: w, grace: time.Duration(binary.BigEndian.Uint32(b[6:])) * time.Second}
	b = b[14:]
	text := func() []byte {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > uint64(len(b)-k) {
			ok = false
			return nil
		}
		v := b[k : k+int(n)]
		b = b[k+int(n):]
		return v
	}
	ok = true
	w.Topic, w.Props = string(text()), text()
	if hasUser {
		l.user = string(text())
	}
	w.Payload = b
	return l, ok
}

// lastWill is a will whose record is in the store, or should be.
type lastWill struct {
	w       *packet.Will
	user    string // whose it is
	grace   time.Duration
	unsaved bool // the disk had failed: the record waits in memory
}

// keepWillLocked makes the durable will of the session's client the one of this
// connection, or none. Nothing is written when nothing has changed. CONNACK
// waits for the receipt.
func (b *Broker) keepWillLocked(c *conn, s *session) (r store.Receipt) {
	delete(b.orphans, s.id)
	old := b.wills[s.id]
	if !lasts(c.will, s.expiry) {
		if old != nil {
			delete(b.wills, s.id)
			b.willSaved = b.willSaved.After(b.store.Delete(willKey(s.id)))
			return b.willSaved
		}
		return r
	}
	now := &lastWill{w: c.will, user: c.user, grace: max(c.keepAlive, willGrace)}
	b.wills[s.id] = now
	if b.store.Failed() != nil {
		now.unsaved = true
		b.held.kick() // it is written when the disk is well again
		return r
	}
	b.saveWillLocked(s.id, now)
	return b.willSaved
}

func (b *Broker) saveWillLocked(id string, l *lastWill) {
	l.unsaved = false
	record := l.record()
	if was, _ := b.store.Get(willKey(id)); string(was) != string(record) {
		b.willSaved = b.willSaved.After(b.store.Set(willKey(id), record))
	}
}

// dropWillLocked removes the record of a will that was published or discarded,
// unless it has become another one's.
func (b *Broker) dropWillLocked(id string, w *packet.Will) {
	if l := b.wills[id]; l != nil && l.w == w {
		delete(b.wills, id)
		b.store.Delete(willKey(id)) // nobody waits for it: after a crash it is published once more
	}
}

func (b *Broker) dropWill(id string, w *packet.Will) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropWillLocked(id, w)
}

// saveWills writes the records that waited for the disk, and returns how many
// still do.
func (b *Broker) saveWills() (left int) {
	failed := b.store.Failed() != nil
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, l := range b.wills {
		switch {
		case !l.unsaved:
		case failed:
			left++
		default:
			b.saveWillLocked(id, l)
		}
	}
	return left
}

// loadWills makes the wills that the store holds pending.
func (b *Broker) loadWills() error {
	records := map[string][]byte{}
	b.store.Each(store.Key("will"), func(key string, value []byte) { records[key] = value })
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, value := range records {
		parts := store.KeyParts(key)
		l, ok := parseWillRecord(value)
		if len(parts) != 2 || !ok {
			return fmt.Errorf("will record %q: unknown format", parts)
		}
		id := parts[1]
		b.wills[id] = l
		s := b.sessions[id]
		if s == nil { // it ended with its connection
			s = &session{id: id, origin: "session/" + id, user: l.user, expiry: never, stamped: true}
			b.orphans[id] = s
		}
		s.will = l.w
		s.willDue = time.Now().Add(max(l.grace, time.Duration(l.w.Delay)*time.Second))
		b.scheduleLocked(s)
	}
	return nil
}
