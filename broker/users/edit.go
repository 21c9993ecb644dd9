package users

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Owner is whom a file belongs to.
type Owner struct{ UID, GID int }

// Edit changes the file, or makes it: whoever reads it, or cuts the power, finds
// the old one or the new one, whole. The owner stays, and nobody but owner and
// group may read it; a file that was not there gets mode 0600, and belongs to
// fresh, if that is not nil. Two that edit at the same time wait for each other.
// When change returns an error nothing is changed, and the error is returned.
func Edit(path string, fresh *Owner, change func(*List) error) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // the link stays one
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("open the directory of the users file: %w", err)
	}
	defer dir.Close() // and lets the next one in
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	list, mode, owner := &List{}, fs.FileMode(0o600), fresh
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if list, err = Read(path); err != nil {
			return err
		}
		mode = st.Mode()&0o640 | 0o600
		if s, ok := st.Sys().(*syscall.Stat_t); ok {
			owner = &Owner{int(s.Uid), int(s.Gid)}
		}
	}
	if err := change(list); err != nil {
		return err
	}
	if err := replace(path, list.bytes(), mode, owner); err != nil {
		return fmt.Errorf("write the users file: %w", err)
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir.Name(), err)
	}
	return nil
}

// replace puts a new file in the place of that at path.
func replace(path string, data []byte, mode fs.FileMode, owner *Owner) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".users-*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if owner != nil {
		if err := own(f, *owner); err != nil {
			return err
		}
	}
	if err := f.Chmod(mode); err != nil { // after chown, which may clear bits
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// own gives the file to o.
func own(f *os.File, o Owner) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if s, ok := st.Sys().(*syscall.Stat_t); ok && int(s.Uid) == o.UID && int(s.Gid) == o.GID {
		return nil
	}
	if err := f.Chown(o.UID, o.GID); err != nil {
		return fmt.Errorf("keep its owner: %w (run this as root, or as user %d, whom the file belongs to)", err, o.UID)
	}
	return nil
}

// Exposed says what is wrong with who may read and write the file, "" when
// nothing is; it names what to do about it.
func Exposed(path string, st fs.FileInfo) string {
	mode := st.Mode().Perm()
	if mode&0o007 == 0 {
		return ""
	}
	return fmt.Sprintf("everybody on this machine may read or write %s (mode %04o), and guess the passwords: chmod o= %s", path, mode, path)
}
