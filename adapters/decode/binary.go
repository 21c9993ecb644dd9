package decode

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"packetboat/config"
)

// Binary takes the fields of a packed frame, each from its own place. A frame
// must reach as far as the last of them; what lies between and behind is passed
// over. Make one for each link.
type Binary struct {
	fields []binaryField
	need   int // bytes, for the field at last
	last   string
	object object
}

type binaryField struct {
	name   string
	offset int
	number Number
}

// maxOffset is beyond every frame that can be configured.
const maxOffset = 16 << 20

// Number is how a value lies in bytes. Zero Order is Big, zero Scale 1.
type Number struct {
	Type  string // bool, int8 to uint64, float32, float64, string
	Order Order
	Scale float64

	size  int
	scale decimal
}

// numberSizes by type; 0 is all that there is.
var numberSizes = map[string]int{
	"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
	"float32": 4, "float64": 8, "string": 0,
}

const numberTypes = "bool, int8, uint8, int16, uint16, int32, uint32, int64, uint64, float32, float64, string"

// ready checks n and completes it. It gives the key that is wrong.
func (n *Number) ready() (key string, err error) {
	size, ok := numberSizes[n.Type]
	if !ok {
		return "type", fmt.Errorf("%q is none of %s", n.Type, numberTypes)
	}
	if n.Scale == 0 {
		return "scale", errors.New("must not be 0: every value would be 0")
	}
	if n.Scale != 1 && (n.Type == "bool" || n.Type == "string") {
		return "scale", fmt.Errorf("means nothing for a %s", n.Type)
	}
	n.size, n.scale = size, newDecimal(n.Scale)
	return "", nil
}

// NewBinary makes a decoder of fields. Its error is a *KeyError.
func NewBinary(fields []config.DecodeField) (*Binary, error) {
	wrong := func(i int, key, format string, args ...any) (*Binary, error) {
		return nil, &KeyError{fmt.Sprintf("decode.fields[%d].%s", i, key), fmt.Errorf(format, args...)}
	}
	if len(fields) == 0 {
		return nil, &KeyError{"decode.fields", errors.New(`is missing: give the values of a frame, such as [{ name = "t", offset = 0, type = "int16" }]`)}
	}
	d := &Binary{}
	for i, f := range fields {
		if slices.ContainsFunc(d.fields, func(o binaryField) bool { return o.name == f.Name }) {
			return wrong(i, "name", "%q is the name of another field already", f.Name)
		}
		if f.Offset > maxOffset {
			return wrong(i, "offset", "must be at most %d: no frame is longer", maxOffset)
		}
		b := binaryField{f.Name, f.Offset, Number{Type: f.Type, Order: Order(f.Order), Scale: f.Scale}}
		if key, err := b.number.ready(); err != nil {
			return wrong(i, key, "%w", err)
		}
		if end := f.Offset + b.number.size; end > d.need {
			d.need, d.last = end, f.Name
		}
		d.fields = append(d.fields, b)
	}
	return d, nil
}

// Decode implements Decoder.
func (d *Binary) Decode(frame []byte, v *Value) error {
	if len(frame) < d.need {
		return fmt.Errorf("has %d bytes; %s needs %d", len(frame), d.last, d.need)
	}
	d.object.begin()
	for i := range d.fields {
		f := &d.fields[i]
		d.object.add(f.name, f.number.value(frame[f.offset:]))
	}
	d.object.end(v)
	return nil
}

// value reads the value that b begins with.
func (n *Number) value(b []byte) any {
	if n.Type == "string" {
		text, _, _ := bytes.Cut(b, []byte{0})
		return strings.TrimRight(string(text), " ")
	}
	bits := n.Order.Uint(b[:n.size])
	switch {
	case n.Type == "bool":
		return bits != 0
	case n.Type == "float32":
		return n.float(widen(math.Float32frombits(uint32(bits))))
	case n.Type == "float64":
		return n.float(math.Float64frombits(bits))
	case n.Type[0] == 'u' && n.Scale != 1:
		return n.float(float64(bits))
	case n.Type[0] == 'u' && bits > math.MaxInt64:
		return bits
	case n.Type[0] == 'u':
		return int64(bits)
	}
	shift := 64 - 8*n.size
	signed := int64(bits<<shift) >> shift
	if n.Scale != 1 {
		return n.float(float64(signed))
	}
	return signed
}

// float scales x; what is no finite number, as devices say "no value", is nil.
func (n *Number) float(x float64) any {
	if n.Scale != 1 {
		x = n.scale.mul(x)
	}
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return x
}

// widen gives the number with the fewest digits that is x as a float32: 0.1,
// and not 0.10000000149011612.
func widen(x float32) float64 {
	var buf [32]byte
	wide, err := strconv.ParseFloat(string(strconv.AppendFloat(buf[:0], float64(x), 'g', -1, 32)), 64)
	if err != nil {
		return float64(x)
	}
	return wide
}
