package sim

import (
	"slices"
	"testing"
	"time"
)

func TestTheTallyTellsWhatBecameOfEachNumber(t *testing.T) {
	// A step is a number and what happens to it: w is the next that is
	// written (the number says which it must be), k is acknowledged, a arrives.
	type step struct {
		what byte
		n    uint64
	}
	for _, c := range []struct {
		name   string
		silent bool
		steps  []step
		want   Counts
		lost   []uint64
	}{
		{"written, acknowledged, arrived", false, []step{{'w', 1}, {'k', 1}, {'a', 1}}, Counts{Written: 1, Acked: 1, Arrived: 1}, nil},
		{"arrived before it was acknowledged", false, []step{{'w', 1}, {'a', 1}, {'k', 1}}, Counts{Written: 1, Acked: 1, Arrived: 1}, nil},
		{"acknowledged and not arrived is missing", false, []step{{'w', 1}, {'w', 2}, {'k', 1}, {'k', 2}, {'a', 2}},
			Counts{Written: 2, Acked: 2, Arrived: 1, Missing: 1}, []uint64{1}},
		{"not acknowledged is not missing", false, []step{{'w', 1}}, Counts{Written: 1}, nil},
		{"unless nothing is ever acknowledged", true, []step{{'w', 1}}, Counts{Written: 1, Missing: 1}, []uint64{1}},
		{"acknowledged twice counts once", false, []step{{'w', 1}, {'k', 1}, {'k', 1}, {'a', 1}}, Counts{Written: 1, Acked: 1, Arrived: 1}, nil},
		{"a second arrival is a duplicate and no disorder", false,
			[]step{{'w', 1}, {'w', 2}, {'a', 1}, {'a', 2}, {'a', 1}, {'a', 2}}, Counts{Written: 2, Arrived: 2, Duplicates: 2}, nil},
		{"a first arrival behind a later number is disorder", false,
			[]step{{'w', 1}, {'w', 2}, {'a', 2}, {'a', 1}}, Counts{Written: 2, Arrived: 2, Disordered: 1}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tally Tally
			other := tally.Add(Source{Name: "other"})
			s := tally.Add(Source{Name: "s", Silent: c.silent})
			for _, st := range c.steps {
				switch st.what {
				case 'w':
					if n := s.Next(); n != st.n {
						t.Fatalf("number %d, not %d", n, st.n)
					}
				case 'k':
					s.Acked(st.n)
				case 'a':
					if !tally.Arrived(s.Payload(st.n)) {
						t.Fatal("its own payload is not known")
					}
				}
			}
			if got := s.Counts(); got != c.want {
				t.Errorf("%+v, not %+v", got, c.want)
			}
			if got := s.MissingNumbers(5); !slices.Equal(got, c.lost) {
				t.Errorf("missing %v, not %v", got, c.lost)
			}
			if got := other.Counts(); got != (Counts{}) {
				t.Errorf("another source has %+v", got)
			}
			if n := tally.Strange(); n != 0 {
				t.Errorf("%d strange", n)
			}
		})
	}
}

func TestWhatNobodySentIsStrange(t *testing.T) {
	var tally Tally
	s := tally.Add(Source{Name: "s"})
	s.Next()
	for _, payload := range []string{"s 2", "s 0", "x 1"} {
		if !tally.Arrived([]byte(payload)) {
			t.Errorf("%q is not taken for a number", payload)
		}
	}
	for _, payload := range []string{"", "online", "s x", "s 1 2"} {
		if tally.Arrived([]byte(payload)) {
			t.Errorf("%q is taken for a number", payload)
		}
	}
	if n := tally.Strange(); n != 3 {
		t.Errorf("%d strange", n)
	}
}

func TestARoundIsSettledAndNumbersGoOn(t *testing.T) {
	var tally Tally
	s := tally.Add(Source{Name: "s"})
	before := time.Now()
	s.Acked(s.Next())
	if w, m := s.MissingWithin(before, time.Now()); w != 1 || m != 1 {
		t.Errorf("within: %d written, %d missing", w, m)
	}
	if got, want := s.Settle(), (Counts{Written: 1, Acked: 1, Missing: 1}); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
	if n := s.Next(); n != 2 {
		t.Errorf("the next number is %d", n)
	}
	tally.Arrived(s.Payload(2))
	tally.Arrived(s.Payload(1)) // late, of the last round
	if got, want := s.Counts(), (Counts{Written: 1, Arrived: 1, Duplicates: 1}); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
}
