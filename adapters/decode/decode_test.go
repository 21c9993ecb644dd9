package decode

import (
	"encoding/json"
	"strings"
	"testing"

	"packetboat/config"
)

func TestTextAndRawKeepTheBytes(t *testing.T) {
	for _, frame := range []string{"23.5", "", "23.5 \xb0C", "grün", "a\x00b"} {
		var v Value
		if err := (Text{}).Decode([]byte(frame), &v); err != nil || string(v.Payload) != frame {
			t.Errorf("text %q: %q, %v", frame, v.Payload, err)
		}
		if want := !strings.Contains(frame, "\xb0"); v.Text != want {
			t.Errorf("text %q: Text is %v", frame, v.Text)
		}
		if err := (Raw{}).Decode([]byte(frame), &v); err != nil || string(v.Payload) != frame || v.Text {
			t.Errorf("raw %q: %+v, %v", frame, v, err)
		}
	}
}

func command(t *testing.T, template string) Command {
	t.Helper()
	tmpl, err := config.ParseTemplate(template, "payload", "topic", "field:")
	if err != nil {
		t.Fatal(err)
	}
	return Command{tmpl}
}

func TestCommand(t *testing.T) {
	for _, tt := range []struct{ name, template, payload, want string }{
		{"the default adds an ending", "{payload}\r\n", "TARE", "TARE\r\n"},
		{"fields of a JSON payload", "SET {field:ch} {field:on} {field:mode}\r", `{"ch": 3, "on": true, "mode": "au\"to"}`, "SET 3 true au\"to\r"},
		{"a path with dots", "{field:a.b}", `{"a": {"b": 1.50}}`, "1.50"},
		{"a name that has a dot itself", "{field:a.b}", `{"a.b": 2}`, "2"},
		{"objects stay JSON", "{field:a}", `{"a": {"b": [1, 2]}}`, `{"b": [1, 2]}`},
		{"where it came from", "{topic}: {payload}", "1", "gw/scale/set: 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := command(t, tt.template).Append(nil, "gw/scale/set", []byte(tt.payload))
			if err != nil || string(got) != tt.want {
				t.Fatalf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
	c := command(t, "{field:a.b}")
	for _, bad := range []string{"", "x", "[]", "null", "{}", `{"a": 1}`, `{"a": {"c": 1}}`} {
		if got, err := c.Append([]byte("0"), "t", []byte(bad)); err == nil || string(got) != "0" {
			t.Errorf("payload %q gives %q", bad, got)
		}
	}
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{`{"a":{"b":"c"}}`, `{"a.b":1}`, `[`, `null`, `{"a":"\ud800"}`} {
		f.Add([]byte(s), "a.b")
	}
	f.Fuzz(func(t *testing.T, payload []byte, field string) {
		tmpl, err := config.ParseTemplate("<{field:"+field+"}>", "field:")
		if err != nil {
			return
		}
		got, err := Command{tmpl}.Append(nil, "t", payload)
		if err != nil && len(got) != 0 {
			t.Fatalf("%q left behind by an error", got)
		}
		if err == nil && !json.Valid(payload) {
			t.Fatalf("%q gives %q", payload, got)
		}
	})
}
