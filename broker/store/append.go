package store

import (
	"errors"
	"fmt"
)

// ErrRemoved: the consumer has ended, a session that expired say.
var ErrRemoved = errors.New("the queue is gone")

// reserveSegments is how much of the bound, in segments, Append leaves to those
// who publish.
const reserveSegments = 4

// Append stages m for one consumer, behind what waits for it: a message that was
// exported from a queue. Nobody's messages make room for it: when it does not fit
// below the bounds of the consumer and of the queue, with a reserve for those who
// publish, the error is ErrFull and says which bound. m's Origin, PacketID, Retain
// and Received are not used: when it was received Earlier says, and its age counts
// from there where both clocks were synchronised, else from now.
//
// WaitForRoom, the other errors, and whose the slices are, are as with Publish.
func (s *Store) Append(m *Message, to Target) (Receipt, error) {
	if err := s.checkStorable(m); err != nil {
		return Receipt{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	size := uint64(len(m.Payload)+len(m.Topic)+len(m.Props)+5*len(to.SubscriptionIDs)) + 96
	if err := to.Consumer.roomForLocked(size); err != nil {
		return Receipt{}, err
	}
	if !s.spareRoomLocked(int64(size)) {
		return Receipt{}, fmt.Errorf("%w: max_size %d bytes, min_free %d bytes, and what is kept free for devices", ErrFull, s.opt.MaxSize, s.opt.MinFree)
	}
	staged := *m
	staged.Origin, staged.PacketID, staged.Retain = "", 0, false
	staged.Received = s.clocks.now()
	if age, known := s.clocks.since(m.Earlier); known {
		staged.Received.Up -= uint64(age.Microseconds())
	}
	return s.stageLocked(&staged, []Target{to}, nil), nil
}

// roomForLocked says why size bytes more are beyond the consumer's own bounds, of
// whatever policy.
func (c *Consumer) roomForLocked(size uint64) error {
	switch {
	case c.removed:
		return fmt.Errorf("%w: %s", ErrRemoved, c.name)
	case c.maxMessages > 0 && c.queued >= c.maxMessages:
		return fmt.Errorf("%w: %d messages wait in %s, which may have %d", ErrFull, c.queued, c.name, c.maxMessages)
	case c.maxBytes > 0 && c.queuedBytes+size > c.maxBytes:
		return fmt.Errorf("%w: %d bytes wait in %s, which may have %d", ErrFull, c.queuedBytes, c.name, c.maxBytes)
	}
	return nil
}

// spareRoomLocked reports whether size bytes may be staged without anything that
// has to go for it, now or when the next message comes.
func (s *Store) spareRoomLocked(size int64) bool {
	if s.opt.MaxSize == 0 && s.opt.MinFree == 0 {
		return true
	}
	if s.credit > size {
		s.credit -= size
		return true
	}
	room := s.roomLocked()
	if room < s.reserveLocked()+size {
		return false
	}
	if s.waitsLocked() {
		s.tight.Store(true)
		s.wakeKeeper()
	}
	return s.grantLocked(room)
}

// reserveLocked is what Append leaves to those who publish.
func (s *Store) reserveLocked() int64 { return reserveSegments*s.opt.SegmentSize + 4*s.snap.size }

// Fits says why so many messages of so many bytes in all would not fit, about:
// Append would refuse one of them with ErrFull.
func (c *Consumer) Fits(messages, bytes int64) error {
	if messages == 0 && bytes == 0 {
		return nil
	}
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	left := max(s.sizeRoomLocked(s.unpinnedLocked())-s.reserveLocked(), 0)
	switch {
	case c.maxMessages > 0 && c.queued+uint64(messages) > c.maxMessages:
		return fmt.Errorf("%d messages, and %s may have %d, of which %d are there", messages, c.name, c.maxMessages, c.queued)
	case c.maxBytes > 0 && c.queuedBytes+uint64(bytes) > c.maxBytes:
		return fmt.Errorf("%d bytes, and %s may have %d, of which %d are there", bytes, c.name, c.maxBytes, c.queuedBytes)
	case bytes > left:
		return fmt.Errorf("%d bytes, and max_size (%d) leaves %d for it", bytes, s.opt.MaxSize, left)
	}
	return nil
}
