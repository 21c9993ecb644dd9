package broker

import "sync/atomic"

// counters are what the broker has seen since it was made.
type counters struct {
	connections atomic.Int64
	parked      atomic.Int64

	received        atomic.Uint64 // packets
	publishReceived atomic.Uint64
	publishSent     atomic.Uint64
	refused         atomic.Uint64
	unrouted        atomic.Uint64
	tooLarge        atomic.Uint64
	droppedQoS0     atomic.Uint64
	notRetained     atomic.Uint64
	cut             atomic.Uint64
}

// connStats gathers a reader's counts until the end of its round, so that the
// hot path touches no shared memory for them.
type connStats struct {
	received        uint64
	publishReceived uint64
	refused         uint64
}

func (t *counters) add(s *connStats) {
	addTo := func(c *atomic.Uint64, v uint64) {
		if v != 0 {
			c.Add(v)
		}
	}
	addTo(&t.received, s.received)
	addTo(&t.publishReceived, s.publishReceived)
	addTo(&t.refused, s.refused)
	*s = connStats{}
}

// Stats are counters since New and present sizes.
type Stats struct {
	Connections     int64  // now
	Parked          int64  // publishes of MQTT 3.1.1 clients that wait for the queue to take them, now
	Sessions        int    // connected or persistent
	Subscriptions   int    // filters in the tree
	Retained        int    // messages
	RetainedBytes   int64  // of them
	PacketsReceived uint64 // of clients
	PublishReceived uint64 // of clients
	PublishSent     uint64 // to clients
	Refused         uint64 // publishes that the queue did not take
	Unrouted        uint64 // publishes that nobody subscribed to
	TooLarge        uint64 // deliveries above a client's maximum packet size
	DroppedQoS0     uint64 // QoS 0 deliveries that found no room
	NotRetained     uint64 // retained messages above the limits
	Cut             uint64 // slow subscribers that were disconnected
}

// Stats returns the counters.
func (b *Broker) Stats() Stats {
	t := &b.stats
	s := Stats{
		Connections: t.connections.Load(), Parked: t.parked.Load(), PacketsReceived: t.received.Load(), PublishReceived: t.publishReceived.Load(),
		PublishSent: t.publishSent.Load(), Refused: t.refused.Load(), Unrouted: t.unrouted.Load(), TooLarge: t.tooLarge.Load(),
		DroppedQoS0: t.droppedQoS0.Load(), NotRetained: t.notRetained.Load(), Cut: t.cut.Load(),
	}
	b.mu.RLock()
	s.Sessions, s.Subscriptions = len(b.sessions), b.tree.Len()
	b.mu.RUnlock()
	b.retained.mu.RLock()
	s.Retained, s.RetainedBytes = b.retained.tree.Len(), b.retained.size
	b.retained.mu.RUnlock()
	return s
}
