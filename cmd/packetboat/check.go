package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"packetboat/adapters/serial"
	"packetboat/broker/topic"
	"packetboat/config"
	"packetboat/gateway"
)

const checkHelp = `Everything that is wrong is reported, one line each: FILE:LINE:COL: key: what is
wrong. The users, and the certificates and keys of listeners and bridges are read:
run it as the service's user. Ports, devices and clouds are not touched. Exit code 2
if anything is wrong.
`

func checkCommand(_ context.Context, e *env, args []string) int {
	f := e.flags()
	path := configFlag(f)
	if code, ok := e.parse(f, args); !ok {
		return code
	}
	cfg, ok := e.load(*path)
	if !ok {
		return exitUsage
	}
	if errs := gateway.CheckFiles(cfg); len(errs) > 0 {
		fmt.Fprintln(e.err, errs)
		return exitUsage
	}
	fmt.Fprintf(e.out, "%s: ok\n", *path)
	summary(e.out, cfg)
	return exitFine
}

// summary says what a gateway with this configuration does.
func summary(w io.Writer, c *config.Config) {
	fmt.Fprintf(w, "  gateway %s, queue in %s, at most %v\n", c.Gateway.ID, c.Gateway.DataDir, c.Queue.MaxSize)
	for i := range c.Listeners {
		fmt.Fprintf(w, "  MQTT%s on %s\n", layers(&c.Listeners[i]), c.Listeners[i].Address)
	}
	for i := range c.Serial {
		s := &c.Serial[i]
		fmt.Fprintf(w, "  serial %s: %s, %d %v -> %s\n", s.Name, serial.Wanted{Port: s.Port, Match: s.Match}, s.Baud, s.Mode, ofStream(c, &s.Stream))
	}
	for i := range c.TCP {
		t := &c.TCP[i]
		where := t.Listen
		if t.Connect != "" {
			where = "calls " + t.Connect
		}
		if t.TLS.On() {
			where += " over TLS"
		}
		fmt.Fprintf(w, "  tcp %s: %s -> %s\n", t.Name, where, ofStream(c, &t.Stream))
	}
	for i := range c.Modbus {
		m := &c.Modbus[i]
		at := m.Connect
		if at == "" {
			at = fmt.Sprintf("%s, %d %v", m.Port, m.Baud, m.Mode)
		}
		fmt.Fprintf(w, "  modbus %s: %s, units: %d -> %s%s\n", m.Name, at, len(m.Units), known(m.Topic), notEnabled(m.Enabled))
	}
	for i := range c.Bridges {
		b := &c.Bridges[i]
		user := ""
		if b.Username != "" {
			user = ", user " + b.Username
		}
		fmt.Fprintf(w, "  bridge %s: %s, client id %s%s%s\n", b.Name, strings.Join(b.Servers, ", "), b.ClientID, user, notEnabled(b.Enabled))
		for _, u := range b.Up {
			fmt.Fprintf(w, "    up   %s -> %s\n", u.Filter, known(u.Topic))
		}
		for _, d := range b.Down {
			fmt.Fprintf(w, "    down %s -> %s\n", d.Filter, known(d.Topic))
		}
	}
}

// layers names what is below MQTT.
func layers(l *config.Listener) string {
	text := ""
	if l.Transport == "websocket" {
		text = " over WebSocket"
	}
	if l.TLS != nil {
		text += " over TLS"
		switch {
		case l.TLS.ClientCA == "":
		case l.TLS.ClientCert == "optional":
			text += " (client certificates optional)"
		case l.TLS.ClientCert == "required":
			text += " (client certificates required)"
		default:
			text += " (client certificates name the users)"
		}
	}
	return text
}

// ofStream says where frames go, and where commands come from.
func ofStream(c *config.Config, s *config.Stream) string {
	text := known(s.Topic)
	if name, literal := s.Topic.Literal(); literal && s.Enabled && !carried(c, name) {
		text += " (no bridge takes this topic)"
	}
	if s.Command != nil {
		text += ", commands from " + known(s.Command.Topic)
	}
	return text + notEnabled(s.Enabled)
}

// carried reports whether a bridge takes the topic to its cloud, or there is
// none that could.
func carried(c *config.Config, name string) bool {
	bridges := 0
	for i := range c.Bridges {
		b := &c.Bridges[i]
		if !b.Enabled {
			continue
		}
		bridges++
		for _, u := range b.Up {
			if topic.Match(u.Filter, name) {
				return true
			}
		}
	}
	return bridges == 0
}

func notEnabled(enabled bool) string {
	if enabled {
		return ""
	}
	return " (not enabled)"
}

// known is a template with what the configuration itself gives filled in.
func known(t config.Template) string {
	return string(t.Expand(nil, func(dst []byte, name string) []byte { return append(append(append(dst, '{'), name...), '}') }))
}
