package frame

import (
	"testing"
	"time"
)

func TestIdle(t *testing.T) {
	gap := Idle{Gap: 5 * time.Millisecond, Max: 4}
	runStreams(t, []streamCase{
		{"silence makes the frames", gap, "abc" + hush + "d\n\x00" + hush, []string{"abc", "d\n\x00"}, Counters{}},
		{"a longer silence makes no more of them", gap, hush + "a" + hush + hush, []string{"a"}, Counters{}},
		{"a frame of exactly max", gap, "abcd" + hush, []string{"abcd"}, Counters{}},
		{"what is too long is dropped up to the silence", gap, "abcdefghi" + hush + "a" + hush, []string{"a"}, Counters{TooLong: 1, Discarded: 9}},
		{"what the end cuts short is bad", gap, "a" + hush + "bc", []string{"a"}, Counters{Unfinished: 1, Discarded: 2}},
		{"too long and cut short counts once", gap, "abcdef", nil, Counters{TooLong: 1, Discarded: 6}},
	})
	if d := gap.NewDecoder().Idle(); d != 5*time.Millisecond {
		t.Error(d)
	}
	if d := (Idle{}).NewDecoder().Idle(); d != DefaultGap {
		t.Error(d)
	}
	runEncodings(t, []encoding{
		{"a payload", gap, "a\n", "61 0a"},
		{"more than max", gap, "abcde", ""},
	})
	runChecks(t, []paramCheck{{gap, ""}, {Idle{}, ""}, {Idle{Gap: -1}, "gap"}, {Idle{Max: -1}, "max"}})
}
