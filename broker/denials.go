package broker

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Denial is something that the access rules did not allow somebody, however often
// that was tried.
type Denial struct {
	At     time.Time // the latest time
	Who    string    // a client id, or "adapter/NAME", "bridge/NAME"
	User   string    // that the client has logged in as, "" for none
	Remote string    // the client's address, "" where there is none
	Action string    // "publish", "subscribe", "will"
	Topic  string    // or filter; a long one is cut
	Count  uint64    // since it is remembered
}

// Bounds of what is remembered: whoever is denied has chosen the names.
const (
	maxDenials     = 16
	maxDenialBytes = 256 // of each text
)

// recentDenials are the newest denials of different kinds, the newest last. Where
// there is no room, the one that was tried least lately is forgotten.
type recentDenials struct {
	mu   sync.Mutex
	all  uint64
	list []Denial
}

// note counts a denial. It keeps nothing of the texts in d, which may alias a
// buffer.
func (r *recentDenials) note(d Denial) {
	d.Who, d.User, d.Topic = cut(d.Who), cut(d.User), cut(d.Topic)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all++
	d.At, d.Count = time.Now(), 1
	i := slices.IndexFunc(r.list, func(x Denial) bool { return x.Who == d.Who && x.Action == d.Action && x.Topic == d.Topic })
	switch {
	case i >= 0:
		d.Count += r.list[i].Count
		d.Who, d.Topic = r.list[i].Who, r.list[i].Topic
		r.list = slices.Delete(r.list, i, i+1)
	case len(r.list) == maxDenials:
		r.list = slices.Delete(r.list, 0, 1)
	}
	if i < 0 {
		d.Who, d.Topic = strings.Clone(d.Who), strings.Clone(d.Topic)
	}
	d.User, d.Remote = strings.Clone(d.User), strings.Clone(d.Remote)
	r.list = append(r.list, d)
}

func cut(s string) string {
	if len(s) <= maxDenialBytes {
		return s
	}
	return strings.ToValidUTF8(s[:maxDenialBytes], "") + "…"
}

// Denials are the newest things that the access rules did not allow, newest first,
// 16 at most, and how many there were since the broker was made: publishes, wills,
// subscriptions. Any goroutine.
func (b *Broker) Denials() (newest []Denial, all uint64) {
	r := &b.denied
	r.mu.Lock()
	defer r.mu.Unlock()
	newest = slices.Clone(r.list)
	slices.Reverse(newest)
	return newest, r.all
}
