package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"packetboat/config"
	"packetboat/gateway"
)

const runHelp = `It runs until SIGTERM or SIGINT; a second one ends it at once. The log goes to
standard error: text on a terminal, fields in the journal, else JSON ([log] format).
Under systemd with Type=notify it tells when it is ready, and its state; with
WatchdogSec=, that its router makes progress.

On SIGHUP (systemctl reload, packetboat reload) the configuration is read again.
Bridges, adapters, listeners, users, access rules, limits and the level of the log
change; all queues stay, and so do the connections of what has not changed. The rest
waits for a restart. A configuration with mistakes changes nothing.
`

func runCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	path := configFlag(f)
	if code, ok := e.parse(f, args); !ok {
		return code
	}
	cfg, ok := e.load(*path)
	if !ok {
		return exitUsage
	}
	// A crash, and the watchdog's SIGABRT, would be exit code 2 with Go's default: to
	// the unit that is a wrong configuration, after which it does not start again.
	// So they end it by the signal, after the stacks of all goroutines.
	debug.SetTraceback("crash")
	log, setLevel := gateway.NewLog(cfg.Log, e.err)
	g := gateway.New(cfg, gateway.Options{
		Log: log, SetLevel: setLevel, Version: version(), Helper: helper(),
		Load: func() (*config.Config, error) { return loadChecked(*path) },
	})
	ctx, cancel := context.WithCancel(ctx)
	hups := make(chan os.Signal, 1)
	signal.Notify(hups, syscall.SIGHUP)
	var listening sync.WaitGroup
	listening.Go(func() { reloadOn(ctx, hups, g) })
	err := g.Run(ctx)
	cancel()
	listening.Wait()
	if err != nil {
		log.Error("the gateway has ended", "error", err)
		return exitFailed
	}
	log.Info("stopped")
	return exitFine
}

// reloadOn has the gateway read its configuration again at each signal, until ctx
// ends. What comes of it is in the log.
func reloadOn(ctx context.Context, signals <-chan os.Signal, g *gateway.Gateway) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			_, _ = g.Reload(ctx)
		}
	}
}
