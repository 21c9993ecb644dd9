package modbus

import (
	"bytes"
	"encoding/json"
	"testing"
)

func codecOf(t testing.TB, typ string, o order, scale float64) codec {
	t.Helper()
	c, err := newCodec(typ, o, scale)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestValues(t *testing.T) {
	tests := []struct {
		name   string
		typ    string
		order  order
		scale  float64
		data   string
		json   string
		oneWay bool // the JSON is not written back as these registers
	}{
		{"int16", "int16", "big", 1, "FFFE", "-2", false},
		{"int16, little", "int16", "little", 1, "FEFF", "-2", false},
		{"int16, little-swapped is little", "int16", "little-swapped", 1, "FEFF", "-2", false},
		{"int16, big-swapped is big", "int16", "big-swapped", 1, "FFFE", "-2", false},
		{"uint16", "uint16", "big", 1, "FFFE", "65534", false},

		{"int32", "int32", "big", 1, "0102 0304", "16909060", false},
		{"int32, little", "int32", "little", 1, "0403 0201", "16909060", false},
		{"int32, little-swapped", "int32", "little-swapped", 1, "0201 0403", "16909060", false},
		{"int32, big-swapped", "int32", "big-swapped", 1, "0304 0102", "16909060", false},
		{"int32 below zero", "int32", "big", 1, "8000 0000", "-2147483648", false},
		{"uint32", "uint32", "big", 1, "FFFF FFFF", "4294967295", false},

		{"int64", "int64", "big", 1, "0102 0304 0506 0708", "72623859790382856", false},
		{"int64, little", "int64", "little", 1, "0807 0605 0403 0201", "72623859790382856", false},
		{"int64, little-swapped", "int64", "little-swapped", 1, "0201 0403 0605 0807", "72623859790382856", false},
		{"int64, big-swapped", "int64", "big-swapped", 1, "0708 0506 0304 0102", "72623859790382856", false},
		{"int64, the lowest", "int64", "big", 1, "8000 0000 0000 0000", "-9223372036854775808", false},
		{"uint64, the highest", "uint64", "big", 1, "FFFF FFFF FFFF FFFF", "18446744073709551615", false},

		{"float32", "float32", "big", 1, "4366 199A", "230.1", false},
		{"float32, little", "float32", "little", 1, "9A19 6643", "230.1", false},
		{"float32, little-swapped", "float32", "little-swapped", 1, "6643 9A19", "230.1", false},
		{"float32, big-swapped", "float32", "big-swapped", 1, "199A 4366", "230.1", false},
		{"float32 with a scale", "float32", "big", 0.001, "4366 199A", "0.2301", true},
		{"float64", "float64", "big", 1, "406C C333 3333 3333", "230.1", false},
		{"float64, big-swapped", "float64", "big-swapped", 1, "3333 3333 C333 406C", "230.1", false},
		{"a float that is none", "float32", "big", 1, "7FC0 0000", "null", true},
		{"infinity", "float32", "big", 1, "7F80 0000", "null", true},
		{"infinity below zero", "float64", "big", 1, "FFF0 0000 0000 0000", "null", true},
		{"zero below zero", "float32", "big", 1, "8000 0000", "0", true},
		{"the greatest float", "float32", "big", 1, "7F7F FFFF", "3.4028235e+38", false},
		{"a small float", "float32", "big", 1, "0000 0001", "1e-45", false},
		{"a great float", "float64", "big", 1, "7FEF FFFF FFFF FFFF", "1.7976931348623157e+308", false},

		{"a scale of tenths", "uint16", "big", 0.1, "0003", "0.3", false},
		{"a scale of tenths, below zero", "int16", "big", 0.1, "F6FD", "-230.7", false},
		{"a scale of hundreds", "uint16", "big", 100, "0003", "300", false},
		{"a scale below zero", "int16", "big", -0.5, "0003", "-1.5", false},
		{"a scale below zero, of zero", "int16", "big", -0.5, "0000", "0", false},
		{"a scale without an end", "uint32", "big", 1.0 / 3, "0000 0003", "1", false},

		{"true", "bool", "big", 1, "0001", "true", false},
		{"true by any bit", "bool", "big", 1, "0100", "true", true},
		{"false", "bool", "big", 1, "0000", "false", false},

		{"text", "string:3", "big", 1, "6162 6364 0000", `"abcd"`, false},
		{"text, little", "string:3", "little", 1, "6261 6463 0065", `"abcde"`, false},
		{"text with spaces behind", "string:3", "big", 1, "6120 6220 2020", `"a b"`, true},
		{"text with quotes", "string:1", "big", 1, "2222", `"\"\""`, false},
		{"text that is none", "string:1", "big", 1, "FFFF", "\"\uFFFD\"", true},
		{"no text", "string:2", "big", 1, "0000 0000", `""`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := codecOf(t, tt.typ, tt.order, tt.scale)
			data := unhex(t, tt.data)
			if len(data) != 2*c.words {
				t.Fatalf("%d registers", c.words)
			}
			if got := string(c.decode(bytes.Clone(data)).json); got != tt.json {
				t.Errorf("read %s, want %s", got, tt.json)
			}
			if tt.oneWay {
				return
			}
			if got, err := c.encode([]byte(tt.json)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("written % x, %v, want % x", got, err, data)
			}
		})
	}
}

