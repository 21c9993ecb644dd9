package frame

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const testMax = 48

// A subject is a framing under test.
type subject struct {
	name string
	of   Framing

	// The same without the limit, to make frames that are too long.
	unlimited Framing

	// payload makes a payload that can be a frame; nil: up to testMax-4 bytes of
	// any value, some of them those that markers are made of.
	payload func(r *rand.Rand) []byte

	sep    int  // bytes of the marker that stands between frames, and is no part of a bad one
	finds  bool // finds the next frame after garbage, without a silence
	silent bool // frames are ended by silence alone
	cost   func(payload []byte) int
}

func subjects() []subject {
	text := func(r *rand.Rand) []byte {
		p := make([]byte, 1+r.IntN(testMax-8))
		for i := range p {
			p[i] = "abc 123,.-"[r.IntN(10)]
		}
		return bytes.Trim(append(p, 'x'), " ")
	}
	six := func(r *rand.Rand) []byte { return anyBytes(r, 6, 6) }
	rtu := func(r *rand.Rand) []byte { return append([]byte{1, 65}, anyBytes(r, 0, testMax-8)...) }
	slipCost := func(p []byte) int { b, _ := SLIP{}.Append(nil, p); return len(b) - 1 }
	second := time.Second
	list := []subject{
		{name: "line", of: Line{Trim: true, Max: testMax}, unlimited: Line{Max: 1 << 20}, payload: text, sep: 1, finds: true},
		{name: "line CRLF", of: Line{Ending: "\r\n", Max: testMax}, unlimited: Line{Ending: "\r\n", Max: 1 << 20}, payload: text, sep: 2, finds: true},
		{name: "delimiter", of: Delimiter{Bytes: "\x03\xff", Max: testMax}, unlimited: Delimiter{Bytes: "\x03\xff", Max: 1 << 20}, payload: text, sep: 2, finds: true},
		{name: "fixed", of: Fixed{Size: 6, FlushAfter: second}, payload: six},
		{name: "fixed with CRC", of: Checked{Fixed{Size: 8, FlushAfter: second}, CRC16Modbus}, payload: six, finds: true},
		{name: "fixed with sum", of: Checked{Fixed{Size: 7, FlushAfter: second}, Sum8}, payload: six},
		{name: "length", of: Length{Size: 2, Max: testMax, FlushAfter: second}, unlimited: Length{Size: 2, Max: 1 << 20}},
		{name: "length with header", of: Length{Offset: 1, Size: 4, Little: true, IncludesHeader: true, Header: 7, Max: testMax, FlushAfter: second},
			unlimited: Length{Offset: 1, Size: 4, Little: true, IncludesHeader: true, Header: 7, Max: 1 << 20}},
		{name: "length with CRC", of: Checked{Length{Size: 1, Max: testMax, FlushAfter: second}, CRC32}, unlimited: Checked{Length{Size: 1, Max: 250}, CRC32}, finds: true},
		{name: "length with sum", of: Checked{Length{Size: 2, Max: testMax, FlushAfter: second}, XOR}, unlimited: Checked{Length{Size: 2, Max: 1 << 20}, XOR}},
		{name: "start-end", of: StartEnd{Start: "\x02", End: "\x03", Max: testMax}, unlimited: StartEnd{Start: "\x02", End: "\x03", Max: 1 << 20}, payload: text, finds: true},
		{name: "start-end with escape", of: StartEnd{Start: "\x10\x02", End: "\x10\x03", Escape: "\x10", Max: testMax, FlushAfter: second}, unlimited: StartEnd{Start: "\x10\x02", End: "\x10\x03", Escape: "\x10", Max: 1 << 20}, finds: true},
		{name: "start-end with CRC", of: Checked{StartEnd{Start: "\x02", End: "\x03", Escape: "\x1b", Max: testMax}, CRC16CCITT}, unlimited: StartEnd{Start: "\x02", End: "\x03", Escape: "\x1b", Max: 1 << 20}, finds: true},
		{name: "slip", of: SLIP{Max: testMax}, unlimited: SLIP{Max: 1 << 20}, sep: 1, finds: true, cost: slipCost},
		{name: "slip with CRC", of: Checked{SLIP{Max: testMax}, CRC32}, unlimited: SLIP{Max: 1 << 20}, sep: 1, finds: true,
			cost: func(p []byte) int { return slipCost(CRC32.Append(slices.Clone(p), p)) }},
		{name: "cobs", of: COBS{Max: testMax}, unlimited: COBS{Max: 1 << 20}, sep: 1, finds: true},
		{name: "idle", of: Idle{Max: testMax}, unlimited: Idle{Max: 1 << 20}, silent: true},
		{name: "idle with CRC", of: Checked{Idle{Max: testMax}, CRC16Modbus}, unlimited: Idle{Max: 1 << 20}, silent: true},
		{name: "modbus-rtu", of: ModbusRTU{}, payload: rtu, silent: true},
	}
	for i := range list {
		s := &list[i]
		if s.payload == nil {
			s.payload = func(r *rand.Rand) []byte { return anyBytes(r, 1, testMax-4) }
		}
		if s.cost == nil {
			s.cost = func(p []byte) int { b, _ := s.of.Append(nil, p); return len(b) }
		}
	}
	return list
}

