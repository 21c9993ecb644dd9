package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"packetboat/broker/store"
	"packetboat/config"
	"packetboat/gateway/admin"
)

// usageError is one of the command line or of the configuration.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

// openedQueue is a queueSource and what ends with it.
type openedQueue struct {
	queueSource
	store *store.Store    // of this process; nil: it is a gateway's
	ctx   context.Context // of the work; ends early when the disk takes no writes
	close func() error
}

// openQueue finds the queue: the gateway that runs is asked, else its directory
// opened.
func openQueue(ctx context.Context, e *env, q *queueFlags, changes bool) (*openedQueue, error) {
	dir := *q.dir
	var offline error // why no gateway is asked
	var cfg *config.Config
	if dir == "" {
		var err error
		if cfg, err = config.Load(*q.config, config.Options{}); err != nil {
			return nil, &usageError{err}
		}
		dir = cfg.Gateway.DataDir
		if cfg.Admin.Socket != "" {
			c, err := admin.Dial(ctx, cfg.Admin.Socket)
			if err == nil {
				return &openedQueue{c, nil, ctx, func() error { c.Close(); return nil }}, nil
			}
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
				offline = fmt.Errorf("the gateway cannot be asked: %w", err)
			}
		}
	}
	var o *openedQueue
	var err error
	switch {
	case q.into != "":
		o, err = openToImport(ctx, q, cfg, dir)
	case changes:
		o, err = openToChange(ctx, dir, store.Options{SegmentSize: changeSegment})
	default:
		o, err = openToRead(ctx, dir)
	}
	if err != nil && offline != nil {
		err = fmt.Errorf("%w; %w", err, offline)
	}
	return o, err
}

func openToRead(ctx context.Context, dir string) (*openedQueue, error) {
	s, err := store.OpenReadOnly(dir, store.Options{})
	if err != nil {
		return nil, err
	}
	return &openedQueue{&admin.Local{Store: s}, s, ctx, func() error { return nil }}, nil
}

// changeSegment is the size of the file that a change is written to: small, since
// a queue is purged when the disk is full.
const changeSegment = 64 << 10

// openToChange opens the queue of a gateway that is stopped for writing.
func openToChange(ctx context.Context, dir string, opt store.Options) (*openedQueue, error) {
	if err := holdsQueue(dir); err != nil {
		return nil, err
	}
	s, err := store.Open(dir, opt)
	if errors.Is(err, store.ErrLocked) {
		return nil, fmt.Errorf("the gateway runs on %s; stop it first (systemctl stop packetboat), or let it do this by its socket (admin.socket, without -dir)", dir)
	}
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(run) }()
	var watch sync.WaitGroup
	watch.Go(func() { stopWhenFailed(run, s, stop) })
	return &openedQueue{&admin.Local{Store: s}, s, run, func() error {
		stop()
		watch.Wait()
		return <-done
	}}, nil
}

// stopWhenFailed ends the work when the disk takes no writes: a gateway tries
// again, a command tells.
func stopWhenFailed(ctx context.Context, s *store.Store, stop func()) {
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			if s.Failed() != nil {
				stop()
				return
			}
		}
	}
}

// holdsQueue refuses a directory in which opening for writing would begin a new
// queue: a mistyped -dir, say.
func holdsQueue(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext == ".log" || ext == ".snap" {
			return nil
		}
	}
	return fmt.Errorf("%s holds no queue", dir)
}
