package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"math/bits"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"packetboat/bridge"
	"packetboat/broker/store"
	"packetboat/gateway/quantity"
)

const stateStopping = daemon.SdNotifyStopping

// systemd is the way to the service manager; without NOTIFY_SOCKET there is
// none.
func systemd(log *slog.Logger) func(state string) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return func(string) {}
	}
	var failed atomic.Bool
	return func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil && failed.CompareAndSwap(false, true) {
			log.Warn("systemd cannot be told the state", "error", err)
		}
	}
}

const (
	statusEvery = 2 * time.Second // at most: systemd's STATUS=
	stateEvery  = time.Minute     // at most: the line in the log
)

// report tells systemd that the gateway is ready and, until ctx ends, how it
// is; and the log, when that has changed.
func (g *Gateway) report(ctx context.Context) {
	now := g.snapshot()
	g.opt.Notify(daemon.SdNotifyReady + "\nSTATUS=" + now.String())
	told, logged, at := now.String(), now, time.Now()
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-g.work:
			f(ctx)
		case now := <-tick.C:
			g.folding.sweep(ctx, now)
		}
		now := g.snapshot()
		if s := now.String(); s != told {
			g.opt.Notify("STATUS=" + s)
			told = s
		}
		if time.Since(at) >= stateEvery && now.worthTelling(logged) {
			g.log.LogAttrs(ctx, slog.LevelInfo, "state", now.attrs()...)
			logged, at = now, time.Now()
		}
	}
}

// A snapshot is how the gateway is, as far as one line tells.
type snapshot struct {
	failed       error // the disk queue's
	damage       int   // places found when it was opened
	ledgerErrors uint64
	bridges      []bridgeState
	adapters     int // configured
	ready        int // of these, adapters whose port is open, or that devices can connect to
	paused       int // links that are not read, since the queue takes nothing
	clients      int64
	closed       []string // listeners that do not open
	more         outlook  // only where problems are asked for
}

type bridgeState struct {
	name    string
	state   bridge.State
	waiting uint64
	oldest  time.Duration
	dead    uint64 // dead letters
	flow    flow

	dropped  uint64 // messages in the last minute, as there was no room
	whenFull string // what its lanes do then
}

func (g *Gateway) snapshot() snapshot {
	disk := g.store.Stats()
	s := snapshot{failed: g.store.Failed(), ledgerErrors: disk.LedgerErrors, adapters: len(g.devices.all()), clients: g.broker.Stats().Connections}
	for i := range disk.Damage {
		if !disk.Damage[i].Torn {
			s.damage++
		}
	}
	for _, b := range g.bridges.all() {
		st := bridgeState{name: b.Name(), state: b.State(), dead: b.DeadLetters()}
		st.state.Phase = phaseOf(st.state)
		for _, l := range b.Lag() {
			st.waiting += l.Messages
			st.oldest = max(st.oldest, l.Oldest)
			st.flow.dropped += l.Lost[store.Dropped]
		}
		st.flow.waiting = st.waiting
		s.bridges = append(s.bridges, st)
	}
	s.closed = g.listened.shut()
	if w := g.web.Load(); w != nil && !w.isOpen.Load() {
		s.closed = append(s.closed, w.cfg.Address+" (admin.address)")
	}
	for _, a := range g.devices.all() {
		st := a.Stats()
		if st.Ready {
			s.ready++
		}
		s.paused += st.Paused
	}
	return s
}

// String is the line of truth, what is wrong first.
func (s snapshot) String() string {
	var parts []string
	if s.failed != nil {
		parts = append(parts, "THE DISK QUEUE CANNOT WRITE: "+s.failed.Error())
	}
	for _, address := range s.closed {
		parts = append(parts, "not listening on "+address)
	}
	if s.paused > 0 {
		parts = append(parts, quantity.Count(s.paused, "device", "devices")+" held up by the full queue")
	}
	for _, b := range s.bridges {
		p := fmt.Sprintf("bridge %s %v, %d waiting", b.name, b.state.Phase, b.waiting)
		if b.state.Phase != bridge.Online && b.state.Phase != bridge.Connecting && b.state.Err != nil {
			p += " (" + b.state.Err.Error() + ")"
		}
		parts = append(parts, p)
	}
	if s.adapters > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d adapters ready", s.ready, s.adapters))
	}
	parts = append(parts, quantity.Count(s.clients, "MQTT client", "MQTT clients"))
	return strings.ReplaceAll(strings.Join(parts, "; "), "\n", ", ")
}

// worthTelling reports whether the log should have s after it had old: a few
// messages more or less that wait are no news, nor are clients that come and go.
func (s snapshot) worthTelling(old snapshot) bool {
	same := (s.failed == nil) == (old.failed == nil) && s.ready == old.ready && (s.paused > 0) == (old.paused > 0) &&
		slices.Equal(s.closed, old.closed) &&
		slices.EqualFunc(s.bridges, old.bridges, func(a, b bridgeState) bool {
			return a.state.Phase == b.state.Phase && bits.Len64(a.waiting/100) == bits.Len64(b.waiting/100)
		})
	return !same
}

// attrs is the same for the log.
func (s snapshot) attrs() []slog.Attr {
	var list []slog.Attr
	if s.failed != nil {
		list = append(list, slog.String("queue", s.failed.Error()))
	}
	for _, b := range s.bridges {
		list = append(list, slog.Group("bridge."+b.name, "state", b.state.Phase.String(), "waiting", b.waiting, "oldest", b.oldest.Round(time.Second)))
	}
	if len(s.closed) > 0 {
		list = append(list, slog.Any("not_listening", s.closed))
	}
	return append(list, slog.Int("adapters_ready", s.ready), slog.Int("adapters", s.adapters),
		slog.Int("paused", s.paused), slog.Int64("clients", s.clients))
}
