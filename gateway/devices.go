package gateway

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	"packetboat/adapters"
	"packetboat/adapters/modbus"
	"packetboat/adapters/serial"
	"packetboat/adapters/tcp"
	"packetboat/config"
	"packetboat/gateway/admin"
)

// devices are the adapters that are configured now. As bridges, they run, change,
// come and go one by one, and what is queued for them stays.
type devices struct {
	make func(section any) (adapters.Adapter, error)

	stage *stage // in which they run; nil before start

	mu   sync.Mutex // list, for readers beside the goroutine that changes it
	list []*device
}

// device is an adapter and its run.
type device struct {
	adapters.Adapter
	section deviceSection
	part    *part
}

// deviceSection is one of the configuration.
type deviceSection struct {
	key, name string
	cfg       any // config.Serial, config.TCP, config.Modbus
}

// deviceSections are the adapters that are enabled.
func deviceSections(c *config.Config) (list []deviceSection) {
	add := func(kind string, i int, name string, enabled bool, cfg any) {
		if enabled {
			list = append(list, deviceSection{fmt.Sprintf("%s[%d]", kind, i), name, cfg})
		}
	}
	for i, x := range c.Serial {
		add("serial", i, x.Name, x.Enabled, x)
	}
	for i, x := range c.TCP {
		add("tcp", i, x.Name, x.Enabled, x)
	}
	for i, x := range c.Modbus {
		add("modbus", i, x.Name, x.Enabled, x)
	}
	return list
}

// newAdapter makes the adapter of a section, and attaches it.
func newAdapter(section any, host adapters.Host) (adapters.Adapter, error) {
	switch c := section.(type) {
	case config.Serial:
		return serial.New(c, host)
	case config.TCP:
		return tcp.New(c, host)
	case config.Modbus:
		return modbus.New(c, host)
	}
	return nil, fmt.Errorf("no adapter is made of %T", section)
}

// current are the devices that there are now.
func (d *devices) current() []*device {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.list // which apply replaces and does not change
}

// all are their adapters.
func (d *devices) all() []adapters.Adapter {
	now := d.current()
	list := make([]adapters.Adapter, len(now))
	for i, x := range now {
		list[i] = x.Adapter
	}
	return list
}

// start begins to run the adapters in s.
func (d *devices) start(s *stage) {
	d.stage = s
	for _, x := range d.list {
		d.begin(x)
	}
}

func (d *devices) begin(x *device) { x.part = d.stage.begin("adapter "+x.Name(), x.Run) }

// detach has nothing queued for the adapters any more.
func (d *devices) detach() {
	for _, x := range d.list {
		x.Close()
	}
}

// halt ends the runs of the adapters whose sections are not as they were, and tells of
// each section whether its adapter stays. apply has to follow.
func (d *devices) halt(sections []deviceSection) (stays map[string]bool) {
	now := map[string]any{}
	for _, s := range sections {
		now[s.name] = s.cfg
	}
	stays = map[string]bool{}
	for name := range now {
		stays[name] = false
	}
	var going []*part
	for _, x := range d.list {
		cfg, configured := now[x.Name()]
		switch {
		case configured && reflect.DeepEqual(x.section.cfg, cfg):
			stays[x.Name()] = true
		case x.part != nil:
			x.part.stop() // all at once
			going = append(going, x.part)
		}
	}
	for _, p := range going {
		p.halt()
	}
	return stays
}

// apply brings the adapters to what is configured. Those whose section is as it was
// are left alone. The others let go of their ports first, which another one may
// take then; a command that was not finished is written again by the one that takes
// its place. When an adapter cannot be made, the one before it goes on.
func (d *devices) apply(cfg *config.Config, sections []deviceSection) (did admin.Set, err error) {
	stays := d.halt(sections)
	was := map[string]*device{}
	for _, x := range d.list {
		was[x.Name()] = x
	}
	for _, x := range d.list {
		if _, configured := stays[x.Name()]; !configured {
			did.Removed = append(did.Removed, x.Name())
			x.Close()
		}
	}
	var list []*device
	for _, s := range sections {
		old := was[s.name]
		if stays[s.name] {
			list = append(list, old)
			continue
		}
		next, e := d.change(old, s)
		switch {
		case e != nil:
			err = errors.Join(err, fmt.Errorf("%s: adapter %s: %w", cfg.At(s.key), s.name, e))
		case old == nil:
			did.Added = append(did.Added, s.name)
		default:
			did.Changed = append(did.Changed, s.name)
		}
		if next != nil {
			list = append(list, next)
		}
	}
	d.mu.Lock()
	d.list = list
	d.mu.Unlock()
	return did, err
}

// change makes the adapter of a section in the place of old, which may be nil and
// does not run. Where that cannot be done it makes the old one anew.
func (d *devices) change(old *device, s deviceSection) (*device, error) {
	next := &device{section: s}
	var err error
	next.Adapter, err = d.make(s.cfg)
	if err != nil {
		if old == nil {
			return nil, err
		}
		next.section = old.section
		again, e := d.make(old.section.cfg)
		if e != nil {
			old.Close()
			return nil, errors.Join(err, e)
		}
		next.Adapter = again
	}
	if old != nil {
		old.Close() // what the new one is attached to, it leaves
	}
	if d.stage != nil {
		d.begin(next)
	}
	return next, err
}
