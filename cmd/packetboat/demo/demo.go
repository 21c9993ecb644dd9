// Package demo shows a gateway at work: devices, an outage, a crash, and the
// count afterwards.
//
// All of it runs in one process and its child: the devices and the cloud here,
// the gateway as the child, so that it can be killed.
//
//	sensors on ptys ─┐
//	TCP device ──────┼─► gateway (child) ──► link ──► cloud broker ──► collector
//	MQTT clients ────┘                      (cut)
//
// A round: all flows; the link is cut and the devices go on; the gateway is
// killed and started again; the link comes back; the devices stop, and when
// nothing arrives any more, the tally is made.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"
)

// Options of a demo.
type Options struct {
	Once    bool      // one round
	Gateway []string  // the command line of the gateway, up to "run"
	Dir     string    // where the temporary directory is made; "" is the system's
	Out     io.Writer // where it is shown
	Live    bool      // Out is a terminal: redraw in place
}

// ErrBroken means that the count did not come out. It has been shown.
var ErrBroken = errors.New("a promise was not kept")

// How long the phases of a round are.
const (
	flowFor   = 3 * time.Second // before the cut
	cutFor    = 6 * time.Second // before and after the crash together, at least
	killAfter = 2 * time.Second // of the cut, at least; a random second is added
	downFor   = 700 * time.Millisecond
	backFor   = 3 * time.Second  // after the link is back, with devices
	settleFor = 30 * time.Second // at most, for what waits
	quietFor  = 2 * time.Second  // nothing arrived for so long: nothing more comes
	startFor  = time.Minute      // at most, for a gateway to listen; an emulator is slow
)

// Run shows rounds until ctx ends, which is no error, or one with Once.
func Run(ctx context.Context, opt Options) (err error) {
	dir, err := os.MkdirTemp(opt.Dir, "packetboat-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w, err := newWorld(dir, opt)
	if err != nil {
		return err
	}
	screen := newScreen(w, opt.Out, opt.Live)
	err = w.run(ctx, screen)
	if ctx.Err() != nil && !errors.Is(err, ErrBroken) {
		// However the parts ended: they were told to.
		screen.event("stopped")
		if opt.Once {
			return errors.New("stopped before the round was counted")
		}
		return nil
	}
	if err != nil && !errors.Is(err, ErrBroken) {
		err = fmt.Errorf("%w%s", err, w.gateway.lastWords())
	}
	return err
}

// run brings everything up, plays rounds, and takes everything down.
func (w *world) run(ctx context.Context, s *screen) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.open(); err != nil {
		return err
	}
	shown := make(chan struct{})
	showing, hide := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(shown)
		s.run(showing)
	}()
	defer func() { hide(); <-shown }()
	s.event("the cloud broker listens; starting the gateway")
	if err := w.gateway.start(ctx); err != nil {
		return err
	}
	for round := 1; ; round++ {
		broken, err := w.round(ctx, s, round)
		if err != nil {
			return err
		}
		if broken {
			return ErrBroken
		}
		if w.opt.Once {
			return nil
		}
	}
}

// round plays one round and reports whether a promise was broken.
func (w *world) round(ctx context.Context, s *screen, round int) (broken bool, err error) {
	d := w.startDevices(ctx)
	defer d.end()

	s.phase("1 of 4: all is well", fmt.Sprintf("round %d: sensors, a TCP device and MQTT clients publish, the cloud gets it", round))
	if err := d.wait(ctx, flowFor); err != nil {
		return false, err
	}

	w.link.Cut()
	s.phase("2 of 4: the link is cut", "the link to the cloud is cut; devices go on, the gateway acknowledges what is on its disk")
	early := killAfter + rand.N(time.Second)
	if err := d.wait(ctx, early); err != nil {
		return false, err
	}

	killed := time.Now()
	if err := w.gateway.kill(); err != nil {
		return false, err
	}
	s.phase("3 of 4: the gateway was killed", "SIGKILL to the gateway, link still cut; devices try to reach it")
	if err := d.wait(ctx, downFor); err != nil {
		return false, err
	}
	s.event("starting the gateway again, on the same data directory")
	if err := w.gateway.start(ctx); err != nil {
		return false, err
	}
	back := time.Now()
	s.event(fmt.Sprintf("the gateway listens again, %.1f s after the kill", back.Sub(killed).Seconds()))
	s.phase("3 of 4: the gateway is back, the link is not", "")
	if err := d.wait(ctx, cutFor-early); err != nil {
		return false, err
	}

	w.link.Restore()
	s.phase("4 of 4: the link is back", "the link is back: what waited goes up, in order, and new messages behind it")
	if err := d.wait(ctx, backFor); err != nil {
		return false, err
	}
	s.event("the devices stop, when what they have in flight is acknowledged")
	if err := d.stop(ctx, settleFor); err != nil {
		return false, err
	}
	if err := w.settle(ctx, d); err != nil {
		return false, err
	}
	r := w.count(killed, back)
	s.result(r)
	return r.broken(), nil
}

// settle waits until all that is expected has arrived, or nothing more comes.
func (w *world) settle(ctx context.Context, d *devices) error {
	deadline := time.After(settleFor)
	quiet := time.NewTimer(quietFor)
	defer quiet.Stop()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	last := uint64(0)
	complete := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-d.failed:
			return err
		case <-deadline:
			return nil
		case <-quiet.C:
			return nil
		case <-look.C:
		}
		arrived, missing := uint64(0), uint64(0)
		for _, s := range w.tally.Sources() {
			c := s.Counts()
			arrived += c.Arrived + c.Duplicates
			missing += c.Missing
		}
		// When all is there, duplicates may still come: half as long.
		if arrived != last || missing == 0 && !complete {
			complete = missing == 0
			last = arrived
			pause := quietFor
			if complete {
				pause /= 4
			} else if missing > 0 {
				pause *= 2
			}
			quiet.Reset(pause)
		}
	}
}
