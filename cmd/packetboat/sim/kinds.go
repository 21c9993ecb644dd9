package sim

import (
	"encoding/binary"
	"fmt"
	"math"

	"packetboat/adapters/frame"
)

// Kind is a kind of device that there is, as far as its bytes go.
type Kind struct {
	Name    string
	Framing frame.Framing
	Reading func(n uint64) []byte
	Section string // frame and decode of a [[serial]] or [[tcp]] section that reads it
}

// Kinds are the kinds of devices to try things with.
func Kinds() []Kind {
	return []Kind{
		{"line", lines("\r\n"), climate, "frame  = { type = \"line\" }\ndecode = { type = \"keyvalue\", pairs = \" \" }"},
		{"json", lines("\n"), object, "frame  = { type = \"line\" }\ndecode = { type = \"json\" }"},
		{"csv", lines("\r\n"), columns, "frame  = { type = \"line\" }\ndecode = { type = \"csv\", names = [\"n\", \"t\", \"h\"], types = [\"int\", \"float\", \"float\"] }"},
		{"nmea", lines("\r\n"), position, "frame  = { type = \"line\" }\ndecode = { type = \"nmea\" }"},
		{"delimiter", frame.Delimiter{Bytes: ";"}, climate, "frame  = { type = \"delimiter\", bytes = \";\" }\ndecode = { type = \"text\" }"},
		{"start-end", frame.StartEnd{Start: "\x02", End: "\x03"}, climate, "frame  = { type = \"start-end\", start = \"\\u0002\", end = \"\\u0003\" }\ndecode = { type = \"text\" }"},
		{"slip", frame.SLIP{}, packed, "frame  = { type = \"slip\" }\ndecode = { type = \"binary\", fields = [{ name = \"t\", offset = 4, type = \"int16\", scale = 0.01 }] }"},
		{"cobs", frame.COBS{}, packed, "frame  = { type = \"cobs\" }\ndecode = { type = \"binary\", fields = [{ name = \"t\", offset = 4, type = \"int16\", scale = 0.01 }] }"},
		{"fixed", frame.Fixed{Size: 8}, packed, "frame  = { type = \"fixed\", size = 8 }\ndecode = { type = \"binary\", fields = [{ name = \"t\", offset = 4, type = \"int16\", scale = 0.01 }] }"},
		{"length", frame.Length{Size: 2}, climate, "frame  = { type = \"length\", size = 2 }\ndecode = { type = \"text\" }"},
		{"modbus-rtu", frame.ModbusRTU{}, register, "frame  = { type = \"modbus-rtu\" }\ndecode = { type = \"hex\" }"},
	}
}

func lines(ending string) frame.Framing { return frame.Line{Ending: ending, Trim: true} }

// wave is a value that goes up and down around a mean.
func wave(n uint64, mean, by float64) float64 { return mean + by*math.Sin(float64(n)/20) }

func climate(n uint64) []byte {
	return fmt.Appendf(nil, "T=%.1f H=%.0f", wave(n, 22, 3), wave(n+7, 50, 10))
}

func object(n uint64) []byte {
	return fmt.Appendf(nil, `{"n":%d,"t":%.2f,"ok":true}`, n, wave(n, 22, 3))
}

func columns(n uint64) []byte {
	return fmt.Appendf(nil, "%d,%.2f,%.1f", n, wave(n, 22, 3), wave(n+7, 50, 10))
}

// packed is eight bytes: a mark, a number, a temperature in hundredths, a state.
func packed(n uint64) []byte {
	b := []byte{0xA5, 0x01}
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = binary.BigEndian.AppendUint16(b, uint16(int16(100*wave(n, 22, 3))))
	return append(b, byte(n%3), 0x5A)
}

// register is the reply of a Modbus unit to a question for two registers.
func register(n uint64) []byte {
	b := []byte{1, 3, 4}
	return binary.BigEndian.AppendUint32(b, math.Float32bits(float32(wave(n, 230, 4))))
}

// position is a sentence of a GPS receiver.
func position(n uint64) []byte {
	s := fmt.Sprintf("GPRMC,%02d%02d%02d.00,A,4807.%04.0f,N,01131.%04.0f,E,%.1f,084.4,230326,003.1,W", n/3600%24, n/60%60, n%60, wave(n, 3800, 90), wave(n, 900, 90), wave(n, 22, 3))
	sum := byte(0)
	for i := range len(s) {
		sum ^= s[i]
	}
	return fmt.Appendf(nil, "$%s*%02X", s, sum)
}
