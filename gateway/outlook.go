package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"packetboat/adapters/modbus"
	"packetboat/adapters/serial"
	"packetboat/broker"
	"packetboat/config"
	"packetboat/gateway/admin"
)

// An outlook is what operators are told beyond a snapshot: causes, and what
// changed in the last minute.
type outlook struct {
	now      time.Time
	shut     []admin.Problem // listeners that do not open, and why
	certs    []admin.Problem // of those that are open
	room     room
	refused  uint64 // publishes in the last minute that the queue did not take
	adapters []adapterState
	denials  []broker.Denial // the newest first
	denied   uint64          // in all
	logins   failedLogins
}

// room is what the queue may still take.
type room struct {
	maxSize int64
	size    int64 // bytes that max_size leaves
	free    int64 // bytes of the file system, -1: not known
	minFree int64
	fill    float64 // bytes a second, 0: it does not fill, or that is not known
}

// left is how many bytes there is room for, whatever the bound.
func (r room) left() int64 {
	if r.free < 0 {
		return max(r.size, 0)
	}
	return max(min(r.size, r.free-r.minFree), 0)
}

// fullIn is how many seconds that lasts; nil: it does not fill.
func (r room) fullIn() *float64 {
	if r.fill == 0 {
		return nil
	}
	s := float64(r.left()) / r.fill
	return &s
}

// adapterState is an adapter and what came from its devices of late.
type adapterState struct {
	name    string
	line    string // how a serial line is set up, "" for others
	port    string // as configured, "" for others
	ready   bool
	problem string
	recent  frames
	span    time.Duration // that recent is of
	units   int           // of Modbus
	deaf    []string      // of these, those that have not answered their latest poll
	refused []string      // values that a unit which answers does not give
}

// outlook looks around.
func (g *Gateway) outlook() outlook {
	s := g.sample()
	old := g.trend.from(s.at.Add(-time.Minute), s)
	o := outlook{now: s.at, refused: s.refused - old.refused, logins: g.logins.failures()}
	o.denials, o.denied = g.broker.Denials()
	o.room = room{maxSize: int64(g.cfg.Queue.MaxSize), size: g.store.Room(), free: freeBytes(g.cfg.Gateway.DataDir), minFree: g.limits.minFree}
	o.room.fill, _ = fillRate(old, s)
	for _, d := range g.listened.doors() {
		o.look(&d.shown, d.isOpen.Load())
	}
	if w := g.web.Load(); w != nil {
		o.look(&w.shown, w.isOpen.Load())
	}
	for _, x := range g.devices.current() {
		o.adapters = append(o.adapters, adapterStateOf(x, old, s))
	}
	return o
}

// look takes in what a listener has to tell.
func (o *outlook) look(s *shown, open bool) {
	if p := s.trouble.Load(); p != nil && !open {
		o.shut = append(o.shut, *p)
	}
	if c := s.certs.Load(); c != nil && open {
		if what, remedy := c.trouble(o.now); what != "" {
			o.certs = append(o.certs, admin.Problem{What: what, Remedy: remedy})
		}
	}
}

func adapterStateOf(x *device, old, now sample) adapterState {
	st := x.Stats()
	s := adapterState{name: x.Name(), ready: st.Ready, problem: st.Problem, span: now.at.Sub(old.at)}
	of := func(port string, match *config.USB, baud int, mode config.Mode) {
		s.port, s.line = serial.Wanted{Port: port, Match: match}.String(), fmt.Sprintf("baud = %d, mode = %q", baud, mode)
	}
	switch c := x.section.cfg.(type) {
	case config.Serial:
		of(c.Port, c.Match, c.Baud, c.Mode)
	case config.Modbus:
		if c.Connect == "" {
			of(c.Port, c.Match, c.Baud, c.Mode)
		}
	}
	if a, ok := x.Adapter.(*modbus.Adapter); ok {
		units := a.Units()
		s.units = len(units)
		for i := range units {
			unit := fmt.Sprintf("%s (id %d)", cmp.Or(units[i].Name, "unit"), units[i].ID)
			switch {
			case units[i].Failing:
				s.deaf = append(s.deaf, unit)
			case len(units[i].Refused) > 0:
				s.refused = append(s.refused, strings.Join(units[i].Refused, ", ")+" of "+unit)
			}
		}
	}
	was, is := old.adapters[s.name], now.adapters[s.name]
	if is.bytes < was.bytes || is.good < was.good || is.bad < was.bad { // another since, by a reload
		was = frames{}
	}
	s.recent = frames{bytes: is.bytes - was.bytes, good: is.good - was.good, bad: is.bad - was.bad, undecoded: is.undecoded - was.undecoded}
	return s
}

// flowing sums a status up; shut: clients cannot connect to a listener.
func flowing(st *admin.Status, full, shut bool) string {
	online := 0
	for i := range st.Bridges {
		if st.Bridges[i].State == "online" {
			online++
		}
	}
	switch {
	case st.Disk.Failed != "", full, online == 0 && len(st.Bridges) > 0:
		return admin.FlowNo
	case shut, online < len(st.Bridges), st.Adapters.Ready < st.Adapters.Configured, st.Adapters.Paused > 0:
		return admin.FlowPartly
	}
	return admin.FlowYes
}

// policies are what the lanes of a bridge do when there is no room, each once.
func policies(up []config.Up, queue string) string {
	var all []string
	for _, u := range up {
		p := u.WhenFull
		if p == "" {
			p = queue
		}
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return queue
	}
	return strings.Join(all, ", ")
}
