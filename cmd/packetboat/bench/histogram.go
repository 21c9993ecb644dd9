package bench

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A Histogram counts times in 15 KiB, whatever their number: each power of two of
// nanoseconds has 32 buckets, so that a quantile is at most 3 % too high. Any
// goroutine may use it. The zero Histogram is empty.
type Histogram struct {
	buckets [(64 - stepBits) << stepBits]atomic.Uint64
	count   atomic.Uint64
	sum     atomic.Int64 // nanoseconds
	most    atomic.Int64
}

const stepBits = 5

// Add counts a time.
func (h *Histogram) Add(d time.Duration) {
	n := max(int64(d), 0)
	h.buckets[bucketOf(uint64(n))].Add(1)
	h.count.Add(1)
	h.sum.Add(n)
	for {
		most := h.most.Load()
		if n <= most || h.most.CompareAndSwap(most, n) {
			return
		}
	}
}

// bucketOf is the bucket of a value: below 64 its own, above the five bits behind its
// first.
func bucketOf(n uint64) int {
	shift := max(bits.Len64(n)-stepBits-1, 0)
	return shift<<stepBits + int(n>>shift)
}

// highest is the largest value of a bucket.
func highest(bucket int) uint64 {
	shift := max(bucket>>stepBits-1, 0)
	return (uint64(bucket-shift<<stepBits)+1)<<shift - 1
}

// Count is how many times were added.
func (h *Histogram) Count() uint64 { return h.count.Load() }

// Mean is their mean, 0 of none.
func (h *Histogram) Mean() time.Duration {
	if n := h.count.Load(); n > 0 {
		return time.Duration(h.sum.Load() / int64(n))
	}
	return 0
}

// Max is the longest.
func (h *Histogram) Max() time.Duration { return time.Duration(h.most.Load()) }

// Quantile is the time that a share of them, 0 to 1, did not exceed.
func (h *Histogram) Quantile(share float64) time.Duration {
	want := max(uint64(share*float64(h.count.Load())+0.5), 1)
	var sum uint64
	for i := range h.buckets {
		if sum += h.buckets[i].Load(); sum >= want {
			return min(time.Duration(highest(i)), h.Max())
		}
	}
	return h.Max()
}
