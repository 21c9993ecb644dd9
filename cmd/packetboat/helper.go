package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"packetboat/broker/users"
)

// helperCommand is what the gateway starts itself with to verify passwords in a
// process of their own. It is not for people, so help does not name it.
const helperCommand = "hash-passwords"

// helper is the whole command. The link is to this very program, also after an
// upgrade has replaced its file.
func helper() []string { return []string{"/proc/self/exe", helperCommand} }

// runHelper computes hashes until standard input ends. What else the machine has to
// do mostly comes first.
func runHelper(in, out, errOut *os.File) int {
	runtime.GOMAXPROCS(1)
	lowerPriority()
	if err := users.Help(in, out); err != nil {
		fmt.Fprintf(errOut, "packetboat: %s: %v\n", helperCommand, err)
		return exitFailed
	}
	return exitFine
}

// lowerPriority does so for all threads, as far as the system lets it; threads that
// they start inherit it.
func lowerPriority() {
	const low = 10 // a tenth of a processor that somebody else wants: logins must not starve
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, t := range tasks {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, id, low)
		}
	}
}
