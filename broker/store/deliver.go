package store

import (
	"context"
	"errors"
	"io"
	"time"
)

// TryNext fills d with the next message to deliver, in order, and moves on. It
// returns false when there is none: nothing more is durable, a give-up is not
// durable yet, or as many are unfinished as the window allows. OnReady tells
// when the first two have changed; finish some to change the third.
//
// Delivered again by Rewind: what is not finished, with Dup set; of what is
// released, only that.
func (c *Consumer) TryNext(d *Delivery) bool {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.nextReleasedLocked(d) {
		return true
	}
	for {
		if !c.mayDeliverLocked() {
			if c.cursor >= c.next {
				c.rd.caughtUp()
			}
			return false
		}
		seq := c.cursor
		switch {
		case c.isDoneLocked(seq):
			c.cursor++
			continue
		case c.isReleasedLocked(seq):
			if seq < c.relEnd {
				c.cursor++
				continue // handed out already
			}
			if !c.giveUpDurableLocked() {
				return false
			}
			c.cursor++
			c.fillReleased(d, seq)
			return true
		}
		found, err := c.readLocked(seq, d)
		if c.removed || c.cursor != seq || c.isDoneLocked(seq) {
			continue // dropped while the disk was read
		}
		if errors.Is(err, io.EOF) || err != nil && c.tryAgainLocked(err) {
			return false
		}
		if why, text := c.verdictLocked(found, d, seq); why != 0 {
			gone := sentMessage{seq: seq, at: c.receivedLocked(seq)}
			if found {
				gone.topic, gone.at = d.Topic, d.Received
				c.keepDeadLocked(d, why, text)
			}
			c.giveUpLocked(gone, why, !found || d.QoS == 2)
			continue // the next ones may go the same way: one commit for all
		}
		if !c.giveUpDurableLocked() {
			c.rd.next = 0
			return false
		}
		d.Seq, d.ID = seq, 0
		if d.QoS > 0 {
			d.ID = c.idLocked(seq)
		}
		d.Dup = d.QoS > 0 && seq < c.sentHigh
		c.sentHigh = max(c.sentHigh, seq+1)
		c.cursor++
		c.noteSentLocked(seq, &d.Message)
		return true
	}
}

// verdictLocked decides whether a message that was read is given up, and why.
func (c *Consumer) verdictLocked(found bool, d *Delivery, seq uint64) (why Reason, text string) {
	if !found {
		return Damaged, ""
	}
	age := c.s.clocks.age(d.Received)
	maybeSent := d.QoS == 2 && seq < c.sentHigh // then it is delivered all the same [MQTT-4.3.3-7]
	if d.HasExpiry && !maybeSent && age >= time.Duration(d.Expiry)*time.Second {
		return Expired, ""
	}
	if c.inspect != nil {
		d.Seq = seq
		d.At, d.AtTrusted = c.s.clocks.received(&d.Message)
		d.Dup = d.QoS > 0 && seq < c.sentHigh
		return c.inspect(d, age)
	}
	return 0, ""
}

// Inspect sets a function that TryNext asks about each message before handing
// it out: a Reason gives the message up, 0 delivers it, and text says why in words, for
// a dead letter. age is that of the message. A chain of messages that are given up costs one commit, where GiveUp
// after each delivery would cost one each. It is called with the store's lock
// held and must not call the store. An expiry interval is observed without it.
func (c *Consumer) Inspect(f func(d *Delivery, age time.Duration) (why Reason, text string)) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.inspect = f
}

// TryReleased is TryNext for what is released only: after Rewind those come
// first, and they need no room at the peer.
func (c *Consumer) TryReleased(d *Delivery) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.nextReleasedLocked(d)
}

// nextReleasedLocked hands out the released ones of [relNext, relEnd), each
// once: a PUBREL too many could meet the identifier's next message.
func (c *Consumer) nextReleasedLocked(d *Delivery) bool {
	if c.relNext >= c.relEnd && len(c.abandoned) == 0 || c.removed || !c.giveUpDurableLocked() {
		return false
	}
	for c.relNext = max(c.relNext, c.floor); c.relNext < c.relEnd; {
		seq := c.relNext
		c.relNext++
		if !c.isDoneLocked(seq) && c.isReleasedLocked(seq) {
			c.fillReleased(d, seq)
			return true
		}
	}
	if len(c.abandoned) > 0 {
		c.fillReleased(d, c.abandoned[0])
		c.abandoned = c.abandoned[1:]
		return true
	}
	return false
}