// anyBytes makes bytes, half of them those that markers are made of.
func anyBytes(r *rand.Rand, least, most int) []byte {
	p := make([]byte, least+r.IntN(most-least+1))
	for i := range p {
		p[i] = byte(r.Uint32())
		if r.IntN(2) == 0 {
			p[i] = "\x00\x01\x02\x03\x10\x1b\n\r\xc0\xdb\xdc\xdd\xff"[r.IntN(13)]
		}
	}
	return p
}

// noise makes garbage that ends where the framing finds itself again.
func (s subject) noise(r *rand.Rand) string { return string(anyBytes(r, 1, 30)) }

func (s subject) frame(t *testing.T, p []byte) string {
	t.Helper()
	b, err := s.of.Append(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func random(r *rand.Rand, most int) func() int { return func() int { return 1 + r.IntN(most) } }

// sameInAllSplits plays the stream at once, byte by byte and split at random,
// and returns what the first gave. Bytes must be accounted for.
func (s subject) sameInAllSplits(t *testing.T, r *rand.Rand, stream string) ([]string, Counters) {
	t.Helper()
	whole := s.of.NewDecoder()
	want := play(whole, stream, chunks(len(stream)+1))
	before := whole.Counters()
	whole.Reset()
	for _, next := range []func() int{chunks(1), random(r, 3), random(r, 20), random(r, 100)} {
		d := s.of.NewDecoder()
		got := play(d, stream, next)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q\nsplit: %q\nwhole: %q", stream, got, want)
		}
		if d.Counters() != before {
			t.Fatalf("%q\nsplit: %+v\nwhole: %+v", stream, d.Counters(), before)
		}
		if d.Reset(); d.Counters() != whole.Counters() {
			t.Fatalf("%q\nafter the end: split: %+v\nwhole: %+v", stream, d.Counters(), whole.Counters())
		}
	}
	return want, whole.Counters()
}

func TestAnySplitGivesTheSame(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			for seed := range uint64(100) {
				r := rand.New(rand.NewPCG(seed, 1))
				_, c := s.sameInAllSplits(t, r, s.anyStream(t, r))
				if bytes := c.Frames + c.Discarded; bytes > c.Bytes {
					t.Fatalf("seed %d: %+v", seed, c)
				}
			}
		})
	}
}

