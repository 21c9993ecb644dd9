package main

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// sector is what a disk writes as a whole or not at all.
const sector = 512

// disk is a disk with a volatile write cache: what was written is read back at
// once, and survives a cut for certain only after a flush.
//
//	write ──► cache: for each sector the versions since the last flush
//	             │ flush, or a write with FUA: the newest version
//	             ▼
//	           media ◄── cut: for each sector, one of the versions or none
//
// Any goroutine may use it.
type disk struct {
	// lie makes it a disk that acknowledges a flush and does nothing.
	lie bool
	// latency is the longest time that a flush takes. Without it a cut would
	// seldom come between a write and its flush.
	latency time.Duration

	mu     sync.Mutex
	media  []byte
	cache  map[int64][][]byte
	counts diskCounts
}

// diskCounts is what the disk was asked to do.
type diskCounts struct {
	writes, flushes, bytes uint64
}

func (c diskCounts) plus(o diskCounts) diskCounts {
	return diskCounts{c.writes + o.writes, c.flushes + o.flushes, c.bytes + o.bytes}
}

func (c diskCounts) minus(o diskCounts) diskCounts {
	return diskCounts{c.writes - o.writes, c.flushes - o.flushes, c.bytes - o.bytes}
}

func newDisk(image []byte) *disk {
	return &disk{media: image, cache: map[int64][][]byte{}}
}

func (d *disk) size() int64 { return int64(len(d.media)) }

// within reports whether whole sectors of the disk are meant.
func (d *disk) within(off, n int64) bool {
	return off >= 0 && n >= 0 && off%sector == 0 && n%sector == 0 && off <= d.size()-n
}

func (d *disk) read(p []byte, off int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(p, d.media[off:])
	for i := 0; i < len(p); i += sector {
		if v := d.cache[off+int64(i)]; len(v) > 0 {
			copy(p[i:], v[len(v)-1])
		}
	}
}

// write takes p into the cache.
func (d *disk) write(p []byte, off int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts.writes++
	d.counts.bytes += uint64(len(p))
	own := slices.Clone(p)
	for i := 0; i < len(own); i += sector {
		at := off + int64(i)
		d.cache[at] = append(d.cache[at], own[i:i+sector])
	}
}

// flush puts everything that was written on the media, or only the n bytes at
// off of a write with FUA. It takes its time; if the power goes meanwhile, it
// reports false and has done nothing.
func (d *disk) flush(power <-chan struct{}, off, n int64) bool {
	if d.latency > 0 {
		select {
		case <-time.After(rand.N(d.latency)):
		case <-power:
			return false
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts.flushes++
	if d.lie {
		return true
	}
	for at, versions := range d.cache {
		if at >= off && at < off+n {
			copy(d.media[at:], versions[len(versions)-1])
			delete(d.cache, at)
		}
	}
	return true
}

// A policy says what a cut leaves of the sectors that were not flushed.
type policy string

const (
	keep   policy = "keep"   // all of them
	drop   policy = "drop"   // none
	random policy = "random" // each by itself one of its versions, or what was there before: torn and out of order
	mix    policy = "mix"    // one of these for each cut
)

func parsePolicy(s string) (policy, error) {
	p := policy(s)
	if !slices.Contains([]policy{keep, drop, random, mix}, p) {
		return "", fmt.Errorf("policy %q is none of keep, drop, random and mix", s)
	}
	return p, nil
}

// pick settles what mix means for the next cut.
func (p policy) pick(r *rand.Rand) policy {
	if p == mix {
		return []policy{keep, drop, random}[r.IntN(3)]
	}
	return p
}

// cut ends the power: what p lets survive is on the media, the cache is empty.
// Nobody may be using the disk any more.
func (d *disk) cut(p policy, r *rand.Rand) (unflushed, survived int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// In order of the sectors, so that a seed means the same each time.
	for _, at := range slices.Sorted(maps.Keys(d.cache)) {
		versions := d.cache[at]
		chosen := 0 // what was there before
		switch p {
		case keep:
			chosen = len(versions)
		case random:
			chosen = r.IntN(len(versions) + 1)
		}
		unflushed++
		if chosen > 0 {
			survived++
			copy(d.media[at:], versions[chosen-1])
		}
	}
	clear(d.cache)
	return unflushed, survived
}

func (d *disk) asked() diskCounts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}

// sizeHeader is how the disk's size is told to the guest.
func (d *disk) sizeHeader() []byte { return binary.BigEndian.AppendUint64(nil, uint64(d.size())) }
