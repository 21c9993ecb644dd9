package frame

import (
	"testing"
	"time"
)

func TestFixed(t *testing.T) {
	three := Fixed{Size: 3, FlushAfter: time.Second}
	runStreams(t, []streamCase{
		{"frames have one size", three, "abcdef\x00\n\xff", []string{"abc", "def", "\x00\n\xff"}, Counters{}},
		{"one byte is a size", Fixed{Size: 1}, "ab", []string{"a", "b"}, Counters{}},
		{"what the end cuts short is bad", three, "abcde", []string{"abc"}, Counters{Unfinished: 1, Discarded: 2}},
		{"a silence aligns frames again", three, "abcd" + hush + "efg" + hush + "hij", []string{"abc", "efg", "hij"}, Counters{Unfinished: 1, Discarded: 1}},
		{"without flush_after a silence means nothing", Fixed{Size: 3}, "ab" + hush + "c", []string{"abc"}, Counters{}},
	})
	runEncodings(t, []encoding{
		{"a payload of the size", three, "abc", "61 62 63"},
		{"a shorter one", three, "ab", ""},
		{"a longer one", three, "abcd", ""},
	})
	runChecks(t, []paramCheck{
		{three, ""},
		{Fixed{}, "size"},
		{Fixed{Size: -1}, "size"},
		{Fixed{Size: DefaultMax + 1}, "size"},
		{Fixed{Size: DefaultMax + 1, Max: DefaultMax + 1}, ""},
		{Fixed{Size: 1, Max: -1}, "max"},
		{Fixed{Size: 1, FlushAfter: -1}, "flush_after"},
	})
}

func TestFixedFindsItsPlaceByTheCheckSum(t *testing.T) {
	crc := Checked{Fixed{Size: 6, FlushAfter: time.Second}, CRC16Modbus}
	frame := func(p string) string { return string(CRC16Modbus.Append([]byte(p), []byte(p))) }
	one, two, three := frame("one!"), frame("two!"), frame("tri!")
	runStreams(t, []streamCase{
		{"right ones come out without the check sum", crc, one + two, []string{"one!", "two!"}, Counters{}},
		{"a lost byte costs one frame", crc, one[:3] + one[4:] + two + three, []string{"two!", "tri!"}, Counters{Checksum: 1, Discarded: 5}},
		{"a byte too many costs none", crc, one + "x" + two + three, []string{"one!", "two!", "tri!"}, Counters{Checksum: 1, Discarded: 1}},
		{"a wrong byte costs one frame", crc, one + "twx!" + two[4:] + three, []string{"one!", "tri!"}, Counters{Checksum: 1, Discarded: 6}},
		{"what is found behind what the silence cut short comes out", crc, "xx" + one[:4] + hush + "yy" + two + hush, []string{"two!"}, Counters{Unfinished: 0, Checksum: 2, Discarded: 8}},
	})
	sum := Checked{Fixed{Size: 4, FlushAfter: time.Second}, Sum8}
	runStreams(t, []streamCase{
		{"one byte is too little to find a place by: bad frames go whole", sum, "\x01\x02\x03\x06" + "\x01\x02\x03\x07" + "\x01\x02\x03\x08" + "\x01\x01\x01\x03", []string{"\x01\x02\x03", "\x01\x01\x01"}, Counters{Checksum: 2, Discarded: 8}},
		{"until a silence", sum, "x\x01\x02\x03\x06\x01" + hush + "\x01\x01\x01\x03", []string{"\x01\x01\x01"}, Counters{Checksum: 1, Unfinished: 1, Discarded: 6}},
	})
}
