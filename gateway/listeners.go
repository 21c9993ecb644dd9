package gateway

import (
	"fmt"
	"os"
	"reflect"
	"sync"
	"sync/atomic"

	"packetboat/config"
	"packetboat/gateway/admin"
)

// listeners are the [[listener]]s that are configured now, with their doors.
type listeners struct {
	stage *stage // in which they are served; nil before listen

	mu   sync.Mutex // list, for readers beside the goroutine that changes it
	list []*listened
}

// listened is a [[listener]].
type listened struct {
	cfg   *config.Listener
	doors []*door // none: an address that nobody has asked for, and the machine does not have
}

// doors are those that were or will be opened.
func (l *listeners) doors() (list []*door) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.list {
		list = append(list, x.doors...)
	}
	return list
}

// shut are the addresses of those that are not open.
func (l *listeners) shut() (addresses []string) {
	for _, d := range l.doors() {
		if !d.isOpen.Load() {
			addresses = append(addresses, d.cfg.Address)
		}
	}
	return addresses
}

func (l *listeners) set(list []*listened) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = list
}

// listen opens all listeners and lets them be served in s; those that cannot
// be opened are tried again there. It returns how many are open.
func (g *Gateway) listen(s *stage) (open int) {
	g.listened.stage = s
	g.files.share(g.cfg, filesMay())
	var list []*listened
	for i := range g.cfg.Listeners {
		x := g.listenOn(g.cfg, i)
		for _, d := range x.doors {
			if d.isOpen.Load() {
				open++
			}
		}
		list = append(list, x)
	}
	g.listened.set(list)
	for _, name := range g.sockets.names() {
		if !named(g.cfg, name) {
			g.log.Warn("systemd has passed a socket that no [[listener]] takes", "name", name,
				"remedy", `give a [[listener]] the address "systemd:`+name+`", or remove the socket from the unit`)
		}
	}
	g.checkFiles(g.cfg)
	return open
}

// listenOn opens a [[listener]] of a configuration and has it served.
func (g *Gateway) listenOn(c *config.Config, i int) *listened {
	x := &listened{cfg: &c.Listeners[i]}
	s := g.listened.stage
	for _, d := range g.doorsOf(c, i) {
		err := d.open(s.ctx)
		switch {
		case err == nil:
		case d.cfg.Implied && absent(err):
			g.log.Debug("not listening", "address", d.cfg.Address, "error", err)
			continue
		default:
			d.complain(err)
		}
		x.doors = append(x.doors, d)
		d.part = s.begin("listener "+d.cfg.Address, d.serve)
	}
	return x
}

// changeListeners brings the listeners to what a new configuration says. Those that
// are as they were keep their connections; the connections of the others end.
func (g *Gateway) changeListeners(now *config.Config) (did admin.Set) {
	was := map[string]*listened{}
	for _, x := range g.listened.list {
		was[x.cfg.Address] = x
	}
	list := make([]*listened, len(now.Listeners))
	for i := range now.Listeners {
		c := &now.Listeners[i]
		old := was[c.Address]
		switch {
		case old == nil:
			did.Added = append(did.Added, c.Address)
			continue
		case reflect.DeepEqual(*old.cfg, *c):
			list[i] = old
		default:
			did.Changed = append(did.Changed, c.Address)
			old.halt()
		}
		delete(was, c.Address)
	}
	for _, x := range g.listened.list {
		if was[x.cfg.Address] == x {
			did.Removed = append(did.Removed, x.cfg.Address)
			x.halt() // before others are opened: it may be the same port
		}
	}
	g.files.share(now, filesMay())
	for i := range list {
		if list[i] == nil {
			list[i] = g.listenOn(now, i)
		}
	}
	g.listened.set(list)
	if len(did.Added)+len(did.Changed)+len(did.Removed) > 0 {
		g.checkFiles(now)
	}
	return did
}

// halt ends all its connections and closes it.
func (x *listened) halt() {
	for _, d := range x.doors {
		d.part.stop() // all at once
	}
	for _, d := range x.doors {
		d.part.halt()
	}
}

// named reports whether a [[listener]] takes systemd's socket of that name.
func named(c *config.Config, name string) bool {
	for i := range c.Listeners {
		if network, n := c.Listeners[i].Network(); network == "systemd" && n == name {
			return true
		}
	}
	return false
}

// doorsOf makes the doors of a [[listener]]: one, but for several sockets that
// systemd holds under one name.
func (g *Gateway) doorsOf(c *config.Config, i int) []*door {
	cfg, most := &c.Listeners[i], new(atomic.Int64)
	files := []*os.File{nil}
	if network, name := cfg.Network(); network == "systemd" && len(g.sockets[name]) > 0 {
		files = g.sockets[name]
	}
	var doors []*door
	for _, f := range files {
		doors = append(doors, &door{g: g, conf: c, cfg: cfg, key: fmt.Sprintf("listener[%d]", i), most: most, file: f})
	}
	return doors
}
