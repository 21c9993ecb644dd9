package adapters

import (
	"errors"
	"strings"
	"testing"
	"time"

	"packetboat/adapters/frame"
	"packetboat/config"
)

// frameConfig reads a frame table.
func frameConfig(t *testing.T, text string) *config.Frame {
	t.Helper()
	c, err := config.Parse("f", []byte("[gateway]\nid = \"gw\"\n[[tcp]]\nname = \"a\"\nlisten = \":0\"\nframe = { "+text+" }\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &c.TCP[0].Frame
}

func TestFramingsOfTheConfiguration(t *testing.T) {
	for _, tt := range []struct {
		text string
		want frame.Framing
	}{
		{``, frame.Line{Ending: "\n", Trim: true, Max: 4096}},
		{`ending = "hex:FF", trim = false, max = "1KiB"`, frame.Line{Ending: "\xff", Max: 1024}},
		{`type = "delimiter", bytes = "\u0003"`, frame.Delimiter{Bytes: "\x03", Max: 4096}},
		{`type = "fixed", size = 16`, frame.Fixed{Size: 16, FlushAfter: time.Second, Max: 4096}},
		{`type = "length", size = 2`, frame.Length{Size: 2, FlushAfter: time.Second, Max: 4096}},
		{`type = "length", offset = 1, size = 4, order = "little", includes_header = true, header = 6, flush_after = "0s"`,
			frame.Length{Offset: 1, Size: 4, Little: true, IncludesHeader: true, Header: 6, Max: 4096}},
		{`type = "start-end", start = "hex:AA55", end = "hex:55AA", escape = "\u001b", flush_after = "2s"`,
			frame.StartEnd{Start: "\xaa\x55", End: "\x55\xaa", Escape: "\x1b", FlushAfter: 2 * time.Second, Max: 4096}},
		{`type = "slip", max = "100B"`, frame.SLIP{Max: 100}},
		{`type = "cobs", crc = "crc32"`, frame.Checked{Of: frame.COBS{Max: 4096}, Sum: frame.CRC32}},
		{`type = "idle", gap = "5ms", crc = "crc16-modbus"`, frame.Checked{Of: frame.Idle{Gap: 5 * time.Millisecond, Max: 4096}, Sum: frame.CRC16Modbus}},
		{`type = "modbus-rtu"`, frame.ModbusRTU{Gap: 20 * time.Millisecond}},
		{`trim = false, crc = "crc16-ccitt"`, frame.Checked{Of: frame.Line{Ending: "\n", Max: 4096}, Sum: frame.CRC16CCITT}},
		{`trim = false, crc = "xor"`, frame.Checked{Of: frame.Line{Ending: "\n", Max: 4096}, Sum: frame.XOR}},
		{`trim = false, crc = "sum"`, frame.Checked{Of: frame.Line{Ending: "\n", Max: 4096}, Sum: frame.Sum8}},
	} {
		if got, err := framingOf(frameConfig(t, tt.text)); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v", tt.text, got, err)
		}
	}
}

func TestWhatIsWrongWithAFramingHasItsKey(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`type = "delimiter"`, "frame.bytes: is missing"},
		{`type = "delimiter", bytes = "12345678901234567"`, "frame.bytes: must be at most 16 bytes"},
		{`type = "fixed"`, "frame.size: is missing"},
		{`type = "fixed", size = 5000`, "frame.size: must be at most 4096"},
		{`type = "fixed", size = 2, crc = "crc16-modbus"`, "frame.size: must be more than the 2 bytes of the check sum"},
		{`type = "length"`, "frame.size: is missing"},
		{`type = "length", size = 3`, "frame.size: must be 1, 2, 4 or 8"},
		{`type = "length", size = 2, offset = 2, header = 3`, "frame.header: must be at least 4"},
		{`type = "start-end", end = ">"`, "frame.start: is missing"},
		{`type = "start-end", start = "<"`, "frame.end: is missing"},
		{`type = "start-end", start = "~", end = "~"`, "frame.end: must not be the same as start"},
		{`type = "start-end", start = "<", end = ">", escape = "ab"`, "frame.escape: must be one byte"},
		{`type = "modbus-rtu", crc = "crc16-modbus"`, "frame.crc: must not be set"},
		{`crc = "xor"`, "frame.crc: needs trim = false"},
	} {
		_, err := framingOf(frameConfig(t, tt.text))
		var key *KeyError
		if !errors.As(err, &key) || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.text, err, tt.want)
		}
	}
	if _, err := framingOf(&config.Frame{Type: "morse"}); err == nil || !strings.HasPrefix(err.Error(), "frame.type: ") {
		t.Error(err)
	}
}
