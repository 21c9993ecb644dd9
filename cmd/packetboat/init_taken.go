package main

import (
	"context"
	"errors"
	"net"
	"syscall"

	"packetboat/config"
)

// takenListener is the first listener of a configuration whose port another program
// has, and nil when there is none, or when a gateway runs with it already. Ports are
// listened on for a moment.
func takenListener(ctx context.Context, cfg *config.Config) (*config.Listener, error) {
	if c, err := dialGateway(ctx, cfg); err == nil {
		c.Close()
		return nil, nil
	}
	for i := range cfg.Listeners {
		network, address := cfg.Listeners[i].Network()
		if network != "tcp" {
			continue
		}
		ln, err := net.Listen("tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			return &cfg.Listeners[i], err
		}
		if err == nil {
			ln.Close()
		}
	}
	return nil, nil
}
