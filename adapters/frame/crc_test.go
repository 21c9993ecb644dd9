package frame

import (
	"fmt"
	"testing"
	"time"
)

func TestSums(t *testing.T) {
	for _, tt := range []struct {
		sum  Sum
		want string // of "123456789", in hex
		none string // of nothing
	}{
		{CRC16Modbus, "37 4b", "ff ff"},
		{CRC16CCITT, "29 b1", "ff ff"},
		{CRC32, "cb f4 39 26", "00 00 00 00"},
		{XOR, "31", "00"},
		{Sum8, "dd", "00"},
		{NoSum, "", ""},
	} {
		if got := fmt.Sprintf("% x", tt.sum.Append(nil, []byte("123456789"))); got != tt.want {
			t.Errorf("%d: got %s, want %s", tt.sum, got, tt.want)
		}
		if got := fmt.Sprintf("% x", tt.sum.Append(nil, nil)); got != tt.none {
			t.Errorf("%d: of nothing %s, want %s", tt.sum, got, tt.none)
		}
		right := append([]byte("123456789"), unhex(t, tt.want)...)
		if !tt.sum.Valid(right) {
			t.Errorf("%d: % x is not valid", tt.sum, right)
		}
		if tt.sum == NoSum {
			continue
		}
		if tt.sum.Valid(right[len(right)-tt.sum.Size()+1:]) {
			t.Errorf("%d: too few bytes are valid", tt.sum)
		}
		for i := range right {
			right[i] ^= 1
			if tt.sum.Valid(right) {
				t.Errorf("%d: valid with byte %d wrong", tt.sum, i)
			}
			right[i] ^= 1
		}
	}
}

func TestChecked(t *testing.T) {
	line := Checked{Line{}, XOR}
	slip := Checked{SLIP{Max: 6}, CRC16CCITT}
	idle := Checked{Idle{}, CRC16Modbus}
	stx := Checked{StartEnd{Start: "<", End: ">", Escape: "\\", FlushAfter: time.Second}, Sum8}
	runStreams(t, []streamCase{
		{"the check sum is verified and cut off", line, "ab\x03\ncd\x07\n", []string{"ab", "cd"}, Counters{}},
		{"what is wrong is counted and dropped", line, "ab\x04\ncd\x07\nd\n", []string{"cd"}, Counters{Checksum: 2, Discarded: 4}},
		{"a check sum of nothing is an empty frame", line, "\x00\n", nil, Counters{Blank: 1}},
		{"no check sum at all is a wrong one", line, "\n", nil, Counters{Checksum: 1}},
		{"CCITT has its high byte first", slip, "\xc0" + bin("313233 5bce") + "\xc0", []string{"123"}, Counters{Blank: 1}},
		{"silence makes frames here too", idle, bin("11 03 006b 0003 7687") + hush + bin("11 03 006b 0003 7688") + hush, []string{bin("11 03 006b 0003")}, Counters{Checksum: 1, Discarded: 8}},
		{"and so it does within markers", stx, "<a\x61" + hush + "<a" + hush, []string{"a"}, Counters{Checksum: 1, Discarded: 1}},
		{"what the end cuts short is bad", stx, "<a\x61", nil, Counters{Unfinished: 1, Discarded: 3}},
	})
	runEncodings(t, []encoding{
		{"a payload", line, "ab", "61 62 03 0a"},
		{"a check sum that ends the line", line, "\x0b\x01", ""},
		{"a check sum that is escaped", stx, "<", "3c 5c3c 5c3c 3e"},
		{"as much as fits", slip, "1234", "c0 31 32 33 34 53 49 c0"},
		{"more than fits with the check sum", slip, "12345", ""},
		{"a check sum counts for a size", Checked{Fixed{Size: 3}, XOR}, "ab", "61 62 03"},
		{"a check sum counts for a length", Checked{Length{Size: 1}, XOR}, "ab", "03 61 62 03"},
		{"CRC-32", Checked{COBS{}, CRC32}, "123456789", "0e 313233343536373839 cbf43926 00"},
	})
	runChecks(t, []paramCheck{
		{line, ""}, {slip, ""}, {idle, ""}, {stx, ""},
		{Checked{Line{}, NoSum}, "crc"},
		{Checked{Line{Trim: true}, XOR}, "crc"},
		{Checked{ModbusRTU{}, CRC16Modbus}, "crc"},
		{Checked{line, XOR}, "crc"},
		{Checked{Delimiter{}, XOR}, "bytes"},
		{Checked{Fixed{Size: 2}, CRC16CCITT}, "size"},
		{Checked{Fixed{Size: 3}, CRC16CCITT}, ""},
	})
}
