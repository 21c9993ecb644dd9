// Package adapters connects devices that do not speak MQTT: what they send
// becomes messages in the local broker, commands go back to them.
//
// A Stream is what serial ports and TCP sockets have in common: the way from a
// link's bytes to published messages and from a durable consumer's commands to
// the link's bytes. The packages below add the links (serial, tcp), the
// cutting into frames (frame) and their meaning (decode); these are
// orthogonal.
//
// # The way in
//
//	Link.Read      chunks, never bytes                            stream.go
//	frame.Decoder  cuts frames; reset where the link ends         frame/
//	decode.Decoder gives values and payloads                      decode/
//	shape          drops what is not wanted, computes fields      shape.go
//	publish        topic from its template, then the broker, which
//	               stores; while it is full, the link is not read publish.go
//	ack            in order, once the frame is on disk            ack.go
//
// # The way out
//
//	Commands.Next  the durable consumer adapter/NAME              outbox.go
//	outbox         expires old ones, waits for absent devices     outbox.go
//	Link.Write     in turn, with a deadline; then Commands.Done
//
// Done means written to the port or socket. What the device makes of it, and
// whether it was still there, a raw link cannot say; after a crash between the
// write and its record a command is written again.
package adapters

import (
	"context"
	"io"
	"time"

	"packetboat/adapters/frame"
	"packetboat/broker/store"
)

// Adapter is what the gateway runs: serial.Adapter, tcp.Adapter, modbus.Adapter.
// Its duties:
//
//   - The constructor starts nothing, but it attaches the adapter's durable
//     consumer, so that no command is missed between building and running.
//   - Run returns when ctx has ended and everything it started has, within a
//     few seconds. A device, port or peer that is not there is never a reason
//     to return: Run waits for it, says so once, and costs next to nothing.
//   - It is stopped before the broker and the store: its last words are the
//     acknowledgements of frames that are being stored and its presence.
//   - Close, after Run, detaches the durable consumer; what is queued stays. It
//     is called when nobody can publish any more, or the adapter is no longer
//     configured: a command published in between is queued for the next start.
//   - Stats and Recent may be called at any time, by any goroutine.
type Adapter interface {
	Name() string
	Run(ctx context.Context) error
	Close()
	Stats() Stats
	Kind() string // serial, tcp-listen, tcp-connect or modbus
	Recent() *Recent
}

// Publisher takes messages in; *broker.Broker is one. It is done with m and
// its slices when it returns; what it keeps it copies.
type Publisher interface {
	Publish(m *store.Message) (store.Receipt, error)
}

// Disk says what is durable and how old something is; *store.Store is one.
type Disk interface {
	Wait(ctx context.Context, r store.Receipt) error
	IsDurable(r store.Receipt) bool
	Age(t store.Stamp) time.Duration
	AgeKnown(t store.Stamp) bool
}

// Commands is a durable consumer of commands; *store.Consumer is one. Next is
// called by one goroutine, the rest by any.
type Commands interface {
	Next(ctx context.Context) (store.Delivery, error)
	Done(seq uint64)
	GiveUp(seq uint64, why store.Reason, text string) store.Receipt
}

// KeyError says which key of an adapter's section is wrong, so that its place
// in the file can be given.
type KeyError struct {
	Key string // within the section: "command.topic"
	Err error
}

// Error implements error.
func (e *KeyError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap gives what is wrong.
func (e *KeyError) Unwrap() error { return e.Err }

// Link is an open serial port or socket; net.Conn is one. Its duties:
//
//   - Read waits for at least one byte, the deadline (os.ErrDeadlineExceeded)
//     or the end. (0, nil) is tolerated for "nothing yet" and comes only after
//     some waiting. Any other error means that the link is gone.
//   - Write writes all of p, or returns an error by the deadline.
//   - Deadlines and Close release a Read or Write that is blocked.
//   - One goroutine reads, one at a time writes, any may set deadlines and close.
type Link interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// Overruns is what a Link has that can lose bytes before they are read.
type Overruns interface {
	// Overruns counts bytes or events of loss since the link was opened.
	Overruns() uint64
	// DiscardInput drops what was received and not yet read.
	DiscardInput() error
}

// Place is where a link leads, for templates and logs.
type Place struct {
	Remote string // {remote}: the peer; "" for serial ports
	Port   string // {port}: which of our ports
}

// Stats are counters since the start, unless said otherwise.
type Stats struct {
	Ready   bool   // the port is open, or devices can connect
	Problem string // why it is not ready, in words; "" when it is, or nobody has tried yet
	Open    int    // links open now
	Opened  uint64 // links opened; of a serial port, all after the first are reopenings
	Refused uint64 // connections not served: over max_connections, without TLS or a name

	Frame     frame.Counters // what the framing saw
	Undecoded uint64         // frames that the decoder rejected
	NoTopic   uint64         // frames that lack a field of the topic, or its value cannot stand there
	Published uint64         // frames the broker took
	Dropped   uint64         // frames the broker refused for good, or not taken by the end
	Pauses    uint64         // times the link was not read because the broker was full
	Paused    int            // links in that state now
	Acked     uint64         // device-level acknowledgements written
	Overruns  uint64         // losses before the bytes could be read, as far as the driver counts them
	LastFrame time.Time      // when the last frame came, zero: none yet

	// Frames = Undecoded + NoTopic + Published + Dropped + these three, which
	// were not published on purpose.
	Filtered    uint64 // by when
	Unchanged   uint64 // by on_change
	RateLimited uint64 // by rate

	ShapeErrors uint64 // expressions that failed for a frame, which was published all the same

	CommandsWaiting int    // read from the queue, not written yet, now
	CommandsSent    uint64 // written
	CommandsExpired uint64 // too old, never written
	CommandsFailed  uint64 // not encodable, or their write failed again and again

	CommandsUnanswered uint64 // written, and no frame came in time
	Replies            uint64 // frames that were the answer to a command, published as such
	Polls              uint64 // requests to the device
	PollsUnanswered    uint64 // of these, without a frame, retries included
}
