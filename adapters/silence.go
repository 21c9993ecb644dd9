package adapters

import "time"

// silence watches how long a link has said nothing, and what that ends.
type silence struct {
	frame time.Duration // so long ends a frame; 0 is never
	link  time.Duration // so long ends the link; 0 is never

	last    time.Time // when bytes came last
	pending bool      // bytes came since a silence ended a frame
	again   time.Time // look once more until then, if set
}

const (
	// lateBy is how late one may be told that a frame's silence is over. Who is
	// later was not running: what came in time may still wait to be read, and a
	// reader is told of its deadline before that.
	lateBy = 2 * time.Millisecond

	// lookAgain is how long one looks for it then.
	lookAgain = time.Millisecond
)

// watches reports whether silence means anything.
func (s *silence) watches() bool { return s.frame > 0 || s.link > 0 }

// heard says that bytes came now.
func (s *silence) heard() { s.last, s.pending, s.again = time.Now(), true, time.Time{} }

// deadline is when a silence means something; zero: never.
func (s *silence) deadline() (d time.Time) {
	if !s.again.IsZero() {
		return s.again
	}
	if s.link > 0 {
		d = s.last.Add(s.link)
	}
	if q := s.last.Add(s.frame); s.frame > 0 && s.pending && (d.IsZero() || q.Before(d)) {
		d = q
	}
	return d
}

// over says what has ended when the deadline has passed without bytes: the
// frame, and else the link.
func (s *silence) over() (frame, link bool) {
	now := time.Now()
	quiet := now.Sub(s.last)
	if s.pending && s.frame > 0 && quiet >= s.frame {
		if s.again.IsZero() && quiet > s.frame+lateBy {
			s.again = now.Add(lookAgain)
			return false, false
		}
		s.pending, s.again = false, time.Time{}
		return true, false
	}
	return false, s.link > 0 && quiet >= s.link
}
