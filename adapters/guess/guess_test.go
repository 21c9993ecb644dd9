package guess

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"packetboat/adapters/frame"
)

// devices send frames of each kind.
func devices() map[string]func(n int, r *rand.Rand) []byte {
	must := func(f frame.Framing, p []byte) []byte {
		b, err := f.Append(nil, p)
		if err != nil {
			panic(err)
		}
		return b
	}
	reading := func(n int, r *rand.Rand) []byte {
		return fmt.Appendf(nil, "T=%.1f H=%d", 20+r.Float64()*5, 40+r.IntN(20))
	}
	binary := func(n int, r *rand.Rand) []byte {
		return []byte{0x7e, 0x01, byte(n >> 8), byte(n), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), 0x55}
	}
	return map[string]func(n int, r *rand.Rand) []byte{
		"line":      func(n int, r *rand.Rand) []byte { return append(reading(n, r), "\r\n"...) },
		"delimiter": func(n int, r *rand.Rand) []byte { return append(reading(n, r), ';') },
		"start-end": func(n int, r *rand.Rand) []byte {
			return must(frame.StartEnd{Start: "\x02", End: "\x03"}, reading(n, r))
		},
		"slip":       func(n int, r *rand.Rand) []byte { return must(frame.SLIP{}, binary(n, r)) },
		"cobs":       func(n int, r *rand.Rand) []byte { return must(frame.COBS{}, binary(n, r)) },
		"fixed":      binary,
		"modbus-rtu": func(n int, r *rand.Rand) []byte { return must(frame.ModbusRTU{}, binary(n, r)[1:]) },
		"nmea": func(n int, r *rand.Rand) []byte {
			s := fmt.Sprintf("GPGLL,%04d.%02d,N,%05d.%02d,W,%06d,A", 4900+n%60, r.IntN(100), 12300+n%60, r.IntN(100), n)
			sum := byte(0)
			for i := range len(s) {
				sum ^= s[i]
			}
			return fmt.Appendf(nil, "$%s*%02X\r\n", s, sum)
		},
	}
}

// listen is what a listener gets: frames with silence between them or without, in
// chunks, from the middle of one on.
func listen(device func(n int, r *rand.Rand) []byte, r *rand.Rand, between time.Duration) (chunks []Chunk) {
	at := time.Duration(0)
	for n := range 30 {
		f := device(n, r)
		if n == 0 {
			f = f[r.IntN(len(f)):]
		}
		for len(f) > 0 {
			k := 1 + r.IntN(len(f))
			chunks = append(chunks, Chunk{at, f[:k]})
			f = f[k:]
			at += time.Millisecond
		}
		at += between
	}
	return chunks
}

func TestTheFramingOfEachKindOfDeviceIsGuessed(t *testing.T) {
	for kind, device := range devices() {
		for _, between := range []time.Duration{100 * time.Millisecond, 0} {
			if between == 0 && kind == "modbus-rtu" {
				continue // without silence there is no such device
			}
			for seed := range uint64(20) {
				r := rand.New(rand.NewPCG(seed, 1))
				guesses := Of(listen(device, r, between))
				if len(guesses) == 0 || guesses[0].Kind != kind {
					t.Errorf("%s, %v between frames, seed %d:", kind, between, seed)
					for _, g := range guesses {
						t.Errorf("   %s %.2f: %s %q", g.Kind, g.Score, g.Why, g.Frames)
					}
					break
				}
			}
		}
	}
}

func TestNoiseIsNotTakenForAKind(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 400)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for _, g := range Of([]Chunk{{0, noise}}) {
		if g.Score > 0.6 {
			t.Errorf("%s %.2f: %s", g.Kind, g.Score, g.Why)
		}
	}
	if g := Of(nil); g != nil {
		t.Errorf("from nothing: %+v", g)
	}
}

func FuzzOf(f *testing.F) {
	f.Add([]byte("a\nb\nc\n"), 3)
	f.Add([]byte{0, 1, 2, 0, 0xC0, 0xDB, 0xC0}, 1)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		var chunks []Chunk
		for at := time.Duration(0); len(b) > 0; at += 10 * time.Millisecond {
			k := min(max(n, 1), len(b))
			chunks = append(chunks, Chunk{at, b[:k]})
			b = b[k:]
		}
		for _, g := range Of(chunks) {
			if g.Score < 0 || g.Score > 1 {
				t.Fatalf("%+v", g)
			}
		}
	})
}
