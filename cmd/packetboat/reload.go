package main

import (
	"context"
	"fmt"
)

const reloadHelp = `The gateway that runs reads its configuration again, as on SIGHUP (systemctl
reload), and tells what it has changed: bridges, adapters, listeners, users, access
rules, limits, the level of the log. All queues stay, and so do the connections of
what has not changed. What else has changed waits for a restart. A configuration
with mistakes changes nothing, and is exit code 2.
`

func reloadCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	path := configFlag(f)
	if code, ok := e.parse(f, args); !ok {
		return code
	}
	cfg, err := loadChecked(*path)
	if err != nil {
		fmt.Fprintln(e.err, err)
		return exitUsage
	}
	c, err := dialGateway(ctx, cfg)
	if err != nil {
		return e.fail(err)
	}
	defer c.Close()
	did, err := c.Reload(ctx)
	if err != nil {
		return e.fail(err)
	}
	fmt.Fprintln(e.out, did)
	return exitFine
}