func (c *Consumer) fillReleased(d *Delivery, seq uint64) {
	*d = Delivery{Seq: seq, ID: c.idLocked(seq), Released: true, Dup: true}
	d.QoS = 2
}

// giveUpDurableLocked: nothing of this consumer leaves before a give-up is on disk.
func (c *Consumer) giveUpDurableLocked() bool {
	if c.barrier == 0 || c.barrier < c.s.wal.Durable() || c.s.readOnly() || c.s.without("give_up_durable_before_later_ones") {
		return true
	}
	c.s.wakeLocked(c, c.barrier)
	return false
}

// mayDeliverLocked holds the cursor to the rules of what may be sent.
func (c *Consumer) mayDeliverLocked() bool {
	c.cursor = max(c.cursor, c.floor)
	switch {
	case c.removed, c.cursor >= c.next:
		return false
	case c.cursor >= c.floor+windowSize:
		return false
	}
	floor := c.durFloor
	if c.s.readOnly() || c.s.without("span_limit_from_durable_floor") { // a reader sends nothing
		floor = c.floor
	}
	if c.cursor >= floor+uint64(c.ids.N) {
		c.urgentLocked() // the floor has to become durable first
		return false
	}
	return true
}

func (s *Store) without(rule string) bool { return s.opt.WithoutRule == rule }

// Next waits for the next delivery; it returns ctx's error when that ends.
func (c *Consumer) Next(ctx context.Context) (Delivery, error) {
	var d Delivery
	for {
		if c.TryNext(&d) {
			return d, nil
		}
		select {
		case <-c.wait:
		case <-ctx.Done():
			return Delivery{}, ctx.Err()
		}
	}
}

// nudge wakes Next. It never blocks.
func (c *Consumer) nudge() {
	select {
	case c.wait <- struct{}{}:
	default:
	}
}

// OnReady sets the function that is called, by the committer or the
// housekeeping, when TryNext may find something new; nil for none. A consumer with one is online: the
// positions of its newest messages are kept, so that live traffic is read from
// memory.
func (c *Consumer) OnReady(f func()) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.ready = f
	if f == nil {
		c.ring = nil
		c.rd.rest()
	} else if c.ring == nil {
		c.ring = new([ringSize]ringEntry)
	}
}

// Rewind starts the delivery again from the first unfinished message, for a new
// connection to the same session: [MQTT-4.4.0-1], in the same order, with the
// same identifiers.
func (c *Consumer) Rewind() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.rewindLocked()
}

func (c *Consumer) rewindLocked() {
	c.cursor = c.floor
	c.relNext, c.relEnd, c.abandoned = c.floor, min(c.next, c.floor+windowSize), nil
	c.rd.next = 0
}

// Restart is Rewind for a peer that has forgotten the session, or for another
// peer: everything goes again as new, also what was confirmed with PUBREC. Many
// servers hand a QoS 2 message on when PUBREL comes, so one that was not confirmed
// with PUBCOMP may have ended with the session; twice is better than not at all.
func (c *Consumer) Restart() Receipt {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	r := c.s.appendLocked(appendUvarints(append(c.s.scratch[:0], recRestart), uint64(c.num)))
	c.restartLocked()
	c.rewindLocked()
	return r
}

func (c *Consumer) restartLocked() {
	c.released = bitRing{}
	for i := range c.skips {
		c.skips[i].abandoned = false
	}
	c.moveFloorLocked()
	c.sentHigh = 0
}

// QueuedQoS0 reports whether QoS 0 messages of this consumer are still queued,
// so that one that is handed over directly would overtake them.
func (c *Consumer) QueuedQoS0() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.lastQoS0 > max(c.cursor, c.floor)
}

// Seq finds the unfinished delivery that was sent under packet identifier id;
// released tells whether PUBREC was noted for it.
func (c *Consumer) Seq(id uint16) (seq uint64, released, ok bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if id < c.ids.First || uint32(id) >= uint32(c.ids.First)+uint32(c.ids.N) {
		return 0, false, false
	}
	n := uint64(c.ids.N)
	// The only seq of [floor, floor+n) that has this identifier.
	base := c.floor + (uint64(id-c.ids.First)+2*n-(c.floor+c.s.idShift)%n)%n
	released = c.isReleasedLocked(base)
	if c.isDoneLocked(base) || base >= c.cursor && (!released || base >= c.relNext) {
		return 0, false, false // finished, or not handed out on this connection
	}
	return base, released, true
}
