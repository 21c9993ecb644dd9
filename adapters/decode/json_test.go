package decode

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestJSON(t *testing.T) {
	testDecoder(t, new(Object), []example{
		{name: "an object as it came", frame: ` {"b": 1.50, "a": [1, 2]} `, want: ` {"b": 1.50, "a": [1, 2]} `},
		{name: "a number", frame: "23.50", want: "23.50"},
		{name: "an array", frame: `[1, {"a": 2}]`, want: `[1, {"a": 2}]`},
		{name: "null", frame: "null", want: "null"},
		{name: "nothing", frame: " ", err: "is empty, not JSON"},
		{name: "text", frame: "t=1", err: "is not JSON: invalid character"},
		{name: "half of it", frame: `{"a": 1`, err: "unexpected end of JSON input, at byte 7"},
		{name: "two of it", frame: `{}{}`, err: "is not JSON"},
	})
}

func TestJSONFields(t *testing.T) {
	frame := `{ "i":-5,"f" : 1.5e1,"s":"a\u00e9\"","t":true, "u":18446744073709551615 ,"n":null,"o":{"x":[1,"}"]},"a":[],"e":{},` +
		`"big":1e999,"huge":99999999999999999999,"k\n":false,"":"","i":2}`
	var v Value
	if err := new(Object).Decode([]byte(frame), &v); err != nil {
		t.Fatal(err)
	}
	want := []Field{
		{"i", int64(-5)}, {"f", 15.0}, {"s", "aé\""}, {"t", true}, {"u", uint64(18446744073709551615)}, {"n", nil},
		{"o", JSON(`{"x":[1,"}"]}`)}, {"a", JSON("[]")}, {"e", JSON("{}")}, {"big", JSON("1e999")}, {"huge", JSON("99999999999999999999")},
		{"k\n", false}, {"", ""}, {"i", int64(2)},
	}
	if !reflect.DeepEqual(v.Fields, want) || !v.Text {
		t.Fatalf("got  %#v\nwant %#v", v.Fields, want)
	}
	if err := new(Object).Decode([]byte("\"\xff\""), &v); err != nil || v.Text {
		t.Errorf("not UTF-8: %v, %v", v.Text, err)
	}
}

func TestNamesThatADeviceMakesUpAreBounded(t *testing.T) {
	var n names
	for i := range 1000 {
		n.of([]byte(strings.Repeat("x", i)))
	}
	if len(n) > maxNames || len(n) == 0 {
		t.Fatalf("%d names", len(n))
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":{"c":[1,"]"]},"d":"\u00e9"}`, `[]`, `{}`, `1`, `{"a":1e999}`, `{`, " {\n} ", `{"\ud800":"\\"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var v Value
		err := new(Object).Decode(frame, &v)
		if (err == nil) != json.Valid(frame) {
			t.Fatalf("%q: %v", frame, err)
		}
		var want map[string]any
		if err != nil || json.Unmarshal(frame, &want) != nil {
			return
		}
		got := map[string]any{}
		if err := json.Unmarshal(AppendObject(nil, v.Fields), &got); err != nil || len(got) != len(want) {
			t.Fatalf("%q gives %s: %v", frame, AppendObject(nil, v.Fields), err)
		}
		if want != nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q gives %v, want %v", frame, got, want)
		}
	})
}

func BenchmarkJSON(b *testing.B) {
	benchDecoder(b, new(Object), `{"id":"a7","temp":23.5,"hum":40,"ok":true}`)
}
