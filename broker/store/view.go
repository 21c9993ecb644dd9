package store

import (
	"errors"
	"io"
)

// View reads what waits for a consumer and changes nothing: for operators who
// want to see it. It belongs to one goroutine; the consumer may be in use.
type View struct {
	c    *Consumer
	rd   reader
	seq  uint64 // all below were passed
	gone uint64
}

// View returns a reader of what waits now and is on the disk, from the oldest on.
func (c *Consumer) View() *View { return &View{c: c} }

// SkipTo has Next go on with the message of seq, or the first one behind it.
func (v *View) SkipTo(seq uint64) { v.seq = max(v.seq, seq) }

// Missing is how many messages could not be found in the log: they are damaged.
func (v *View) Missing() uint64 { return v.gone }

// Next fills d with the next message and reports whether there is one. d is
// valid as that of TryNext. What only waits for its PUBREL is passed over.
func (v *View) Next(d *Delivery) (bool, error) {
	c := v.c
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for v.seq = max(v.seq, c.floor); v.seq < c.next && !c.removed; v.seq = max(v.seq, c.floor) {
		seq := v.seq
		if r, ok := c.skipAt(seq); ok {
			v.seq = r.end
			continue
		}
		if c.isDoneLocked(seq) || c.isReleasedLocked(seq) {
			v.seq++
			continue
		}
		found, err := c.scanLocked(&v.rd, seq, d)
		if errors.Is(err, io.EOF) {
			return false, nil // not durable yet
		}
		if err != nil {
			return false, err
		}
		v.seq = seq + 1
		if !found {
			if seq >= c.floor && !c.isDoneLocked(seq) { // else it ended while the disk was read
				v.gone++
			}
			continue
		}
		d.Seq, d.ID, d.Released = seq, 0, false
		if d.QoS > 0 {
			d.ID = c.idLocked(seq)
		}
		d.Dup = d.QoS > 0 && seq < c.sentHigh
		d.At, d.AtTrusted = c.s.clocks.received(&d.Message)
		return true, nil
	}
	return false, nil
}

// NewestFrom returns the seq from which on, about, the newest n messages of what waits stand.
func (c *Consumer) NewestFrom(n uint64) uint64 {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	seq := c.next
	for left := n; seq > c.floor && left > 0; {
		if r, ok := c.skipAt(seq - 1); ok {
			seq = max(r.first, c.floor)
			continue
		}
		seq--
		if !c.isDoneLocked(seq) {
			left--
		}
	}
	return seq
}
