package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFrameShowsWhatAnAdapterMakesOfBytes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.toml")
	text := `[gateway]
id = "gw"
[[serial]]
name = "scale"
port = "/dev/ttyUSB0"
frame = { type = "start-end", start = "\u0002", end = "\u0003" }
decode = { type = "keyvalue", pairs = " " }
set = { f = "T * 2" }
when = "T < 100"
topic = "{gateway}/{name}/{field:unit}"
[[tcp]]
name = "loggers"
listen = ":7000"
topic = "{gateway}/{remote}"
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := call(t, "frame", "-config", file, "-adapter", "scale",
		"-hex", "78 02 54 3d 32 32 20 75 6e 69 74 3d 43 03 02 54 3d 31 32 30 20 75 6e 69 74 3d 43 03", "-hex", "02 54 3d 31 03")
	want := `frame 1: T=22 unit=C
  bytes    54 3d 32 32 20 75 6e 69 74 3d 43
  field    T = 22
  field    unit = C
  field    f = 44
  payload  {"T":22,"unit":"C","f":44}
  topic    gw/scale/C
frame 2: T=120 unit=C
  bytes    54 3d 31 32 30 20 75 6e 69 74 3d 43
  field    T = 120
  field    unit = C
  dropped  when is false
frame 3: T=1
  bytes    54 3d 31
  field    T = 1
  field    f = 2
  PROBLEM  no topic: there is no field "unit"
33 bytes, 3 frames, 1 piece of garbage; 1 byte was dropped
`
	if code != 1 || out != want {
		t.Errorf("exit code %d\n%s%s\nwant\n%s", code, out, errOut, want)
	}
	code, out, errOut = call(t, "frame", "-config", file, "-adapter", "loggers", "-json", "-hex", "31 0a")
	if want := `{"hex":"31","topic":"gw/192.0.2.7","text":"1"}` + "\n"; code != 0 || out != want {
		t.Errorf("exit code %d %s%s", code, out, errOut)
	}
	code, out, errOut = call(t, "frame", "-config", file, "-adapter", "scale", "-json", "-hex", "02 54 3d 31 32 30 03")
	if want := `{"hex":"543d313230","fields":{"T":120},"dropped":"when is false"}` + "\n"; code != 0 || out != want {
		t.Errorf("what when drops is no failure: exit code %d %s%s", code, out, errOut)
	}
	for _, bad := range [][]string{{"-adapter", "none"}, {}, {"-hex", "1"}} {
		if code, _, errOut := call(t, append([]string{"frame", "-config", file}, bad...)...); code != 2 || errOut == "" {
			t.Errorf("%q: exit code %d: %s", bad, code, errOut)
		}
	}
}

func TestFrameShowsLongPayloadsWhole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(file, []byte("[gateway]\nid = \"gw\"\n[[tcp]]\nname = \"t\"\nlisten = \":7000\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, unit, shown string }{
		{"text", "é=21.5 ", "é=21.5 "},
		{"bytes that control a terminal", "\u009b2J..", ""},
	} {
		line := strings.Repeat(c.unit, 100) + "end"
		shown := strings.Repeat(c.shown, 100) + "end"
		if c.shown == "" {
			shown = fmt.Sprintf("% x", line)
		}
		_, out, errOut := call(t, "frame", "-config", file, "-hex", fmt.Sprintf("%x0a", line))
		if want := "  payload  " + shown + "\n"; !strings.Contains(out, want) || errOut != "" {
			t.Errorf("%s: %s%s", c.name, out, errOut)
		}
	}
}

func TestTheStartOfAFrameSaysWhatIsMissing(t *testing.T) {
	for _, c := range []struct{ name, frame, want string }{
		{"short", "T=1", "T=1"},
		{"long", strings.Repeat("x", 100), strings.Repeat("x", 90) + " … (90 of 100 bytes)"},
		{"a character is not cut", strings.Repeat("x", 89) + "éyy", strings.Repeat("x", 89) + " … (89 of 93 bytes)"},
		{"bytes", strings.Repeat("\x00", 91), strings.TrimSpace(strings.Repeat("00 ", 90)) + " … (90 of 91 bytes)"},
	} {
		if got := frameStart([]byte(c.frame)); got != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}
