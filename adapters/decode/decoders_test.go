package decode

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// example is a frame and what a decoder makes of it: the payload, or an error.
type example struct {
	name, frame, want, err string
}

// testDecoder decodes all examples with one decoder, one after the other.
func testDecoder(t *testing.T, d Decoder, examples []example) {
	t.Helper()
	var v Value
	for _, tt := range examples {
		err := d.Decode([]byte(tt.frame), &v)
		switch {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %q gives %s, %v, want the error %q", tt.name, tt.frame, v.Payload, err, tt.err)
			}
		case err != nil || string(v.Payload) != tt.want:
			t.Errorf("%s: %q\n gives %s, %v\nwant   %s", tt.name, tt.frame, v.Payload, err, tt.want)
		}
	}
}

// fuzzDecoder looks at whatever comes out: decoders never panic, give values of
// the known types only, and the same for the same frame; a structured one gives
// a JSON object of its fields.
func fuzzDecoder(f *testing.F, d Decoder, structured bool, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var v Value
		if err := d.Decode(frame, &v); err != nil {
			if len(err.Error()) > 400 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		for _, x := range v.Fields {
			checkValue(t, x)
		}
		first := string(v.Payload)
		if structured {
			var o map[string]any
			if err := json.Unmarshal(v.Payload, &o); err != nil || !v.Text {
				t.Fatalf("%q gives %s: %v", frame, v.Payload, err)
			}
			if len(o) > len(v.Fields) {
				t.Errorf("%d members of %d fields", len(o), len(v.Fields))
			}
		}
		if !json.Valid(AppendObject(nil, v.Fields)) {
			t.Errorf("the fields give %s", AppendObject(nil, v.Fields))
		}
		if err := d.Decode(frame, &v); err != nil || string(v.Payload) != first {
			t.Errorf("again: %s, %v, first %s", v.Payload, err, first)
		}
	})
}

func checkValue(t *testing.T, f Field) {
	switch x := f.Value.(type) {
	case nil, string, int64, uint64, bool:
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			t.Errorf("%s is %v", f.Name, x)
		}
	case JSON:
		if !json.Valid([]byte(x)) {
			t.Errorf("%s is %s", f.Name, x)
		}
	default:
		t.Errorf("%s is a %T", f.Name, x)
	}
}

// benchDecoder decodes one frame again and again.
func benchDecoder(b *testing.B, d Decoder, frame string) {
	var v Value
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		if err := d.Decode([]byte(frame), &v); err != nil {
			b.Fatal(err)
		}
	}
}

func TestHexAndBase64(t *testing.T) {
	testDecoder(t, new(Hex), []example{
		{name: "bytes as digits", frame: "\x01\xabZ", want: "01ab5a"},
		{name: "nothing", frame: "", want: ""},
	})
	testDecoder(t, new(Base64), []example{
		{name: "with padding", frame: "\xff\xfe\xfd\xfc", want: "//79/A=="},
		{name: "nothing", frame: "", want: ""},
	})
	for _, d := range []Decoder{new(Hex), new(Base64)} {
		v := Value{Fields: []Field{{"old", 1}}}
		if d.Decode([]byte{0xff}, &v); !v.Text || len(v.Fields) != 0 {
			t.Errorf("%+v", v)
		}
	}
}

func FuzzHex(f *testing.F) { fuzzDecoder(f, new(Hex), false, "", "\x00\xff") }

func FuzzBase64(f *testing.F) { fuzzDecoder(f, new(Base64), false, "", "\x00\xff") }

func BenchmarkHex(b *testing.B) { benchDecoder(b, new(Hex), "\x01\x03\x04\x00\x06\x00\x05\xda\x31") }

