package adapters

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"packetboat/adapters/frame"
)

// counters behind Stats. Those that links change for every frame are atomic;
// the framing's are added once for each chunk.
type counters struct {
	open, paused, waiting          atomic.Int64
	opened, refused                atomic.Uint64
	undecoded, published, dropped  atomic.Uint64
	pauses, acked, overruns        atomic.Uint64
	noTopic, filtered, unchanged   atomic.Uint64
	rateLimited, shapeErrors       atomic.Uint64
	lastFrame                      atomic.Int64 // Unix nanoseconds, 0: none yet
	cmdSent, cmdExpired, cmdFailed atomic.Uint64
	cmdUnanswered, replies         atomic.Uint64
	polls, unanswered              atomic.Uint64

	trouble Trouble

	mu     sync.Mutex
	frames frame.Counters
}

// Trouble is why an adapter is not ready, for operators. The zero Trouble is none.
// Any goroutine.
type Trouble struct{ why atomic.Pointer[string] }

// Set notes what is wrong; nil: nothing any more.
func (t *Trouble) Set(err error) {
	if err == nil {
		t.why.Store(nil)
		return
	}
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	t.why.Store(&text)
}

// Gone notes that the link has ended; err may be nil.
func (t *Trouble) Gone(err error) {
	if err == nil {
		err = errors.New("closed")
	}
	t.Set(fmt.Errorf("gone: %w", err))
}

// String is what is wrong, "" for nothing.
func (t *Trouble) String() string {
	if p := t.why.Load(); p != nil {
		return *p
	}
	return ""
}

// Trouble is where a link that cannot be opened says why.
func (s *Stream) Trouble() *Trouble { return &s.c.trouble }

func (c *counters) addFrames(d frame.Counters) {
	c.mu.Lock()
	c.frames = c.frames.Plus(d)
	c.mu.Unlock()
}

// Stats of all links together. Any goroutine.
func (s *Stream) Stats() Stats {
	c := &s.c
	st := Stats{
		Ready:           c.open.Load() > 0,
		Problem:         c.trouble.String(),
		Open:            int(c.open.Load()),
		Opened:          c.opened.Load(),
		Refused:         c.refused.Load(),
		Undecoded:       c.undecoded.Load(),
		NoTopic:         c.noTopic.Load(),
		Published:       c.published.Load(),
		Dropped:         c.dropped.Load(),
		Pauses:          c.pauses.Load(),
		Paused:          int(c.paused.Load()),
		Acked:           c.acked.Load(),
		Overruns:        c.overruns.Load(),
		Filtered:        c.filtered.Load(),
		Unchanged:       c.unchanged.Load(),
		RateLimited:     c.rateLimited.Load(),
		ShapeErrors:     c.shapeErrors.Load(),
		CommandsWaiting: int(c.waiting.Load()),
		CommandsSent:    c.cmdSent.Load(),
		CommandsExpired: c.cmdExpired.Load(),
		CommandsFailed:  c.cmdFailed.Load(),

		CommandsUnanswered: c.cmdUnanswered.Load(),
		Replies:            c.replies.Load(),
		Polls:              c.polls.Load(),
		PollsUnanswered:    c.unanswered.Load(),
	}
	if ns := c.lastFrame.Load(); ns != 0 {
		st.LastFrame = time.Unix(0, ns)
	}
	c.mu.Lock()
	st.Frame = c.frames
	c.mu.Unlock()
	return st
}

// RefuseLink counts a connection that is not served, and logs now and then why.
func (s *Stream) RefuseLink(remote string, why error) {
	s.c.refused.Add(1)
	if more, ok := s.refusals.allow(); ok {
		s.opt.Log.Warn("connection refused", "remote", remote, "error", why, "suppressed", more)
	}
}

// ReplaceLink tells now and then that a peer's new connection ends its old one.
func (s *Stream) ReplaceLink(name string, old, new net.Addr) {
	if more, ok := s.links.allow(); ok {
		s.opt.Log.Warn("a newer connection with the same name: the older one is closed; if this goes on, two devices have this name",
			"remote", name, "old", old, "new", new, "suppressed", more)
	}
}
