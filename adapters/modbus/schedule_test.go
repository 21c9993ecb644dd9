package modbus

import (
	"fmt"
	"testing"
	"time"
)

// simulate runs a schedule over virtual time. A poll of slot i takes answer, or
// its cost while dead(i, now) is true. It gives the times at which each slot's
// polls began.
func simulate(s *schedule, answer, until time.Duration, dead func(i int, now time.Duration) bool) [][]time.Duration {
	origin := time.Unix(1_000_000, 0)
	now := origin
	began := make([][]time.Duration, len(s.slots))
	for now.Sub(origin) < until {
		turn, wait := s.next(now)
		if turn == nil {
			now = now.Add(max(wait, time.Nanosecond))
			continue
		}
		at := now
		for i, u := range s.slots {
			if u != turn {
				continue
			}
			began[i] = append(began[i], at.Sub(origin))
			if dead(i, at.Sub(origin)) {
				now = now.Add(u.cost)
				s.failed(u, at, now)
			} else {
				now = now.Add(answer)
				s.answered(u, at, now)
			}
		}
	}
	return began
}

func slots(cost time.Duration, every ...time.Duration) *schedule {
	s := &schedule{}
	for _, e := range every {
		s.slots = append(s.slots, &slot{every: e, cost: cost})
	}
	return s
}

// mean period of times, and the longest one.
func mean(times []time.Duration) (mean, longest time.Duration) {
	for i := 1; i < len(times); i++ {
		longest = max(longest, times[i]-times[i-1])
	}
	return (times[len(times)-1] - times[0]) / time.Duration(len(times)-1), longest
}

func TestADeadUnitDoesNotDelayTheOthers(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		timeout  time.Duration
		longest  time.Duration // period of another unit
		each     bool          // every period holds, not the mean alone
		atLeast  int           // tries of the dead unit in a minute
		atMost   int
		reasonto string
	}{
		{timeout: 20 * ms, longest: 110 * ms, each: true, atLeast: 6, atMost: 12},
		{timeout: 70 * ms, longest: 110 * ms, each: true, atLeast: 6, atMost: 12},
		{timeout: 150 * ms, longest: 250 * ms, atLeast: 5, atMost: 12},
		{timeout: 500 * ms, longest: 600 * ms, atLeast: 3, atMost: 8},
		{timeout: 2000 * ms, longest: 2100 * ms, atLeast: 2, atMost: 3},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("timeout %v", tt.timeout), func(t *testing.T) {
			s := slots(tt.timeout, 100*ms, 100*ms, 100*ms)
			began := simulate(s, 5*ms, 2*time.Minute, func(i int, _ time.Duration) bool { return i == 1 })
			for _, i := range []int{0, 2} {
				// In the first minute the unit is found dead.
				period, _ := mean(began[i])
				if period < 90*ms || period > 110*ms {
					t.Errorf("unit %d has a period of %v", i, period)
				}
				_, longest := mean(began[i][20:])
				if longest > tt.longest {
					t.Errorf("unit %d has waited %v", i, longest)
				}
			}
			tries := 0
			for _, at := range began[1] {
				if at < time.Minute {
					tries++
				}
			}
			if tries < tt.atLeast || tries > tt.atMost {
				t.Errorf("the dead unit was tried %d times in a minute", tries)
			}
		})
	}
}

func TestTenDeadUnitsDoNotDelayTheOthers(t *testing.T) {
	const ms = time.Millisecond
	every := make([]time.Duration, 12)
	for i := range every {
		every[i] = time.Second
	}
	s := slots(500*ms, every...)
	began := simulate(s, 5*ms, 5*time.Minute, func(i int, _ time.Duration) bool { return i > 1 })
	for i := range 2 {
		var late []time.Duration // from the time on when all are known to be dead
		for _, at := range began[i] {
			if at > 20*time.Second {
				late = append(late, at)
			}
		}
		if period, longest := mean(late); period > 1100*ms || longest > 1600*ms {
			t.Errorf("unit %d has a period of %v, and waited %v", i, period, longest)
		}
	}
	for i := 2; i < 12; i++ {
		if n := len(began[i]); n < 3 {
			t.Errorf("dead unit %d was tried %d times", i, n)
		}
	}
}

func TestUnitsThatComeBackTogetherAreFoundSoon(t *testing.T) {
	const ms = time.Millisecond
	every := make([]time.Duration, 20)
	for i := range every {
		every[i] = time.Second
	}
	s := slots(500*ms, every...)
	const cut, mended = time.Minute, 10 * time.Minute
	began := simulate(s, 5*ms, mended+90*time.Second, func(i int, now time.Duration) bool { return now > cut && now < mended })
	for i := range began {
		last := began[i][len(began[i])-1]
		if period, _ := mean(began[i][len(began[i])-10:]); period > 1100*ms || last < mended+80*time.Second {
			t.Errorf("unit %d has a period of %v and was polled last at %v", i, period, last)
		}
	}
}

func TestPollsStandOnAGrid(t *testing.T) {
	const ms = time.Millisecond
	s := slots(50*ms, 100*ms, 100*ms)
	began := simulate(s, 7*ms, time.Minute, func(int, time.Duration) bool { return false })
	for i := range began {
		for n, at := range began[i] {
			if want := began[i][0] + time.Duration(n)*100*ms; at != want {
				t.Fatalf("unit %d: poll %d at %v, want %v", i, n, at, want)
			}
		}
		if s.slots[i].missed > 0 {
			t.Errorf("unit %d missed %d", i, s.slots[i].missed)
		}
	}
}

func TestWhatALineCannotCarryIsMissedAndNotCaughtUp(t *testing.T) {
	const ms = time.Millisecond
	s := slots(50*ms, 100*ms, 100*ms)
	began := simulate(s, 80*ms, time.Minute, func(int, time.Duration) bool { return false })
	for i := range began { // both have their share of what there is
		if n := len(began[i]); n < 370 || n > 380 {
			t.Errorf("unit %d was polled %d times", i, n)
		}
		if m := s.slots[i].missed; m < 200 || m > 230 {
			t.Errorf("unit %d missed %d", i, m)
		}
	}
}

func TestOneLostAnswerCostsNoPeriod(t *testing.T) {
	const ms = time.Millisecond
	s := slots(500*ms, 10*time.Second, 10*time.Second)
	began := simulate(s, 5*ms, time.Minute, func(i int, now time.Duration) bool { return i == 0 && now > 9*time.Second && now < 10200*ms })
	if len(began[0]) != 7 || began[0][1] != 10*time.Second || began[0][2] != 11*time.Second || began[0][3] != 20*time.Second {
		t.Errorf("%v", began[0])
	}
}
