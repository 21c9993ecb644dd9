package admin

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Sample is what is counted at a moment.
type Sample struct {
	QueueBytes, QueueLimit int64  // now
	In, Out                uint64 // messages of devices and clients, and to clients, since the start
	Bridges                []BridgeSample
}

// BridgeSample is that of a bridge.
type BridgeSample struct {
	Name    string
	Waiting uint64 // now
	Out     uint64 // messages to the cloud since the start, without those sent again
}

// rate is how many a second there were; of counters that began anew, none.
func rate(was, now uint64, within time.Duration) float64 {
	if now < was || within <= 0 {
		return 0
	}
	return float64(now-was) / within.Seconds()
}

// ratesOf are the rates between two samples.
func ratesOf(was, now *Sample, within time.Duration) Rates {
	r := Rates{In: rate(was.In, now.In, within), Out: rate(was.Out, now.Out, within), Bridges: make(map[string]BridgeRate, len(now.Bridges))}
	for i := range now.Bridges {
		b := &now.Bridges[i]
		r.Bridges[b.Name] = BridgeRate{Out: rate(was.outOf(b), b.Out, within)}
	}
	return r
}

// outOf is what the bridge had sent then; one that was not there had nothing to
// compare with.
func (s *Sample) outOf(b *BridgeSample) uint64 {
	for i := range s.Bridges {
		if s.Bridges[i].Name == b.Name {
			return s.Bridges[i].Out
		}
	}
	return b.Out
}

// The history: 4 bytes a sample, so 35 KB a series and less than 1 MiB in all.
const (
	historyStep    = 10 * time.Second
	historyLength  = 24 * 60 * 6
	historyBridges = 12 // with a history; those that come after them have none
)

// Recorder keeps the history of a day in memory. Take says how things are; Run and
// the streams of events call it, at the same time, too.
type Recorder struct {
	Take func() Sample

	mu      sync.Mutex
	began   time.Time
	at      time.Time // of the last sample
	n       int       // samples ever, also those that were missed
	last    Sample
	rates   Rates
	size    Samples // these are rings
	limit   Samples
	in      Samples
	bridges map[string]*bridgeRings
}

type bridgeRings struct {
	waiting, out Samples
	seen         int // as Recorder.n
}

// Run takes samples until ctx ends.
func (r *Recorder) Run(ctx context.Context) error {
	r.add(time.Now(), r.Take())
	tick := time.NewTicker(historyStep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			r.add(now, r.Take())
		}
	}
}

// add keeps a sample. Where some were missed, as the machine was too busy, there
// are gaps: the time of a sample follows from its place.
func (r *Recorder) add(now time.Time, s Sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == 0 {
		r.began, r.at, r.last = now, now, s
		r.size, r.limit, r.in = newRing(), newRing(), newRing()
		r.bridges = map[string]*bridgeRings{}
	}
	r.rates = ratesOf(&r.last, &s, now.Sub(r.at))
	place := int((now.Sub(r.began) + historyStep/2) / historyStep)
	for r.n < place { // ends, as a day is all that there is
		r.missLocked()
		if place-r.n > historyLength {
			r.n = place - historyLength
		}
	}
	r.missLocked()
	i := (r.n - 1) % historyLength
	r.size[i], r.limit[i], r.in[i] = float32(s.QueueBytes), float32(s.QueueLimit), float32(r.rates.In)
	for j := range s.Bridges {
		if b := r.ringsLocked(s.Bridges[j].Name); b != nil {
			b.waiting[i], b.out[i], b.seen = float32(s.Bridges[j].Waiting), float32(r.rates.Bridges[s.Bridges[j].Name].Out), r.n
		}
	}
	r.at, r.last = now, s
}

// missLocked goes one step on, with nothing there.
func (r *Recorder) missLocked() {
	i := r.n % historyLength
	none := float32(math.NaN())
	r.size[i], r.limit[i], r.in[i] = none, none, none
	for name, b := range r.bridges {
		b.waiting[i], b.out[i] = none, none
		if r.n-b.seen >= historyLength {
			delete(r.bridges, name)
		}
	}
	r.n++
}

// ringsLocked are those of a bridge; nil when there are too many.
func (r *Recorder) ringsLocked(name string) *bridgeRings {
	b := r.bridges[name]
	if b == nil && len(r.bridges) < historyBridges {
		b = &bridgeRings{waiting: newRing(), out: newRing()}
		r.bridges[name] = b
	}
	return b
}

func newRing() Samples {
	s := make(Samples, historyLength)
	for i := range s {
		s[i] = float32(math.NaN())
	}
	return s
}

// unrolled are the samples that there are, oldest first.
func (r *Recorder) unrolledLocked(ring Samples) Samples {
	if r.n < historyLength {
		return append(Samples{}, ring[:r.n]...)
	}
	i := r.n % historyLength
	return append(append(make(Samples, 0, historyLength), ring[i:]...), ring[:i]...)
}

// History is what is kept.
func (r *Recorder) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &History{Step: historyStep.Seconds(), Series: Series{
		QueueBytes: Samples{}, QueueLimit: Samples{}, In: Samples{}, Bridges: map[string]BridgeSeries{},
	}}
	if r.n == 0 {
		return h
	}
	// By the clock as it is now: it may have been set since the first sample.
	newest := time.Now().Add(-time.Since(r.at))
	h.From = newest.Add(-time.Duration(min(r.n, historyLength)-1) * historyStep).Round(0).UTC()
	h.Series.QueueBytes, h.Series.QueueLimit, h.Series.In = r.unrolledLocked(r.size), r.unrolledLocked(r.limit), r.unrolledLocked(r.in)
	for name, b := range r.bridges {
		h.Series.Bridges[name] = BridgeSeries{Waiting: r.unrolledLocked(b.waiting), Out: r.unrolledLocked(b.out)}
	}
	return h
}

// lately are the rates between the last two samples.
func (r *Recorder) lately() Rates {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rates
}

func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	h := s.Recorder.History()
	if text := r.URL.Query().Get("last"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n <= 0 {
			refuse(w, http.StatusBadRequest, fmt.Errorf("last: %q is no number of samples", text))
			return
		}
		h.cut(n)
	}
	reply(w, h)
}
