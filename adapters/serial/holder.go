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

// Permission says why this user may not open the port at path, and what to do about
// it; nil: nothing is in the way. The port is not opened.
func Permission(path string) error {
	if unix.Access(path, unix.R_OK|unix.W_OK) == nil {
		return nil
	}
	return permission(path)
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

// A Holder is a process that has a port locked or open.
type Holder struct {
	Process int    `json:"process"`
	Name    string `json:"name,omitempty"` // "" where it may not be seen
}

// String names the process.
func (h Holder) String() string {
	if h.Name == "" {
		return fmt.Sprintf("process %d", h.Process)
	}
	return fmt.Sprintf("%s (process %d)", h.Name, h.Process)
}

// FindHolder finds who has path locked or, as far as we may see, open: without
// the rights for it, only processes of the same user.
func FindHolder(path string) (h Holder, ok bool) {
	pid, ok := lockedBy(path)
	if !ok {
		pid, ok = openedBy(path)
	}
	if !ok {
		return Holder{}, false
	}
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // it may just have ended
	return Holder{pid, strings.TrimSpace(string(name))}, true
}

func lockedBy(path string) (pid int, ok bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0, false
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	want := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for sc := bufio.NewScanner(f); sc.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 1234 00:05:678 0 EOF
		if w := strings.Fields(sc.Text()); len(w) > 5 && w[5] == want {
			return processID(w[4])
		}
	}
	return 0, false
}

func openedBy(path string) (pid int, ok bool) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return 0, false
	}
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0, false
	}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && target == real {
			return processID(strings.Split(fd, "/")[2])
		}
	}
	return 0, false
}

// processID reads a process id; those of other containers are 0 or -1.
func processID(text string) (pid int, ok bool) {
	pid, err := strconv.Atoi(text)
	return pid, err == nil && pid > 0
}

// holder names who has path locked or open; "" if we cannot see it.
func holder(path string) string {
	h, ok := FindHolder(path)
	switch {
	case !ok:
		return ""
	case h.Process == os.Getpid():
		return "another adapter of this gateway"
	}
	return h.String()
}
