package frame

import (
	"encoding/hex"
	"strings"
	"testing"
)

func TestCOBS(t *testing.T) {
	small := COBS{Max: 4}
	runStreams(t, []streamCase{
		{"frames end with zero", COBS{}, bin("0261 00 03 6263 00"), []string{"a", "bc"}, Counters{}},
		{"empty frames are passed over", COBS{}, bin("00 01 00 0261 00"), []string{"a"}, Counters{Blank: 2}},
		{"a block of 254 bytes has no zero behind it", COBS{}, "\xff" + strings.Repeat("x", 254) + bin("0279 00"), []string{strings.Repeat("x", 254) + "y"}, Counters{}},
		{"a distance beyond the end of the frame", COBS{}, bin("05 6162 00 0261 00"), []string{"a"}, Counters{Checksum: 1, Discarded: 3}},
		{"max counts decoded bytes", small, bin("01 01 01 01 01 00"), []string{"\x00\x00\x00\x00"}, Counters{}},
		{"what is too long is dropped up to its zero", small, bin("01 01 01 01 01 01 00 06 6162636465 00 0261 00"), []string{"a"}, Counters{TooLong: 2, Discarded: 12}},
		{"too long, and its last distance wrong, counts once", small, bin("09 6162636465 00 0261 00"), []string{"a"}, Counters{TooLong: 1, Discarded: 6}},
		{"what the end cuts short is bad", COBS{}, bin("0261 00 0362"), []string{"a"}, Counters{Unfinished: 1, Discarded: 2}},
	})
	seq := func(from, to int) (b []byte) {
		for i := from; i <= to; i++ {
			b = append(b, byte(i))
		}
		return b
	}
	h := hex.EncodeToString
	// The examples of the paper and of common implementations.
	runEncodings(t, []encoding{
		{"nothing", COBS{}, "", "01 00"},
		{"a zero", COBS{}, "\x00", "01 01 00"},
		{"two zeros", COBS{}, "\x00\x00", "01 01 01 00"},
		{"a zero between bytes", COBS{}, bin("11 22 00 33"), "03 11 22 02 33 00"},
		{"no zero", COBS{}, bin("11 22 33 44"), "05 11 22 33 44 00"},
		{"zeros at the end", COBS{}, bin("11 00 00 00"), "02 11 01 01 01 00"},
		{"254 bytes without zero", COBS{}, string(seq(1, 254)), "ff" + h(seq(1, 254)) + "00"},
		{"a zero and 254 bytes", COBS{}, string(seq(0, 254)), "01 ff" + h(seq(1, 254)) + "00"},
		{"255 bytes without zero", COBS{}, string(seq(1, 255)), "ff" + h(seq(1, 254)) + "02 ff 00"},
		{"254 bytes and a zero", COBS{}, string(append(seq(2, 255), 0)), "ff" + h(seq(2, 255)) + "01 01 00"},
		{"253 bytes and a zero", COBS{}, string(append(seq(3, 255), 0)), "fe" + h(seq(3, 255)) + "01 00"},
		{"more than max", small, "abcde", ""},
	})
	runChecks(t, []paramCheck{{COBS{}, ""}, {COBS{Max: -1}, "max"}})
}
