package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestQuantilesAreAtMostThreePercentTooHigh(t *testing.T) {
	for _, c := range []struct {
		name string
		of   func(i int) time.Duration
	}{
		{"all alike", func(int) time.Duration { return 3 * time.Millisecond }},
		{"nanoseconds", func(i int) time.Duration { return time.Duration(i % 100) }},
		{"even", func(i int) time.Duration { return time.Duration(i) * time.Microsecond }},
		{"some very long", func(i int) time.Duration { return time.Duration(i*i*i) * time.Nanosecond }},
	} {
		var h Histogram
		var all []time.Duration
		for i := range 5000 {
			d := c.of(i)
			h.Add(d)
			all = append(all, d)
		}
		slices.Sort(all)
		if h.Max() != all[len(all)-1] || h.Count() != 5000 {
			t.Errorf("%s: %v of %d", c.name, h.Max(), h.Count())
		}
		for _, share := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
			exact := all[int(share*5000+0.5)-1]
			if got := h.Quantile(share); got < exact || float64(got) > 1.032*float64(exact)+1 {
				t.Errorf("%s: quantile %v is %v, not %v", c.name, share, got, exact)
			}
		}
	}
	var none Histogram
	if none.Quantile(0.5) != 0 || none.Mean() != 0 || none.Max() != 0 {
		t.Error("times of nothing")
	}
}

func TestEachBucketEndsWhereTheNextBegins(t *testing.T) {
	var h Histogram
	for i := range h.buckets {
		n := highest(i)
		if bucketOf(n) != i || n < 1<<63-1 && bucketOf(n+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, which is in %d", i, n, bucketOf(n))
		}
		if n >= 1<<63-1 {
			break
		}
	}
}

func TestArrivalsAreCounted(t *testing.T) {
	for _, c := range []struct {
		name                     string
		of                       []uint64
		count, twice, disordered uint64
	}{
		{"in order", []uint64{0, 1, 2}, 3, 0, 0},
		{"one is missing", []uint64{0, 2, 3}, 3, 0, 0},
		{"one twice", []uint64{0, 1, 1, 2}, 3, 1, 0},
		{"one late", []uint64{1, 0, 2}, 3, 0, 1},
		{"one late and twice", []uint64{1, 0, 0}, 2, 1, 1},
		{"far ahead", []uint64{1000, 0}, 2, 0, 1},
	} {
		var a arrivals
		for _, n := range c.of {
			a.add(n)
		}
		if a.count != c.count || a.twice != c.twice || a.disordered != c.disordered {
			t.Errorf("%s: %+v", c.name, a)
		}
	}
}

func TestAnAccountOfManyArrivalsIsSmall(t *testing.T) {
	var a arrivals
	const many = 100_000
	for n := range uint64(many) {
		a.add(n ^ 1) // pairs change places
	}
	if a.count != many || a.disordered != many/2 || len(a.bits) > 1 {
		t.Errorf("%d, %d out of order, %d words", a.count, a.disordered, len(a.bits))
	}
	if a.add(rand.Uint64N(many)); a.twice != 1 {
		t.Errorf("one of long ago came %d times again", a.twice)
	}
}

func TestTopics(t *testing.T) {
	for _, c := range []struct {
		topic      Topic
		of, filter string
		fixed      bool
	}{
		{"bench/{client}", "bench/7", "bench/+", true},
		{"a/{client}/b/{n}", "a/7/b/12", "a/+/b/+", false},
		{"a/dev-{client}", "a/dev-7", "a/+", true},
		{"a", "a", "a", true},
	} {
		if of, filter := c.topic.Of(7, 12), c.topic.Filter(); of != c.of || filter != c.filter || c.topic.Fixed() != c.fixed {
			t.Errorf("%s: %s, %s", c.topic, of, filter)
		}
	}
}

func TestWhatIsLateWasDueBefore(t *testing.T) {
	p := pace{every: 100, first: 50}
	var got []int64
	for _, now := range []int64{0, 49, 50, 120, 400, 400, 400, 400} {
		if at, ok := p.take(now); ok {
			got = append(got, at)
		}
	}
	if !slices.Equal(got, []int64{50, 150, 250, 350}) {
		t.Errorf("%v", got)
	}
	if at, ok := new(pace).take(7); at != 7 || !ok {
		t.Error("without a rate something is not due")
	}
}
