package frame

import "testing"

func TestSLIP(t *testing.T) {
	small := SLIP{Max: 4}
	runStreams(t, []streamCase{
		{"frames end with END [RFC 1055]", SLIP{}, "a\xc0bc\xc0", []string{"a", "bc"}, Counters{}},
		{"and may begin with it", SLIP{}, "\xc0a\xc0\xc0b\xc0", []string{"a", "b"}, Counters{Blank: 2}},
		{"ESC ESC_END is END, ESC ESC_ESC is ESC", SLIP{}, bin("61 dbdc dbdd 62 c0"), []string{bin("61 c0 db 62")}, Counters{}},
		{"their partners alone are bytes", SLIP{}, bin("dc dd c0"), []string{bin("dc dd")}, Counters{}},
		{"an ESC before another byte makes the frame bad", SLIP{}, bin("61 db61 62 dbdc c0 63 c0"), []string{"c"}, Counters{Garbage: 1, Discarded: 6}},
		{"an ESC before END too, which ends the frame", SLIP{}, bin("61 db c0 63 c0"), []string{"c"}, Counters{Garbage: 1, Discarded: 2}},
		{"max counts decoded bytes", small, bin("dbdc dbdc dbdc dbdc c0") + "abcd\xc0", []string{bin("c0c0c0c0"), "abcd"}, Counters{}},
		{"what is too long is dropped up to its END", small, "abcde\xc0f\xc0" + bin("dbdc dbdc dbdc dbdc dbdc 61 db61 c0"), []string{"f"}, Counters{TooLong: 2, Discarded: 18}},
		{"what the end cuts short is bad", SLIP{}, "a\xc0b\xdb", []string{"a"}, Counters{Unfinished: 1, Discarded: 2}},
	})
	runEncodings(t, []encoding{
		{"a payload", SLIP{}, "ab", "c0 61 62 c0"},
		{"the special bytes", SLIP{}, bin("c0 db dc dd"), "c0 dbdc dbdd dc dd c0"},
		{"nothing", SLIP{}, "", "c0 c0"},
		{"more than max", small, "abcde", ""},
	})
	runChecks(t, []paramCheck{{SLIP{}, ""}, {SLIP{Max: -1}, "max"}})
}
