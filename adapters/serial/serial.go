// Package serial is the adapter for devices on serial ports.
package serial

import (
	"context"
	"path/filepath"
	"time"

	"packetboat/adapters"
	"packetboat/config"
)

// Options of an Adapter.
type Options struct {
	Stream adapters.Options
	Port   Wanted
	Line   Line
}

// Adapter keeps a port open and serves it as the one link of its Stream. A
// port that goes (unplugged, hung up) is looked for again by its path, glob or
// USB identity, so that the device is found under its new name.
//
// {port} is the last part of the path that was found.
type Adapter struct {
	*adapters.Stream
	opt    Options
	gather time.Duration // of the ports; 0 where silences mean something
}

var _ adapters.Adapter = (*Adapter)(nil)

// New makes the adapter of a [[serial]] section. Its error is a
// *adapters.KeyError.
func New(cfg config.Serial, host adapters.Host) (*Adapter, error) {
	stream, err := host.Stream(&cfg.Stream)
	if err != nil {
		return nil, err
	}
	return NewAdapter(Options{Stream: stream, Port: Wanted{Port: cfg.Port, Match: cfg.Match}, Line: Line{
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
	if err := opt.Port.Check(); err != nil {
		return nil, err
	}
	if err := opt.Line.check(); err != nil {
		return nil, err
	}
	s, err := adapters.NewStream(opt.Stream)
	if err != nil {
		return nil, err
	}
	a := &Adapter{Stream: s, opt: opt}
	if f := opt.Stream.Framing; f == nil || f.NewDecoder().Idle() == 0 {
		a.gather = opt.Line.gatherTime()
	}
	return a, nil
}

// Kind is of adapters.Adapter.
func (a *Adapter) Kind() string { return "serial" }

// Run serves the port until ctx ends.
func (a *Adapter) Run(ctx context.Context) error {
	return a.Stream.Run(ctx, func(ctx context.Context) error {
		return a.Reopen(ctx, a.open)
	})
}

func (a *Adapter) open(context.Context) (adapters.Link, adapters.Place, error) {
	path, err := a.opt.Port.Find()
	if err != nil {
		return nil, adapters.Place{}, err
	}
	p, err := Open(path, a.opt.Line)
	if err != nil {
		return nil, adapters.Place{}, err
	}
	if err := a.opt.Port.again(path); err != nil {
		_ = p.Close() // nothing was written
		return nil, adapters.Place{}, err
	}
	p.gather = a.gather
	return p, adapters.Place{Port: filepath.Base(path)}, nil
}
