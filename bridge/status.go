package bridge

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Phase is what a bridge is doing.
type Phase byte

// The phases; doc.go draws how they follow each other.
const (
	Stopped    Phase = iota // Run is not running
	Connecting              // a server is being dialled, or asked
	Online                  // messages flow
	Stalled                 // connected, but the server has not acknowledged anything for a while
	BackingOff              // waiting until State.Until for the next attempt
	Refused                 // as BackingOff, because the server answered and said no
)

// Step is what a connection that is being made waits for.
type Step string

// The steps, in their order.
const (
	StepName       Step = "name" // the name servers
	StepConnection Step = "connection"
	StepTLS        Step = "TLS" // or the proxy, or WebSocket
	StepLogin      Step = "login"
)

func (p Phase) String() string {
	return [...]string{"stopped", "connecting", "online", "stalled", "backing off", "refused"}[p]
}

// State is the one truth about a bridge's connection.
type State struct {
	Phase  Phase
	Since  time.Time // of this phase
	Down   time.Time // since when it is not connected, whatever is tried; zero while it is
	Server string    // that is or was last talked to
	Step   Step      // Connecting: how far it has come
	Until  time.Time // BackingOff, Refused: the next attempt
	Err    error     // the last error, also when all is well again; nil: none yet
	ErrAt  time.Time
}

// String is the state as one line for people.
func (s State) String() string {
	switch s.Phase {
	case BackingOff:
		return fmt.Sprintf("backing off until %s: %v", s.Until.Format(time.TimeOnly), s.Err)
	case Refused:
		return fmt.Sprintf("refused: %v; next attempt at %s", s.Err, s.Until.Format(time.TimeOnly))
	case Connecting, Online, Stalled:
		if s.Server != "" {
			return s.Phase.String() + " " + s.Server
		}
	}
	return s.Phase.String()
}

// Stats are counters since the bridge was made, except InFlight.
type Stats struct {
	Sent         uint64 // PUBLISH packets written, re-sends included
	Resent       uint64 // of these, with DUP
	Unstamped    uint64 // messages whose payload could not take the stamp of json:FIELD
	Acked        uint64 // messages finished by the cloud's answer
	InFlight     int    // sent and not finished
	Received     uint64 // PUBLISH packets from the cloud
	Unmatched    uint64 // of these, taken by no down rule
	Looped       uint64 // of these, sent from here before and so not taken
	Connects     uint64 // CONNACKs with success
	Reconnects   uint64 // of these, after the first
	BytesOut     uint64
	BytesIn      uint64
	SessionsLost uint64 // connects at which the cloud had forgotten our session
}

// counters are Stats while they count.
type counters struct {
	sent, resent, unstamped, acked, received, unmatched, looped, connects, lostSessions atomic.Uint64
	bytesOut, bytesIn                                                                   atomic.Uint64
	inFlight                                                                            atomic.Int64
}

// State says how the connection stands. Any goroutine.
func (b *Bridge) State() State {
	b.state.mu.Lock()
	defer b.state.mu.Unlock()
	return b.state.State
}

// Stats returns the counters. Any goroutine.
func (b *Bridge) Stats() Stats {
	c := &b.count
	s := Stats{
		Sent: c.sent.Load(), Resent: c.resent.Load(), Unstamped: c.unstamped.Load(), Acked: c.acked.Load(), InFlight: int(c.inFlight.Load()),
		Received: c.received.Load(), Unmatched: c.unmatched.Load(), Looped: c.looped.Load(),
		Connects: c.connects.Load(), SessionsLost: c.lostSessions.Load(),
		BytesOut: c.bytesOut.Load(), BytesIn: c.bytesIn.Load(),
	}
	s.Reconnects = s.Connects - min(s.Connects, 1)
	return s
}

// stateBox guards the State.
type stateBox struct {
	mu sync.Mutex
	State
	changed chan struct{} // closed and replaced at each change, for tests and status
}

// set moves to a phase. err nil keeps the last error.
func (s *stateBox) set(p Phase, server string, until time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if p != s.Phase || s.Since.IsZero() {
		s.Since = now
	}
	switch {
	case p == Online || p == Stalled:
		s.Down = time.Time{}
	case s.Down.IsZero():
		s.Down = now
	}
	s.Phase, s.Until, s.Step = p, until, ""
	if server != "" {
		s.Server = server
	}
	if err != nil {
		s.Err, s.ErrAt = err, now
	}
	s.wakeLocked()
}

// reach notes how far the connection has come.
func (s *stateBox) reach(step Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Step = step
}

// move changes from one phase to another, if it is in the first.
func (s *stateBox) move(from, to Phase) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Phase != from {
		return false
	}
	s.Phase, s.Since = to, time.Now()
	s.wakeLocked()
	return true
}

func (s *stateBox) wakeLocked() {
	if s.changed != nil {
		close(s.changed)
	}
	s.changed = make(chan struct{})
}

// Changed returns the present state and a channel that is closed when it
// changes.
func (b *Bridge) Changed() (State, <-chan struct{}) {
	b.state.mu.Lock()
	defer b.state.mu.Unlock()
	if b.state.changed == nil {
		b.state.changed = make(chan struct{})
	}
	return b.state.State, b.state.changed
}
