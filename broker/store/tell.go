package store

import (
	"encoding/binary"
	"strings"
	"time"

	"packetboat/broker/store/wal"
)

// Gap markers are told onwards: a bridge's cloud is to know what it did not get.
// For each that tells, the record under its key says how far it is:
//
//	position | consumer | seq
//
// All markers of the ledger up to that position of the log were told, the last
// one in the message seq of the consumer. The message and the record are staged
// together, so after a crash either both are there or neither.
//
// One message is under way at a time. That bounds what telling can do when the
// messages themselves get lost: the marker of such a loss is marked as one of
// telling, kept apart, and not told.

const gapsKey = "gaps"

// told is that record.
type told struct {
	pos wal.Pos
	num uint32
	seq uint64
}

func parseTold(value []byte) (t told) {
	c := cursor{b: value}
	t = told{wal.Pos(c.uvarint()), uint32(c.uvarint()), c.uvarint()}
	if c.err != nil {
		return told{}
	}
	return t
}

func (t told) value() []byte {
	return appendUvarints(make([]byte, 0, 3*binary.MaxVarintLen64), uint64(t.pos), uint64(t.num), t.seq)
}

// OnGap sets the function that is called when there is a new gap marker; nil for
// none. Each name has one. It is called with the store's lock held and must not
// block nor call the store.
func (s *Store) OnGap(name string, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f == nil {
		delete(s.onGap, name)
		return
	}
	if s.onGap == nil {
		s.onGap = map[string]func(){}
	}
	s.onGap[name] = f
}

// TellGap stages the oldest gap marker (by its newest part) that concerns name and was not told yet,
// as the message that write makes of it, for lane at QoS 1: from the reserve,
// whatever the policies say. Each marker is told once, across restarts.
//
// underWay means that the message seq of lane is to be finished before the next
// marker is told; call again then. False: there is nothing to tell, or the disk
// takes no writes at present.
//
// concerns and write are called with the store's lock held and must not call the
// store. from and to are the gap's by the wall clock, trusted if that was
// synchronised; zero when not known.
func (s *Store) TellGap(name string, lane *Consumer, concerns func(consumer string) bool,
	write func(g *Gap, from, to time.Time, trusted bool) *Message) (seq uint64, underWay bool) {
	failed := s.wal.Failed() != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	key := Key(gapsKey, name)
	t := parseTold(s.kv[key])
	last := s.consumers[t.num]
	if last != nil && t.seq >= last.floor && t.seq < last.next && !last.isDoneLocked(t.seq) {
		return t.seq, last == lane
	}
	if failed || lane.removed {
		return 0, false
	}
	var g *Gap // by position: one that was merged stands before others that are older
	for i := range s.gaps {
		if x := &s.gaps[i]; x.pos > t.pos && !x.telling && (g == nil || x.pos < g.pos) && concerns(x.Consumer) {
			g = x
		}
	}
	if g == nil {
		return 0, false
	}
	from, ok1 := s.clocks.wall(g.From)
	to, ok2 := s.clocks.wall(g.To)
	m := write(g, from, to, ok1 && ok2)
	t = told{g.pos, lane.num, lane.next}
	s.credit -= int64(len(m.Payload) + len(m.Topic) + len(m.Props) + 64)
	s.stageLocked(m, []Target{{Consumer: lane, QoS: 1}}, nil)
	s.setToldLocked(key, t)
	return t.seq, true
}

func (s *Store) setToldLocked(key string, t told) {
	v := t.value()
	s.kv[key] = v
	s.appendLocked(appendSet(s.scratch[:0], key, v))
	s.sealGapsLocked(key, v)
}

// sealGapsLocked looks at a value that was set: a marker that was told is not
// added to any more, and the message that tells of it is known as such. It does
// the same when the log is read again, and so the markers come out the same.
func (s *Store) sealGapsLocked(key string, value []byte) {
	if !strings.HasPrefix(key, Key(gapsKey)) {
		return
	}
	t := parseTold(value)
	s.gapSeal = max(s.gapSeal, t.pos)
	if c := s.consumers[t.num]; c != nil {
		c.tells = t.seq + 1
	}
}
