package main

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// block is n sectors full of b.
func block(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n*sector) }

// content is the first byte of each of the first n sectors, as they are read.
func content(d *disk, n int) string {
	out := make([]byte, n)
	p := make([]byte, n*sector)
	d.read(p, 0)
	for i := range out {
		out[i] = p[i*sector]
	}
	return string(out)
}

// scene writes to four sectors full of dots: ab are flushed, c by its own, and
// xY.. are in the cache when it returns, Y as the second version behind y.
func scene(d *disk) {
	d.write(block('a', 1), 0)
	d.write(block('b', 1), sector)
	d.flush(nil, 0, d.size())
	d.write(block('x', 1), 0)
	d.write(block('y', 1), sector)
	d.write(block('Y', 1), sector)
	d.write(block('c', 1), 2*sector)
	d.flush(nil, 2*sector, sector)
}

func TestACutLeavesWhatWasFlushedAndOfTheRestWhatThePolicySays(t *testing.T) {
	for _, c := range []struct {
		policy policy
		lie    bool
		want   []string
	}{
		{keep, false, []string{"xYc."}},
		{drop, false, []string{"abc."}},
		{random, false, []string{"abc.", "ayc.", "aYc.", "xbc.", "xyc.", "xYc."}},
		{drop, true, []string{"...."}},
		{keep, true, []string{"xYc."}},
	} {
		t.Run(string(c.policy), func(t *testing.T) {
			seen := map[string]bool{}
			for seed := range uint64(200) {
				d := newDisk(block('.', 4))
				d.lie = c.lie
				scene(d)
				if got := content(d, 4); got != "xYc." {
					t.Fatalf("before the cut %q is read", got)
				}
				d.cut(c.policy, rand.New(rand.NewPCG(seed, 0)))
				seen[content(d, 4)] = true
			}
			for _, w := range c.want {
				if !seen[w] {
					t.Errorf("%q never was the outcome", w)
				}
				delete(seen, w)
			}
			for got := range seen {
				t.Errorf("%q must not be the outcome", got)
			}
		})
	}
}

func TestAFlushThatThePowerInterruptsHasDoneNothing(t *testing.T) {
	d := newDisk(block('.', 1))
	d.latency = 1 << 62
	d.write(block('x', 1), 0)
	gone := make(chan struct{})
	close(gone)
	if d.flush(gone, 0, d.size()) {
		t.Error("it says that it is done")
	}
	unflushed, survived := d.cut(drop, nil)
	if got := content(d, 1); got != "." || unflushed != 1 || survived != 0 {
		t.Errorf("%q is left, %d unflushed, %d survived", got, unflushed, survived)
	}
}

func TestASeedMeansTheSameCut(t *testing.T) {
	outcome := func() string {
		d := newDisk(block('.', 64))
		for i := range int64(64) {
			d.write(block('x', 1), i*sector)
		}
		d.cut(random, rand.New(rand.NewPCG(7, 0)))
		return content(d, 64)
	}
	if a, b := outcome(), outcome(); a != b {
		t.Errorf("%q and %q", a, b)
	}
}
