package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The network between the rig and the guest, in the rig's own namespace.
const (
	hostLink  = "powercut0"
	hostIP    = "192.168.77.1"
	guestLink = "vec0"
	guestIP   = "192.168.77.2"
	// The same at each boot, so that the host's neighbour entry stays right.
	guestMAC = "02:00:00:00:77:02"
)

// errUnable says that this machine cannot run the rig.
var errUnable = errors.New("this machine cannot run it")

// addTap makes the host's end of the network. It goes with the namespace, or
// with removeTap.
func addTap() error {
	if err := setTap(1); err != nil {
		return fmt.Errorf("%w: network interface: %w", errUnable, err)
	}
	return linkUp(hostLink, hostIP)
}

func removeTap() { _ = setTap(0) }

func setTap(persist int) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(hostLink)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		return err
	}
	return unix.IoctlSetInt(fd, unix.TUNSETPERSIST, persist)
}

// machine is one life of the guest, from boot to cut.
type machine struct {
	cmd     *exec.Cmd
	disk    *export
	mounted chan struct{} // closed when the disk is mounted
	ready   chan struct{} // closed when the gateway serves
	ended   chan struct{} // closed when no process is left

	mu   sync.Mutex
	tail []string // what the console said last
}

// bootTime bounds the way from the kernel's start to the gateway's service.
const bootTime = 60 * time.Second

// boot starts a guest with the initramfs in dir, on d. The calling goroutine
// must be locked to its thread: with that the guest ends.
func boot(dir string, d *disk, verbose bool) (*machine, error) {
	e, err := offer(d, hostIP)
	if err != nil {
		return nil, err
	}
	m := &machine{
		disk:    e,
		mounted: make(chan struct{}), ready: make(chan struct{}), ended: make(chan struct{}),
	}
	m.cmd = exec.Command(kernel,
		"mem=128M", "initrd="+filepath.Join(dir, initramfsName), "quiet", "panic=-1",
		"con=null", "con0=null,fd:1", "uml_dir="+dir,
		guestLink+":transport=tap,gro=1,ifname="+hostLink+",mac="+guestMAC,
		diskVariable+"="+e.address())
	m.cmd.Dir = dir
	// The kernel makes a process for each of the guest's; the cut ends them all.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := m.cmd.StdoutPipe()
	if err == nil {
		m.cmd.Stderr = m.cmd.Stdout
		err = m.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("boot: %w", err), e.close())
	}
	go func() {
		defer close(m.ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			m.hear(s.Text(), verbose)
		}
		_ = m.cmd.Wait() // SIGKILL, mostly
	}()
	return m, nil
}

// hear takes in a line of the console.
func (m *machine) hear(line string, verbose bool) {
	line = strings.TrimRight(line, "\r")
	if verbose {
		fmt.Fprintln(os.Stderr, "| "+line)
	}
	m.mu.Lock()
	m.tail = append(m.tail, line)
	if len(m.tail) > 30 {
		m.tail = m.tail[1:]
	}
	m.mu.Unlock()
	switch {
	case strings.Contains(line, saysMounted):
		once(m.mounted)
	case strings.Contains(line, saysReady):
		once(m.ready)
	}
}

// once closes c if it is open; only one goroutine does.
func once(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// await waits until the guest got so far.
func (m *machine) await(ctx context.Context, what string, c <-chan struct{}) error {
	limit := time.NewTimer(bootTime)
	defer limit.Stop()
	reason := ""
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-m.ended:
		reason = "the guest ended"
	case <-limit.C:
		reason = fmt.Sprintf("not within %v", bootTime)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Errorf("%s: %s; its console:\n%s", what, reason, strings.Join(m.tail, "\n"))
}

// cut ends the guest as a power cut does, at once and in the middle of
// everything. When it returns, nothing of it is left.
func (m *machine) cut() error {
	err := unix.Kill(-m.cmd.Process.Pid, unix.SIGKILL)
	if errors.Is(err, unix.ESRCH) {
		err = nil // it has ended by itself
	}
	service := m.disk.close()
	<-m.ended
	return errors.Join(err, service)
}
