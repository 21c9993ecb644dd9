package gateway

import (
	"errors"
	"fmt"
	"strings"

	"packetboat/adapters"
	"packetboat/adapters/modbus"
	"packetboat/adapters/serial"
	"packetboat/adapters/tcp"
	"packetboat/bridge"
	"packetboat/config"
)

// Check is the part of a configuration's validation that the roles do: what
// they report is given its place in the file. It starts nothing, and reads no
// file but that of the users: without any, some listeners let nobody in.
func Check(cfg *config.Config) config.Errors {
	c := &checker{cfg: cfg}
	c.sizes()
	c.users()
	c.access()
	for i := range cfg.Serial {
		c.role(fmt.Sprintf("serial[%d]", i), serial.Check(cfg.Serial[i]))
	}
	for i := range cfg.TCP {
		c.role(fmt.Sprintf("tcp[%d]", i), tcp.Check(cfg.TCP[i]))
	}
	for i := range cfg.Modbus {
		c.role(fmt.Sprintf("modbus[%d]", i), modbus.Check(cfg.Modbus[i]))
	}
	for i := range cfg.Bridges {
		c.role(fmt.Sprintf("bridge[%d]", i), bridge.Check(cfg.Bridges[i]))
	}
	for _, loop := range bridge.Loops(cfg.Bridges) {
		c.loop(loop)
	}
	return c.errs
}

// CheckFiles reads the users, and the certificates and keys that listeners,
// adapters and bridges need, as whoever runs this. A gateway starts without them, and listens and
// connects when they are there.
func CheckFiles(cfg *config.Config) config.Errors {
	c := &checker{cfg: cfg}
	c.usersFile()
	for i := range cfg.Listeners {
		if cfg.Listeners[i].TLS == nil {
			continue
		}
		if _, err := readCerts(cfg.Listeners[i].TLS); err != nil {
			var e *tlsError
			errors.As(err, &e)
			c.fail(fmt.Sprintf("listener[%d].tls.%s", i, e.key), "%v (%s)", e.err, e.remedy)
		}
	}
	for i := range cfg.TCP {
		c.role(fmt.Sprintf("tcp[%d]", i), tcp.CheckFiles(cfg.TCP[i]))
	}
	for i := range cfg.Bridges {
		c.role(fmt.Sprintf("bridge[%d]", i), bridge.CheckFiles(cfg.Bridges[i]))
	}
	return c.errs
}

type checker struct {
	cfg  *config.Config
	errs config.Errors
}

func (c *checker) fail(key, format string, args ...any) {
	c.errs = append(c.errs, c.cfg.Errorf(key, format, args...))
}

// role places what a role says about its section, which may be several errors
// joined.
func (c *checker) role(section string, err error) {
	if err == nil {
		return
	}
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range all.Unwrap() {
			c.role(section, e)
		}
		return
	}
	var ofAdapter *adapters.KeyError
	var ofBridge *bridge.ConfigError
	switch {
	case errors.As(err, &ofAdapter):
		c.fail(section+"."+ofAdapter.Key, "%v", ofAdapter.Err)
	case errors.As(err, &ofBridge):
		c.fail(section+"."+ofBridge.Key, "%v", ofBridge.Err)
	default:
		c.fail(section, "%v", err)
	}
}

// loop reports rules that send messages round for ever, at the last of them.
func (c *checker) loop(turns []bridge.Turn) {
	at := func(key string) string { return fmt.Sprintf("%s (at %v)", key, c.cfg.At(key+".filter")) }
	last := turns[len(turns)-1].Up
	key := fmt.Sprintf("bridge[%d].up[%d]", last.Bridge, last.Rule)
	var way strings.Builder
	for i, t := range turns {
		up := fmt.Sprintf("bridge[%d].up[%d]", t.Up.Bridge, t.Up.Rule)
		if i == len(turns)-1 {
			up = "this rule"
		} else {
			up = at(up)
		}
		fmt.Fprintf(&way, "%s -> %s -> %s -> %s -> ", t.Topic, at(fmt.Sprintf("bridge[%d].down[%d]", t.Down.Bridge, t.Down.Rule)), t.Local, up)
	}
	c.fail(key+".filter", "makes a loop, in which a message goes round for ever: %s%s; narrow a filter or change a topic, or give the rules to one bridge, which never sends up what it has received",
		way.String(), turns[0].Topic)
}

// sizes checks that frames fit into packets. A size that follows from the disk
// is taken as on a disk with room enough.
func (c *checker) sizes() {
	l := limitsOf(c.cfg, disk{})
	frame := func(section string, s *config.Stream) {
		if m := int64(s.Frame.Max); m > l.maxPacket {
			c.fail(section+".frame.max", "must be at most broker.max_packet_size, here %v", config.Size(l.maxPacket))
		}
	}
	for i := range c.cfg.Serial {
		frame(fmt.Sprintf("serial[%d]", i), &c.cfg.Serial[i].Stream)
	}
	for i := range c.cfg.TCP {
		frame(fmt.Sprintf("tcp[%d]", i), &c.cfg.TCP[i].Stream)
	}
}
