package modbus

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// golden are the examples of the Application Protocol specification.
var golden = []struct {
	name           string
	request        []byte
	asked, replied string
	data           string // of the reply
}{
	{"6.1 read coils 20 to 38", appendRead(nil, readCoils, 19, 19), "01 0013 0013", "01 03 CD6B05", "CD6B05"},
	{"6.2 read discrete inputs 197 to 218", appendRead(nil, readDiscrete, 196, 22), "02 00C4 0016", "02 03 ACDB35", "ACDB35"},
	{"6.3 read holding registers 108 to 110", appendRead(nil, readHolding, 107, 3), "03 006B 0003", "03 06 022B 0000 0064", "022B00000064"},
	{"6.4 read input register 9", appendRead(nil, readInput, 8, 1), "04 0008 0001", "04 02 000A", "000A"},
	{"6.5 write coil 173", appendWriteCoil(nil, 172, true), "05 00AC FF00", "05 00AC FF00", ""},
	{"6.6 write register 2", appendWriteRegister(nil, 1, []byte{0, 3}), "06 0001 0003", "06 0001 0003", ""},
	{"6.11 write coils 20 to 29", appendWriteCoils(nil, 19, []bool{true, false, true, true, false, false, true, true, true, false}),
		"0F 0013 000A 02 CD01", "0F 0013 000A", ""},
	{"6.12 write registers 2 and 3", appendWriteRegisters(nil, 1, []byte{0, 10, 1, 2}), "10 0001 0002 04 000A 0102", "10 0001 0002", ""},
}

func TestExamplesOfTheSpecification(t *testing.T) {
	for _, tt := range golden {
		t.Run(tt.name, func(t *testing.T) {
			if want := unhex(t, tt.asked); !bytes.Equal(tt.request, want) {
				t.Errorf("asked % x, want % x", tt.request, want)
			}
			data, err := checkReply(tt.request, unhex(t, tt.replied))
			if err != nil || !bytes.Equal(data, unhex(t, tt.data)) {
				t.Errorf("reply: % x, %v", data, err)
			}
			_, err = checkReply(tt.request, []byte{tt.request[0] | 0x80, 2})
			if !errors.Is(err, illegalAddress) || err.Error() != "exception 2, illegal data address" {
				t.Errorf("exception: %v", err)
			}
		})
	}
}

func TestBitsOfTheExampleOfTheSpecification(t *testing.T) {
	data := unhex(t, "CD6B05") // coils 20 to 38, the lowest bit first
	var got strings.Builder
	for i := range 19 {
		if bit(data, i) {
			got.WriteByte('1')
		} else {
			got.WriteByte('0')
		}
	}
	if got.String() != "1011001111010110101" {
		t.Errorf("%s", got.String())
	}
}

func TestRepliesThatAreNone(t *testing.T) {
	read, write := appendRead(nil, readHolding, 0, 2), appendWriteRegister(nil, 1, []byte{0, 3})
	tests := []struct {
		name    string
		request []byte
		reply   string
	}{
		{"nothing", read, ""},
		{"another function", read, "04 04 0000 0000"},
		{"another function's exception", read, "84 02"},
		{"too few registers", read, "03 02 0000"},
		{"too many registers", read, "03 06 0000 0000 0000"},
		{"a count that is not its length", read, "03 03 0000 0000"},
		{"another address", write, "06 0002 0003"},
		{"another value", write, "06 0001 0004"},
		{"too short", write, "06 0001 00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := checkReply(tt.request, unhex(t, tt.reply)); !errors.Is(err, errMismatch) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestEveryExceptionHasAName(t *testing.T) {
	for _, code := range []Exception{1, 2, 3, 4, 5, 6, 8, 10, 11} {
		if text := code.Error(); strings.Contains(text, "not in") {
			t.Errorf("%d: %s", code, text)
		}
	}
	if text := Exception(99).Error(); text != "exception 99, not in the specification" {
		t.Error(text)
	}
}

func FuzzCheckReply(f *testing.F) {
	for _, tt := range golden {
		f.Add(tt.request, unhex(f, tt.replied))
		f.Add(tt.request, []byte{tt.request[0] | 0x80, 2})
	}
	f.Fuzz(func(t *testing.T, request, reply []byte) {
		if len(request) < 5 {
			return
		}
		data, err := checkReply(request, reply)
		if err == nil && len(data) > 0 && (reply[0] != request[0] || len(data) != int(reply[1])) {
			t.Errorf("% x taken for a reply to % x", reply, request)
		}
	})
}
