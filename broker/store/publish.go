package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"packetboat/broker/store/wal"
)

// Publish stages m for its targets, and as the retained message of its topic
// if it has RETAIN set (an empty payload removes that). Without targets and
// RETAIN nothing is staged and the zero Receipt returned; a PacketID is then
// held in memory only.
//
// A PacketID that m.Origin still holds is a repeated QoS 2 publish: nothing is
// staged and the Receipt of the first one is returned [MQTT-4.3.3-10].
//
// The slices of m and of the targets may be reused after the call; what is
// kept is copied. Errors: ErrFull, ErrFailed, ErrTooLarge; then nothing was
// staged.
func (s *Store) Publish(m *Message, to []Target) (Receipt, error) {
	if len(to) == 0 && !m.Retain {
		return s.holdID(m), nil
	}
	if err := s.checkStorable(m); err != nil {
		return Receipt{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var o *origin
	if m.PacketID != 0 || m.Origin != "" && strings.HasPrefix(m.Origin, "bridge/") {
		o = s.originLocked(m.Origin)
	}
	if m.PacketID != 0 {
		if r, ok := o.received[m.PacketID]; ok {
			return r, nil
		}
	}
	to, refused := splitRefused(to)
	left, err := s.makeRoomLocked(m, to)
	if err != nil {
		return Receipt{}, err
	}
	for i := range refused {
		refused[i].Consumer.refuseNewLocked(m, &refused[i])
	}
	if len(left) == 0 && !m.Retain && m.PacketID == 0 {
		return Receipt{uint64(s.wal.OpenFrame())}, nil // left out everywhere, and that is told
	}
	return s.stageApartLocked(m, left, o), nil
}

// checkStorable says why m cannot be staged now, whatever room there is.
func (s *Store) checkStorable(m *Message) error {
	if size := len(m.Payload) + len(m.Props) + len(m.Topic); int64(size) > s.opt.SegmentSize/2 {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, s.opt.SegmentSize/2)
	}
	if err := s.wal.Failed(); err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return nil
}

// stageApartLocked stages m once for each time that it goes to the same consumer: a
// session with a shared subscription may have it by another one too, and a record
// has one seq for a consumer. The copies come first, so that the receipt is for all
// of them; a crash between two frames gives a duplicate rather than a loss.
func (s *Store) stageApartLocked(m *Message, to []Target, o *origin) Receipt {
	again := s.repeatedLocked(to)
	if again == nil {
		return s.stageLocked(m, to, o)
	}
	copied := *m
	copied.PacketID, copied.Retain = 0, false
	var once []Target
	for i := range to {
		if again[i] {
			s.stageLocked(&copied, to[i:i+1], o)
		} else {
			once = append(once, to[i])
		}
	}
	return s.stageLocked(m, once, o)
}

// repeatedLocked tells which targets have the consumer of an earlier one; nil: none.
func (s *Store) repeatedLocked(to []Target) (again []bool) {
	s.staging++
	for i := range to {
		c := to[i].Consumer
		if c.staging == s.staging {
			if again == nil {
				again = make([]bool, len(to))
			}
			again[i] = true
		}
		c.staging = s.staging
	}
	return again
}

// holdID remembers the identifier of a QoS 2 message about which nothing is
// durable, in memory, so that a repetition is not routed again.
func (s *Store) holdID(m *Message) Receipt {
	if m.PacketID == 0 {
		return Receipt{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.originLocked(m.Origin)
	if r, held := o.received[m.PacketID]; held {
		return r
	}
	if o.inMemory == nil {
		o.inMemory = map[uint16]struct{}{}
	}
	o.inMemory[m.PacketID] = struct{}{}
	return Receipt{}
}

// HasRoom reports whether more may be staged: as little waits for a commit, and
// what was dropped from a full queue was freed.
// Publish does not look at it: who publishes calls WaitForRoom first, outside of
// its locks.
func (s *Store) HasRoom() bool {
	most := int64(maxStaged)
	if s.opt.MaxSize > 0 { // what is staged cannot be dropped to make room
		most = min(most, max(s.opt.MaxSize/8, 2*s.opt.SegmentSize))
	}
	return s.wal.Staged() < most && !s.tight.Load() || s.wal.Failed() != nil
}

// roomWait is how long a publisher waits for the housekeeping to free what was
// dropped; then the queue is full.
const roomWait = 5 * time.Second

// WaitForRoom holds a publisher back while the disk does not keep up: memory is
// bounded that way. It returns at once when the disk has failed.
func (s *Store) WaitForRoom() {
	end := time.Now().Add(roomWait)
	for !s.HasRoom() {
		if s.tight.Load() {
			if !s.waitUntilFreed(time.Until(end)) {
				return
			}
			continue
		}
		// Not for longer than a moment: a disk that hangs counts as failed some day.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := s.wal.Wait(ctx, s.wal.Durable())
		cancel()
		if errors.Is(err, wal.ErrClosed) {
			return
		}
	}
}

func (s *Store) waitUntilFreed(most time.Duration) bool {
	s.mu.Lock()
	loose := s.loose
	s.loosenLocked()
	s.mu.Unlock()
	if !s.tight.Load() {
		return true
	}
	s.wakeKeeper()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-loose:
		return true
	case <-timer.C:
		return false
	}
}

func (s *Store) stageLocked(m *Message, to []Target, o *origin) Receipt {
	at := m.Received
	if at.Boot != s.clocks.current() {
		at = s.clocks.now() // the record's boot is that of its place in the log
	}
	var num uint32
	if o != nil {
		num = o.num
	}
	if s.fresh != nil {
		s.repeatNamesLocked()
	}
	for i := range to {
		// The marker of messages that were left out has their seqs: it comes first.
		to[i].Consumer.stagePendingLocked(s.scratch)
	}
	staged := *m
	staged.Received = at
	rec := appendMessage(s.scratch[:0], &staged, num, to)
	r := s.appendLocked(rec)
	frame := s.wal.OpenFrame()
	for i := range to {
		c := to[i].Consumer
		if c.removed {
			continue
		}
		c.acceptLocked(wal.Pos(r.pos), frame, len(rec), to[i].QoS, at)
		s.wakeLocked(c, wal.Pos(r.pos))
		c.limitLocked()
	}
	if len(to) > 0 {
		s.accepted++
	}
	if m.Retain {
		s.retainLocked(m, at)
	}
	if m.PacketID != 0 {
		o.received[m.PacketID] = r
	}
	return r
}

// retainLocked keeps a copy of m as the retained message of its topic. Of the
// origins only bridges count: what one has brought it does not get back.
func (s *Store) retainLocked(m *Message, at Stamp) {
	if len(m.Payload) == 0 {
		delete(s.retained, m.Topic)
		return
	}
	origin := ""
	if o := s.origins[m.Origin]; o != nil && strings.HasPrefix(o.name, "bridge/") {
		origin = o.name
	}
	s.retained[strings.Clone(m.Topic)] = &Message{
		Origin: origin,
		Topic:  strings.Clone(m.Topic), Payload: slices.Clone(m.Payload), QoS: m.QoS, Retain: true,
		Props: slices.Clone(m.Props), Expiry: m.Expiry, HasExpiry: m.HasExpiry, Received: at,
	}
}

// Retained calls f for each retained message; f must not change it nor call
// the store.
func (s *Store) Retained(f func(m *Message)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.retained {
		f(m)
	}
}

// RetainedMessage returns the retained message of a topic, or nil. It is
// immutable and may be kept: a later one is another Message.
func (s *Store) RetainedMessage(topic string) *Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retained[topic]
}
