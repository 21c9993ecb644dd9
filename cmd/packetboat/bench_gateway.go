package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"packetboat/config"
	"packetboat/gateway/admin"
)

// gatewayWatch compares what a gateway has done before and after.
type gatewayWatch struct {
	admin   *admin.Client // nil: it is not asked
	process int           // 0: not known
	unknown string        // why nothing is known, "" when it is or need not be

	before, after gatewayView
	own           string // the queue of the subscriber
}

// gatewayView is what a gateway has told at a moment.
type gatewayView struct {
	cpu    time.Duration
	hasCPU bool
	wear   *admin.Wear
	queues map[string]admin.Queue
}

// watchGateway begins to watch the gateway of a configuration; nil is none.
func watchGateway(ctx context.Context, cfg *config.Config) *gatewayWatch {
	w := new(gatewayWatch)
	if cfg == nil {
		return w
	}
	c, err := dialGateway(ctx, cfg)
	if err == nil {
		w.admin, w.process = c, peerOf(cfg.Admin.Socket)
		w.before, err = w.look(ctx)
	}
	if err != nil {
		w.forget(err)
	}
	return w
}

func (w *gatewayWatch) forget(err error) {
	w.close()
	w.admin, w.unknown = nil, err.Error()
}

func (w *gatewayWatch) close() {
	if w.admin != nil {
		w.admin.Close()
	}
}

// end takes the second look, while the subscriber with that client id is connected.
func (w *gatewayWatch) end(ctx context.Context, id string) {
	if w.admin == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	w.own = "session/" + id + "-subscriber"
	var err error
	if w.after, err = w.look(ctx); err != nil {
		w.forget(err)
	}
}

func (w *gatewayWatch) look(ctx context.Context) (v gatewayView, err error) {
	v.cpu, v.hasCPU = cpuOf(w.process)
	if v.wear, err = w.admin.Wear(ctx); err != nil {
		return v, err
	}
	all, err := w.admin.Queues(ctx)
	if err != nil {
		return v, err
	}
	v.queues = map[string]admin.Queue{}
	for _, q := range all.Queues {
		v.queues[q.Queue] = q
	}
	return v, nil
}

// figures are the differences; nil: not known.
func (w *gatewayWatch) figures(done uint64) *benchedGateway {
	if w.admin == nil || w.after.wear == nil {
		return nil
	}
	g := &benchedGateway{Written: w.after.wear.Written - w.before.wear.Written, Syncs: w.after.wear.Syncs - w.before.wear.Syncs, Queued: map[string]uint64{}}
	if done > 0 {
		g.PerOne = float64(g.Written) / float64(done)
	}
	if w.before.hasCPU && w.after.hasCPU && done > 0 {
		cpu := (w.after.cpu - w.before.cpu).Seconds()
		each := cpu * 1000 / float64(done)
		g.CPU, g.PerK = &cpu, &each
	}
	for name, q := range w.after.queues {
		if name == w.own {
			g.Lost = q.Lost
			continue
		}
		if n := q.Accepted - w.before.queues[name].Accepted; n > 0 {
			g.Queued[name] = n
		}
	}
	return g
}

// peerOf is the process that listens on a unix socket; 0: not known.
func peerOf(socket string) int {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return 0
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil || err != nil {
		return 0
	}
	return int(cred.Pid)
}

// cpuOf is the processor time of another process so far.
func cpuOf(process int) (time.Duration, bool) {
	if process <= 0 || process == os.Getpid() {
		return 0, false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process))
	if err != nil {
		return 0, false
	}
	d, err := parseCPU(string(b))
	return d, err == nil
}

// parseCPU adds user and system time in /proc/PID/stat, in hundredths of a second on
// every architecture that Linux shows to programs.
func parseCPU(stat string) (time.Duration, error) {
	_, rest, ok := strings.Cut(stat[strings.LastIndexByte(stat, ')')+1:], " ") // a name may have spaces
	f := strings.Fields(rest)
	if !ok || len(f) < 13 {
		return 0, errors.New("not as in proc(5)")
	}
	user, err1 := strconv.ParseUint(f[11], 10, 63)
	system, err2 := strconv.ParseUint(f[12], 10, 63)
	return time.Duration(user+system) * (time.Second / 100), errors.Join(err1, err2)
}
