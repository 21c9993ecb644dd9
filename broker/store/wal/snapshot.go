package wal

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"sort"
	"strconv"
	"strings"
)

// A snapshot is a compact log of a state: a header as a segment's with another
// magic and an empty table frame, frames, and an empty frame as the end mark,
// without which it is not complete. It is named by the position up to which it
// holds the state.

const snapFrame = 64 << 10

const snapTemp = "snapshot.tmp"

func snapName(p Pos) string { return fmt.Sprintf("%016x.snap", uint64(p)) }

func parseSnapName(name string) (Pos, bool) {
	hex, ok := strings.CutSuffix(name, ".snap")
	if !ok {
		return 0, false
	}
	p, err := strconv.ParseUint(hex, 16, 64)
	return Pos(p), err == nil && snapName(Pos(p)) == name
}

// WriteSnapshot writes the records that write adds as the state at position p
// with count messages before it: to a temporary file, synced, renamed, the
// directory synced. It returns the size of the file.
func WriteSnapshot(fs FS, p Pos, count uint64, write func(add func(rec []byte) error) error) (int64, error) {
	if err := fs.Remove(snapTemp); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return 0, fmt.Errorf("remove old temporary snapshot: %w", err)
	}
	f, err := fs.Open(snapTemp, true)
	if err != nil {
		return 0, fmt.Errorf("create snapshot: %w", err)
	}
	w := &snapWriter{f: f, pos: p, count: count, buf: make([]byte, frameHeader, snapFrame)}
	err = w.write(write)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fs.Rename(snapTemp, snapName(p))
	}
	if err == nil {
		err = fs.SyncDir()
	}
	if err != nil {
		return 0, fmt.Errorf("write snapshot: %w", err)
	}
	return w.off, nil
}

type snapWriter struct {
	f     File
	off   int64
	pos   Pos
	count uint64
	buf   []byte
}

func (w *snapWriter) write(write func(add func(rec []byte) error) error) error {
	table := make([]byte, frameHeader)
	finishFrame(table, w.pos, w.count, true)
	head := append(fileHead(snapMagic, w.pos, false, segmentHeader+frameHeader), table...)
	if _, err := w.f.WriteAt(head, 0); err != nil {
		return err
	}
	w.off = int64(len(head))
	err := write(func(rec []byte) error {
		w.buf = appendRecord(w.buf, rec)
		if len(w.buf) >= snapFrame {
			return w.flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(w.buf) > frameHeader {
		if err := w.flush(); err != nil {
			return err
		}
	}
	return w.flush() // the end mark
}

func (w *snapWriter) flush() error {
	finishFrame(w.buf, Pos(w.off), w.count, false)
	if _, err := w.f.WriteAt(w.buf, w.off); err != nil {
		return err
	}
	w.off += int64(len(w.buf))
	w.buf = w.buf[:frameHeader]
	return nil
}

// Snapshots returns the positions of the snapshots there are, newest first.
func Snapshots(fs FS) ([]Pos, error) {
	files, err := fs.List()
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var out []Pos
	for _, f := range files {
		if p, ok := parseSnapName(f.Name); ok {
			out = append(out, p)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i] > out[j] })
	return out, nil
}

// RemoveSnapshot removes the snapshot of position p.
func RemoveSnapshot(fs FS, p Pos) error { return fs.Remove(snapName(p)) }

// ReadSnapshot passes the records of the snapshot at p to apply, after it has
// checked that the whole file is sound. It returns the message count and the
// size of the file.
func ReadSnapshot(fs FS, p Pos, apply func(rec []byte) error) (count uint64, size int64, err error) {
	f, err := fs.Open(snapName(p), false)
	if err != nil {
		return 0, 0, fmt.Errorf("open snapshot: %w", err)
	}
	defer f.Close()
	head := make([]byte, segmentHeader+frameHeader)
	if _, err := f.ReadAt(head, 0); err != nil {
		return 0, 0, fmt.Errorf("read snapshot: %w", err)
	}
	if _, err := parseHead(head, snapMagic, p); err != nil {
		return 0, 0, err
	}
	t, ok := parseFrame(head[segmentHeader:], true)
	if !ok {
		return 0, 0, errHead
	}
	for _, f2 := range []func([]byte) error{func([]byte) error { return nil }, apply} {
		if size, err = walkSnapshot(f, f2); err != nil {
			return 0, 0, err
		}
	}
	return t.before, size, nil
}

func walkSnapshot(f File, apply func(rec []byte) error) (int64, error) {
	off := int64(segmentHeader + frameHeader)
	var buf []byte
	for {
		b, info, err := readFrameAt(f, off, buf)
		if err != nil || info.pos != Pos(off) {
			if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.New("snapshot is incomplete")
			}
			return 0, err
		}
		buf = b
		off += int64(info.size)
		recs := b[frameHeader:]
		if len(recs) == 0 {
			return off, nil
		}
		for len(recs) > 0 {
			var rec []byte
			if rec, recs, err = NextRecord(recs); err != nil {
				return 0, err
			}
			if err := apply(rec); err != nil {
				return 0, err
			}
		}
	}
}
