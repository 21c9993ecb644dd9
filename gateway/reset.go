package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"packetboat/bridge"
	"packetboat/gateway/admin"
)

// resetPatience is how long a reset waits for the disk, with the bridge halted.
const resetPatience = 30 * time.Second

// ResetBridge has the next connection of a bridge begin a new session at its
// cloud, once: for data directories that were restored from a backup, whose record
// of the session is older than the session. The bridge is halted, what it knows of
// the session deleted, and started again when that is on the disk. Its queue
// stays; what had been in flight goes again as new. A bridge that has a queue and
// is not configured is reset as well. Any goroutine.
func (g *Gateway) ResetBridge(ctx context.Context, name string) (did admin.Reset, err error) {
	if e := g.do(ctx, func(ctx context.Context) { did, err = g.reset(ctx, name) }); e != nil {
		return admin.Reset{}, e
	}
	return did, err
}

func (g *Gateway) reset(ctx context.Context, name string) (did admin.Reset, err error) {
	local := admin.Local{Store: g.store}
	if g.store.Failed() != nil {
		return local.ResetBridge(ctx, name) // says so; there is no reason to halt the bridge
	}
	forget := func() {
		ctx, stop := context.WithTimeout(ctx, resetPatience)
		defer stop()
		did, err = local.ResetBridge(ctx, name)
	}
	if !g.bridges.pause(name, forget) {
		forget()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w; the next connection begins a new session all the same, unless the gateway is killed before", err)
	}
	return did, err
}

// Bridges is how the bridges are, for operators.
func (g *Gateway) Bridges() *admin.Bridges {
	out := &admin.Bridges{Bridges: []admin.BridgeDetails{}}
	for _, b := range g.bridges.all() {
		out.Bridges = append(out.Bridges, detailsOf(b))
	}
	return out
}

func detailsOf(b *bridge.Bridge) admin.BridgeDetails {
	st, n := b.State(), b.Stats()
	d := admin.BridgeDetails{
		Name: b.Name(), State: phaseOf(st).String(), Since: st.Since, Server: st.Server, ErrorAt: st.ErrAt, NextAttempt: st.Until, InFlight: n.InFlight, DeadLetters: b.DeadLetters(),
		Counters: admin.Counters{
			Sent: n.Sent, Resent: n.Resent, Acked: n.Acked, Unstamped: n.Unstamped, Received: n.Received, Unmatched: n.Unmatched, Looped: n.Looped,
			Connects: n.Connects, Reconnects: n.Reconnects, SessionsLost: n.SessionsLost, BytesOut: n.BytesOut, BytesIn: n.BytesIn,
		},
	}
	rate, left := b.Drain()
	d.Rate, d.Left = rate, left.Seconds()
	if st.Err != nil {
		d.Error = st.Err.Error()
	}
	for i, lag := range b.Lag() {
		d.Lanes = append(d.Lanes, admin.QueueOf(fmt.Sprintf("bridge/%s/%d", b.Name(), i), lag))
	}
	return d
}

// phaseOf is what a bridge does that runs as long as the gateway: one that was
// told to run and has not begun yet connects.
func phaseOf(s bridge.State) bridge.Phase {
	if s.Phase == bridge.Stopped {
		return bridge.Connecting
	}
	return s.Phase
}
