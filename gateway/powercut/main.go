// Powercut cuts the power of a gateway again and again, and looks whether
// everything that it had acknowledged is still there.
//
// Killing a process proves nothing about that: the kernel keeps what it wrote.
// So the gateway runs in a virtual machine (User Mode Linux, which needs
// neither hardware nor a hypervisor), on ext4, on a disk that this program
// serves and that has a volatile write cache, as real ones do.
//
//	┌ this program ────────────────┐        ┌ the guest, killed at a cut ──────┐
//	│ publisher ── QoS 1 ──────────┼──tap──►│ packetboat run                   │
//	│ persistent session ◄─────────┼──tap───│   │ fdatasync                    │
//	│                              │        │   ▼                              │
//	│ disk: cache ──flush─► media ◄┼──tap───│ ext4 ─► nbd                      │
//	└──────────────────────────────┘        └──────────────────────────────────┘
//
// A publisher publishes numbers. At a random moment the guest's processes are
// killed, and a policy decides for each sector in the disk's cache whether it
// survives. The guest boots again from what is left, and the session must get
// every number that was acknowledged, in order, and none that was never
// published. The same program is the guest's first process.
//
// scripts/powercut builds it, installs what it needs, and runs it in a network
// namespace of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// The exit codes.
const (
	exitFine   = 0
	exitFailed = 1
	exitUsage  = 2
	exitUnable = 77 // this machine cannot run it, as test programs tell make
)

type options struct {
	gateway string
	cycles  int
	policy  policy
	lie     bool
	fsck    bool
	again   float64
	cutMin  time.Duration
	cutMax  time.Duration
	flush   time.Duration
	window  int
	size    int64 // MiB
	seed    uint64
	verbose bool
}

func main() {
	if address := os.Getenv(diskVariable); address != "" {
		guest(address)
	}
	// The guest ends with the thread that started it.
	runtime.LockOSThread()
	o, code := parse(os.Args[1:], os.Stderr)
	if o == nil {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout)
	stop()
	if err == nil {
		os.Exit(exitFine)
	}
	fmt.Fprintln(os.Stderr, "powercut:", err)
	if errors.Is(err, errUnable) {
		os.Exit(exitUnable)
	}
	os.Exit(exitFailed)
}

// parse returns nil and an exit code when there is nothing to run.
func parse(args []string, out io.Writer) (*options, int) {
	var o options
	var name string
	f := flag.NewFlagSet("powercut", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&o.gateway, "gateway", "", "the packetboat `binary` to test, static (scripts/powercut builds it)")
	f.IntVar(&o.cycles, "cycles", 5, "power cuts; at least 1")
	f.StringVar(&name, "policy", "", "what survives of the sectors that were not flushed: keep (all), drop (none), random (each by itself, torn and out of order), mix (one of these for each cut) (default mix; with -lie drop)")
	f.BoolVar(&o.lie, "lie", false, "the negative control: a disk that acknowledges flushes and does nothing; messages must be lost then, else the run has failed")
	f.BoolVar(&o.fsck, "fsck", false, "check the file system after each cut")
	f.Float64Var(&o.again, "again", 0.3, "how often another cut comes while the gateway starts after one, from 0 (never) to 1")
	f.DurationVar(&o.cutMin, "cutmin", 50*time.Millisecond, "earliest cut after the first acknowledgement")
	f.DurationVar(&o.cutMax, "cutmax", time.Second, "latest cut after the first acknowledgement")
	f.DurationVar(&o.flush, "flush", 4*time.Millisecond, "longest time that a flush of the disk takes")
	f.IntVar(&o.window, "window", 64, "messages in flight")
	f.Int64Var(&o.size, "size", 96, "of the disk, in MiB; at least 64")
	f.Uint64Var(&o.seed, "seed", 0, "of the random choices, 0: another one each time; what the guest does in between is not repeated")
	f.BoolVar(&o.verbose, "v", false, "show the guest's console")
	f.Usage = func() {
		fmt.Fprint(out, "usage: scripts/powercut [FLAGS]\n\nCuts the power of a gateway in a virtual machine, and looks for every message\nthat it had acknowledged. The exit code is 1 if one is missing, 77 if this\nmachine cannot run it.\n\n")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, exitFine
		}
		return nil, exitUsage
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	if name == "" {
		name = string(mix)
		if o.lie {
			// Whatever else such a disk leaves may not even be a file system.
			name = string(drop)
		}
	}
	p, err := parsePolicy(name)
	o.policy = p
	switch {
	case err != nil:
	case f.NArg() > 0:
		err = fmt.Errorf("unexpected %q", f.Arg(0))
	case o.gateway == "":
		err = errors.New("-gateway is missing")
	case o.cycles < 1 || o.window < 1 || o.size < 64 || o.flush < 0 || o.again < 0 || o.again > 1:
		err = errors.New("a number is out of its range")
	case o.cutMin < 0 || o.cutMax < o.cutMin:
		err = errors.New("-cutmax must not be before -cutmin")
	}
	if err != nil {
		fmt.Fprintln(out, "powercut:", err)
		return nil, exitUsage
	}
	return &o, exitFine
}

// run makes the surroundings, and takes them away again.
func run(ctx context.Context, o *options, out io.Writer) error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("%w: User Mode Linux is for amd64", errUnable)
	}
	for _, name := range []string{kernel, "mkfs.ext4", "e2fsck"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%w: %w (scripts/powercut installs it)", errUnable, err)
		}
	}
	dir, err := os.MkdirTemp("", "packetboat-powercut-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := writeInitramfs(dir, o.gateway); err != nil {
		return err
	}
	image, err := format(dir, o.size<<20)
	if err != nil {
		return err
	}
	if err := addTap(); err != nil {
		return err
	}
	defer removeTap()
	d := newDisk(image)
	d.lie, d.latency = o.lie, o.flush
	return newRig(o, dir, d, out).run(ctx)
}
