package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"packetboat/broker/store"
)

// ErrNoBridge: no bridge of that name runs or has a queue.
var ErrNoBridge = errors.New("there is no such bridge")

// Bridges is how the bridges that run are, each in full.
type Bridges struct {
	Bridges []BridgeDetails `json:"bridges"`
}

// BridgeDetails is all that is known of a bridge.
type BridgeDetails struct {
	Name        string    `json:"name"`
	State       string    `json:"state"`
	Since       time.Time `json:"since,omitzero"`
	Server      string    `json:"server,omitempty"`     // that is or was last talked to
	Error       string    `json:"last_error,omitempty"` // also when all is well again
	ErrorAt     time.Time `json:"last_error_at,omitzero"`
	NextAttempt time.Time `json:"next_attempt,omitzero"`
	Lanes       []Queue   `json:"lanes"`        // by priority, from 0
	DeadLetters uint64    `json:"dead_letters"` // kept of what the cloud would not take
	InFlight    int       `json:"in_flight"`
	Rate        float64   `json:"drain_rate"`         // messages a second of late; 0 = not known
	Left        float64   `json:"drain_left_seconds"` // until nothing waits, if nothing comes in
	Counters    Counters  `json:"counters"`
}

// Counters count since the gateway was started or the bridge's configuration was
// changed by a reload.
type Counters struct {
	Sent         uint64 `json:"sent"`      // PUBLISH packets, re-sends included
	Resent       uint64 `json:"resent"`    // of these, with DUP
	Acked        uint64 `json:"acked"`     // messages finished by the cloud's answer
	Unstamped    uint64 `json:"unstamped"` // payloads that could not take the stamp
	Received     uint64 `json:"received"`  // PUBLISH packets from the cloud
	Unmatched    uint64 `json:"unmatched"` // of these, taken by no down rule
	Looped       uint64 `json:"looped"`    // of these, sent from here before and so not taken
	Connects     uint64 `json:"connects"`
	Reconnects   uint64 `json:"reconnects"`
	SessionsLost uint64 `json:"sessions_lost"` // connects at which the cloud had forgotten the session
	BytesOut     uint64 `json:"bytes_out"`
	BytesIn      uint64 `json:"bytes_in"`
}

// Reset is what the reset of a bridge has done.
type Reset struct {
	Bridge     string `json:"bridge"`
	HadSession bool   `json:"had_session"` // a session at the cloud was on record
	Waiting    uint64 `json:"waiting"`     // messages in its queue, which stay
}

// ResetBridge forgets the session that a bridge has at its cloud, so that its next
// connection begins a new one, and returns when that is on the disk. What waits
// stays; what had been in flight goes again as new. The bridge must not run.
func (l *Local) ResetBridge(ctx context.Context, name string) (Reset, error) {
	did := Reset{Bridge: name}
	known := l.bridges()
	if !slices.Contains(known, name) {
		if len(known) == 0 {
			return did, fmt.Errorf("%w: %s, nor any other", ErrNoBridge, name)
		}
		return did, fmt.Errorf("%w: %s; there are %s", ErrNoBridge, name, strings.Join(known, ", "))
	}
	if err := l.Store.Failed(); err != nil {
		return did, fmt.Errorf("reset bridge %s: the disk takes no writes: %w", name, err)
	}
	for _, queue := range l.Store.Consumers() {
		if c := l.Store.Lookup(queue); c != nil && ownerOf(queue) == "bridge/"+name && !strings.HasSuffix(queue, "/dead") {
			did.Waiting += c.Lag().Messages
		}
	}
	key := store.Key(upstreamKey, name)
	_, did.HadSession = l.Store.Get(key)
	if err := l.Store.Wait(ctx, l.Store.Delete(key)); err != nil {
		return did, fmt.Errorf("reset bridge %s: wait for the disk: %w", name, err)
	}
	return did, nil
}

// bridges are the names of the bridges that have a queue.
func (l *Local) bridges() []string {
	var names []string
	for _, queue := range l.Store.Consumers() {
		if name, ok := strings.CutPrefix(ownerOf(queue), "bridge/"); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
