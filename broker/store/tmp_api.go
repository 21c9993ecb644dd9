package store

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// TEMPORARY skeleton: signatures are final, bodies are being written.

var ErrFull = errors.New("the queue is full")
var ErrFailed = errors.New("the disk queue has failed")
var ErrLocked = errors.New("data directory is in use")

type Stamp struct {
	Boot uint32 // boot number, 0 = no stamp
	Up   uint64 // CLOCK_BOOTTIME in µs
}

func (t Stamp) IsZero() bool { return t.Boot == 0 && t.Up == 0 }

type Options struct {
	MaxSize, MinFree, SegmentSize int64
	CommitInterval                time.Duration
	Log                           *slog.Logger
}

type Store struct{}

// Open recovers the store in dir. Nothing runs yet.
func Open(dir string, opt Options) (*Store, error) { panic("tmp") }

// Run commits until ctx ends; it returns after a last commit and closes the files.
func (s *Store) Run(ctx context.Context) error { panic("tmp") }

// Publish stages m for its targets (and as retained message if m.Retain).
// No target and not retained: the zero Receipt. A PacketID that Origin still holds
// is not staged again: its first Receipt is returned (a repeated QoS 2 publish).
func (s *Store) Publish(m *Message, to []Target) (Receipt, error) { panic("tmp") }

// Received: the first receipt of an unreleased QoS 2 publish, ok=false if the id is not held.
func (s *Store) Received(origin string, packetID uint16) (Receipt, bool) { panic("tmp") }

// Forget releases a QoS 2 id (PUBREL); packetID 0: all of that origin. PUBCOMP leaves after the Receipt.
func (s *Store) Forget(origin string, packetID uint16) Receipt { panic("tmp") }

func (s *Store) Wait(ctx context.Context, r Receipt) error { panic("tmp") }
func (s *Store) IsDurable(r Receipt) bool                  { panic("tmp") }

// OnDurable calls f once, from the committer (so f must be short and never block, and must not call
// back into the store with its own locks held in the wrong order), after the commit that makes r durable.
// If r is durable already f is NOT called and false is returned.
func (s *Store) OnDurable(r Receipt, f func()) bool { panic("tmp") }

// Set and Delete change the durable key-value state (sessions, subscriptions, upstream sessions).
func (s *Store) Set(key string, value []byte) Receipt        { panic("tmp") }
func (s *Store) Delete(key string) Receipt                   { panic("tmp") }
func (s *Store) Get(key string) ([]byte, bool)               { panic("tmp") }
func (s *Store) Each(prefix string, f func(key string, value []byte)) { panic("tmp") }

// Key makes a key of length-prefixed parts: Key("sub", id, filter); Key("sub", id) is a prefix of it.
func Key(parts ...string) string { panic("tmp") }

// KeyParts is the inverse of Key.
func KeyParts(key string) []string { panic("tmp") }

// Retained calls f for each retained message at start (the broker keeps its own tree).
func (s *Store) Retained(f func(m *Message)) { panic("tmp") }

// IDs is a consumer's range of packet identifiers.
type IDs struct{ First, N uint16 }

var SessionIDs = IDs{1, 65535}

// LaneIDs: lane 0..3 of a bridge.
func LaneIDs(lane int) IDs { return IDs{uint16(1 + 16383*lane), 16383} }

// Consumer returns the durable consumer of that name, making it if need be.
func (s *Store) Consumer(name string, ids IDs) (*Consumer, error) { panic("tmp") }

// Lookup returns the consumer of that name or nil.
func (s *Store) Lookup(name string) *Consumer { panic("tmp") }

// Remove ends a consumer and its backlog (session end).
func (s *Store) Remove(name string) Receipt { panic("tmp") }

// Age is a lower bound of the time since t; Wall its wall time (ok=false: clock was never trusted).
func (s *Store) Age(t Stamp) time.Duration          { panic("tmp") }
func (s *Store) Wall(t Stamp) (w time.Time, ok bool) { panic("tmp") }
func (s *Store) Now() Stamp                         { panic("tmp") }

func (s *Store) Failed() error { panic("tmp") } // nil when well

type Stats struct {
	Messages, Commits, Bytes uint64
	DiskBytes, Segments      int64
	Staged                   int64
}

func (s *Store) Stats() Stats { panic("tmp") }

type Consumer struct{}

func (c *Consumer) Name() string { panic("tmp") }

// TryNext fills d with the next deliverable message and moves on; false: nothing durable now (or the
// span limit s < floor+1024 is reached: finish some first). One caller at a time.
func (c *Consumer) TryNext(d *Delivery) bool { panic("tmp") }

// Next waits for the next delivery.
func (c *Consumer) Next(ctx context.Context) (Delivery, error) { panic("tmp") }

// OnReady sets the function the committer calls when something may have become deliverable (nil: none).
// It must be short and never block.
func (c *Consumer) OnReady(f func()) { panic("tmp") }

// Done finishes a delivery (PUBACK, PUBCOMP, QoS 0 sent, command written). Any goroutine.
func (c *Consumer) Done(seq uint64) { panic("tmp") }

// Release notes PUBREC; PUBREL leaves after the Receipt.
func (c *Consumer) Release(seq uint64) Receipt { panic("tmp") }

// GiveUp ends a message that will not be delivered; counted in the ledger with a gap marker.
func (c *Consumer) GiveUp(seq uint64, why Reason) Receipt { panic("tmp") }

// Rewind: deliver again from the first unfinished (after a reconnect).
func (c *Consumer) Rewind() { panic("tmp") }

// Restart is for a peer that has forgotten our session (session present 0): released ones count as
// delivered, unreleased go again as new (Dup false). Implies Rewind.
func (c *Consumer) Restart() { panic("tmp") }

// Seq finds the delivered, unfinished seq behind a packet identifier. released: PUBREC was noted.
func (c *Consumer) Seq(id uint16) (seq uint64, released, ok bool) { panic("tmp") }

// QueuedQoS0: QoS 0 messages of this consumer are still queued, so a direct delivery would overtake them.
func (c *Consumer) QueuedQoS0() bool { panic("tmp") }

type Reason byte

const (
	Expired Reason = iota + 1
	Dropped        // drop-oldest, drop-newest, limits
	Purged
	Damaged
	Refused // the peer said no for good
	TooLarge
)

type Lag struct {
	Messages, Bytes uint64
	Oldest          time.Duration // age of the oldest
	Lost            map[Reason]uint64
	Delivered       uint64
	Accepted        uint64
}

func (c *Consumer) Lag() Lag { panic("tmp") }
