package broker

import "sync/atomic"

// counters are what the broker has seen since it was made.
type counters struct {
	connections atomic.Int64
	parked      atomic.Int64
	online      atomic.Int64 // attached connections
	mostOnline  atomic.Int64

	sockets         atomic.Uint64
	connects        atomic.Uint64
	bytesReceived   atomic.Uint64
	bytesSent       atomic.Uint64
	received        atomic.Uint64 // packets
	sent            atomic.Uint64 // packets
	publishReceived atomic.Uint64
	publishSent     atomic.Uint64
	payloadReceived atomic.Uint64 // bytes of payloads
	payloadSent     atomic.Uint64
	refused         atomic.Uint64
	unrouted        atomic.Uint64
	denied          atomic.Uint64
	withheld        atomic.Uint64
	tooLarge        atomic.Uint64
	droppedQoS0     atomic.Uint64
	expired         atomic.Uint64 // messages, not those in the store
	notRetained     atomic.Uint64
	cut             atomic.Uint64
	expiredSessions atomic.Uint64
}

// connStats gathers a reader's counts until the end of its round, so that the
// hot path touches no shared memory for them.
type connStats struct {
	bytesReceived   uint64
	received        uint64
	publishReceived uint64
	payloadReceived uint64
	refused         uint64
	denied          uint64
}

func (t *counters) add(s *connStats) {
	addTo(&t.bytesReceived, s.bytesReceived)
	addTo(&t.received, s.received)
	addTo(&t.publishReceived, s.publishReceived)
	addTo(&t.payloadReceived, s.payloadReceived)
	addTo(&t.refused, s.refused)
	addTo(&t.denied, s.denied)
	*s = connStats{}
}

// sentStats gathers what is appended to an output until a writer takes it.
type sentStats struct {
	packets   uint64
	publishes uint64
	payload   uint64
}

func (t *counters) addSent(s *sentStats, bytes int) {
	addTo(&t.bytesSent, uint64(bytes))
	addTo(&t.sent, s.packets)
	addTo(&t.publishSent, s.publishes)
	addTo(&t.payloadSent, s.payload)
	*s = sentStats{}
}

func addTo(c *atomic.Uint64, v uint64) {
	if v != 0 {
		c.Add(v)
	}
}

func (t *counters) enter() {
	n := t.online.Add(1)
	for {
		most := t.mostOnline.Load()
		if n <= most || t.mostOnline.CompareAndSwap(most, n) {
			return
		}
	}
}

// Stats are counters since New and present sizes.
type Stats struct {
	Connections     int64  // now
	Online          int64  // clients that are connected, now
	MostOnline      int64  // ... at one time
	Parked          int64  // publishes of MQTT 3.1.1 clients that wait for the queue to take them, now
	Sessions        int    // connected or persistent
	Subscriptions   int    // of clients, bridges and adapters
	Shared          int    // shared subscriptions
	Retained        int    // messages
	RetainedBytes   int64  // of them
	Sockets         uint64 // connections accepted
	Connects        uint64 // of clients, accepted
	SessionsExpired uint64
	BytesReceived   uint64
	BytesSent       uint64
	PacketsReceived uint64 // of clients
	PacketsSent     uint64 // to clients
	PublishReceived uint64 // of clients
	PublishSent     uint64 // to clients
	PayloadReceived uint64 // bytes in publishes of clients
	PayloadSent     uint64 // bytes in publishes to clients
	Refused         uint64 // publishes that the queue did not take
	Unrouted        uint64 // publishes that nobody subscribed to
	Denied          uint64 // publishes, wills included, that the access rules did not allow
	Withheld        uint64 // queued deliveries that the access rules did not allow any more
	TooLarge        uint64 // deliveries above a client's maximum packet size
	DroppedQoS0     uint64 // QoS 0 deliveries that found no room
	Expired         uint64 // deliveries that expired while a client without a durable session was slow
	NotRetained     uint64 // retained messages above the limits
	Cut             uint64 // slow subscribers that were disconnected
}

// Stats returns the counters.
func (b *Broker) Stats() Stats {
	t := &b.stats
	s := Stats{
		Connections: t.connections.Load(), Online: t.online.Load(), MostOnline: t.mostOnline.Load(), Parked: t.parked.Load(),
		Sockets: t.sockets.Load(), Connects: t.connects.Load(), SessionsExpired: t.expiredSessions.Load(),
		BytesReceived: t.bytesReceived.Load(), BytesSent: t.bytesSent.Load(),
		PacketsReceived: t.received.Load(), PacketsSent: t.sent.Load(),
		PublishReceived: t.publishReceived.Load(), PublishSent: t.publishSent.Load(),
		PayloadReceived: t.payloadReceived.Load(), PayloadSent: t.payloadSent.Load(),
		Refused: t.refused.Load(), Unrouted: t.unrouted.Load(), Denied: t.denied.Load(), Withheld: t.withheld.Load(), TooLarge: t.tooLarge.Load(),
		DroppedQoS0: t.droppedQoS0.Load(), Expired: t.expired.Load(), NotRetained: t.notRetained.Load(), Cut: t.cut.Load(),
	}
	b.mu.RLock()
	s.Sessions, s.Subscriptions, s.Shared = len(b.sessions), b.tree.Len(), len(b.groups)
	b.mu.RUnlock()
	b.retained.mu.RLock()
	s.Retained, s.RetainedBytes = b.retained.tree.Len(), b.retained.size
	b.retained.mu.RUnlock()
	return s
}
