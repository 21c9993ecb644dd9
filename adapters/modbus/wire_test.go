package modbus

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func TestCRCOfTheSpecification(t *testing.T) {
	// [Serial Line appendix B]: unit 2, function 7 has the CRC 1241 hex, sent
	// with its low byte first.
	if got := crc16([]byte{2, 7}); got != 0x1241 {
		t.Errorf("%04x", got)
	}
	if got := crc16([]byte("123456789")); got != 0x4B37 { // the check value of the catalogue
		t.Errorf("%04x", got)
	}
}

func TestFramesAsOnTheWire(t *testing.T) {
	read := appendRead(nil, readHolding, 0, 2)
	if got, want := (rtu{}).appendFrame(nil, 7, 1, read), unhex(t, "01 03 0000 0002 C40B"); !bytes.Equal(got, want) {
		t.Errorf("RTU: % x, want % x", got, want)
	}
	// [Messaging on TCP/IP 4.2] has a transaction 0x1501 to read register 5.
	if got, want := (mbap{}).appendFrame(nil, 0x1501, 0xFF, appendRead(nil, readHolding, 4, 1)), unhex(t, "1501 0000 0006 FF 03 0004 0001"); !bytes.Equal(got, want) {
		t.Errorf("TCP: % x, want % x", got, want)
	}
}

// withCRC is a frame of a unit.
func withCRC(t testing.TB, s string) []byte {
	b := unhex(t, s)
	return append(b, byte(crc16(b)), byte(crc16(b)>>8))
}

func TestRTURepliesAreFoundInWhatComes(t *testing.T) {
	request := appendRead(nil, readHolding, 0, 2)
	good := withCRC(t, "01 03 04 0006 0005")
	if want := unhex(t, "0103040006 0005 DA31"); !bytes.Equal(good, want) {
		t.Fatalf("% x", good)
	}
	other := withCRC(t, "02 03 04 0001 0002")
	late := withCRC(t, "01 03 02 0001")
	bad := bytes.Clone(good)
	bad[4] ^= 1
	tests := []struct {
		name        string
		in          [][]byte
		reply       string
		used, stale int
	}{
		{"nothing", nil, "", 0, 0},
		{"the reply", [][]byte{good}, "03 04 0006 0005", 9, 0},
		{"all but its last byte", [][]byte{good[:8]}, "", 0, 0},
		{"behind a glitch", [][]byte{{0}, good}, "03 04 0006 0005", 10, 0},
		{"behind a glitch that could begin it", [][]byte{{1, 3}, good}, "03 04 0006 0005", 11, 0},
		{"behind another unit's late reply", [][]byte{other, good}, "03 04 0006 0005", 18, 1},
		{"behind its own late reply of another length", [][]byte{late, good}, "03 04 0006 0005", 16, 1},
		{"late replies alone", [][]byte{other, late}, "", 16, 2},
		{"an exception", [][]byte{withCRC(t, "01 83 02")}, "83 02", 5, 0},
		{"another function's exception", [][]byte{withCRC(t, "01 84 02")}, "", 5, 1},
		{"a damaged reply", [][]byte{bad}, "", 0, 0},
		{"a reply behind a damaged one", [][]byte{bad, good}, "03 04 0006 0005", 18, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reply, used, stale, err := rtu{}.find(bytes.Join(tt.in, nil), 0, 1, request)
			if err != nil || !bytes.Equal(reply, unhex(t, tt.reply)) || used != tt.used || stale != tt.stale {
				t.Errorf("% x, used %d, stale %d, %v", reply, used, stale, err)
			}
		})
	}
}

func TestTCPRepliesAreFoundByTheirNumber(t *testing.T) {
	request := appendRead(nil, readHolding, 0, 1)
	good, late := unhex(t, "0007 0000 0005 01 03 02 0006"), unhex(t, "0006 0000 0005 01 03 02 0005")
	tests := []struct {
		name        string
		in          [][]byte
		reply       string
		used, stale int
		again, ends bool
	}{
		{name: "nothing"},
		{name: "the reply", in: [][]byte{good}, reply: "03 02 0006", used: 11},
		{name: "a part of it", in: [][]byte{good[:10]}},
		{name: "a part of its header", in: [][]byte{good[:6]}},
		{name: "behind a late one", in: [][]byte{late, good}, reply: "03 02 0006", used: 22, stale: 1},
		{name: "a late one and a part", in: [][]byte{late, good[:9]}, used: 11, stale: 1},
		{name: "an exception", in: [][]byte{unhex(t, "0007 0000 0003 01 83 0B")}, reply: "83 0B", used: 9},
		{name: "another unit's", in: [][]byte{unhex(t, "0007 0000 0005 02 03 02 0006")}, used: 11, again: true},
		{name: "another length", in: [][]byte{unhex(t, "0007 0000 0007 01 03 04 0006 0000")}, used: 13, again: true},
		{name: "not Modbus", in: [][]byte{[]byte("HTTP/1.1 400")}, ends: true},
		{name: "a length that cannot be", in: [][]byte{unhex(t, "0007 0000 00FF 01")}, ends: true},
		{name: "no length", in: [][]byte{unhex(t, "0007 0000 0002 01")}, ends: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reply, used, stale, err := mbap{}.find(bytes.Join(tt.in, nil), 7, 1, request)
			var bad garbled
			if !bytes.Equal(reply, unhex(t, tt.reply)) || used != tt.used || stale != tt.stale ||
				errors.As(err, &bad) != tt.again || (err != nil) != (tt.again || tt.ends) {
				t.Errorf("% x, used %d, stale %d, %v", reply, used, stale, err)
			}
		})
	}
}

func TestSilencesOfALine(t *testing.T) {
	for baud, want := range map[int]timing{
		9600:   {1145833 * time.Nanosecond, 4010415 * time.Nanosecond},
		19200:  {572916 * time.Nanosecond, 2005206 * time.Nanosecond},
		38400:  {286458 * time.Nanosecond, 1750 * time.Microsecond},
		115200: {95486 * time.Nanosecond, 1750 * time.Microsecond},
	} {
		if got := timingOf(baud); got != want {
			t.Errorf("%d baud: %v", baud, got)
		}
	}
}

func fuzzFind(f *testing.F, w wire) {
	for _, tt := range golden {
		reply := unhex(f, tt.replied)
		f.Add(tt.request, w.appendFrame(nil, 1, 1, reply))
		f.Add(tt.request, append([]byte{0, 1}, w.appendFrame(w.appendFrame(nil, 0, 2, reply), 1, 1, reply)...))
	}
	f.Fuzz(func(t *testing.T, request, in []byte) {
		if len(request) < 5 {
			return
		}
		kept := bytes.Clone(in)
		reply, used, stale, err := w.find(in, 1, 1, request)
		if used > len(in) || stale > len(in) || reply != nil && err != nil {
			t.Fatalf("used %d, stale %d of %d, %v", used, stale, len(in), err)
		}
		if !bytes.Equal(in, kept) {
			t.Fatal("what came was changed")
		}
		if reply == nil {
			return
		}
		if _, err := checkReply(request, reply); errors.Is(err, errMismatch) {
			t.Errorf("% x is no reply to % x", reply, request)
		}
		if whole := w.appendFrame(nil, 1, 1, reply); !bytes.HasSuffix(in[:used], whole) {
			t.Errorf("% x is not in % x", whole, in)
		}
	})
}

func FuzzRTU(f *testing.F) { fuzzFind(f, rtu{}) }
func FuzzTCP(f *testing.F) { fuzzFind(f, mbap{}) }
