package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What the guest says on its console when it got so far.
const (
	saysMounted = "guest: mounted"
	saysReady   = "guest: ready"
)

// Paths in the guest.
const (
	guestGateway = "gateway"
	guestConfig  = "gateway.toml"
	guestModule  = "nbd.ko"
	guestNotify  = "/notify"
)

// diskVariable names the guest's environment variable with the address of its
// disk, and thereby tells this program that it is the guest's first process.
const diskVariable = "POWERCUT_DISK"

// guest is the first process of the guest; it does not return.
//
//	network up ─► nbd module ─► disk ─► mount ─► packetboat run
func guest(address string) {
	err := bringUp(address)
	fmt.Println("guest: failed:", err)
	// The rig sees the machine end.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

func bringUp(address string) error {
	if err := unix.Mount("dev", "/dev", "devtmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /dev: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := linkUp("lo", "127.0.0.1"); err != nil {
		return err
	}
	if err := linkUp(guestLink, guestIP); err != nil {
		return err
	}
	if err := attach(address); err != nil {
		return err
	}
	if err := unix.Mount(nbdDevice, "/data", "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount /data: %w", err)
	}
	fmt.Println(saysMounted)
	return runGateway()
}

// linkUp gives a network interface its address, with the mask of its class,
// and starts it.
func linkUp(name, ip string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	defer unix.Close(s)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	if err := r.SetInet4Addr(net.ParseIP(ip).To4()); err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	if err := unix.IoctlIfreq(s, unix.SIOCSIFADDR, r); err != nil {
		return fmt.Errorf("link %s: address: %w", name, err)
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r); err != nil {
		return fmt.Errorf("link %s: up: %w", name, err)
	}
	return nil
}

const nbdDevice = "/dev/nbd0"

// The kernel's <linux/nbd.h>.
const (
	nbdSetSock       = 0xab00
	nbdSetBlockSize  = 0xab01
	nbdDoIt          = 0xab03
	nbdSetSizeBlocks = 0xab07
	nbdSetFlags      = 0xab0a

	nbdHasFlags  = 1 << 0
	nbdSendFlush = 1 << 2 // the disk has a write cache, and can be told to empty it
	nbdSendFUA   = 1 << 3
)

// attach makes the disk at address nbdDevice.
func attach(address string) error {
	module, err := os.Open(guestModule)
	if err != nil {
		return err
	}
	defer module.Close()
	if err := unix.FinitModule(int(module.Fd()), "nbds_max=1 max_part=0", 0); err != nil {
		return fmt.Errorf("load %s: %w", guestModule, err)
	}
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return fmt.Errorf("the disk: %w", err)
	}
	var size [8]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return fmt.Errorf("the disk's size: %w", err)
	}
	socket, err := conn.(*net.TCPConn).File()
	if err != nil {
		return fmt.Errorf("the disk: %w", err)
	}
	dev, err := os.OpenFile(nbdDevice, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	fd := int(dev.Fd())
	for _, call := range []struct {
		what     string
		request  uint
		argument int
	}{
		{"block size", nbdSetBlockSize, sector},
		{"size", nbdSetSizeBlocks, int(binary.BigEndian.Uint64(size[:]) / sector)},
		{"flags", nbdSetFlags, nbdHasFlags | nbdSendFlush | nbdSendFUA},
		{"socket", nbdSetSock, int(socket.Fd())},
	} {
		if err := unix.IoctlSetInt(fd, call.request, call.argument); err != nil {
			return fmt.Errorf("nbd: set the %s: %w", call.what, err)
		}
	}
	serving := make(chan error, 1)
	go func() { serving <- serveDevice(fd) }()
	return awaitCapacity(fd, serving)
}

// serveDevice lends a thread to the kernel for as long as the disk is there. A
// signal would end that, and Go's scheduler sends some to its own threads.
func serveDevice(fd int) error {
	runtime.LockOSThread() // for good: nobody else wants a thread without signals
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, nil); err != nil {
		return err
	}
	return unix.IoctlSetInt(fd, nbdDoIt, 0)
}

// awaitCapacity returns when the disk can be used. That it has a size is all
// that the kernel tells without a socket for its events.
func awaitCapacity(fd int, serving <-chan error) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		sectors, err := unix.IoctlGetInt(fd, unix.BLKGETSIZE)
		if err != nil {
			return fmt.Errorf("nbd: get the size: %w", err)
		}
		if sectors > 0 {
			return nil
		}
		select {
		case <-tick.C:
		case err := <-serving:
			return fmt.Errorf("nbd: the service ended: %v", err)
		case <-deadline:
			return fmt.Errorf("nbd: %s does not get a size", nbdDevice)
		}
	}
}

// runGateway runs packetboat, says when it is ready, and returns when it ends.
func runGateway() error {
	// As systemd does: the gateway itself tells when it serves.
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: guestNotify, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify socket: %w", err)
	}
	gateway := exec.Command("/"+guestGateway, "run", "-config", "/"+guestConfig)
	gateway.Env = []string{"NOTIFY_SOCKET=" + guestNotify}
	gateway.Stdout, gateway.Stderr = os.Stdout, os.Stderr
	if err := gateway.Start(); err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := notify.Read(buf)
			if err != nil {
				return
			}
			if strings.Contains(string(buf[:n]), "READY=1") {
				fmt.Println(saysReady)
			}
		}
	}()
	err = gateway.Wait()
	return fmt.Errorf("packetboat has ended: %v", err)
}