func TestWhatLooksLikeANumber(t *testing.T) {
	for text, want := range map[string]any{
		"": nil, " ": nil,
		"23": int64(23), "-7": int64(-7), "+7": int64(7), " 0042 ": int64(42), "0": int64(0), "-0": int64(0),
		"23.5": 23.5, "+0012.50": 12.5, ".5": 0.5, "5.": 5.0, "-.5": -0.5,
		"+1.5E-03": 0.0015, "1e-3": 0.001, "1.5e3": 1500.0,
		"12e4": "12e4", "1e": "1e", "1.e": "1.e", "1.5e": "1.5e", "e5": "e5", ".": ".", "+": "+", "-.": "-.",
		"1.2.3": "1.2.3", "0x10": "0x10", "1_000": "1_000", "inf": "inf", "NaN": "NaN", "1,5": "1,5", "1 2": "1 2",
		"123456789012345678": int64(123456789012345678), "1234567890123456789": "1234567890123456789",
		"0000000000000000000000007": int64(7), "1.5e999": "1.5e999", "12 kg": "12 kg",
		"+ 12.50": 12.5, "-   7": int64(-7), "- +7": "- +7", "+ ": "+ ", "- 0.5": -0.5,
	} {
		if got := Guess([]byte(text)); got != want {
			t.Errorf("%q is %T %v, want %T %v", text, got, got, want, want)
		}
	}
}

func TestScalesAreDecimal(t *testing.T) {
	for _, tt := range []struct{ x, scale, want float64 }{
		{234, 0.1, 23.4}, {3, 0.1, 0.3}, {-234, 0.3, -70.2}, {1e9, 0.001, 1e6}, {7, 10, 70}, {7, 1, 7}, {7, -0.01, -0.07}, {3, 1.0 / 3, 1},
	} {
		if got := newDecimal(tt.scale).mul(tt.x); got != tt.want {
			t.Errorf("%v * %v = %v", tt.x, tt.scale, got)
		}
	}
}

func TestEncoding(t *testing.T) {
	fields := []Field{
		{"z", 1e-7}, {"y", 1e22}, {"x", 123456789.25}, {"s", "a\"\\\n\r\t\x01<é>\xff"}, {"i", int64(-5)}, {"u", uint64(math.MaxUint64)},
		{"b", true}, {"n", nil}, {"j", JSON(`[1,{}]`)}, {"tiny", 1e-12}, {"q\"", 0.1},
	}
	want := `{"z":0.0000001,"y":1e+22,"x":123456789.25,"s":"a\"\\\n\r\t\u0001<é>` + "\uFFFD" + `","i":-5,"u":18446744073709551615,` +
		`"b":true,"n":null,"j":[1,{}],"tiny":1e-12,"q\"":0.1}`
	if got := string(AppendObject(nil, fields)); got != want || !json.Valid([]byte(got)) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := string(AppendObject(nil, nil)); got != "{}" {
		t.Error(got)
	}
}

// TestDecodersAllocateOnlyTheirValues bounds what a frame costs in the steady
// state: about one allocation for a number that is not small, two for a text.
func TestDecodersAllocateOnlyTheirValues(t *testing.T) {
	pattern, err := NewRegexp(`T=(?P<t>[0-9.]+) H=(?P<h>[0-9]+)`)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		d     Decoder
		frame string
		most  float64
	}{
		{"text", Text{}, "23.5", 0},
		{"hex", new(Hex), "\x01\x02", 0},
		{"base64", new(Base64), "\x01\x02", 0},
		{"json", new(Object), `{"id":"a7","temp":23.5,"hum":4000,"ok":true}`, 4},
		{"keyvalue", &KeyValue{Pairs: ",", Equals: "="}, "temp=23.5,hum=4000,id=a7", 4},
		{"csv", &CSV{Names: []string{"t", "h", "id"}, Types: []string{"float", "int", "string"}, Comma: ","}, "23.5,4000,a7", 5},
		{"regexp", pattern, "T=23.5 H=4000", 4},
		{"binary", binary(t, field("t", 0, "int16", "big", 0.1), field("p", 2, "float32", "big", 1)), "\x00\xea\x44\x7d\x40\x00", 2},
		{"nmea", new(NMEA), "$GPGLL,4916.45,N,12311.12,W,225444,A*31", 9},
	} {
		frame := []byte(tt.frame)
		var v Value
		n := testing.AllocsPerRun(100, func() {
			if err := tt.d.Decode(frame, &v); err != nil {
				t.Fatal(tt.name, err)
			}
		})
		if n > tt.most {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}
