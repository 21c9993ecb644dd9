package config

import "testing"

func TestBytesAreWrittenAsTextOrInHex(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`"\r\n"`, "\r\n"},
		{`"\u0002"`, "\x02"},
		{`"\u00ff"`, "ÿ"},
		{`"hex:ff"`, "\xff"},
		{`"hex:02 FF0d"`, "\x02\xff\r"},
		{`"hex: 02 "`, "\x02"},
		{`"hex:6865783a"`, "hex:"},
		{`"Hex:ff"`, "Hex:ff"},
	} {
		c, err := Parse("f", []byte(serialWith(`frame = { type = "delimiter", bytes = `+tt.text+` }`)), fixed)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if got := string(c.Serial[0].Frame.Bytes); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.text, got, tt.want)
		}
	}
}
