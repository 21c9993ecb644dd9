package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"packetboat/broker/store"
	"packetboat/config"
	"packetboat/gateway"
)

// openToImport opens the queue of a gateway that is stopped, with the bounds that
// the gateway will hold it to: what is beyond would push out the oldest messages
// when it starts. cfg is its configuration; nil: -dir names the directory, and
// -config the configuration, if it is given, else the defaults hold.
func openToImport(ctx context.Context, q *queueFlags, cfg *config.Config, dir string) (*openedQueue, error) {
	if cfg == nil {
		var err error
		if cfg, err = boundsFor(q, dir); err != nil {
			return nil, &usageError{err}
		}
	}
	o, err := openToChange(ctx, dir, gateway.QueueOptions(cfg))
	if err != nil {
		return nil, err
	}
	if c := o.store.Lookup(q.into); c != nil {
		bound(c, cfg)
	}
	return o, nil
}

// boundsFor is the configuration that bounds the queue in a directory.
func boundsFor(q *queueFlags, dir string) (cfg *config.Config, err error) {
	if q.given["config"] {
		cfg, err = config.Load(*q.config, config.Options{})
	} else {
		cfg, err = config.Parse("defaults", []byte("[gateway]\nid = \"defaults\"\n"), config.Options{})
	}
	if err != nil {
		return nil, fmt.Errorf("bounds of the queue in %s: %w", dir, err)
	}
	cfg.Gateway.DataDir = dir
	return cfg, nil
}

// bound gives a queue the bounds of its own that the configuration has for it.
func bound(c *store.Consumer, cfg *config.Config) {
	parts := strings.Split(c.Name(), "/")
	switch {
	case parts[0] == "session":
		c.SetLimit(uint64(cfg.Broker.MaxSessionMessages), uint64(cfg.Broker.MaxSessionSize))
	case parts[0] == "bridge" && len(parts) == 3:
		for i := range cfg.Bridges {
			for _, up := range cfg.Bridges[i].Up {
				if cfg.Bridges[i].Name == parts[1] && strconv.Itoa(up.Priority) == parts[2] {
					c.SetLimit(0, uint64(up.MaxSize))
				}
			}
		}
	}
}
