package gateway

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	"packetboat/bridge"
	"packetboat/config"
)

// bridges are the bridges that are configured now. They run, change, come and go
// one by one; what they queue for stays attached to the broker while they do.
type bridges struct {
	make func(c config.Bridge, replaces *bridge.Bridge) (*bridge.Bridge, error)

	stage *stage // in which they run; nil before start

	mu   sync.Mutex // list, for readers beside the goroutine that changes it
	list []*oneBridge
}

// oneBridge is a bridge and its run.
type oneBridge struct {
	*bridge.Bridge
	cfg  config.Bridge
	part *part
}

// all are the bridges that there are now.
func (s *bridges) all() []*bridge.Bridge {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*bridge.Bridge, len(s.list))
	for i, b := range s.list {
		list[i] = b.Bridge
	}
	return list
}

// sections are their configurations, by name.
func (s *bridges) sections() map[string]config.Bridge {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]config.Bridge, len(s.list))
	for _, b := range s.list {
		all[b.Name()] = b.cfg
	}
	return all
}

// start begins to run the bridges in st.
func (s *bridges) start(st *stage) {
	s.stage = st
	for _, b := range s.list {
		s.begin(b)
	}
}

func (s *bridges) begin(b *oneBridge) { b.part = s.stage.begin("bridge "+b.Name(), b.Run) }

// detach has nothing queued for the bridges any more.
func (s *bridges) detach() {
	for _, b := range s.list {
		b.Close()
	}
}

// bridgeChanges are the names of the bridges that a new configuration concerns.
type bridgeChanges struct {
	Added, Changed, Removed []string
}

// apply brings the bridges to what is configured. Those whose section is as it
// was are left alone. One that has changed keeps its queue, with what comes in
// meanwhile; what of it is in flight is sent again by the same session or, at
// another server, as that one's first. When a bridge cannot be made, the one
// before it goes on.
//
// All that go or change leave their clouds before another one connects: that may
// have taken over the client id, or the topic of the status.
func (s *bridges) apply(sections []config.Bridge) (did bridgeChanges, err error) {
	was := map[string]*oneBridge{}
	for _, b := range s.list {
		was[b.Name()] = b
	}
	stays := map[string]bool{}
	for _, c := range sections {
		old := was[c.Name]
		stays[c.Name] = c.Enabled && old != nil && reflect.DeepEqual(old.cfg, c)
	}
	s.halt(func(b *oneBridge) bool { return !stays[b.Name()] })
	var list []*oneBridge
	for _, c := range sections {
		if !c.Enabled {
			continue
		}
		old := was[c.Name]
		delete(was, c.Name)
		if stays[c.Name] {
			list = append(list, old)
			continue
		}
		next, e := s.change(old, c)
		switch {
		case e != nil:
			err = errors.Join(err, fmt.Errorf("bridge %s: %w", c.Name, e))
		case old == nil:
			did.Added = append(did.Added, c.Name)
		default:
			did.Changed = append(did.Changed, c.Name)
		}
		if next != nil {
			list = append(list, next)
		}
	}
	for _, b := range s.list {
		if was[b.Name()] == b {
			did.Removed = append(did.Removed, b.Name())
			b.Close()
		}
	}
	s.mu.Lock()
	s.list = list
	s.mu.Unlock()
	return did, err
}

// halt ends the runs of those bridges.
func (s *bridges) halt(those func(b *oneBridge) bool) {
	if s.stage == nil {
		return
	}
	for _, b := range s.list {
		if those(b) {
			b.part.stop() // all at once
		}
	}
	for _, b := range s.list {
		if those(b) {
			b.part.halt()
		}
	}
}

// pause halts the bridge called name while f runs, and reports whether there is
// one; without one f is not called.
func (s *bridges) pause(name string, f func()) bool {
	for _, b := range s.list {
		if b.Name() == name {
			b.part.halt()
			f()
			s.begin(b)
			return true
		}
	}
	return false
}

// change makes the bridge of a section in the place of old, which may be nil and does
// not run. It returns old, running again, when that cannot be done.
func (s *bridges) change(old *oneBridge, c config.Bridge) (*oneBridge, error) {
	var replaces *bridge.Bridge
	if old != nil {
		replaces = old.Bridge
	}
	b, err := s.make(c, replaces)
	next := &oneBridge{Bridge: b, cfg: c}
	if err != nil {
		next = old
	}
	if next != nil && s.stage != nil {
		s.begin(next)
	}
	return next, err
}
