package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/term"

	"packetboat/cmd/packetboat/demo"
)

const demoHelp = `It needs nothing installed and leaves nothing behind: simulated sensors on pseudo
terminals, a TCP device, MQTT publishers at QoS 1 and 2, a cloud broker, a link
that can be cut, and a gateway in a process of its own with its data in a temporary
directory. While the devices go on, the link is cut and the gateway killed
(SIGKILL); then everything comes back, and every number is looked for.

Without -once the rounds go on until Ctrl-C. Exit code 1 if anything acknowledged
is missing, arrived twice at QoS 2, or came out of order.
`

func demoCommand(ctx context.Context, e *env, args []string) int {
	f := e.flags()
	once := f.Bool("once", false, "end after one round, in less than a minute")
	before := f.String("exec", "", "put `CMD` before the gateway's command line, such as an emulator")
	dir := f.String("dir", "", "make the temporary directory in `DIR`, on a disk to be tried, say")
	if code, ok := e.parse(f, args); !ok {
		return code
	}
	self, err := os.Executable()
	if err != nil {
		return e.fail(err)
	}
	err = demo.Run(ctx, demo.Options{
		Once: *once, Dir: *dir,
		Gateway: append(strings.Fields(*before), self, "run"),
		Out:     e.out, Live: term.IsTerminal(int(e.out.Fd())),
	})
	switch {
	case err == nil:
		return exitFine
	case errors.Is(err, demo.ErrBroken): // it has shown what
		return exitFailed
	}
	return e.fail(err)
}
