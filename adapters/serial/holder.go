package serial

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// permission explains why path cannot be opened.
func permission(path string) error {
	who := "this user"
	if u, err := user.Current(); err == nil {
		who = "user " + u.Username
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fmt.Errorf("port %s: %w", path, fs.ErrPermission)
	}
	return fmt.Errorf("port %s: %w", path, errPermission(who, path, st.Mode, st.Gid, groupName(st.Gid)))
}

func groupName(gid uint32) string {
	g, err := user.LookupGroupId(strconv.FormatUint(uint64(gid), 10))
	if err != nil {
		return strconv.FormatUint(uint64(gid), 10)
	}
	return g.Name
}

// errPermission names the group to join, where that would help: dialout on
// Debian.
func errPermission(who, path string, mode, gid uint32, group string) error {
	if gid != 0 && mode&0o060 == 0o060 {
		return fmt.Errorf("%w: %s must be in group %s (usermod -aG %s USER, then restart the service)", fs.ErrPermission, who, group, group)
	}
	return fmt.Errorf("%w: %s may not read and write it, and no group may (a udev rule can change that: GROUP=\"dialout\", MODE=\"0660\")", fs.ErrPermission, who)
}

// holder names the process that has path locked or open, as far as we may
// see; "" if we cannot.
func holder(path string) string {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return ""
	}
	if f, err := os.Open("/proc/locks"); err == nil {
		defer f.Close()
		want := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
		for sc := bufio.NewScanner(f); sc.Scan(); {
			// 1: FLOCK  ADVISORY  WRITE 1234 00:05:678 0 EOF
			if w := strings.Fields(sc.Text()); len(w) > 5 && w[5] == want {
				return process(w[4])
			}
		}
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*") // only our own without the rights
	if err != nil {
		return ""
	}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && target == real {
			return process(strings.Split(fd, "/")[2])
		}
	}
	return ""
}

// process describes a process by its id.
func process(pid string) string {
	if n, err := strconv.Atoi(pid); err != nil || n <= 0 { // of another container
		return ""
	}
	if n, _ := strconv.Atoi(pid); n == os.Getpid() {
		return "another adapter of this gateway"
	}
	name, err := os.ReadFile(filepath.Join("/proc", pid, "comm"))
	if err != nil {
		return "process " + pid
	}
	return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid)
}
