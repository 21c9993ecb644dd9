package modbus

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// order is how a value's bytes stand in its registers, the first of which has
// the lowest address. For a value of the bytes A (highest) to D:
//
//	big             AB CD    as the specification has registers, and most devices
//	little          DC BA
//	big-swapped     CD AB    big, with the registers swapped: common, too
//	little-swapped  BA DC    little, with the registers swapped
//
// Values of four registers go the same way: big-swapped is GH EF CD AB. Fields
// of binary frames have the same orders.
type order string

// swapBytes and swapWords say what differs from big.
func (o order) swapBytes() bool { return o == "little" || o == "little-swapped" }
func (o order) swapWords() bool { return o == "little" || o == "big-swapped" }

// arrange brings data from the order of the registers into that of big, or
// back. Texts keep their registers where they are.
func (o order) arrange(data []byte, text bool) {
	if o.swapBytes() {
		for i := 0; i+1 < len(data); i += 2 {
			data[i], data[i+1] = data[i+1], data[i]
		}
	}
	if o.swapWords() && !text {
		for i, j := 0, len(data)-2; i < j; i, j = i+2, j-2 {
			data[i], data[j] = data[j], data[i]
			data[i+1], data[j+1] = data[j+1], data[i+1]
		}
	}
}

// codec is what the registers of a value mean. It is immutable.
type codec struct {
	kind  string // bool, int, uint, float, string
	words int    // registers; 1 for a coil
	order order
	scale float64
	digit int // decimals of scale; -1: more than make sense
}

// newCodec makes the codec of a type of the configuration.
func newCodec(typ string, o order, scale float64) (codec, error) {
	c := codec{words: 1, order: o, scale: scale, digit: decimals(scale)}
	switch typ {
	case "bool":
		c.kind = "bool"
		return c, nil
	case "int16", "int32", "int64", "uint16", "uint32", "uint64", "float32", "float64":
		c.kind = strings.TrimRight(typ, "0123456789")
		bits, _ := strconv.Atoi(typ[len(c.kind):]) // one of the above
		c.words = bits / 16
		return c, nil
	}
	n, err := strconv.Atoi(strings.TrimPrefix(typ, "string:"))
	if err != nil || n < 1 || n > maxWriteRegisters {
		return c, fmt.Errorf("%q is no type", typ)
	}
	c.kind, c.words = "string", n
	return c, nil
}

// decimals is how many a scale has: 2 for 0.01.
func decimals(scale float64) int {
	text := strconv.FormatFloat(math.Abs(scale), 'f', -1, 64)
	_, after, _ := strings.Cut(text, ".")
	if len(after) > 15 {
		return -1
	}
	return len(after)
}

// value is a decoded one: its JSON, and the number that it is, if it is one.
type value struct {
	json   []byte
	number float64
	is     bool // a number
}

var null = value{json: []byte("null")}

// truth is the value of a coil or of a bool in a register.
func truth(on bool) value { return value{json: strconv.AppendBool(nil, on)} }

// decode gives the value of registers, which it may rearrange.
func (c codec) decode(data []byte) value {
	c.order.arrange(data, c.kind == "string")
	switch c.kind {
	case "bool":
		return truth(data[0]|data[1] != 0)
	case "string":
		valid := strings.ToValidUTF8(string(bytes.TrimRight(data, "\x00 ")), "\uFFFD")
		text, _ := json.Marshal(valid) // strings can be
		return value{json: text}
	case "float":
		return c.float(data)
	}
	raw := uint64(0)
	for _, b := range data {
		raw = raw<<8 | uint64(b)
	}
	if c.kind == "int" {
		signed := int64(raw) << (64 - 8*len(data)) >> (64 - 8*len(data))
		if c.scale == 1 {
			return value{strconv.AppendInt(nil, signed, 10), float64(signed), true}
		}
		return c.scaled(float64(signed))
	}
	if c.scale == 1 {
		return value{strconv.AppendUint(nil, raw, 10), float64(raw), true}
	}
	return c.scaled(float64(raw))
}

// scaled multiplies a whole number, and leaves it the decimals that it can
// have: 3 with a scale of 0.1 is 0.3, not 0.30000000000000004.
func (c codec) scaled(raw float64) value {
	f := raw * c.scale
	if c.digit >= 0 {
		f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'f', c.digit, 64), 64) // its own text
	}
	return number(f, 64)
}