// anyStream makes a stream of frames that are right, cut short, too long or
// damaged, of garbage and of silences.
func (s subject) anyStream(t *testing.T, r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(30) {
		f := []byte(s.frame(t, s.payload(r)))
		switch r.IntN(10) {
		case 0:
			f = f[:r.IntN(len(f)+1)]
		case 1:
			f[r.IntN(len(f))] ^= 1 << r.IntN(8)
		case 2:
			f = []byte(s.noise(r))
		case 3:
			if s.unlimited != nil {
				f, _ = s.unlimited.Append(nil, bytes.Repeat([]byte("x"), testMax+r.IntN(150)))
			}
		}
		b.Write(f)
		if r.IntN(4) == 0 || s.silent && r.IntN(4) > 0 {
			b.WriteString(hush)
		}
	}
	return b.String()
}

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			for seed := range uint64(100) {
				r := rand.New(rand.NewPCG(seed, 2))
				var stream strings.Builder
				var want []string
				for range r.IntN(20) {
					p := s.payload(r)
					want = append(want, string(p))
					stream.WriteString(s.frame(t, p))
					if s.silent || r.IntN(5) == 0 {
						stream.WriteString(hush)
					}
				}
				got, c := s.sameInAllSplits(t, r, stream.String())
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("seed %d: got %q, want %q", seed, got, want)
				}
				if c.Bad() != 0 || c.Discarded != 0 {
					t.Fatalf("seed %d: %+v", seed, c)
				}
			}
		})
	}
}

// Between garbage, damaged and too long frames the right ones are found: the
// one after the next marker at the latest, all with a check sum or a silence.
func TestRightFramesAreFoundAmongBadOnes(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			for seed := range uint64(100) {
				r := rand.New(rand.NewPCG(seed, 3))
				var stream strings.Builder
				var want []string
				for i := range 8 {
					bad := s.noise(r)
					if s.unlimited != nil && i%2 == 0 {
						b, _ := s.unlimited.Append(nil, bytes.Repeat([]byte("x"), testMax+1+r.IntN(100)))
						bad = string(b)
					}
					p := append([]byte(fmt.Sprintf("%02d", i)), "good"...)
					if s.name == "modbus-rtu" {
						p = append([]byte{1, 65}, p...)
					}
					stream.WriteString(bad)
					if s.finds {
						stream.WriteString(s.frame(t, []byte("paying"))) // the garbage may swallow it
					} else {
						stream.WriteString(hush)
					}
					stream.WriteString(s.frame(t, p))
					if s.silent {
						stream.WriteString(hush)
					}
					want = append(want, string(p))
				}
				if s.of.NewDecoder().Idle() > 0 {
					stream.WriteString(hush)
				}
				got, c := s.sameInAllSplits(t, r, stream.String())
				for _, p := range want {
					if !slices.Contains(got, p) {
						t.Fatalf("seed %d: %q is missing in %q, %+v", seed, p, got, c)
					}
				}
				if c.Bad() == 0 {
					t.Fatalf("seed %d: nothing is bad: %+v", seed, c)
				}
			}
		})
	}
}

// Bytes are those of frames with their markers, of what is discarded, and of
// markers between.
func TestBytesAreAccountedFor(t *testing.T) {
	for _, s := range subjects() {
		switch s.name {
		case "line", "start-end with escape", "start-end with CRC", "slip with CRC", "cobs", "modbus-rtu":
			continue // what a payload, or an empty frame, has cost cannot be told from it
		}
		t.Run(s.name, func(t *testing.T) {
			for seed := range uint64(100) {
				r := rand.New(rand.NewPCG(seed, 4))
				stream := s.anyStream(t, r)
				got, c := s.sameInAllSplits(t, r, stream)
				cost := c.Discarded + c.Blank*uint64(s.cost(nil))
				for _, p := range got {
					cost += uint64(s.cost([]byte(p)))
				}
				if spare := uint64(s.sep) * c.Bad(); cost > c.Bytes || cost+spare < c.Bytes {
					t.Fatalf("seed %d: %q\n%d of %d bytes accounted for, %q, %+v", seed, stream, cost, c.Bytes, got, c)
				}
			}
		})
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 5))
			var bursts [][]byte
			for range 50 {
				stream := strings.Split(s.anyStream(t, r), hush)
				for _, b := range stream {
					bursts = append(bursts, []byte(b))
				}
			}
			d := s.of.NewDecoder()
			frames := 0
			feed := func() {
				for _, b := range bursts {
					for len(b) > 0 {
						n := min(len(b), 37)
						d.Push(b[:n])
						frames += drain(d.Next)
						b = b[n:]
					}
					if d.Idle() > 0 {
						frames += drain(d.Flush)
					}
				}
			}
			feed()
			if n := testing.AllocsPerRun(5, feed); n != 0 || frames == 0 {
				t.Fatalf("%v allocations, %d frames", n, frames)
			}
		})
	}
}

