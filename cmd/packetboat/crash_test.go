package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// runIt is set for the process that TestTheWatchdogsSignalIsNotTakenForAWrongConfiguration
// starts: the arguments of packetboat.
const runIt = "PACKETBOAT_TEST_RUN"

// TestAsTheProgram is no test but, in a process of its own, the program.
func TestAsTheProgram(t *testing.T) {
	args := os.Getenv(runIt)
	if args == "" {
		t.Skip("for another test")
	}
	os.Exit(dispatch(context.Background(), strings.Fields(args), os.Stdout, os.Stderr))
}

func TestTheWatchdogsSignalIsNotTakenForAWrongConfiguration(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "p.toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
[gateway]
id = "g"
data_dir = %q
[log]
format = "text"
[queue]
min_free = "1MiB"
[admin]
address = ""
socket = ""
[[listener]]
address = "unix:%s/mqtt.sock"
`, filepath.Join(dir, "data"), dir), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAsTheProgram$")
	cmd.Env = append(os.Environ(), runIt+"=run -config "+file)
	errOut, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	aborted, stacks := false, false
	for lines := bufio.NewScanner(errOut); lines.Scan(); {
		if strings.Contains(lines.Text(), "gateway runs") && !aborted {
			aborted = true
			if err := cmd.Process.Signal(syscall.SIGABRT); err != nil {
				t.Error(err)
			}
		}
		stacks = stacks || strings.Contains(lines.Text(), "gateway.(*Gateway).Run")
	}
	_ = cmd.Wait() // the state tells more
	how := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !aborted || !how.Signaled() || how.Signal() != syscall.SIGABRT {
		t.Errorf("it ended by %v, not by the signal", cmd.ProcessState)
	}
	if !stacks {
		t.Error("it did not say where it hung")
	}
}
