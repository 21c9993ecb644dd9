package adapters

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/adapters/frame"
)

// Bounds of what is kept to be shown.
const (
	recentFrames = 20
	recentErrors = 10
	recentBytes  = 64 // of each

	// lookFor is how long frames are kept for somebody who has looked.
	lookFor = 30 * time.Second
)

// Recent keeps the last frames of an adapter, for an operator who looks: while
// nobody does, only errors. Its methods may be called by any goroutine. The zero
// value is empty; a nil one keeps nothing.
type Recent struct {
	until atomic.Int64 // somebody looks, until then, in Unix nanoseconds

	mu     sync.Mutex
	frames recentRing
	errors recentRing
}

// Seen is a frame that was kept.
type Seen struct {
	At    time.Time
	Link  string // whom it came from
	Head  []byte // its first bytes
	Bytes int    // in all
	Topic string // it was published to; "" if it was not
	Error string // what was wrong with it
}

// recentRing is as long as it may get from the first frame on, and reuses what it
// has.
type recentRing struct {
	list []Seen
	n    int // ever
}

func (r *recentRing) add(most int, now time.Time, link string, b []byte, topic, why string) {
	if r.list == nil {
		r.list = make([]Seen, most)
	}
	s := &r.list[r.n%most]
	r.n++
	*s = Seen{At: now, Link: link, Head: append(s.Head[:0], b[:min(len(b), recentBytes)]...), Bytes: len(b), Topic: topic, Error: why}
}

// Looked reports whether somebody looks: only then Frame is worth calling.
func (r *Recent) Looked(now time.Time) bool { return r != nil && now.UnixNano() < r.until.Load() }

// Frame keeps a frame, if somebody looks. topic is "" if it was not published.
func (r *Recent) Frame(now time.Time, link string, b []byte, topic string) {
	if !r.Looked(now) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames.add(recentFrames, now, link, b, topic, "")
}

// Wrong keeps what was no good, and why.
func (r *Recent) Wrong(now time.Time, link string, b []byte, why string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors.add(recentErrors, now, link, b, "", why)
}

// Look gives what is kept, newest first, and has frames kept for a while.
func (r *Recent) Look(now time.Time) (list []Seen) {
	r.until.Store(now.Add(lookFor).UnixNano())
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ring := range []*recentRing{&r.frames, &r.errors} {
		for _, s := range ring.list[:min(ring.n, len(ring.list))] {
			s.Head = slices.Clone(s.Head)
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b Seen) int { return b.At.Compare(a.At) })
	return list[:min(len(list), recentFrames)]
}

// name is what the link is called for operators: the peer, or the port.
func (p Place) name() string {
	if p.Remote != "" {
		return p.Remote
	}
	return p.Port
}

// whyBad says what the framing had to object to.
func whyBad(d frame.Counters) string {
	var list []string
	for _, x := range []struct {
		n    uint64
		what string
	}{
		{d.TooLong, "a frame that is too long"}, {d.Unfinished, "an unfinished frame"},
		{d.Checksum, "a wrong checksum or length"}, {d.Garbage, "bytes that belong to no frame"},
	} {
		if x.n > 0 {
			list = append(list, x.what)
		}
	}
	return strings.Join(list, ", ") + "; shown is what was read last"
}
