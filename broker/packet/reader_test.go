package packet

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestTheReaderCutsAStreamIntoPackets(t *testing.T) {
	var stream []byte
	sizes := []int{0, 1, 100, 5000, 3, 70_000, 0}
	for i, n := range sizes {
		stream = AppendPublish(stream, V5, &Publish{Topic: "t", Payload: bytes.Repeat([]byte{byte(i)}, n)})
	}
	for name, of := range map[string]func(io.Reader) io.Reader{
		"whole":           func(r io.Reader) io.Reader { return r },
		"byte by byte":    iotest.OneByteReader,
		"by halves":       iotest.HalfReader,
		"with its end":    iotest.DataErrReader,
		"its end is late": func(r io.Reader) io.Reader { return io.MultiReader(r, iotest.ErrReader(io.EOF)) },
	} {
		r := NewReader(of(bytes.NewReader(stream)), 16, 0)
		for i, n := range sizes {
			typ, flags, body, err := r.Next()
			var p Publish
			if err == nil && typ == PUBLISH {
				err = ParsePublish(flags, body, V5, &p)
			}
			if err != nil || len(p.Payload) != n || n > 0 && p.Payload[n-1] != byte(i) {
				t.Fatalf("%s: packet %d: %d bytes, %v", name, i, len(p.Payload), err)
			}
		}
		if _, _, _, err := r.Next(); err != io.EOF || r.Buffered() {
			t.Errorf("%s: at the end: %v", name, err)
		}
	}
	r := NewReader(bytes.NewReader(stream), 16, 1000)
	for range 3 {
		if _, _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, _, err := r.Next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a packet above the bound: %v", err)
	}
}
