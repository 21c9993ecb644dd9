// Package serial is the adapter for devices on serial ports.
package serial

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"packetboat/adapters"
	"packetboat/config"
)

// Options of an Adapter.
type Options struct {
	Stream adapters.Options
	Port   string // path or glob
	Line   Line
}

// Adapter keeps a port open and serves it as the one link of its Stream. A
// port that goes (unplugged, hung up) is looked for again by its path or glob,
// so that a link in /dev/serial/by-id finds the device under its new name.
//
// {port} is the last part of the path that was found.
type Adapter struct {
	*adapters.Stream
	opt Options
}

var _ adapters.Adapter = (*Adapter)(nil)

// New makes the adapter of a [[serial]] section. Its error is a
// *adapters.KeyError.
func New(cfg config.Serial, host adapters.Host) (*Adapter, error) {
	stream, err := host.Stream(&cfg.Stream)
	if err != nil {
		return nil, err
	}
	return NewAdapter(Options{Stream: stream, Port: cfg.Port, Line: Line{
		Baud:   cfg.Baud,
		Data:   cfg.Mode.Data,
		Parity: cfg.Mode.Parity,
		Stop:   cfg.Mode.Stop,
		Flow:   cfg.Flow,
		DTR:    cfg.DTR,
		RTS:    cfg.RTS,
	}})
}

// Check says what is wrong with a [[serial]] section that the configuration
// itself cannot see: nil or a *adapters.KeyError.
func Check(cfg config.Serial) error {
	_, err := New(cfg, adapters.Checking())
	return err
}

// NewAdapter makes an Adapter. Its error is a *adapters.KeyError.
func NewAdapter(opt Options) (*Adapter, error) {
	if opt.Port == "" {
		return nil, &adapters.KeyError{Key: "port", Err: errors.New("must be the path of a serial port or a glob")}
	}
	if _, err := filepath.Match(opt.Port, ""); err != nil {
		return nil, &adapters.KeyError{Key: "port", Err: fmt.Errorf("%q is not a glob: a [ without its ]", opt.Port)}
	}
	if err := opt.Line.check(); err != nil {
		return nil, err
	}
	s, err := adapters.NewStream(opt.Stream)
	if err != nil {
		return nil, err
	}
	return &Adapter{Stream: s, opt: opt}, nil
}

// Run serves the port until ctx ends.
func (a *Adapter) Run(ctx context.Context) error {
	return a.Stream.Run(ctx, func(ctx context.Context) error {
		return a.Reopen(ctx, a.open)
	})
}

func (a *Adapter) open(context.Context) (adapters.Link, adapters.Place, error) {
	path, err := find(a.opt.Port)
	if err != nil {
		return nil, adapters.Place{}, err
	}
	p, err := Open(path, a.opt.Line)
	if err != nil {
		return nil, adapters.Place{}, err
	}
	return p, adapters.Place{Port: filepath.Base(path)}, nil
}

// find gives the one path that a path or glob stands for. To take the first of
// several would mean another device's readings under this adapter's name.
func find(port string) (string, error) {
	if !strings.ContainsAny(port, `*?[\`) {
		return port, nil
	}
	switch paths, err := filepath.Glob(port); {
	case err != nil:
		return "", fmt.Errorf("port %s: %w", port, err)
	case len(paths) == 0:
		return "", fmt.Errorf("no port matches %s: is the device plugged in and switched on?", port)
	case len(paths) > 1:
		return "", fmt.Errorf("port %s matches %s: make it match one of them", port, strings.Join(paths, ", "))
	default:
		return paths[0], nil
	}
}
