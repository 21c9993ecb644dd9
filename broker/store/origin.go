package store

import "strings"

// origin is a QoS 2 publisher or a bridge: the identifiers it has published
// under and not released yet, each with the receipt of its message.
type origin struct {
	num      uint32
	name     string
	received map[uint16]Receipt
	inMemory map[uint16]struct{} // of messages about which nothing is durable
	forgot   Receipt             // the latest forget record
}

func (s *Store) originLocked(name string) *origin {
	if o := s.origins[name]; o != nil {
		return o
	}
	o := s.newOriginLocked(s.lastOrigin+1, strings.Clone(name))
	s.appendLocked(appendOrigin(s.scratch[:0], o.num, o.name))
	return o
}

func (s *Store) newOriginLocked(num uint32, name string) *origin {
	o := &origin{num: num, name: name, received: map[uint16]Receipt{}}
	s.origins[name] = o
	s.originNum[num] = o
	s.lastOrigin = max(s.lastOrigin, num)
	return o
}

// RenameOrigin has what from has published, and not released yet, be that of to: its
// session goes on under another name. What to held is forgotten.
func (s *Store) RenameOrigin(from, to string) Receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.origins[from]
	if o == nil || from == to {
		return Receipt{}
	}
	if old := s.origins[to]; old != nil {
		s.appendLocked(appendForget(s.scratch[:0], old.num, 0))
		s.forgetLocked(old, 0)
	}
	s.renameOriginLocked(o, strings.Clone(to))
	return s.appendLocked(appendOrigin(s.scratch[:0], o.num, o.name))
}

func (s *Store) renameOriginLocked(o *origin, name string) {
	delete(s.origins, o.name)
	o.name = name
	s.origins[name] = o
}

// originName is the name of a number, "" when it is not known.
func (s *Store) originName(num uint32) string {
	if o := s.originNum[num]; o != nil {
		return o.name
	}
	return ""
}

// Received returns the receipt of the QoS 2 publish that origin sent under
// packetID and has not released; ok is false when the identifier is free.
func (s *Store) Received(origin string, packetID uint16) (r Receipt, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.origins[origin]; o != nil {
		if r, ok = o.received[packetID]; !ok {
			_, ok = o.inMemory[packetID]
		}
	}
	return r, ok
}

// Forget notes that origin released packetID (PUBREL); PUBCOMP leaves after the
// Receipt, else the publisher could reuse an identifier that is still taken
// for a repetition. packetID 0 forgets all of that origin: its session is new
// or has ended.
func (s *Store) Forget(origin string, packetID uint16) Receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.origins[origin]
	if o == nil {
		return Receipt{}
	}
	delete(o.inMemory, packetID)
	if packetID == 0 {
		clear(o.inMemory)
	}
	if packetID == 0 && len(o.received) == 0 {
		s.forgetLocked(o, 0)
		return o.forgot
	}
	if _, held := o.received[packetID]; !held && packetID != 0 {
		return o.forgot // perhaps staged and not durable yet
	}
	r := s.appendLocked(appendForget(s.scratch[:0], o.num, packetID))
	s.forgetLocked(o, packetID)
	o.forgot = r
	return r
}

func (s *Store) forgetLocked(o *origin, packetID uint16) {
	if packetID != 0 {
		delete(o.received, packetID)
		return
	}
	delete(s.origins, o.name)
	delete(s.originNum, o.num)
}
