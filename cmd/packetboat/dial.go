package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"packetboat/config"
	"packetboat/gateway/admin"
)

// dialGateway reaches the gateway that runs with this configuration.
func dialGateway(ctx context.Context, cfg *config.Config) (*admin.Client, error) {
	if cfg.Admin.Socket == "" {
		return nil, errors.New(`the configuration has no socket (admin.socket = ""); systemctl can still reload the gateway and show one line of status`)
	}
	c, err := admin.Dial(ctx, cfg.Admin.Socket)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		err = fmt.Errorf("no gateway answers on %s: is it running (systemctl status packetboat), with this configuration?", cfg.Admin.Socket)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w: be root, the user of the service, or in its group", err)
	}
	return c, err
}

// asking has f ask the gateway of the configuration at path.
func (e *env) asking(ctx context.Context, path string, f func(c *admin.Client) error) int {
	cfg, err := config.Load(path, config.Options{})
	if err != nil {
		fmt.Fprintln(e.err, err)
		return exitUsage
	}
	c, err := dialGateway(ctx, cfg)
	if err == nil {
		defer c.Close()
		err = f(c)
	}
	if err != nil {
		return e.fail(err)
	}
	return exitFine
}
