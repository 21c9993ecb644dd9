package frame

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// fuzz compares what a stream gives when it comes at once with what it gives
// byte by byte and in chunks, silences between, and what is encoded with what
// comes back.
func fuzz(t *testing.T, of Framing, stream, silences []byte, chunk uint8) {
	if of.Check() != nil {
		return
	}
	var b strings.Builder
	rest := string(stream)
	for _, s := range silences {
		n := min(int(s), len(rest))
		b.WriteString(rest[:n])
		b.WriteString(hush)
		rest = rest[n:]
	}
	b.WriteString(rest)
	text := b.String()
	if strings.Count(text, hush) != len(silences) {
		return // the stream itself has what stands for a silence
	}

	whole := of.NewDecoder()
	want := play(whole, text, chunks(len(text)+1))
	before := whole.Counters()
	whole.Reset()
	after := whole.Counters()
	if uint64(len(want)) != before.Frames || before.Bytes != uint64(len(stream)) || after.Frames != before.Frames || after.Discarded > after.Bytes {
		t.Fatalf("%d frames, %+v, %+v", len(want), before, after)
	}
	for _, n := range []int{1, 1 + int(chunk)} {
		d := of.NewDecoder()
		got := play(d, text, chunks(n))
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("chunks of %d: %q, whole: %q", n, got, want)
		}
		if d.Counters() != before {
			t.Fatalf("chunks of %d: %+v, whole: %+v", n, d.Counters(), before)
		}
		if d.Reset(); d.Counters() != after {
			t.Fatalf("chunks of %d, after the end: %+v, whole: %+v", n, d.Counters(), after)
		}
	}
	if _, ok := of.(ModbusRTU); ok {
		return // a payload may begin with a frame
	}
	enc, err := of.Append(nil, stream)
	if err != nil || len(stream) == 0 || strings.Contains(string(enc), hush) {
		return
	}
	if back := play(of.NewDecoder(), string(enc)+hush, chunks(1)); len(back) != 1 || back[0] != string(stream) {
		t.Fatalf("%q encoded as %q, decoded as %q", stream, enc, back)
	}
}

func FuzzDelimiter(f *testing.F) {
	f.Add([]byte("a\x03bc\x03\x03xxxxxxxxx\x03y"), "\x03", uint8(8), uint8(3))
	f.Add([]byte("aaabaaaabab"), "aab", uint8(1), uint8(2))
	f.Fuzz(func(t *testing.T, stream []byte, bytes string, most, chunk uint8) {
		fuzz(t, Delimiter{Bytes: bytes, Max: int(most)}, stream, nil, chunk)
	})
}

func FuzzFixed(f *testing.F) {
	f.Add([]byte("abcdefgh"), []byte{4}, uint8(3), false, uint8(3))
	f.Add([]byte("abcdefgh"), []byte{4, 2}, uint8(3), true, uint8(0))
	f.Fuzz(func(t *testing.T, stream, silences []byte, size uint8, flush bool, chunk uint8) {
		fuzz(t, Fixed{Size: int(size), FlushAfter: flushAfter(flush)}, stream, silences, chunk)
	})
}

func flushAfter(flush bool) time.Duration {
	if flush {
		return time.Second
	}
	return 0
}

func FuzzLength(f *testing.F) {
	f.Add([]byte("\x02ab\x00\x09cde"), []byte{4}, uint8(0), uint8(1), uint8(0), false, false, true, uint8(4), uint8(3))
	f.Add([]byte("x\x05\x00yzabcdefghijklm\xff\xff\xff"), []byte{9, 1}, uint8(1), uint8(2), uint8(5), true, true, true, uint8(3), uint8(0))
	f.Fuzz(func(t *testing.T, stream, silences []byte, offset, size, header uint8, little, includes, flush bool, most, chunk uint8) {
		fuzz(t, Length{Offset: int(offset), Size: int(size), Header: int(header), Little: little, IncludesHeader: includes,
			FlushAfter: flushAfter(flush), Max: int(most)}, stream, silences, chunk)
	})
}

