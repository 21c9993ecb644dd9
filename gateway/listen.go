package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"packetboat/adapters"
	"packetboat/config"
)

// reopenAfter is how long after a failure a listener is opened again: its
// address may come up later, its port become free.
const reopenAfter = 5 * time.Second

// A door is a listener, open or to be opened.
type door struct {
	g   *Gateway
	cfg *config.Listener
	at  config.Position // in the file

	// Of listen first, then of serve.
	ln   net.Listener // nil: to be opened
	told bool         // that it does not open, since it last did

	isOpen atomic.Bool
}

// listen opens all listeners and lets them be served in s; those that cannot
// be opened are tried again there. It returns how many are open.
func (g *Gateway) listen(s *stage) (open int) {
	for i := range g.cfg.Listeners {
		key := fmt.Sprintf("listener[%d]", i)
		d := &door{g: g, cfg: &g.cfg.Listeners[i], at: g.cfg.At(key + ".address")}
		err := d.open(s.ctx)
		switch {
		case err == nil:
			open++
		case d.cfg.Implied && absent(err):
			g.log.Debug("not listening", "address", d.cfg.Address, "error", err)
			continue
		default:
			d.complain(err)
		}
		g.doors = append(g.doors, d)
		s.run("listener "+d.cfg.Address, d.serve)
	}
	return open
}

// doorsWithin bounds what ready waits for: an adapter's address may be a name
// that nobody resolves.
const doorsWithin = time.Second

// awaitDoors waits until the adapters that listen do, or could not: whoever is
// told that the gateway is ready can connect.
func (g *Gateway) awaitDoors(ctx context.Context) {
	timer := time.NewTimer(doorsWithin)
	defer timer.Stop()
	for _, a := range g.adapters {
		t, ok := a.(interface{ Tried() <-chan struct{} })
		if !ok {
			continue
		}
		select {
		case <-t.Tried():
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// serve serves the listener and opens it again when it ends before ctx does.
func (d *door) serve(ctx context.Context) error {
	for {
		if d.ln != nil {
			err := d.g.broker.Serve(ctx, limitConnections(d.ln, d.cfg.MaxConnections, d.g.log))
			d.ln = nil
			d.isOpen.Store(false)
			if err != nil && ctx.Err() == nil {
				d.complain(err)
			}
		}
		timer := time.NewTimer(reopenAfter)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if err := d.open(ctx); err != nil && ctx.Err() == nil {
			d.complain(err)
		}
	}
}

// open opens the listener. A unix socket that a killed gateway has left behind
// is removed: nobody accepts on it.
func (d *door) open(ctx context.Context) error {
	network, address := d.cfg.Network()
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, network, address)
	if err != nil && network == "unix" && errors.Is(err, syscall.EADDRINUSE) && deserted(address) {
		if err := os.Remove(address); err != nil {
			return fmt.Errorf("remove the socket of a gateway that is gone: %w", err)
		}
		ln, err = lc.Listen(ctx, network, address)
	}
	if err != nil {
		return err
	}
	if network == "unix" {
		// Owner and group, whatever the umask: who may open it may publish.
		if err := os.Chmod(address, 0o660); err != nil {
			return errors.Join(err, ln.Close())
		}
	}
	d.ln, d.told = ln, false
	d.isOpen.Store(true)
	d.g.log.Info("listening", "address", ln.Addr().String(), "anonymous", d.cfg.Anonymous)
	return nil
}

func deserted(socket string) bool {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// absent reports whether a machine does not have an address at all.
func absent(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EINVAL)
}

// complain is the one line about a listener that does not open.
func (d *door) complain(err error) {
	if d.told {
		return
	}
	d.told = true
	d.g.log.Error("cannot listen; will keep trying", "address", d.cfg.Address, "error", err,
		"remedy", adapters.ListenRemedy(d.cfg.Address, err), "config", d.at.String())
}
