package store

import "time"

// Message is an application message on its way through the gateway: what a
// publisher handed in, before the router decided who gets it.
//
// A Message is immutable once it was given to the broker: its slices may be
// shared by several receivers.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte // as published: 0, 1 or 2
	Retain  bool // RETAIN as published

	// Props holds the MQTT 5 properties that a server forwards unaltered
	// (payload format indicator, content type, response topic, correlation
	// data, user properties in their order [MQTT-3.3.2-18]), encoded as in
	// section 2.2.2.2 of the specification, without the length in front.
	Props []byte

	// Expiry is the message expiry interval in seconds, counted from
	// Received; it means something only when HasExpiry is set.
	Expiry    uint32
	HasExpiry bool

	// Origin names the publisher as its consumer would be named
	// ("session/ID", "bridge/NAME", "adapter/NAME"); "" is nobody. A message is
	// never routed back to the bridge it came from, and the ids of
	// unreleased QoS 2 publishes are remembered by origin.
	Origin string

	// PacketID is the packet identifier of a QoS 2 publish that has to be
	// remembered until Forget, else 0.
	PacketID uint16

	// Received is when the gateway took the message in; the store sets it
	// when it is zero.
	Received Stamp

	// Earlier is when a gateway took the message in by its wall clock, if that was
	// not this queue's: it was exported there and appended here. Zero: Received
	// says it.
	Earlier Wall
}

// Wall is a time of a wall clock, as another queue knew it.
type Wall struct {
	Micro   int64 // µs since 1970; 0 = none
	Trusted bool  // the clock was synchronised
}

// WallOf is the time t as a Wall, to the microsecond.
func WallOf(t time.Time, trusted bool) Wall {
	if t.IsZero() {
		return Wall{}
	}
	return Wall{t.UnixMicro(), trusted}
}

// IsZero reports whether w is no time.
func (w Wall) IsZero() bool { return w.Micro == 0 }

// Target is one durable consumer of a message and how it wants it.
type Target struct {
	Consumer        *Consumer
	QoS             byte // granted: min(published, subscribed)
	KeepRetain      bool // send RETAIN 1 to this consumer
	SubscriptionIDs []uint32

	// Refused, if not 0, says why the message is not stored for the consumer: its
	// peer would not take it. That is counted and told, and the message is kept as
	// a dead letter with Why as the reason in words.
	Refused Reason
	Why     string
}

// Delivery is a message for one consumer.
//
// Message.Payload, Message.Props and SubscriptionIDs alias the consumer's
// read buffer: they are valid until the next TryNext or Next of the same
// consumer.
type Delivery struct {
	Message         // QoS and Retain are those to send to this consumer
	Seq             uint64
	ID              uint16 // packet identifier, fixed by Seq; 0 at QoS 0
	Dup             bool   // may have been sent before [MQTT-3.3.1-1]
	SubscriptionIDs []uint32

	// At is Received by the wall clock, as well as that is known by now, or Earlier;
	// zero when it is not known. AtTrusted says that the clock of that boot was at some
	// time synchronised. Set for a consumer that inspects, see Consumer.Inspect.
	At        time.Time
	AtTrusted bool

	// Released means that the peer has confirmed this QoS 2 message with
	// PUBREC (or that it was abandoned): Message is empty and only PUBREL is
	// to be sent [MQTT-4.3.3-6].
	Released bool
}

// Receipt says from when on something is on disk; the zero Receipt is durable
// already. Receipts of one Store can be compared: a later one is never
// durable before an earlier one.
type Receipt struct{ pos uint64 }

// IsZero reports whether the receipt promises nothing that is not durable
// already.
func (r Receipt) IsZero() bool { return r.pos == 0 }

// After returns the later of two receipts.
func (r Receipt) After(o Receipt) Receipt {
	if o.pos > r.pos {
		return o
	}
	return r
}
