package config

import (
	"testing"
	"time"
)

func TestSizes(t *testing.T) {
	tests := []struct {
		text string
		want Size
		show string
	}{
		{"0", 0, "0"},
		{"1", 1, "1"},
		{"1B", 1, "1"},
		{"64KiB", 64 << 10, "64KiB"},
		{"16 MiB", 16 << 20, "16MiB"},
		{"1024MiB", 1 << 30, "1GiB"},
		{"2TiB", 2 << 40, "2TiB"},
		{"1kB", 1000, "1kB"},
		{"3MB", 3e6, "3MB"},
		{"512GB", 512e9, "512GB"},
		{"1TB", 1e12, "1TB"},
		{"8388607TiB", 8388607 << 40, "8388607TiB"},
	}
	for _, tt := range tests {
		if got, err := parseSize(tt.text); err != nil || got != tt.want || got.String() != tt.show {
			t.Errorf("%s: got %d, %v, shown as %s", tt.text, int64(got), err, got)
		}
	}
	for _, text := range []string{"", "KiB", "-1KiB", "+1KiB", "1.5KiB", "1KB", "1 K iB", "8388608TiB", "18446744073709551616", "1KiB ", " 1KiB", "0x10"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is taken for %d", text, int64(got))
		}
	}
}

func TestDurations(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		show string
	}{
		{"0", 0, "0s"},
		{"0s", 0, "0s"},
		{"7d", 7 * 24 * time.Hour, "7d"},
		{"1d12h", 36 * time.Hour, "36h"},
		{"48h", 48 * time.Hour, "2d"},
		{"90s", 90 * time.Second, "1m30s"},
		{"5m", 5 * time.Minute, "5m"},
		{"1.5s", 1500 * time.Millisecond, "1.5s"},
		{"106751d", 106751 * 24 * time.Hour, "106751d"},
		{"-1s", -time.Second, "-1s"}, // its range is checked later
	}
	for _, tt := range tests {
		if got, err := parseDuration(tt.text); err != nil || got != tt.want || showDuration(got) != tt.show {
			t.Errorf("%s: got %v, %v, shown as %s", tt.text, got, err, showDuration(got))
		}
	}
	for _, text := range []string{"", "d", "5", "1.5d", "-1d", "1d-1h", "1dd", "106752d", "106751d24h", "99999999999d", "5 s", "soon"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func TestExpandingTheEnvironment(t *testing.T) {
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "x", "B_2": "${A}", "EMPTY": ""}[name]
		return v, ok
	}
	for in, want := range map[string]string{
		"a$b$$":          "a$b$$",
		"${A}":           "x",
		"<${A}${EMPTY}>": "<x>",
		"${B_2}":         "${A}", // values are not expanded again
		"$${A}":          "${A}",
		"$$${A}":         "$${A}",
		"${A}$${A}${A}":  "x${A}x",
		"}{":             "}{",
	} {
		if got, err := expandEnv(in, env); err != nil || got != want {
			t.Errorf("%s: got %s, %v", in, got, err)
		}
	}
	for _, in := range []string{"${", "${}", "${ A}", "${2}", "${NOPE}", "${A"} {
		if got, err := expandEnv(in, env); err == nil {
			t.Errorf("%s: got %s", in, got)
		}
	}
}

func TestNearestKey(t *testing.T) {
	keys := []string{"baud", "mode", "flow", "max_size", "min_free"}
	for in, want := range map[string]string{
		"buad": "baud", "Mode": "mode", "maxsize": "max_size", "max_sise": "max_size", "fl": "", "x": "", "": "", "temperature": "",
	} {
		if got := nearest(in, keys); got != want {
			t.Errorf("%s: got %q", in, got)
		}
	}
}
