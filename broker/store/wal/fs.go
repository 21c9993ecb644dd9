package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// FS is the little that the log needs of a file system; names are relative to
// the log's directory. It is the place where tests inject faults and lost
// page caches.
type FS interface {
	Open(name string, create bool) (File, error) // for reading and writing
	Rename(oldName, newName string) error
	Remove(name string) error
	List() ([]FileInfo, error)
	SyncDir() error
}

// FileInfo is one entry of the directory.
type FileInfo struct {
	Name string
	Size int64
}

// File is one open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error               // data and what is needed to find it: fdatasync
	Truncate(size int64) error // shorter or longer
	Allocate(size int64) error // reserve blocks; may do nothing
	Size() (int64, error)
	Close() error
}

// Dir returns the FS of a real directory.
func Dir(path string) FS { return dirFS(path) }

type dirFS string

func (d dirFS) Open(name string, create bool) (File, error) {
	flag := os.O_RDWR
	if create {
		flag |= os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(filepath.Join(string(d), name), flag, 0o640)
	if !create && (errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES)) {
		f, err = os.Open(filepath.Join(string(d), name)) // who wants to write is told then
	}
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d dirFS) Rename(o, n string) error {
	return os.Rename(filepath.Join(string(d), o), filepath.Join(string(d), n))
}

func (d dirFS) Remove(name string) error { return os.Remove(filepath.Join(string(d), name)) }

func (d dirFS) List() ([]FileInfo, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	var out []FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) || e.IsDir() {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, FileInfo{e.Name(), info.Size()})
	}
	return out, nil
}

func (d dirFS) SyncDir() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

type osFile struct{ *os.File }

func (f osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return err
		}
	}
}

func (f osFile) Allocate(size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil // tmpfs on old kernels, FAT: the file grows as it is written
	}
	return err
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Owns reports whether name is one of a log's files.
func Owns(name string) bool {
	if _, _, ok := parseSegmentName(name); ok {
		return true
	}
	_, ok := parseSnapName(name)
	return ok || name == "lock" || name == snapTemp || name == poolTemp || strings.HasPrefix(name, poolPrefix) || strings.HasPrefix(name, "quarantine-")
}

// ErrLocked is returned by Lock when another process holds the directory.
var ErrLocked = errors.New("directory is in use by another process")

// Lock takes the directory for this process until the returned Closer is
// closed. The error names the process that holds it where that is known.
func Lock(dir string) (io.Closer, error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EIO) {
		f, err = os.Open(name) // a disk that takes no writes: what is on it can be served
	}
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0)
		if pid := strings.TrimSpace(string(holder[:n])); pid != "" {
			return nil, fmt.Errorf("%w (pid %s)", ErrLocked, pid)
		}
		return nil, ErrLocked
	}
	// The pid only helps the operator who reads the error of a second gateway.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}