// float decodes IEEE 754; those that are no numbers are null.
func (c codec) float(data []byte) value {
	if c.words == 4 {
		return number(math.Float64frombits(binary.BigEndian.Uint64(data))*c.scale, 64)
	}
	f := float64(math.Float32frombits(binary.BigEndian.Uint32(data))) * c.scale
	if math.Abs(f) > math.MaxFloat32 {
		return number(f, 64)
	}
	return number(float64(float32(f)), 32)
}

// number is the value of a number; bits say how exact it is.
func number(f float64, bits int) value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return null
	}
	if f == 0 {
		f = 0 // not -0
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return value{strconv.AppendFloat(nil, f, format, -1, bits), f, true}
}

// changed reports whether v differs from old; by more than band, if both are
// numbers.
func (v value) changed(old value, band float64) bool {
	if v.is && old.is && band > 0 {
		return math.Abs(v.number-old.number) > band
	}
	return !bytes.Equal(v.json, old.json)
}

// encode gives the registers of a value of JSON.
func (c codec) encode(raw json.RawMessage) ([]byte, error) {
	data, err := c.encodeBig(raw)
	if err != nil {
		return nil, err
	}
	c.order.arrange(data, c.kind == "string")
	return data, nil
}

func (c codec) encodeBig(raw json.RawMessage) ([]byte, error) {
	switch c.kind {
	case "bool":
		on, err := parseBool(raw)
		if on {
			return []byte{0, 1}, err
		}
		return []byte{0, 0}, err
	case "string":
		return c.encodeText(raw)
	}
	text := string(bytes.TrimSpace(raw))
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || raw[0] == '"' || strings.ContainsAny(text, "xX_nN") {
		return nil, fmt.Errorf("%.40s is no number", text)
	}
	switch {
	case c.kind == "float" && c.words == 4:
		return binary.BigEndian.AppendUint64(nil, math.Float64bits(f/c.scale)), finite(f / c.scale)
	case c.kind == "float":
		short := float32(f / c.scale)
		return binary.BigEndian.AppendUint32(nil, math.Float32bits(short)), finite(float64(short))
	}
	n, err := c.whole(text, f)
	if err != nil {
		return nil, err
	}
	data := binary.BigEndian.AppendUint64(nil, n)
	return slices.Clone(data[8-2*c.words:]), nil
}

func finite(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return errRange
	}
	return nil
}

var errRange = errors.New("out of the range of its type")

// whole scales a number back to what the registers hold, as two's complement.
func (c codec) whole(text string, f float64) (uint64, error) {
	bits := 16 * c.words
	if c.scale == 1 { // exact beyond what a float can hold
		if c.kind == "int" {
			if n, err := strconv.ParseInt(text, 10, bits); err == nil {
				return uint64(n), nil
			}
		} else if n, err := strconv.ParseUint(text, 10, bits); err == nil {
			return n, nil
		}
		if f != math.Trunc(f) {
			return 0, fmt.Errorf("%.40s is not whole, as the value in the device is", text)
		}
	}
	f = math.Round(f / c.scale)
	low, end := 0.0, math.Ldexp(1, bits)
	if c.kind == "int" {
		low, end = -math.Ldexp(1, bits-1), math.Ldexp(1, bits-1)
	}
	switch {
	case math.IsNaN(f) || f < low || f >= end:
		return 0, errRange
	case f < 0:
		return uint64(int64(f)), nil
	}
	return uint64(f), nil
}

// parseBool takes true, false, 1 and 0.
func parseBool(raw json.RawMessage) (bool, error) {
	switch text := string(bytes.TrimSpace(raw)); text {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	default:
		return false, fmt.Errorf("%.40s is neither true nor false", text)
	}
}

// encodeText fills the registers up with zeros.
func (c codec) encodeText(raw json.RawMessage) ([]byte, error) {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil || len(raw) == 0 || raw[0] != '"' {
		return nil, fmt.Errorf("%.40s is no string", raw)
	}
	if len(text) > 2*c.words {
		return nil, fmt.Errorf("is longer than %d bytes", 2*c.words)
	}
	return append([]byte(text), make([]byte, 2*c.words-len(text))...), nil
}
