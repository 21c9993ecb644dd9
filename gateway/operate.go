package gateway

import (
	"context"
	"time"

	"packetboat/bridge"
	"packetboat/gateway/admin"
)

// openAdmin opens the operators' ways in and serves them in s. Without them the
// gateway runs all the same.
func (g *Gateway) openAdmin(s *stage) {
	g.wear = newWear(g.store, int64(g.cfg.Queue.WriteBudget), g.log)
	s.run("wear", g.wear.run)
	api := &admin.Server{
		Local: admin.Local{Store: g.store, InUse: g.uses}, Broker: g.broker, Status: g.Status, Reload: g.Reload, BetweenReloads: g.betweenReloads, Bridges: g.Bridges, Reset: g.ResetBridge,
		Adapters: g.devices.all, Log: g.log,
		Configuration: g.configuration, Wear: g.wear.report, Logs: &g.logs, Recorder: &admin.Recorder{Take: g.record},
	}
	s.run("history", api.Recorder.Run)
	g.openSocket(s, api)
	g.openWeb(s, api)
}

// openSocket opens the socket of the command line's tools.
func (g *Gateway) openSocket(s *stage, api *admin.Server) {
	path := g.cfg.Admin.Socket
	if path == "" {
		return
	}
	ln, err := admin.Listen(path)
	if err != nil {
		g.log.Warn("the admin socket cannot be opened; packetboat status and changes with packetboat queue will not reach this gateway",
			"socket", path, "error", err, "config", g.cfg.At("admin.socket").String())
		return
	}
	s.run("admin socket", func(ctx context.Context) error { return api.Serve(ctx, ln) })
}

// uses reports whether a bridge or adapter that runs is called owner.
func (g *Gateway) uses(owner string) bool {
	for _, b := range g.bridges.all() {
		if owner == "bridge/"+b.Name() {
			return true
		}
	}
	for _, a := range g.devices.all() {
		if owner == "adapter/"+a.Name() {
			return true
		}
	}
	return false
}

// Status is how the gateway is, for operators.
func (g *Gateway) Status() *admin.Status {
	now := g.snapshot()
	now.more = g.outlook()
	st := &admin.Status{
		ID: g.cfg.Gateway.ID, Version: g.opt.Version, Uptime: time.Since(g.started).Seconds(), Clients: now.clients,
		Disk: admin.DiskOf(g.store), Bridges: []admin.Bridge{},
		Adapters: admin.Adapters{Configured: now.adapters, Ready: now.ready, Paused: now.paused},
		Clock:    admin.Clock{Now: now.more.now, Synchronised: clockSynchronised()},
		Lost:     g.lost(),
	}
	st.Disk.Dir, st.Disk.MaxSize = g.cfg.Gateway.DataDir, int64(g.cfg.Queue.MaxSize)
	st.Disk.FreeBytes, st.Disk.FullIn = now.more.room.free, now.more.room.fullIn()
	sections := g.bridges.sections()
	for i := range now.bridges {
		b := &now.bridges[i]
		cfg := sections[b.name]
		old := g.trend.from(maxTime(now.more.now.Add(-time.Minute), b.state.Since), sample{at: now.more.now})
		b.whenFull = policies(cfg.Up, g.cfg.Queue.WhenFull)
		if was, ok := g.trend.from(now.more.now.Add(-time.Minute), sample{}).bridges[b.name]; ok {
			b.dropped = b.flow.dropped - min(b.flow.dropped, was.dropped)
		}
		st.Bridges = append(st.Bridges, b.shown(old, now.more.now, cfg.Rate))
	}
	st.Problems = append(now.problems(), g.wear.problems()...)
	st.Flowing = flowing(st, now.more.refused > 0 && now.paused > 0, len(g.listened.shut()) > 0)
	return st
}

// shown is a bridge for operators; old is from since it is in its state, and rate
// the limit for the backlog.
func (b *bridgeState) shown(old sample, now time.Time, rate int) admin.Bridge {
	since := b.state.Down
	if b.state.Phase == bridge.Online || b.state.Phase == bridge.Stalled {
		since = b.state.Since
	}
	if !since.IsZero() {
		since = now.Add(-now.Sub(since)) // by the clock as it is now: it may have been set meanwhile
	}
	x := admin.Bridge{Name: b.name, State: b.state.Phase.String(), Since: since, Waiting: b.waiting, Oldest: b.oldest.Seconds(), DeadLetters: b.dead}
	if b.state.Phase != bridge.Online && b.state.Err != nil {
		x.Error = b.state.Err.Error()
	}
	if b.state.Phase == bridge.Online {
		if left, ok := drainTime(old.bridges[b.name], b.flow, now.Sub(old.at), rate); ok {
			s := left.Seconds()
			x.DrainedIn = &s
		}
	}
	return x
}

// lost is how many messages were lost, in all.
func (g *Gateway) lost() (sum uint64) {
	for _, name := range g.store.Consumers() {
		if c := g.store.Lookup(name); c != nil {
			for _, n := range c.Lag().Lost {
				sum += n
			}
		}
	}
	return sum
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
