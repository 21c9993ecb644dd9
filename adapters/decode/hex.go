package decode

import "encoding/hex"

// Hex publishes the frame's bytes as lower-case hexadecimal digits. Make one
// for each link.
type Hex struct{ buf []byte }

// Decode implements Decoder; it never fails.
func (d *Hex) Decode(frame []byte, v *Value) error {
	d.buf = hex.AppendEncode(d.buf[:0], frame)
	*v = Value{Payload: d.buf, Text: true, Fields: v.Fields[:0]}
	return nil
}
