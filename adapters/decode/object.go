package decode

import "unicode/utf8"

// object builds the value of a structured frame: its fields, and their JSON
// object as payload. The zero value is ready.
type object struct {
	fields []Field
	buf    []byte
	names  names
}

func (o *object) begin() { o.fields = o.fields[:0] }

func (o *object) add(name string, value any) {
	o.fields = append(o.fields, Field{name, value})
}

// end sets v, which aliases o until the next begin.
func (o *object) end(v *Value) {
	o.buf = AppendObject(o.buf[:0], o.fields)
	*v = Value{Payload: o.buf, Text: true, Fields: o.fields}
}

// names keeps the names that a device gives its values, so that the same ones
// are not made anew for each frame. A device that makes up ever new ones costs
// the memory of maxNames, no more.
type names map[string]string

const (
	maxNames   = 256
	maxNameLen = 64
)

func (n *names) of(b []byte) string {
	if s, ok := (*n)[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(s) <= maxNameLen && len(*n) < maxNames {
		if *n == nil {
			*n = names{}
		}
		(*n)[s] = s
	}
	return s
}

// show quotes the beginning of what a device sent, for errors.
func show(b []byte) string {
	const most = 32
	if len(b) <= most {
		return string(b)
	}
	b = b[:most]
	for i := 0; i < utf8.UTFMax && len(b) > 0 && !utf8.Valid(b); i++ {
		b = b[:len(b)-1]
	}
	return string(b) + "…"
}
