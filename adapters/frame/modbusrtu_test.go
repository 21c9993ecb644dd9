package frame

import (
	"strings"
	"testing"
)

func TestModbusRTU(t *testing.T) {
	// The frames of the Modbus Application Protocol 1.1b3, chapter 6, from unit
	// 0x11.
	frame := func(pdu string) string {
		p := bin("11" + pdu)
		return string(CRC16Modbus.Append([]byte(p), []byte(p)))
	}
	var (
		ask    = bin("11 03 006b 0003 7687")                // read holding registers [6.3]
		answer = frame("03 06 022b 0000 0064")              // its reply
		coils  = frame("0f 0013 000a 02 cd01")              // write multiple coils [6.11]
		echo   = frame("0f 0013 000a")                      // its reply
		refuse = frame("81 02")                             // an exception [7]
		other  = frame("2b 0e 01 00")                       // of a length that is not known [6.21]
		long   = frame("03 fa" + strings.Repeat("00", 250)) // of 255 bytes
	)
	body := func(f string) string { return f[:len(f)-2] }
	f := ModbusRTU{}
	runStreams(t, []streamCase{
		{"a request and its reply come out without CRC", f, ask + hush + answer + hush, []string{body(ask), body(answer)}, Counters{}},
		{"also when they come in one burst", f, ask + answer + ask + answer + hush, []string{body(ask), body(answer), body(ask), body(answer)}, Counters{}},
		{"all kinds of functions in one burst", f, coils + echo + ask + refuse + other + ask + answer + hush, []string{body(coils), body(echo), body(ask), body(refuse), body(other), body(ask), body(answer)}, Counters{}},
		{"a stray byte before a frame costs nothing", f, "\x00" + ask + hush + "\xff" + other + hush, []string{body(ask), body(other)}, Counters{Garbage: 2, Discarded: 2}},
		{"or behind one", f, ask + "\x00\x00" + hush, []string{body(ask)}, Counters{Garbage: 1, Discarded: 2}},
		{"a wrong byte costs one frame", f, ask + answer[:4] + "x" + answer[5:] + ask + hush, []string{body(ask), body(ask)}, Counters{Checksum: 1, Discarded: uint64(len(answer))}},
		{"a frame that a silence cuts apart is none", f, answer[:6] + hush + answer[6:] + hush + ask + hush, []string{body(ask)}, Counters{Checksum: 2, Discarded: uint64(len(answer))}},
		{"what the end cuts short is bad", f, ask[:5], nil, Counters{Unfinished: 1, Discarded: 5}},
		{"a burst may be far longer than a frame", f, strings.Repeat(long+ask, 5) + hush, []string{body(long), body(ask), body(long), body(ask), body(long), body(ask), body(long), body(ask), body(long), body(ask)}, Counters{}},
		{"garbage may be far longer than a frame", f, strings.Repeat("U", 1500) + ask + hush + ask + hush, []string{body(ask), body(ask)}, Counters{Checksum: 1, Discarded: 1500}},
	})
	runEncodings(t, []encoding{
		{"a request", f, body(ask), "11 03 006b 0003 7687"},
		{"less than unit and function", f, "\x11", ""},
		{"more than 256 bytes with the CRC", f, strings.Repeat("x", 255), ""},
	})
	runChecks(t, []paramCheck{{f, ""}, {ModbusRTU{Gap: -1}, "gap"}})
	if d := f.NewDecoder().Idle(); d != DefaultGap {
		t.Error(d)
	}
}
