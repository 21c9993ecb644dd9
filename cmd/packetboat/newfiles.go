package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"packetboat/broker/users"
	"packetboat/config"
	"packetboat/gateway"
)

// A newFile is one that a command makes.
type newFile struct {
	path   string
	data   []byte
	secret bool // mode 0600, and it belongs to the service
}

// writeNew writes files that are not there, or with force in place of those that
// are. A configuration in which nothing is set, such as the one that the package
// installs, is as good as none. Each is there as a whole, or not at all.
func writeNew(files []newFile, force bool) error {
	for _, f := range files {
		_, err := os.Lstat(f.path)
		if err == nil && !force && (f.secret || !setsNothing(f.path)) {
			return &usageError{fmt.Errorf("%s is there already; -force replaces it, -o FILE writes another", f.path)}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, f := range files {
		if err := f.write(); err != nil {
			return fmt.Errorf("write %s: %w", f.path, err)
		}
	}
	return nil
}

// setsNothing reports whether a configuration has comments and headings only.
func setsNothing(path string) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		heading := strings.HasPrefix(line, "[") && !strings.HasPrefix(line, "[[") && strings.HasSuffix(line, "]")
		if line != "" && line[0] != '#' && !heading {
			return false
		}
	}
	return true
}

func (f *newFile) write() (err error) {
	dir := filepath.Dir(f.path)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	t, err := os.CreateTemp(dir, "."+filepath.Base(f.path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(t.Name())
		}
	}()
	if _, err = t.Write(f.data); err == nil && !f.secret {
		err = t.Chmod(0o644)
	}
	if owner := serviceUser(); err == nil && f.secret && owner != nil {
		err = t.Chown(owner.UID, owner.GID)
	}
	if err == nil {
		err = t.Sync()
	}
	if err = errors.Join(err, t.Close()); err != nil {
		return err
	}
	return os.Rename(t.Name(), f.path)
}

// serviceUser owns what the service has to read and nobody else may: whoever has the
// usual data directory. nil: this is not root, or there is none.
func serviceUser() *users.Owner {
	st, err := os.Stat("/var/lib/packetboat")
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return &users.Owner{UID: int(s.Uid), GID: int(s.Gid)}
	}
	return nil
}

// checkText checks a configuration that is to stand at path, as packetboat check
// does, but for conf.d beside it.
func checkText(path, text string) error {
	cfg, err := config.Parse(path, []byte(text), config.Options{})
	if err != nil {
		return err
	}
	if errs := append(gateway.Check(cfg), gateway.CheckFiles(cfg)...); len(errs) > 0 {
		return errs
	}
	return nil
}
