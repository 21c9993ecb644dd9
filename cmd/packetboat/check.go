package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"packetboat/config"
)

const checkHelp = `Everything that is wrong is reported, one line each: FILE:LINE:COL: key: what is
wrong. Ports, devices and clouds are not touched. Exit code 2 if anything is wrong.
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
	fmt.Fprintf(e.out, "%s: ok\n", *path)
	summary(e.out, cfg)
	return exitFine
}

// summary says what a gateway with this configuration does.
func summary(w io.Writer, c *config.Config) {
	fmt.Fprintf(w, "  gateway %s, queue in %s, at most %v\n", c.Gateway.ID, c.Gateway.DataDir, c.Queue.MaxSize)
	for i := range c.Listeners {
		fmt.Fprintf(w, "  MQTT on %s\n", c.Listeners[i].Address)
	}
	off := func(enabled bool) string {
		if enabled {
			return ""
		}
		return " (not enabled)"
	}
	for i := range c.Serial {
		s := &c.Serial[i]
		fmt.Fprintf(w, "  serial %s: %s, %d %v -> %s%s%s\n", s.Name, s.Port, s.Baud, s.Mode, s.Topic, commandsFrom(s.Command), off(s.Enabled))
	}
	for i := range c.TCP {
		t := &c.TCP[i]
		fmt.Fprintf(w, "  tcp %s: %s -> %s%s%s\n", t.Name, t.Listen, t.Topic, commandsFrom(t.Command), off(t.Enabled))
	}
	for i := range c.Bridges {
		b := &c.Bridges[i]
		fmt.Fprintf(w, "  bridge %s: %s as %s%s\n", b.Name, strings.Join(b.Servers, ", "), b.ClientID, off(b.Enabled))
		for _, u := range b.Up {
			fmt.Fprintf(w, "    up   %s -> %s\n", u.Filter, u.Topic)
		}
		for _, d := range b.Down {
			fmt.Fprintf(w, "    down %s -> %s\n", d.Filter, d.Topic)
		}
	}
}

func commandsFrom(c *config.Command) string {
	if c == nil {
		return ""
	}
	return ", commands from " + c.Topic
}
