package frame

import (
	"strings"
	"testing"
	"time"
)

func TestLength(t *testing.T) {
	two := Length{Size: 2}
	one := Length{Size: 1, Max: 4, FlushAfter: time.Second}
	whole := Length{Offset: 1, Size: 1, IncludesHeader: true, Header: 3, Max: 4}
	runStreams(t, []streamCase{
		{"the payload comes out without its header", two, "\x00\x03abc\x00\x01d", []string{"abc", "d"}, Counters{}},
		{"low byte first", Length{Size: 2, Little: true}, "\x03\x00abc", []string{"abc"}, Counters{}},
		{"four bytes", Length{Size: 4}, "\x00\x00\x00\x01a", []string{"a"}, Counters{}},
		{"eight bytes, low byte first", Length{Size: 8, Little: true}, "\x01\x00\x00\x00\x00\x00\x00\x00a", []string{"a"}, Counters{}},
		{"bytes before and behind the length", Length{Offset: 2, Size: 1, Header: 5}, "HH\x03tsabcHH\x01tsd", []string{"abc", "d"}, Counters{}},
		{"a length that counts the header", whole, "H\x05xabH\x04xc", []string{"ab", "c"}, Counters{}},
		{"empty frames are passed over", one, "\x00\x01a\x00", []string{"a"}, Counters{Blank: 2}},
		{"a length of exactly max", one, "\x04abcd", []string{"abcd"}, Counters{}},
		{"a frame that is too long is passed over by its length", one, "\x05\x01a\x01b\x01\x01c", []string{"c"}, Counters{TooLong: 1, Discarded: 6}},
		{"the end within a frame that is too long", one, "\x09abc", nil, Counters{TooLong: 1, Discarded: 4}},
		{"a silence ends a frame that is too long", one, "\x09abc" + hush + "\x01a", []string{"a"}, Counters{TooLong: 1, Discarded: 4}},
		{"a length that is not believed is passed over alone", one, "\x41\xff\xff\x01a", []string{"a"}, Counters{Checksum: 1, Discarded: 3}},
		{"a length that is smaller than the header it counts", whole, "H\x02H\x04xa", []string{"a"}, Counters{Checksum: 1, Discarded: 2}},
		{"a length of 2^64 - 1", Length{Size: 8}, strings.Repeat("\xff", 8) + "\x00\x00\x00\x00\x00\x00\x00\x01", nil, Counters{Checksum: 1, Discarded: 16}},
		{"what the end cuts short is bad", two, "\x00\x03ab", nil, Counters{Unfinished: 1, Discarded: 4}},
		{"so is half a header", two, "\x00", nil, Counters{Unfinished: 1, Discarded: 1}},
		{"a silence aligns frames again", one, "\x03ab" + hush + "\x01c", []string{"c"}, Counters{Unfinished: 1, Discarded: 3}},
	})
	runEncodings(t, []encoding{
		{"two bytes", two, "abc", "00 03 61 62 63"},
		{"low byte first", Length{Size: 4, Little: true}, "a", "01 00 00 00 61"},
		{"with the header", whole, "ab", "00 05 00 61 62"},
		{"nothing", two, "", "00 00"},
		{"more than max", one, "abcde", ""},
		{"more than fits", Length{Size: 1, IncludesHeader: true}, strings.Repeat("x", 255), ""},
		{"as much as fits", Length{Size: 1}, strings.Repeat("x", 255), "ff" + strings.Repeat("78", 255)},
	})
	runChecks(t, []paramCheck{
		{two, ""},
		{whole, ""},
		{Length{}, "size"},
		{Length{Size: 3}, "size"},
		{Length{Size: 2, Offset: -1}, "offset"},
		{Length{Size: 2, Offset: 1 << 20}, "offset"},
		{Length{Size: 2, Offset: 2, Header: 3}, "header"},
		{Length{Size: 2, Header: -1}, "header"},
		{Length{Size: 2, Header: 2000}, "header"},
		{Length{Size: 2, FlushAfter: -1}, "flush_after"},
		{Length{Size: 2, Max: -1}, "max"},
	})
}

func TestLengthFindsItsPlaceByTheCheckSum(t *testing.T) {
	f := Checked{Length{Size: 1, Max: 40, FlushAfter: time.Second}, CRC16CCITT}
	frame := func(p string) string {
		b, err := f.Append(nil, []byte(p))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	one, two := frame("one"), frame("second")
	long := "\x28" + one[1:] // says 40 bytes, has 5
	runStreams(t, []streamCase{
		{"right ones come out without the check sum, which the length counts", f, "\x05one" + one[4:] + two, []string{"one", "second"}, Counters{}},
		{"a check sum of nothing is an empty frame", f, frame("") + one, []string{"one"}, Counters{Blank: 1}},
		{"a wrong length does not swallow the frames it would cover", f, long + strings.Repeat(one, 7), []string{"one", "one", "one", "one", "one", "one", "one"}, Counters{Checksum: 1, Discarded: 6}},
		{"not even the last ones, once there is silence", f, long + one + two + hush, []string{"one", "second"}, Counters{Unfinished: 1, Discarded: 6}},
		{"nor does one that is too long", f, "\x80" + one[1:] + two, []string{"second"}, Counters{TooLong: 1, Discarded: 6}},
		{"a lost byte costs one frame", f, one[:2] + one[3:] + two + two, []string{"second", "second"}, Counters{Checksum: 1, Discarded: 5}},
	})
}
