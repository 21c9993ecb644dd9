// Package qos holds what QoS 1 and 2 need on both sides of the gateway, for
// sessions of the local broker and for bridges alike: the window of messages
// in flight to a peer, and the answers to a peer that wait for the disk.
package qos

import (
	"packetboat/broker/store"
)

const ring = 1024 // as many as a store.Consumer has unfinished above its floor

// Window is the messages of one durable consumer that are in flight to its
// peer. The packet identifier of a message is fixed by its seq, so there is no
// table of identifiers: the store says which seq an identifier is.
//
// A Window is not safe for concurrent use; its owner's lock guards it.
//
//	           TryNext            Puback (QoS 1)
//	queued ─────────────► sent ─────────────────────► finished
//	                        │ Pubrec (QoS 2)              ▲
//	                        ▼                             │ Pubcomp
//	                     released ── PUBREL, once ────────┘
//	                                 durable
type Window struct {
	c       *store.Consumer
	max     int
	n       int               // sent and not acknowledged
	counted [ring / 64]uint64 // which of them, by seq
}

// NewWindow returns the window over c with at most max messages in flight
// (never more than 1,024).
func NewWindow(c *store.Consumer, max int) *Window {
	w := &Window{c: c}
	w.SetMax(max)
	return w
}

// Consumer returns the consumer that the window is over.
func (w *Window) Consumer() *store.Consumer { return w.c }

// SetMax changes how many messages may be in flight: a new connection's receive
// maximum. What is in flight beyond it stays.
func (w *Window) SetMax(n int) { w.max = min(max(n, 1), ring) }

// Room returns how many more messages may be sent [MQTT-3.3.4-9].
func (w *Window) Room() int { return max(0, w.max-w.n) }

// InFlight returns how many sent messages await PUBACK, PUBREC or PUBCOMP.
func (w *Window) InFlight() int { return w.n }

// TryNext fills d with what to send next and returns false when there is
// nothing, or no room. After Resume the released ones come first, for which only
// PUBREL is sent and which need no room; then the unacknowledged, in their
// order [MQTT-4.6.0-1]; then the rest. QoS 0 messages are not counted: call the
// consumer's Done when they are written.
func (w *Window) TryNext(d *store.Delivery) bool {
	if w.Room() == 0 {
		return w.c.TryReleased(d)
	}
	if !w.c.TryNext(d) {
		return false
	}
	if !d.Released && d.QoS > 0 && !w.has(d.Seq) {
		w.counted[d.Seq/64%(ring/64)] |= 1 << (d.Seq % 64)
		w.n++
	}
	return true
}

func (w *Window) has(seq uint64) bool { return w.counted[seq/64%(ring/64)]>>(seq%64)&1 != 0 }

// uncount takes seq out of what is in flight.
func (w *Window) uncount(seq uint64) {
	if w.has(seq) {
		w.counted[seq/64%(ring/64)] &^= 1 << (seq % 64)
		w.n--
	}
}

// Puback finishes the delivery sent under id, whatever its QoS; false if none
// was. It is also right for a PUBREC with a reason code of 0x80 or more
// [MQTT-4.4.0-2].
func (w *Window) Puback(id uint16) bool {
	seq, _, ok := w.c.Seq(id)
	if !ok {
		w.recount()
		return false
	}
	w.uncount(seq)
	w.c.Done(seq)
	return true
}

// recount takes out what was ended by others (purged, say) while it was in
// flight, when an acknowledgement for it shows that.
func (w *Window) recount() {
	if w.n == 0 {
		return
	}
	counted := w.counted
	w.clear()
	floor := w.c.Floor()
	for seq := floor; seq < floor+ring; seq++ {
		if counted[seq/64%(ring/64)]>>(seq%64)&1 != 0 && w.c.Unfinished(seq) {
			w.counted[seq/64%(ring/64)] |= 1 << (seq % 64)
			w.n++
		}
	}
}

// Pubrec notes that the peer has the QoS 2 message sent under id. PUBREL leaves
// when the Receipt is durable; a repeated PUBREC gets the Receipt of the first.
// known is false for an identifier that is not in flight: PUBREL with 0x92 is
// the answer then.
func (w *Window) Pubrec(id uint16) (r store.Receipt, known bool) {
	seq, _, ok := w.c.Seq(id)
	if !ok {
		return store.Receipt{}, false
	}
	return w.c.Release(seq), true
}

// Pubcomp finishes the released delivery sent under id; false if none was.
func (w *Window) Pubcomp(id uint16) bool {
	seq, released, ok := w.c.Seq(id)
	if !ok || !released {
		w.recount()
		return false
	}
	w.uncount(seq)
	w.c.Done(seq)
	return true
}

// GiveUp ends a delivery that will not be made; see [store.Consumer.GiveUp].
// When it becomes an abandoned one, TryNext hands it out as released.
func (w *Window) GiveUp(seq uint64, why store.Reason, text string) store.Receipt {
	w.uncount(seq)
	return w.c.GiveUp(seq, why, text)
}

// Resume starts again on a new connection to a peer that remembers the session
// [MQTT-4.4.0-1].
func (w *Window) Resume() {
	w.clear()
	w.c.Rewind()
}

// Restart starts again on a new connection to a peer that has forgotten the
// session: all messages that are not finished go as new.
func (w *Window) Restart() store.Receipt {
	w.clear()
	return w.c.Restart()
}

func (w *Window) clear() {
	w.n = 0
	w.counted = [ring / 64]uint64{}
}
