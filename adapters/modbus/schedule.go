package modbus

import "time"

// One line carries one request at a time, and a unit that does not answer
// holds it for its timeout. So that the others keep their periods, units that
// failed are tried apart:
//
//   - A unit's polls stand on a grid of its period from its first one. What was
//     missed is not caught up: one poll follows at once, then the grid goes on.
//   - A unit that failed is asked again after another timeout, in which a late
//     answer may come and is not taken for one to a later request; then after 1 s,
//     2 s, … 1 min, never more often than its period.
//   - While other units answer, a unit that failed is asked in a gap between
//     their polls that is as long as its timeout. When there has been none for
//     patience, it is asked all the same: the timeout is longer than the gaps.
//   - The timeouts that delayed a poll take one share of the line's time, all
//     together: each of d puts off the next by share × d. One answer of a failed
//     unit ends that, since what was wrong with several (a cable, their supply)
//     comes right for several.
const (
	backoffMin = time.Second
	backoffMax = time.Minute
	patience   = 5 * time.Second
	share      = 30 // one part in so many
)

// slot is a unit's place in the schedule. Times are monotonic.
type slot struct {
	every time.Duration
	cost  time.Duration // of a try without an answer

	start    time.Time // of the grid; zero: not polled yet
	at       time.Time // the grid's time of the latest poll
	due      time.Time
	failures int
	missed   uint64 // grid times without a poll
}

// schedule decides whose turn it is. Its owner is the poller.
type schedule struct {
	slots []*slot
	debt  time.Time // what timeouts took is paid back then
}

// next gives the slot whose turn it is, or else how long there is none.
func (s *schedule) next(now time.Time) (turn *slot, wait time.Duration) {
	var (
		ready    *slot // of those that answer, or must not wait any more
		failed   *slot // due, if there is a gap
		answers  time.Time
		wake     = now.Add(time.Hour)
		earliest = func(t time.Time) {
			if t.Before(wake) {
				wake = t
			}
		}
	)
	for _, u := range s.slots {
		forced := u.due
		if u.failures > 0 {
			forced = s.allowed(u).Add(patience)
		} else if answers.IsZero() || u.due.Before(answers) {
			answers = u.due
		}
		switch {
		case u.due.After(now):
			earliest(u.due)
		case forced.After(now):
			earliest(forced)
			if failed == nil || u.due.Before(failed.due) {
				failed = u
			}
		case ready == nil || u.due.Before(ready.due):
			ready = u
		}
	}
	switch {
	case ready != nil:
		return ready, 0
	case failed != nil && (answers.IsZero() || !now.Add(failed.cost).After(answers)):
		return failed, 0
	}
	return nil, wake.Sub(now)
}

// allowed is when a slot that failed may be tried, if that may delay others. The
// first try after an answer may find the share used up once.
func (s *schedule) allowed(u *slot) time.Time {
	free := s.debt
	if u.failures == 1 {
		free = free.Add(-share * u.cost)
	}
	if free.After(u.due) && s.answering() {
		return free
	}
	return u.due
}

// answering reports whether there are units whose periods matter.
func (s *schedule) answering() bool {
	for _, u := range s.slots {
		if u.failures == 0 && !u.start.IsZero() {
			return true
		}
	}
	return false
}

// answered notes a poll that began at began and was answered.
func (s *schedule) answered(u *slot, began, now time.Time) {
	if u.failures > 0 {
		s.debt = now
	}
	u.failures = 0
	u.advance(began, now)
	u.due = u.at.Add(u.every)
	if late := u.start.Add(now.Sub(u.start) / u.every * u.every); late.After(u.due) {
		u.due = late
	}
}

// failed notes a poll that began at began and was not answered.
func (s *schedule) failed(u *slot, began, now time.Time) {
	u.failures++
	u.advance(began, now)
	if s.delayed(now) {
		s.charge(now, share*now.Sub(began))
	}
	if u.failures == 1 {
		u.due = now.Add(u.cost)
		return
	}
	back := backoffMin << min(u.failures-2, 10)
	u.due = now.Add(max(u.cost, min(back, backoffMax)))
	if next := u.at.Add(u.every); next.After(u.due) {
		u.due = next
	}
}

// delayed reports whether a poll should have begun.
func (s *schedule) delayed(now time.Time) bool {
	for _, u := range s.slots {
		if u.failures == 0 && u.due.Before(now) {
			return true
		}
	}
	return false
}

// charge puts off the next try that may delay others. When many units fail at
// once, the others have paid for it already.
func (s *schedule) charge(now time.Time, d time.Duration) {
	if s.debt.Before(now) {
		s.debt = now
	}
	s.debt = s.debt.Add(d)
	if most := now.Add(max(d, backoffMax)); s.debt.After(most) {
		s.debt = most
	}
}

// advance moves the slot to the grid's time at or before began.
func (u *slot) advance(began, now time.Time) {
	if u.start.IsZero() {
		u.start, u.at = began, began
		return
	}
	at := u.start.Add(began.Sub(u.start) / u.every * u.every)
	if n := at.Sub(u.at) / u.every; n > 1 {
		u.missed += uint64(n - 1)
	}
	u.at = at
}
