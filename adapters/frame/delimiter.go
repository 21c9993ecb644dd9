package frame

// Delimiter is the framing of binary frames that end with Bytes. A frame is
// exactly what stands between two of them; empty ones are passed over.
//
// Frames cannot hold the delimiter, and one that its stream's end cuts short is
// not a frame.
type Delimiter struct {
	Bytes string
	Max   int // bytes of a frame, without the delimiter; 0 is DefaultMax
}

var _ Framing = Delimiter{}

func (f Delimiter) withDefaults() Delimiter {
	if f.Max == 0 {
		f.Max = DefaultMax
	}
	return f
}

// Check implements Framing.
func (f Delimiter) Check() error {
	if err := checkMarker("bytes", f.Bytes); err != nil {
		return err
	}
	return checkMax(f.Max)
}

// NewDecoder implements Framing.
func (f Delimiter) NewDecoder() Decoder {
	f = f.withDefaults()
	return &lineDecoder{ending: []byte(f.Bytes), noBlanks: true, max: f.Max}
}

// Append implements Framing.
func (f Delimiter) Append(dst, payload []byte) ([]byte, error) {
	f = f.withDefaults()
	return appendEnded(dst, payload, f.Bytes, f.Max)
}
