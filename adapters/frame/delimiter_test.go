package frame

import "testing"

func TestDelimiter(t *testing.T) {
	etx := Delimiter{Bytes: "\x03"}
	runStreams(t, []streamCase{
		{"frames come out without the delimiter, white space included", etx, " a\n\x03b\x03", []string{" a\n", "b"}, Counters{}},
		{"zero bytes and high bytes are bytes", etx, "\x00\xff\x03", []string{"\x00\xff"}, Counters{}},
		{"empty frames are passed over", etx, "\x03a\x03\x03", []string{"a"}, Counters{Blank: 2}},
		{"a delimiter of several bytes does not end at the first", Delimiter{Bytes: "\xff\xfe\xff"}, "a\xff\xfeb\xff\xfe\xff\xffc\xff\xfe\xff", []string{"a\xff\xfeb", "\xffc"}, Counters{}},
		{"what is too long is dropped up to the next delimiter", Delimiter{Bytes: "\x03", Max: 3}, "abcd\x03abc\x03", []string{"abc"}, Counters{TooLong: 1, Discarded: 4}},
		{"a frame cut short by the end is bad", etx, "a\x03bc", []string{"a"}, Counters{Unfinished: 1, Discarded: 2}},
	})
	runEncodings(t, []encoding{
		{"a payload", etx, "a\n", "61 0a 03"},
		{"nothing", etx, "", "03"},
		{"a payload with the delimiter", etx, "a\x03", ""},
		{"a payload that is too long", Delimiter{Bytes: "\x03", Max: 1}, "ab", ""},
	})
	runChecks(t, []paramCheck{
		{etx, ""},
		{Delimiter{}, "bytes"},
		{Delimiter{Bytes: "12345678901234567"}, "bytes"},
		{Delimiter{Bytes: "x", Max: -1}, "max"},
	})
}
