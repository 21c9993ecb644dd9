package decode

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"packetboat/config"
)

// decoding makes what a section such as `type = "json"` says.
func decoding(t testing.TB, section string) *Decoding {
	t.Helper()
	c, err := config.Parse("f", []byte("[[tcp]]\nname=\"n\"\nlisten=\":1\"\ndecode={"+section+"}\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(c.TCP[0].Decode)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const scaleCSV = `type = "csv", names = ["id", "grams", "n", "ok"], types = ["string", "float", "int", "bool"]`

func TestShaping(t *testing.T) {
	type set = map[string]string
	for _, tt := range []struct {
		name, decode, when string
		set                set
		frame              string
		want               string // "": dropped
		failed             string // keys
	}{
		{name: "a field is added", decode: scaleCSV, set: set{"kg": "grams / 1000"}, frame: "a,1500,1,on", want: `{"id":"a","grams":1500,"n":1,"ok":true,"kg":1.5}`},
		{name: "a field is replaced where it stands", decode: scaleCSV, set: set{"grams": "grams * 2"}, frame: "a,1.5,1,on", want: `{"id":"a","grams":3,"n":1,"ok":true}`},
		{name: "new fields come in the order of their names, none sees another", decode: `type = "json"`, set: set{"b": "x + 1", "a": "x + 2", "x": "10"}, frame: `{"x":1}`, want: `{"x":10,"a":3,"b":2}`},
		{name: "a wanted frame stays as it is", decode: `type = "json"`, when: "t > 20", frame: `{"t": 21.50}`, want: `{"t": 21.50}`},
		{name: "an unwanted one is dropped", decode: `type = "json"`, when: "t > 20", frame: `{"t": 20}`},
		{name: "when sees what was decoded", decode: `type = "json"`, when: "t > 20", set: set{"t": "0"}, frame: `{"t": 21}`, want: `{"t":0}`},
		{name: "when fails, the frame is kept", decode: `type = "json"`, when: "t > 20", frame: `{"u": 1}`, want: `{"u": 1}`, failed: "when"},
		{name: "when is no boolean, the frame is kept", decode: `type = "json"`, when: "t", frame: `{"t": 1}`, want: `{"t": 1}`, failed: "when"},
		{name: "one expression fails, the others do not", decode: `type = "json"`, set: set{"a": "u * 2", "b": "t * 2", "t": "u + 1"}, frame: `{"t":1}`, want: `{"t":1,"b":2}`, failed: "set.a set.t"},
		{name: "dividing by nothing is no value", decode: `type = "json"`, set: set{"a b": "t / 0"}, frame: `{"t":1}`, want: `{"t":1}`, failed: `set."a b"`},
		{name: "a default for what may be missing", decode: `type = "json"`, set: set{"a": "(u ?? 5) * t"}, frame: `{"t":2}`, want: `{"t":2,"a":10}`},
		{name: "parts of objects and arrays", decode: `type = "json"`, set: set{"a": "o.x[1] + (o?.y?.z ?? 0)", "n": "len(o.x)"}, frame: `{"o":{"x":[1,2]}}`, want: `{"o":{"x":[1,2]},"a":2,"n":2}`},
		{name: "names that are no identifiers", decode: `type = "json"`, set: set{"a": `$env["temp-1"] * 2`}, frame: `{"temp-1":2}`, want: `{"temp-1":2,"a":4}`},
		{name: "text as number", decode: `type = "text"`, when: "value > 20", set: set{"t": "value", "raw": "payload"}, frame: "23.5", want: `{"raw":"23.5","t":23.5}`},
		{name: "text below", decode: `type = "text"`, when: "value > 20", frame: "3"},
		{name: "text that is none", decode: `type = "text"`, when: "value > 20", frame: "x", want: "x", failed: "when"},
		{name: "where it came from", decode: `type = "hex"`, set: set{"at": "time", "from": "name + '/' + remote + '/' + port"}, frame: "\x01", want: `{"at":"2026-03-04T05:06:07.008Z","from":"dev/10.0.0.1/7000"}`},
		{name: "a device's own names come first", decode: `type = "json"`, set: set{"a": "name + time", "b": "port"}, frame: `{"name":"x","time":"y"}`, want: `{"name":"x","time":"y","a":"xy","b":"7000"}`},
		{name: "whole numbers", decode: scaleCSV, set: set{"odd": "int(n) % 2 == 1", "bit": "bitand(int(n), 4)", "big": "n * 4294967296.0"}, frame: "a,1,5,on", want: `{"id":"a","grams":1,"n":5,"ok":true,"big":21474836480,"bit":4,"odd":true}`},
		{name: "results of all kinds", decode: `type = "json"`, set: set{"a": "[1, 2.5, 'x<y']", "b": "{'k': t}", "c": "nil", "d": "t > 0", "e": "duration('90s')"}, frame: `{"t":1}`, want: `{"t":1,"a":[1,2.5,"x<y"],"b":{"k":1},"c":null,"d":true,"e":90}`},
		{name: "a result that is no value", decode: `type = "json"`, set: set{"a": "[t / 0]"}, frame: `{"t":1}`, want: `{"t":1}`, failed: "set.a"},
		{name: "nothing in a typed column", decode: scaleCSV, when: "grams > 5", set: set{"kg": "(grams ?? 0) / 1000"}, frame: "a,,1,on", want: `{"id":"a","grams":null,"n":1,"ok":true,"kg":0}`, failed: "when"},
		{name: "words of the language as names", decode: `type = "nmea"`, when: "type == 'HDT' && heading < 300", set: set{"count": "1"}, frame: sentence("HEHDT,274.07,T"), want: `{"talker":"HE","type":"HDT","heading":274.07,"count":1}`},
		{name: "a sentence of another type", decode: `type = "nmea"`, when: "type == 'HDT'", frame: sentence("SDDBT,7.8,f,2.4,M,1.3,F")},
		{name: "the last of two members", decode: `type = "json"`, set: set{"a": "a * 2"}, frame: `{"a":1,"a":2}`, want: `{"a":1,"a":4}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := decoding(t, tt.decode)
			shape, err := NewShape(tt.when, tt.set, d)
			if err != nil {
				t.Fatal(err)
			}
			var failed []string
			s := shape.NewShaper(func(key string, err error) { failed = append(failed, key) })
			decoder := d.New()
			from := Source{Name: "dev", Remote: "10.0.0.1", Port: "7000", Time: time.Date(2026, 3, 4, 6, 6, 7, 8e6, time.FixedZone("", 3600))}
			for range 2 {
				failed = nil
				var v Value
				if err := decoder.Decode([]byte(tt.frame), &v); err != nil {
					t.Fatal(err)
				}
				got := ""
				if s.Apply(&v, from) {
					got = string(v.Payload)
				}
				if got != tt.want || strings.Join(failed, " ") != tt.failed {
					t.Fatalf("%s, failed %q", got, failed)
				}
			}
		})
	}
}

func TestAFailureSaysWhyInOneShortLine(t *testing.T) {
	shape, err := NewShape("", map[string]string{"a": "float(s)", "b": "\n u * 2"}, decoding(t, `type = "json"`))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	s := shape.NewShaper(func(key string, err error) { got[key] = err.Error() })
	v := Value{Fields: []Field{{"s", strings.Repeat("x", 1000)}}}
	s.Apply(&v, Source{})
	if got["set.b"] != "invalid operation: <nil> * int in line 2, at character 4" || len(got["set.a"]) > 200 || got["set.a"] == "" {
		t.Fatalf("%q", got)
	}
}

func TestExpressionsThatAreWrong(t *testing.T) {
	for _, tt := range []struct{ name, decode, when, set, want string }{
		{"an unknown name where all are known", scaleCSV, "gram > 1", "", "when: is no valid expression: unknown name gram at character 1; there are grams, id, n, name, ok, payload, port, remote, time"},
		{"in brackets", scaleCSV, `$env["x"] > 1`, "", "when: is no valid expression: unknown name x at character 5; there are grams, id, n, name, ok, payload, port, remote, time"},
		{"types that do not go together", scaleCSV, "", "id * 2", "set.k: is no valid expression: invalid operation: * (mismatched types string and int) at character 4"},
		{"a when that is no boolean", scaleCSV, "grams", "", "when: is no valid expression: expected bool, but got float64"},
		{"half of one", `type = "json"`, "a >", "", "when: is no valid expression: unexpected token EOF at character 3"},
		{"an unknown function", `type = "json"`, "", "kilo(a)", "set.k: is no valid expression: there is no function kilo"},
		{"an empty one", `type = "json"`, "", " ", "set.k: is empty: give it an expression, or remove it"},
		{"text has no fields", `type = "text"`, "t > 1", "", "when: is no valid expression: unknown name t at character 1; there are name, payload, port, remote, time, value"},
		{"both", `type = "json"`, "a >", "b >", "when: is no valid expression: unexpected token EOF at character 3\nset.k: is no valid expression: unexpected token EOF at character 3"},
	} {
		set := map[string]string{}
		if tt.set != "" {
			set["k"] = tt.set
		}
		_, err := NewShape(tt.when, set, decoding(t, tt.decode))
		var key *KeyError
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || !errors.As(err, &key) {
			t.Errorf("%s:\n got %v\nwant %s", tt.name, err, tt.want)
		}
	}
	if s, err := NewShape("", nil, &Decoding{}); s != nil || err != nil || s.Sets() != nil {
		t.Errorf("no expressions: %v, %v", s, err)
	}
}

// FuzzShape gives expressions any object: they never panic, and the payload
// stays JSON.
func FuzzShape(f *testing.F) {
	for _, s := range []string{`{"t":1,"s":"x","o":{"a":[1]}}`, `{"t":"x"}`, `{"o":null}`, `{"t":1e308}`, `[]`, `{"s":5,"t":18446744073709551615}`} {
		f.Add([]byte(s))
	}
	d := decoding(f, `type = "json"`)
	shape, err := NewShape("t > 5 || s contains 'x'", map[string]string{
		"a": "t * 1e300", "b": "o.a[int(t)]", "c": "s + s", "d": "[t, s, o]", "e": "$env", "t": "-t", "f": "map(o.a, # * 2)",
	}, d)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var v Value
		if d.New().Decode(frame, &v) != nil {
			return
		}
		s := shape.NewShaper(func(string, error) {})
		if s.Apply(&v, Source{}) && (!json.Valid(v.Payload) || !v.Text) {
			t.Fatalf("%s", v.Payload)
		}
		for _, x := range v.Fields {
			checkValue(t, x)
		}
	})
}

func BenchmarkShape(b *testing.B) {
	d := decoding(b, scaleCSV)
	shape, err := NewShape("ok && grams > 5", map[string]string{"kg": "grams / 1000"}, d)
	if err != nil {
		b.Fatal(err)
	}
	s := shape.NewShaper(func(_ string, err error) { b.Fatal(err) })
	decoder := d.New()
	frame := []byte("a7,1500.5,3,on")
	b.ReportAllocs()
	for b.Loop() {
		var v Value
		if decoder.Decode(frame, &v) != nil || !s.Apply(&v, Source{Name: "dev"}) {
			b.Fatal("not wanted")
		}
	}
}
