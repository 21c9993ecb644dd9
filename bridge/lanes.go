package bridge

import (
	"packetboat/broker/qos"
	"packetboat/broker/store"
)

// lanes is how many consumers a bridge has from birth, by priority.
const lanes = 4

// maxInFlight is the most a lane's window remembers, and so the most that may
// be in flight.
const maxInFlight = 1024

// lane is one durable consumer and what of it is under way. Bridge.mu guards
// it.
type lane struct {
	index    int // its priority
	consumer *store.Consumer
	window   *qos.Window

	// again is how many messages are still to go again, at most, which the server
	// may hold. It outlives connections.
	again int

	// refused counts how often the cloud has refused a message for now. It has
	// entries for messages in flight only.
	refused map[uint64]refusal
}

// refusal is what is known of a message that the cloud did not take.
type refusal struct {
	times int
	last  bool // its last sending was refused, so the next is a new one, without DUP
}

// laneOf is the lane whose range a packet identifier belongs to, nil for those
// of SUBSCRIBE and UNSUBSCRIBE.
func (b *Bridge) laneOf(id uint16) *lane {
	for i := range b.lanes {
		ids := store.LaneIDs(i)
		if id >= ids.First && int(id) < int(ids.First)+int(ids.N) {
			return &b.lanes[i]
		}
	}
	return nil
}

// resumeLocked prepares the lanes for a server that has kept our session: what
// is not finished goes again, in order, with the same identifiers.
func (b *Bridge) resumeLocked() {
	for i := range b.lanes {
		b.lanes[i].again += b.lanes[i].window.InFlight()
		b.lanes[i].window.Resume()
	}
}

// restartLocked prepares the lanes for a server that knows nothing of us: what is
// not finished goes as new.
func (b *Bridge) restartLocked() (after store.Receipt) {
	for i := range b.lanes {
		clear(b.lanes[i].refused)
		b.lanes[i].again = 0
		after = after.After(b.lanes[i].window.Restart())
	}
	return after
}
