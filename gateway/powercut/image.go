package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// kernel is the User Mode Linux kernel of Debian's package user-mode-linux.
const kernel = "linux.uml"

const initramfsName = "initramfs"

// guestConfiguration keeps segments small, so that cuts also come while the
// log begins a new one, writes a snapshot, or removes what is delivered.
const guestConfiguration = `[gateway]
id = "guest"
data_dir = "/data/queue"
[[listener]]
address = "0.0.0.0:1883"
anonymous = true
[queue]
max_size = "32MiB"
segment_size = "128KiB"
`

// writeInitramfs puts the guest's root file system into dir: this program as
// its first process, the gateway, and the module for the disk.
func writeInitramfs(dir, gateway string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	found, err := filepath.Glob("/usr/lib/uml/modules/*/kernel/drivers/block/nbd.ko")
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("%w: no nbd.ko among the modules of User Mode Linux", errUnable)
	}
	var a initramfs
	for _, name := range []string{"dev", "proc", "data"} {
		a.dir(name)
	}
	// Before /dev is mounted, a Go program wants these.
	a.char("dev/console", 5, 1)
	a.char("dev/null", 1, 3)
	a.file(guestConfig, 0o644, []byte(guestConfiguration))
	for _, f := range []struct{ name, from string }{
		{"init", self}, {guestGateway, gateway}, {guestModule, found[len(found)-1]},
	} {
		data, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		a.file(f.name, 0o755, data)
	}
	return os.WriteFile(filepath.Join(dir, initramfsName), a.finish(), 0o600)
}

// format returns the image of an empty ext4 file system.
func format(dir string, size int64) ([]byte, error) {
	file := filepath.Join(dir, "image")
	defer os.Remove(file)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(file, size); err != nil {
		return nil, err
	}
	// Not lazily: what the guest's kernel would write in the background is not
	// what is to be measured.
	c := exec.Command("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", file)
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mkfs.ext4: %w\n%s", err, out)
	}
	return os.ReadFile(file)
}

// repair does before the guest's boot what Debian does at its own: without
// asking, e2fsck replays the journal and mends what goes without loss. Where a
// cut tore the block that ends a journal's transaction, the kernel by itself
// refuses to mount the file system ("journal transaction … is corrupt"), though
// nothing is lost with it.
func repair(dir string, d *disk) error {
	file, err := copyOut(dir, d)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	if err := e2fsck(1, "-p", file); err != nil { // 1: mended
		return err
	}
	d.media, err = os.ReadFile(file)
	return err
}

// check looks whether the file system is whole after a cut, on a copy.
func check(dir string, d *disk) error {
	file, err := copyOut(dir, d)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	// First the journal, as the guest's kernel does when it mounts.
	if err := e2fsck(1, "-y", "-E", "journal_only", file); err != nil {
		return err
	}
	return e2fsck(0, "-f", "-n", file)
}

// copyOut writes what is on the media to a file.
func copyOut(dir string, d *disk) (file string, err error) {
	file = filepath.Join(dir, "image")
	return file, os.WriteFile(file, d.media, 0o600)
}

// e2fsck runs it; exit codes above most are errors.
func e2fsck(most int, args ...string) error {
	out, err := exec.Command("e2fsck", args...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 && exit.ExitCode() <= most {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the file system is damaged: e2fsck %v: %w\n%s", args, err, out)
	}
	return nil
}
