package decode

import (
	"testing"

	"packetboat/config"
)

func field(name string, offset int, kind, order string, scale float64) config.DecodeField {
	return config.DecodeField{Name: name, Offset: offset, Type: kind, Order: order, Scale: scale}
}

func binary(t testing.TB, fields ...config.DecodeField) Decoder {
	t.Helper()
	d, err := NewBinary(fields)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestBinary(t *testing.T) {
	testDecoder(t, binary(t,
		field("a", 0, "int8", "big", 1), field("b", 0, "uint8", "big", 1), field("t", 1, "int16", "big", 0.1),
		field("on", 3, "bool", "big", 1), field("id", 4, "string", "big", 1),
	), []example{
		{name: "signed, unsigned, scaled, text", frame: "\xff\xff\x16\x02ab \x00\xff", want: `{"a":-1,"b":255,"t":-23.4,"on":true,"id":"ab"}`},
		{name: "text to the end of the frame", frame: "\x01\x00\xea\x00xyz", want: `{"a":1,"b":1,"t":23.4,"on":false,"id":"xyz"}`},
		{name: "no text", frame: "\x01\x00\xea\x00", want: `{"a":1,"b":1,"t":23.4,"on":false,"id":""}`},
		{name: "too short", frame: "\x01\x00\xea", err: "has 3 bytes; on needs 4"},
	})
	testDecoder(t, binary(t, field("f", 0, "float32", "big", 1), field("d", 4, "float64", "little", 0.5)), []example{
		{name: "floats", frame: "\x3d\xcc\xcc\xcd\x00\x00\x00\x00\x00\x00\xf0\x3f", want: `{"f":0.1,"d":0.5}`},
		{name: "what is no number is null", frame: "\x7f\xc0\x00\x00\x00\x00\x00\x00\x00\x00\xf0\x7f", want: `{"f":null,"d":null}`},
	})
	testDecoder(t, binary(t, field("u", 0, "uint64", "big", 1), field("i", 0, "int64", "big", 1), field("s", 0, "uint64", "big", 0.5)), []example{
		{name: "the greatest", frame: "\xff\xff\xff\xff\xff\xff\xff\xff", want: `{"u":18446744073709551615,"i":-1,"s":9223372036854776000}`},
		{name: "a small one", frame: "\x00\x00\x00\x00\x00\x00\x00\x07", want: `{"u":7,"i":7,"s":3.5}`},
	})
}

func TestOrders(t *testing.T) {
	b := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for _, tt := range []struct {
		order Order
		size  int
		want  uint64
	}{
		{Big, 1, 1}, {Little, 1, 1}, {BigSwapped, 1, 1}, {LittleSwapped, 1, 1},
		{Big, 2, 0x0102}, {Little, 2, 0x0201}, {BigSwapped, 2, 0x0102}, {LittleSwapped, 2, 0x0201},
		{Big, 4, 0x01020304}, {Little, 4, 0x04030201}, {BigSwapped, 4, 0x03040102}, {LittleSwapped, 4, 0x02010403},
		{Big, 8, 0x0102030405060708}, {Little, 8, 0x0807060504030201},
		{BigSwapped, 8, 0x0708050603040102}, {LittleSwapped, 8, 0x0201040306050807},
	} {
		if got := tt.order.Uint(b[:tt.size]); got != tt.want {
			t.Errorf("%s of %d bytes: %#x, want %#x", tt.order, tt.size, got, tt.want)
		}
	}
}

func FuzzBinary(f *testing.F) {
	d := binary(f, field("f", 0, "float32", "big-swapped", 0.1), field("d", 1, "float64", "little-swapped", 1e300),
		field("u", 2, "uint64", "little", 1), field("s", 7, "string", "big", 1))
	fuzzDecoder(f, d, true, "", "0123456789", "\x7f\xc0\x00\x00\x00\x00\x00\x00\x00\x00\xf0\x7f")
}

func BenchmarkBinary(b *testing.B) {
	benchDecoder(b, binary(b, field("t", 0, "int16", "big", 0.1), field("p", 2, "float32", "big", 1), field("n", 6, "uint16", "little", 1)),
		"\x00\xea\x44\x7d\x40\x00\x01\x00")
}
