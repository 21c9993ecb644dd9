package main

import (
	"context"

	"packetboat/gateway"
)

const runHelp = `It runs until SIGTERM or SIGINT; a second one ends it at once. The log goes to
standard error: text on a terminal and in the journal, else JSON ([log] format).
Under systemd with Type=notify it tells when it is ready, and its state.
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
	log := gateway.NewLog(cfg.Log, e.err)
	if err := gateway.New(cfg, gateway.Options{Log: log, Version: version()}).Run(ctx); err != nil {
		log.Error("the gateway has ended", "error", err)
		return exitFailed
	}
	log.Info("stopped")
	return exitFine
}
