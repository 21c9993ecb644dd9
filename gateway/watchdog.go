package gateway

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// watchdogOf is how soon systemd ends a gateway that does not say WATCHDOG=1
// (WatchdogSec=); 0: never.
func (g *Gateway) watchdogOf() time.Duration {
	if g.opt.Watchdog != 0 {
		return g.opt.Watchdog
	}
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		g.log.Warn("the watchdog of systemd is not fed: what it says of it cannot be read", "error", err)
	}
	return limit
}

// feed says WATCHDOG=1 after each beat, until ctx ends; the next beat is asked for
// a third of the limit later. A router that hangs beats no more, and is
// ended by systemd. The disk has no part in it: a slow card is no reason to start
// anew.
func feed(ctx context.Context, beat *pulse, limit time.Duration, notify func(state string)) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if beat.feel(ctx) != nil { // it waits as long as it takes
			return nil
		}
		notify(daemon.SdNotifyWatchdog)
		timer.Reset(limit / 3)
	}
}
