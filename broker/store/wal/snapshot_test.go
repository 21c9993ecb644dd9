package wal_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"packetboat/broker/store/wal"
	"packetboat/broker/store/wal/simdisk"
)

// snap writes a snapshot of n records at p.
func snap(d wal.FS, p wal.Pos, n int) error {
	_, err := wal.WriteSnapshot(d, p, uint64(p), func(add func([]byte) error) error {
		for i := range n {
			if err := add([]byte(msg(i, 1000))); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func readSnap(d wal.FS, p wal.Pos) (n int, err error) {
	count, _, err := wal.ReadSnapshot(d, p, func(rec []byte) error {
		if string(rec) != msg(n, 1000) {
			return errors.New("another record")
		}
		n++
		return nil
	})
	if err == nil && count != uint64(p) {
		err = errors.New("another count")
	}
	return n, err
}

func TestASnapshotIsReadWholeOrNotAtAll(t *testing.T) {
	disk := simdisk.New()
	if err := snap(disk, 77, 3); err != nil {
		t.Fatal(err)
	}
	if n, err := readSnap(disk, 77); n != 3 || err != nil {
		t.Fatalf("%d records, %v", n, err)
	}
	const name = "000000000000004d.snap"
	whole := content(disk, name)
	for cut := range whole {
		d := disk.Clone()
		d.Edit(name, func(b []byte) []byte { return b[:cut:cut] })
		if n, err := readSnap(d, 77); err == nil || n > 0 {
			t.Fatalf("cut at %d: %d records, %v", cut, n, err)
		}
		d.Edit(name, func([]byte) []byte { b := slices.Clone(whole); b[cut] ^= 0x10; return b })
		if n, err := readSnap(d, 77); err == nil || n > 0 {
			t.Fatalf("byte %d flipped: %d records, %v", cut, n, err)
		}
	}
	if _, err := readSnap(disk, 78); err == nil {
		t.Fatal("a snapshot of a position that has none")
	}
	disk.Edit(name, func(b []byte) []byte { return reHead(b, func(h []byte) { h[8] = 2 }) })
	var newer *wal.NewerError
	if _, err := readSnap(disk, 77); !errors.As(err, &newer) {
		t.Fatalf("of a newer format: %v", err)
	}
}

// TestASnapshotReplacesNothingBeforeItIsOnDisk fails and crashes in each
// operation of writing one.
func TestASnapshotReplacesNothingBeforeItIsOnDisk(t *testing.T) {
	for _, crash := range []bool{false, true} {
		for at := 1; ; at++ {
			disk := simdisk.New()
			if err := snap(disk, 10, 2); err != nil {
				t.Fatal(err)
			}
			put(disk, "snapshot.tmp", []byte("of an earlier try"))
			n, hit := 0, false
			disk.Fault = func(op simdisk.Op, name string) error {
				if n++; n != at {
					return nil
				}
				hit = true
				if crash {
					panic(plug{})
				}
				return unix.ENOSPC
			}
			var err error
			untilPlug(func() { err = snap(disk, 20, 100) })
			disk.Fault = nil
			if hit && !crash && err == nil {
				t.Fatalf("operation %d failed and nobody was told", at)
			}
			for seed := range uint64(8) {
				d := disk.Clone()
				if crash {
					d = disk
					d.Crash(rand.New(rand.NewPCG(seed, uint64(at))))
				}
				snaps, err := wal.Snapshots(d)
				if err != nil || !slices.Contains(snaps, 10) {
					t.Fatalf("operation %d: snapshots %v, %v", at, snaps, err)
				}
				if n, err := readSnap(d, 10); n != 2 || err != nil {
					t.Fatalf("operation %d: the old one has %d records, %v", at, n, err)
				}
				if slices.Contains(snaps, 20) {
					if n, err := readSnap(d, 20); n != 100 || err != nil {
						t.Fatalf("operation %d: the new one has its name, %d records, %v", at, n, err)
					}
				}
				if crash {
					break
				}
			}
			if !hit {
				break
			}
		}
	}
}

func TestOnlySnapshotNamesAreSnapshots(t *testing.T) {
	disk := simdisk.New()
	for _, name := range []string{"0000000000000001.snap", "00000000000000FF.snap", "1.snap", "+000000000000001.snap", ".snap", "x.snap",
		"ffffffffffffffff.snap", "0000000000000001.snap.old"} {
		put(disk, name, nil)
	}
	got, err := wal.Snapshots(disk)
	if want := []wal.Pos{1<<64 - 1, 1}; err != nil || !slices.Equal(got, want) {
		t.Fatalf("snapshots %v, %v", got, err)
	}
}
