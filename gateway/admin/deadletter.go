package admin

import (
	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// DeadLetter says why a message is one.
type DeadLetter struct {
	Reason   string `json:"reason"`
	Queue    string `json:"queue"`              // that gave it up
	Received string `json:"received,omitempty"` // by the gateway, RFC 3339
}

// splitDead takes the properties of a dead letter apart: those that the message
// had, which are the beginning of props, and what the store has added to them. It
// returns nil for those of any other message.
func splitDead(props []byte) (rest []byte, d *DeadLetter) {
	type property struct{ key, value []byte }
	var last [3]property // the newest first; empty where it is no user property
	_ = packet.EachProp(props, func(id byte, key, value []byte) bool {
		copy(last[1:], last[:])
		if last[0] = (property{}); id == packet.PropUser {
			last[0] = property{key, value}
		}
		return true
	})
	d = new(DeadLetter)
	end, at := len(props), 0
	take := func(name string, into *string) bool {
		if at == len(last) || string(last[at].key) != name {
			return false
		}
		p := last[at]
		*into = string(p.value)
		end -= 5 + len(p.key) + len(p.value) // identifier and two lengths [2.2.2.2]
		at++
		return true
	}
	take(store.DeadReceived, &d.Received)
	if !take(store.DeadQueue, &d.Queue) || !take(store.DeadReason, &d.Reason) {
		return nil, nil
	}
	return props[:end:end], d
}
