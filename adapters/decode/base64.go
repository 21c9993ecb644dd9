package decode

import "encoding/base64"

// Base64 publishes the frame's bytes in base64, with padding [RFC 4648, 4].
// Make one for each link.
type Base64 struct{ buf []byte }

// Decode implements Decoder; it never fails.
func (d *Base64) Decode(frame []byte, v *Value) error {
	d.buf = base64.StdEncoding.AppendEncode(d.buf[:0], frame)
	*v = Value{Payload: d.buf, Text: true, Fields: v.Fields[:0]}
	return nil
}