func drain(next func() ([]byte, bool)) (n int) {
	for {
		if _, ok := next(); !ok {
			return n
		}
		n++
	}
}

func TestWhatIsHeldIsBounded(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(6, 6))
			d := s.of.NewDecoder()
			for range 500 {
				d.Push(anyBytes(r, 100, 100))
				drain(d.Next)
			}
			if n := held(reflect.ValueOf(d)); n > 4*testMax+2*rtuMax {
				t.Fatalf("%d bytes held", n)
			}
		})
	}
}

// held adds up the capacities of a decoder's buffers.
func held(v reflect.Value) (n int) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return held(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "in" { // the chunk is the owner's
				n += held(v.Field(i))
			}
		}
	case reflect.Slice:
		n = v.Cap()
	}
	return n
}

// A decoder that looks for its place byte by byte must not do so at the cost of
// all others.
func BenchmarkGarbage(b *testing.B) {
	for _, bb := range []struct {
		name string
		of   Framing
	}{
		{"fixed with CRC", Checked{Fixed{Size: 64}, CRC16Modbus}},
		{"fixed with CRC, large", Checked{Fixed{Size: slideMax}, CRC16Modbus}},
		{"length with CRC", Checked{Length{Size: 2}, CRC16Modbus}},
		{"modbus-rtu", ModbusRTU{}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(7, 7))
			garbage := make([]byte, 64<<10)
			for i := range garbage {
				garbage[i] = byte(r.Uint32())
			}
			d := bb.of.NewDecoder()
			b.SetBytes(int64(len(garbage)))
			for b.Loop() {
				d.Push(garbage)
				drain(d.Next)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	payload := []byte("scale,12.345,kg,stable,0001")
	crc := CRC16Modbus
	for _, bb := range []struct {
		name string
		of   Framing
	}{
		{"line", Line{Trim: true}},
		{"delimiter", Delimiter{Bytes: "\x03"}},
		{"fixed", Fixed{Size: len(payload)}},
		{"fixed with CRC", Checked{Fixed{Size: len(payload) + 2}, crc}},
		{"length", Length{Size: 2}},
		{"start-end", StartEnd{Start: "\x02", End: "\x03"}},
		{"start-end with escape", StartEnd{Start: "\x02", End: "\x03", Escape: "\x10"}},
		{"slip", SLIP{}},
		{"slip with CRC", Checked{SLIP{}, crc}},
		{"cobs", COBS{}},
		{"idle", Idle{}},
		{"modbus-rtu", ModbusRTU{}},
	} {
		var stream []byte
		for range 1 << 11 {
			stream, _ = bb.of.Append(stream, payload)
		}
		for _, chunk := range []int{64 << 10, 1} {
			if bb.of.NewDecoder().Idle() > 0 && chunk > 1 { // each frame is a burst
				chunk = len(stream) >> 11
			}
			b.Run(fmt.Sprintf("%s/%d", bb.name, chunk), func(b *testing.B) {
				d := bb.of.NewDecoder()
				b.SetBytes(int64(len(stream)))
				b.ReportAllocs()
				for b.Loop() {
					for rest := stream; len(rest) > 0; {
						n := min(chunk, len(rest))
						d.Push(rest[:n])
						drain(d.Next)
						rest = rest[n:]
						if d.Idle() > 0 && (len(stream)-len(rest))%(len(stream)>>11) == 0 {
							drain(d.Flush)
						}
					}
				}
			})
		}
	}
}
