package users

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// A look tells whether the file is another one by now, or others may read it.
type look struct {
	ino      uint64
	size     int64
	mod, chg syscall.Timespec // chg: of owner and mode, too
}

// lookAt looks; no file is the zero look.
func lookAt(path string) (l look) {
	if path == "" {
		return l
	}
	var st syscall.Stat_t
	if syscall.Stat(path, &st) == nil {
		l = look{ino: st.Ino, size: st.Size, mod: st.Mtim, chg: st.Ctim}
	}
	return l
}

// follow reads the file when it has changed.
func (u *Users) follow() {
	now := lookAt(u.opt.Path)
	u.mu.Lock()
	defer u.mu.Unlock()
	if now != u.look {
		u.look = now
		u.readLocked(false)
	}
}

// Reload reads the file, whether it has changed or not.
func (u *Users) Reload() {
	now := lookAt(u.opt.Path)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.look = now
	u.readLocked(false)
}

// readLocked takes in the file. When it cannot be read, the users stay that
// there are: an editor may be about to write it, a mount be missing.
func (u *Users) readLocked(first bool) {
	if u.opt.Path == "" {
		return
	}
	list, err := Read(u.opt.Path)
	if errors.Is(err, fs.ErrNotExist) && len(u.byName) == 0 {
		u.closed = false
		return
	}
	if err != nil {
		u.closed = u.closed || first
		u.complainLocked("the users file cannot be read; the users that there were stay", err.Error(), remedy(u.opt.Path, err))
		return
	}
	u.closed = false
	u.takeLocked(list)
	if !first {
		u.log.Info("the users file was read", "users", len(u.all))
	}
	select {
	case u.fresh <- struct{}{}:
	default:
	}
	if st, err := os.Stat(u.opt.Path); err == nil {
		if text := Exposed(u.opt.Path, st); text != "" {
			u.complainLocked("the users file is open to everybody", text, "see the error")
			return
		}
	}
	if len(list.Problems) > 0 {
		text := list.Problems[0].Error()
		if n := len(list.Problems); n > 1 {
			text = fmt.Sprintf("%s (and %d more lines)", text, n-1)
		}
		u.complainLocked("the users file has lines that cannot be used; they are left out", text, "packetboat check names them all")
		return
	}
	u.wrong = ""
}

// complainLocked says what is wrong with the file, once.
func (u *Users) complainLocked(what, text, remedy string) {
	if u.wrong == text {
		return
	}
	u.wrong = text
	u.log.Error(what, "file", u.opt.Path, "error", text, "remedy", remedy)
}

func remedy(path string, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "put the file back; to have no users, leave an empty one"
	case errors.Is(err, fs.ErrPermission):
		return "let the user that runs the gateway read it: chown it, or give it to the service's group (chgrp packetboat " + path + "; chmod g+r " + path + ")"
	}
	return "correct auth.users, or the file"
}

// takeLocked makes list the users. Those whose line is as it was keep what is
// known of them.
func (u *Users) takeLocked(list *List) {
	was := u.byName
	u.byName = make(map[string]*user, len(list.lines))
	u.all = make([]*user, 0, len(list.lines))
	for _, at := range list.lines {
		if at.hash == nil {
			continue
		}
		one := was[at.name]
		if one == nil || one.text != at.text {
			one = &user{text: at.text, hash: at.hash}
		}
		u.byName[at.name] = one
		u.all = append(u.all, one)
	}
}