func TestValuesThatCannotBeWritten(t *testing.T) {
	tests := []struct{ typ, json, want string }{
		{"int16", "32768", "out of the range of its type"},
		{"int16", "-32769", "out of the range of its type"},
		{"uint16", "-1", "out of the range of its type"},
		{"uint64", "18446744073709551616", "out of the range of its type"},
		{"int64", "9223372036854775808", "out of the range of its type"},
		{"int16", "1.5", "1.5 is not whole, as the value in the device is"},
		{"int16", `"1"`, `"1" is no number`},
		{"int16", "null", "null is no number"},
		{"int16", "true", "true is no number"},
		{"int16", "[1]", "[1] is no number"},
		{"float32", "1e39", "out of the range of its type"},
		{"float64", "1e999", "1e999 is no number"},
		{"bool", "2", "2 is neither true nor false"},
		{"bool", `"on"`, `"on" is neither true nor false`},
		{"string:1", `"abc"`, "is longer than 2 bytes"},
		{"string:1", "5", "5 is no string"},
		{"string:1", "null", "null is no string"},
	}
	for _, tt := range tests {
		t.Run(tt.typ+" "+tt.json, func(t *testing.T) {
			_, err := codecOf(t, tt.typ, "big", 1).encode([]byte(tt.json))
			if err == nil || err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
	if data, err := codecOf(t, "int16", "big", 1).encode([]byte("2e2")); err != nil || !bytes.Equal(data, []byte{0, 200}) {
		t.Errorf("2e2: % x, %v", data, err)
	}
	if data, err := codecOf(t, "int16", "big", 0.1).encode([]byte("23.04")); err != nil || !bytes.Equal(data, []byte{0, 230}) {
		t.Errorf("23.04 of tenths: % x, %v", data, err)
	}
}

func TestWhatCountsAsAChange(t *testing.T) {
	a, b := number(10, 64), number(10.5, 64)
	text := func(s string) value { return codecOf(t, "string:1", "big", 1).decode([]byte(s)) }
	tests := []struct {
		name     string
		now, old value
		band     float64
		want     bool
	}{
		{"numbers", b, a, 0, true},
		{"the same number", a, a, 0, false},
		{"within the band", b, a, 0.5, false},
		{"beyond it", b, a, 0.4, true},
		{"a number that was refused", a, null, 5, true},
		{"refused now", null, a, 5, true},
		{"refused still", null, null, 5, false},
		{"texts", text("ab"), text("ac"), 5, true},
		{"bits", truth(true), truth(false), 5, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.now.changed(tt.old, tt.band); got != tt.want {
				t.Error(got)
			}
		})
	}
}

func FuzzValue(f *testing.F) {
	kinds := []string{"bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string:2"}
	orders := []order{"big", "little", "little-swapped", "big-swapped"}
	f.Add(uint8(7), uint8(3), []byte{0x19, 0x9A, 0x43, 0x66, 0, 0, 0, 0})
	f.Add(uint8(5), uint8(1), []byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, kind, ord uint8, data []byte) {
		c := codecOf(t, kinds[int(kind)%len(kinds)], orders[int(ord)%len(orders)], 1)
		if len(data) < 2*c.words {
			return
		}
		v := c.decode(bytes.Clone(data[:2*c.words]))
		if !json.Valid(v.json) {
			t.Fatalf("%s", v.json)
		}
		if string(v.json) == "null" {
			return
		}
		again, err := c.encode(v.json)
		if c.kind == "string" && err != nil {
			return // not UTF-8, and longer now
		}
		if err != nil {
			t.Fatal(err)
		}
		if w := c.decode(again); !bytes.Equal(w.json, v.json) {
			t.Errorf("%s became %s", v.json, w.json)
		}
	})
}
