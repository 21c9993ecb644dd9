package store

import (
	"errors"
	"fmt"
	"os"

	"packetboat/broker/store/wal"
)

// OpenReadOnly reads the queue in dir without changing a byte of it: damage is
// reported and left where it is. Nothing may be staged and Run must not be
// called. On the directory of a running gateway the state may be that of a
// moment ago, and a frame that is being written looks like a torn tail.
func OpenReadOnly(dir string, opt Options) (*Store, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("open queue: %w", err)
	}
	real := wal.Dir(dir)
	if err := checkForeign(real); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	opt.FS = readOnlyFS{real}
	return Open(dir, opt)
}

func (s *Store) readOnly() bool {
	_, ok := s.fs.(readOnlyFS)
	return ok
}

var errReadOnly = errors.New("opened for reading only")

// readOnlyFS lets recovery believe that it tidies up.
type readOnlyFS struct{ wal.FS }

func (f readOnlyFS) Open(name string, create bool) (wal.File, error) {
	if create {
		return nil, errReadOnly
	}
	file, err := f.FS.Open(name, false)
	if err != nil {
		return nil, err
	}
	return readOnlyFile{file}, nil
}

func (readOnlyFS) Rename(string, string) error { return errReadOnly }
func (readOnlyFS) Remove(string) error         { return nil }
func (readOnlyFS) SyncDir() error              { return nil }

type readOnlyFile struct{ wal.File }

func (readOnlyFile) WriteAt([]byte, int64) (int, error) { return 0, errReadOnly }
func (readOnlyFile) Sync() error                        { return errReadOnly }
func (readOnlyFile) Truncate(int64) error               { return nil }
func (readOnlyFile) Allocate(int64) error               { return errReadOnly }