func FuzzStartEnd(f *testing.F) {
	f.Add([]byte("x\x02abc\x03\x02\x02dd\x1b\x03d\x03"), []byte{5}, "\x02", "\x03", "\x1b", true, uint8(8), uint8(3))
	f.Add(unhex(f, "1002611010101003 1002 10"), []byte{}, "\x10\x02", "\x10\x03", "\x10", false, uint8(2), uint8(1))
	f.Add([]byte("$GPGGA\r$GPRMC\r\n"), []byte{7}, "$", "\r\n", "", true, uint8(80), uint8(0))
	f.Fuzz(func(t *testing.T, stream, silences []byte, start, end, escape string, flush bool, most, chunk uint8) {
		fuzz(t, StartEnd{Start: start, End: end, Escape: escape, FlushAfter: flushAfter(flush), Max: int(most)}, stream, silences, chunk)
	})
}

func FuzzSLIP(f *testing.F) {
	f.Add(unhex(f, "c0 61 dbdc 62 dbdd c0 c0 db63 c0"), uint8(8), uint8(3))
	f.Add(unhex(f, "61626364 dbdc c0 db c0"), uint8(3), uint8(0))
	f.Fuzz(func(t *testing.T, stream []byte, most, chunk uint8) {
		fuzz(t, SLIP{Max: int(most)}, stream, nil, chunk)
	})
}

func FuzzCOBS(f *testing.F) {
	f.Add(unhex(f, "0361620001010100 05 6162 00 00"), uint8(8), uint8(3))
	f.Add([]byte("\xff"+strings.Repeat("x", 254)+"\x02y\x00"), uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, stream []byte, most, chunk uint8) {
		fuzz(t, COBS{Max: int(most)}, stream, nil, chunk)
	})
}

func FuzzIdle(f *testing.F) {
	f.Add([]byte("abcdefg"), []byte{3, 0, 2}, uint8(2), uint8(3))
	f.Fuzz(func(t *testing.T, stream, silences []byte, most, chunk uint8) {
		fuzz(t, Idle{Max: int(most)}, stream, silences, chunk)
	})
}

func FuzzModbusRTU(f *testing.F) {
	request := unhex(f, "11 03 006b 0003 7687")
	f.Add(append(request, request...), []byte{8}, uint8(3))
	f.Add(append([]byte("\x00"), append(request, 0, 0)...), []byte{}, uint8(0))
	f.Add(append([]byte(strings.Repeat("U", 600)), request...), []byte{}, uint8(100))
	f.Fuzz(func(t *testing.T, stream, silences []byte, chunk uint8) {
		fuzz(t, ModbusRTU{}, stream, silences, chunk)
	})
}

func FuzzChecked(f *testing.F) {
	framings := []Framing{
		Line{Max: 20}, Delimiter{Bytes: "\x03\x00", Max: 20}, Fixed{Size: 6, FlushAfter: time.Second}, Fixed{Size: 9},
		Length{Size: 1, Max: 20, FlushAfter: time.Second}, Length{Size: 2, Header: 3, Little: true, IncludesHeader: true, Max: 20},
		StartEnd{Start: "\x02", End: "\x03", Escape: "\x10", Max: 20, FlushAfter: time.Second}, SLIP{Max: 20}, COBS{Max: 20}, Idle{Max: 20},
	}
	for i, of := range framings {
		for sum := CRC16Modbus; sum <= Sum8; sum++ {
			b, err := Checked{of, sum}.Append(nil, []byte("abcd"))
			if err != nil {
				b, _ = Checked{of, sum}.Append(nil, make([]byte, 6-sum.Size()))
			}
			f.Add(append(b, b...), []byte{uint8(len(b))}, uint8(i), uint8(sum), uint8(2))
		}
	}
	f.Fuzz(func(t *testing.T, stream, silences []byte, of, sum, chunk uint8) {
		fuzz(t, Checked{framings[int(of)%len(framings)], Sum(sum)}, stream, silences, chunk)
	})
}
