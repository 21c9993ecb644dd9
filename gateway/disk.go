package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"packetboat/config"
)

// checkMount enforces require_mount: data_dir must be the root of a file
// system, so that a disk which is not mounted is noticed before the queue goes
// onto the one below.
func checkMount(g config.Gateway) error {
	if !g.RequireMount {
		return nil
	}
	var own, parent unix.Stat_t
	dir, err := filepath.Abs(g.DataDir)
	if err == nil {
		err = unix.Stat(dir, &own)
	}
	if err == nil {
		err = unix.Stat(filepath.Dir(dir), &parent)
	}
	switch {
	case err != nil:
		return fmt.Errorf("data directory %s: gateway.require_mount is set: %w", g.DataDir, err)
	case own.Dev == parent.Dev && dir != "/":
		return fmt.Errorf("data directory %s: no file system is mounted there, and gateway.require_mount is set: mount the disk, or set require_mount = false", g.DataDir)
	}
	return nil
}

// measure looks at the disk below dir, which need not exist yet. What cannot
// be found out stays zero.
func measure(dir string) disk {
	var d disk
	at, err := filepath.Abs(dir)
	if err != nil {
		return d
	}
	for at != "/" {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		at = filepath.Dir(at)
	}
	var st unix.Statfs_t
	if unix.Statfs(at, &st) == nil {
		d.size = int64(st.Blocks) * int64(st.Bsize)
		d.space = int64(st.Bavail)*int64(st.Bsize) + allocated(dir)
	}
	var file unix.Stat_t
	if unix.Stat(at, &file) == nil {
		dev := uint64(file.Dev)
		block := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev))
		d.card = onCard(block, 0)
	}
	return d
}

// allocated is the size of the files in dir on the disk.
func allocated(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && e.Type().IsRegular() && unix.Lstat(path, &st) == nil {
			sum += int64(st.Blocks) * 512
		}
		return nil // a guess is enough; what cannot be read is not counted
	})
	return sum
}

// onCard reports whether a block device of sysfs is, or lies on (dm-crypt,
// LVM, md), an SD card or eMMC.
func onCard(block string, depth int) bool {
	path, err := filepath.EvalSymlinks(block)
	if err != nil || depth > 8 {
		return false
	}
	if strings.Contains(path, "/mmc") {
		return true
	}
	below, err := filepath.Glob(filepath.Join(path, "slaves", "*"))
	if err != nil {
		return false
	}
	for _, b := range below {
		if onCard(b, depth+1) {
			return true
		}
	}
	return false
}
