package demo

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"

	"packetboat/broker"
	"packetboat/broker/store"
)

// cloud is a cloud broker: the gateway's own, a second time, with a disk queue
// of its own.
type cloud struct {
	ln     net.Listener
	store  *store.Store
	broker *broker.Broker

	// Stopped in this order.
	serving, routing, storing stopper
	err                       error // of storing
}

// stopper ends goroutines and waits for them.
type stopper struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (s *stopper) start(f func(ctx context.Context)) {
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(func() { f(ctx) })
}

func (s *stopper) stop() {
	if s.cancel != nil {
		s.cancel()
		s.wg.Wait()
	}
}

// openCloud starts a cloud broker with its data in dir.
func openCloud(dir string) (*cloud, error) {
	log := slog.New(slog.DiscardHandler)
	c := &cloud{}
	var err error
	c.store, err = store.Open(filepath.Join(dir, "cloud"), store.Options{MaxSize: 1 << 30, Log: log})
	if err != nil {
		return nil, fmt.Errorf("cloud broker: %w", err)
	}
	c.storing.start(func(ctx context.Context) { c.err = c.store.Run(ctx) })
	if c.broker, err = broker.New(broker.Options{Store: c.store, Log: log}); err == nil {
		c.ln, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		c.storing.stop()
		return nil, fmt.Errorf("cloud broker: %w", err)
	}
	c.routing.start(func(ctx context.Context) { _ = c.broker.Run(ctx) })         // nil
	c.serving.start(func(ctx context.Context) { _ = c.broker.Serve(ctx, c.ln) }) // nil unless the listener breaks: then nothing arrives
	return c, nil
}

func (c *cloud) close() error {
	c.serving.stop()
	c.routing.stop()
	c.storing.stop()
	return c.err
}
