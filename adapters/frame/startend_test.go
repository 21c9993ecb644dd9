package frame

import (
	"testing"
	"time"
)

func TestStartEnd(t *testing.T) {
	stx := StartEnd{Start: "\x02", End: "\x03", Max: 10, FlushAfter: time.Second}
	esc := StartEnd{Start: "<", End: ">", Escape: "\\", Max: 4, FlushAfter: time.Second}
	dle := StartEnd{Start: "\x10\x02", End: "\x10\x03", Escape: "\x10"}
	nmea := StartEnd{Start: "$", End: "\r\n", FlushAfter: time.Second}
	runStreams(t, []streamCase{
		{"frames come out without their markers", stx, "\x02a\n\x03\x02\x00\xff\x03", []string{"a\n", "\x00\xff"}, Counters{}},
		{"empty frames are passed over", stx, "\x02\x03\x02a\x03", []string{"a"}, Counters{Blank: 1}},
		{"garbage between frames is counted by its runs", stx, "xy\x02a\x03\r\n\x02b\x03\x03\x03\x02c\x03zz", []string{"a", "b", "c"}, Counters{Garbage: 4, Discarded: 8}},
		{"a start within a frame begins another", stx, "\x02abc\x02d\x03", []string{"d"}, Counters{Unfinished: 1, Discarded: 4}},
		{"a frame of exactly max", stx, "\x020123456789\x03", []string{"0123456789"}, Counters{}},
		{"a frame that is too long is dropped with its end", stx, "\x02012345678901234\x03\x02a\x03", []string{"a"}, Counters{TooLong: 1, Discarded: 17}},
		{"or up to the next start", stx, "\x02012345678901234\x02a\x03", []string{"a"}, Counters{TooLong: 1, Discarded: 16}},
		{"too long and cut short counts once", stx, "\x02012345678901234", nil, Counters{TooLong: 1, Discarded: 16}},
		{"what the end cuts short is bad", stx, "\x02a\x03\x02bc", []string{"a"}, Counters{Unfinished: 1, Discarded: 3}},
		{"a frame without its end comes out when it is silent", stx, "\x02abc" + hush + "\x02d\x03", []string{"abc", "d"}, Counters{}},
		{"what comes after the silence is garbage", stx, "\x02abc" + hush + "de\x03\x02f\x03", []string{"abc", "f"}, Counters{Garbage: 1, Discarded: 3}},
		{"a start alone is no frame", stx, "\x02" + hush + "\x02a\x03", []string{"a"}, Counters{Unfinished: 1, Discarded: 1}},
		{"a frame that is too long does not come out when it is silent", stx, "\x02012345678901234" + hush + "\x02a\x03", []string{"a"}, Counters{TooLong: 1, Discarded: 16}},
		{"a silence ends a run of garbage", stx, "x" + hush + "y" + hush, nil, Counters{Garbage: 2, Discarded: 2}},
		{"a silence after a frame is nothing", stx, "\x02a\x03" + hush + hush + "\x02b\x03", []string{"a", "b"}, Counters{}},
		{"without flush_after a silence means nothing", StartEnd{Start: "<", End: ">"}, "<a" + hush + "b>", []string{"ab"}, Counters{}},
		{"markers of several bytes", StartEnd{Start: "<<", End: ">>"}, "<<a>b<c>>x<<d>>>", []string{"a>b<c", "d"}, Counters{Garbage: 2, Discarded: 2}},
		{"the beginning of an end that is none", nmea, "$GP\rx\r\r\n", []string{"GP\rx\r"}, Counters{}},
		{"a lost end costs its sentence only", nmea, "$GPGGA,1\r$GPRMC,2\r\n", []string{"GPRMC,2"}, Counters{Unfinished: 1, Discarded: 9}},
		{"half an end when it is silent is an end", nmea, "$GPGGA\r" + hush + "$GPRMC\r\n", []string{"GPGGA", "GPRMC"}, Counters{}},
		{"half a start at the end is garbage", StartEnd{Start: "<<", End: ">"}, "<", nil, Counters{Garbage: 1, Discarded: 1}},

		{"an escaped byte is taken as it is", esc, `<\>\<\\a>`, []string{`><\a`}, Counters{}},
		{"escapes do not count for max", esc, `<\a\b\c\d><\a\b\c\de>`, []string{"abcd"}, Counters{TooLong: 1, Discarded: 11}},
		{"an escaped end within a frame that is too long is none", esc, `<abcde\>f><g>`, []string{"g"}, Counters{TooLong: 1, Discarded: 10}},
		{"between frames nothing is escaped", esc, `\<a>`, []string{"a"}, Counters{Garbage: 1, Discarded: 1}},
		{"an escape and silence", esc, `<a\` + hush + `<b>`, []string{"a", "b"}, Counters{}},
		{"an escape and the end", esc, `<a\`, nil, Counters{Unfinished: 1, Discarded: 3}},
		{"an escape before the escape of a marker", dle, bin("1002 61 1010 62 1010 03 1010 03"), nil, Counters{Unfinished: 1, Discarded: 12}},
		{"DLE STX and DLE ETX, with DLE doubled", dle, bin("1002 611010 10100362 1003 1002 63 1003"), []string{bin("6110 10 03 62"), "c"}, Counters{}},
		{"DLE STX within a frame begins another", dle, bin("1002 61 1002 62 1003"), []string{"b"}, Counters{Unfinished: 1, Discarded: 3}},
	})
	runEncodings(t, []encoding{
		{"a payload", stx, "a\n", "02 61 0a 03"},
		{"nothing", stx, "", "02 03"},
		{"escapes", esc, `<>\a`, "3c 5c3c 5c3e 5c5c 61 3e"},
		{"DLE", dle, "\x10\x03\x02", "1002 1010 03 02 1003"},
		{"a payload with the end", stx, "a\x03", ""},
		{"a payload with the start", stx, "\x02", ""},
		{"a payload that makes an earlier end with it", StartEnd{Start: "<", End: ">>"}, "a>", ""},
		{"more than max", esc, "abcde", ""},
		{"an escape that makes a marker", StartEnd{Start: "\x10\x02", End: "\x02\xff", Escape: "\x10"}, "\x02", ""},
	})
	runChecks(t, []paramCheck{
		{stx, ""}, {esc, ""}, {dle, ""},
		{StartEnd{}, "start"},
		{StartEnd{Start: "<"}, "end"},
		{StartEnd{Start: "12345678901234567", End: ">"}, "start"},
		{StartEnd{Start: "<", End: "<"}, "end"},
		{StartEnd{Start: "<", End: "<>"}, "end"},
		{StartEnd{Start: "><", End: ">"}, "end"},
		{StartEnd{Start: "<", End: ">", Escape: "ab"}, "escape"},
		{StartEnd{Start: "<", End: ">", Escape: "<"}, "escape"},
		{StartEnd{Start: "<", End: ">", FlushAfter: -1}, "flush_after"},
		{StartEnd{Start: "<", End: ">", Max: -1}, "max"},
	})
}
