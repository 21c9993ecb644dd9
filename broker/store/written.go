package store

import (
	"sync/atomic"

	"packetboat/broker/store/wal"
)

// written counts what is written to the files of the queue, of whatever kind:
// segments, spare ones, snapshots. A device writes more than that, as a file system
// keeps books and flash is erased in large blocks.
type written struct {
	bytes, syncs atomic.Uint64
}

// countedFS is an FS whose writes are counted.
type countedFS struct {
	wal.FS
	n *written
}

func (c countedFS) Open(name string, create bool) (wal.File, error) {
	f, err := c.FS.Open(name, create)
	if err != nil {
		return nil, err
	}
	return countedFile{f, c.n}, nil
}

func (c countedFS) SyncDir() error {
	c.n.syncs.Add(1)
	return c.FS.SyncDir()
}

type countedFile struct {
	wal.File
	n *written
}

func (c countedFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := c.File.WriteAt(b, at)
	c.n.bytes.Add(uint64(n))
	return n, err
}

func (c countedFile) Sync() error {
	c.n.syncs.Add(1)
	return c.File.Sync()
}
