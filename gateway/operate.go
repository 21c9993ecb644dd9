package gateway

import (
	"context"
	"fmt"
	"strings"
	"time"

	"packetboat/adapters"
	"packetboat/bridge"
	"packetboat/gateway/admin"
)

// openAdmin opens the operators' ways in and serves them in s. Without them the
// gateway runs all the same.
func (g *Gateway) openAdmin(s *stage) {
	g.wear = newWear(g.store, int64(g.cfg.Queue.WriteBudget), g.log)
	s.run("wear", g.wear.run)
	api := &admin.Server{
		Local: admin.Local{Store: g.store, InUse: g.uses}, Broker: g.broker, Status: g.Status, Reload: g.Reload, Bridges: g.Bridges, Reset: g.ResetBridge,
		Adapters: func() []adapters.Adapter { return g.adapters }, Log: g.log,
		Configuration: g.configuration, Wear: g.wear.report, Logs: &g.logs, Recorder: &admin.Recorder{Take: g.sample},
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
	for _, a := range g.adapters {
		if owner == "adapter/"+a.Name() {
			return true
		}
	}
	return false
}

// Status is how the gateway is, for operators.
func (g *Gateway) Status() *admin.Status {
	now := g.snapshot()
	st := &admin.Status{
		ID: g.cfg.Gateway.ID, Version: g.opt.Version, Uptime: time.Since(g.started).Seconds(), Clients: now.clients,
		Problems: append(now.problems(), g.wear.problems()...), Disk: admin.DiskOf(g.store), Bridges: []admin.Bridge{},
		Adapters: admin.Adapters{Configured: now.adapters, Ready: now.ready, Paused: now.paused},
	}
	st.Disk.Dir, st.Disk.MaxSize = g.cfg.Gateway.DataDir, int64(g.cfg.Queue.MaxSize)
	for _, b := range now.bridges {
		x := admin.Bridge{Name: b.name, State: b.state.Phase.String(), Waiting: b.waiting, Oldest: b.oldest.Seconds(), DeadLetters: b.dead}
		if b.state.Phase != bridge.Online && b.state.Err != nil {
			x.Error = b.state.Err.Error()
		}
		st.Bridges = append(st.Bridges, x)
	}
	return st
}

// problems is what is wrong and what to do about it, the worst first.
func (s snapshot) problems() []admin.Problem {
	list := []admin.Problem{}
	add := func(what, remedy string) { list = append(list, admin.Problem{What: what, Remedy: remedy}) }
	if s.failed != nil {
		add("the disk queue takes no writes: "+s.failed.Error(),
			"nothing durable is acknowledged until it does, and it is tried again: free space, check the card (dmesg), or mount it writable. "+
				"Messages of QoS 0 go on. What waits is delivered at QoS 0 and 1, and at QoS 2 only what the receiver has confirmed already: its next step has to be on the disk before it is sent")
	}
	if s.damage > 0 {
		add(fmt.Sprintf("the queue was damaged in %d places when the gateway was started", s.damage), "packetboat queue verify names them; the bytes are kept as quarantine-* in data_dir")
	}
	if s.ledgerErrors > 0 {
		add(fmt.Sprintf("%d ledgers were wrong and were put right", s.ledgerErrors), "please report it, with the log")
	}
	for _, address := range s.closed {
		add("not listening on "+address, "the log says why")
	}
	if s.paused > 0 {
		add(fmt.Sprintf("%d devices are held up: the queue takes nothing", s.paused), "packetboat queue ls shows what waits; it goes on when there is room")
	}
	for _, b := range s.bridges {
		if b.dead > 0 {
			add(fmt.Sprintf("%d messages for bridge %s are dead letters: the cloud would not take them", b.dead, b.name),
				fmt.Sprintf("packetboat queue tail bridge/%s/dead says why, export saves them, purge ends them", b.name))
		}
		if b.state.Phase == bridge.Online || b.state.Phase == bridge.Connecting && b.state.Err == nil {
			continue
		}
		what := fmt.Sprintf("bridge %s is %v", b.name, b.state.Phase)
		if b.state.Err != nil {
			what += ": " + strings.ReplaceAll(b.state.Err.Error(), "\n", "; ") // a line for each server
		}
		add(what, fmt.Sprintf("%d messages wait on the disk, the oldest for %v; they go when it is online", b.waiting, b.oldest.Round(time.Second)))
	}
	if s.ready < s.adapters {
		add(fmt.Sprintf("%d of %d adapters are not ready", s.adapters-s.ready, s.adapters), "the log says why")
	}
	return list
}
