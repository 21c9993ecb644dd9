package frame

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// decode feeds stream in chunks of size n and returns the frames.
func decode(d Decoder, stream []byte, n int) []string {
	var got []string
	for len(stream) > 0 {
		k := min(n, len(stream))
		chunk := bytes.Clone(stream[:k]) // so that a frame that outlives its chunk is seen
		stream = stream[k:]
		d.Push(chunk)
		for {
			f, ok := d.Next()
			if !ok {
				break
			}
			got = append(got, string(f))
		}
		clear(chunk)
	}
	return got
}

func TestLine(t *testing.T) {
	long := strings.Repeat("x", 10)
	tests := []struct {
		name   string
		line   Line
		stream string
		want   []string
		c      Counters // Bytes and Frames are filled in
	}{
		{"lines come out without their ending", Line{}, "a\nbc\n\nd\n", []string{"a", "bc", "", "d"}, Counters{}},
		{"trim cuts white space and carriage returns", Line{Trim: true}, " a \r\nb\r\n", []string{"a", "b"}, Counters{}},
		{"trim passes over blank lines", Line{Trim: true}, "\n\r\n \t\na\n", []string{"a"}, Counters{Blank: 3}},
		{"without trim a carriage return stays", Line{}, "a\r\n", []string{"a\r"}, Counters{}},
		{"an ending of two bytes does not end at the first", Line{Ending: "\r\n"}, "a\rb\nc\r\nd\r\n", []string{"a\rb\nc", "d"}, Counters{}},
		{"the leftmost of overlapping endings counts", Line{Ending: ";;"}, "a;;;b;;", []string{"a", ";b"}, Counters{}},
		{"a line of exactly max is a frame", Line{Max: 10}, long + "\nb\n", []string{long, "b"}, Counters{}},
		{"one byte more than max is dropped up to its ending", Line{Max: 10}, "a\n" + long + "x\nb\n", []string{"a", "b"}, Counters{TooLong: 1, Discarded: 11}},
		{"far more than max counts once", Line{Max: 10}, strings.Repeat(long, 9) + "\nb\n", []string{"b"}, Counters{TooLong: 1, Discarded: 90}},
		{"max with a long ending counts the line only", Line{Max: 10, Ending: "\r\n"}, long + "\r\n" + long + "x\r\nb\r\n", []string{long, "b"}, Counters{TooLong: 1, Discarded: 11}},
		{"a line cut short by the end is bad", Line{}, "a\nb", []string{"a"}, Counters{Unfinished: 1, Discarded: 1}},
		{"white space at the end is not a line", Line{Trim: true}, "a\n\r", []string{"a"}, Counters{Discarded: 1}},
		{"too long and cut short counts once", Line{Max: 10}, long + long, nil, Counters{TooLong: 1, Discarded: 20}},
		{"zero bytes and high bytes are bytes", Line{}, "a\x00\xff\n", []string{"a\x00\xff"}, Counters{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Bytes, tt.c.Frames = uint64(len(tt.stream)), uint64(len(tt.want))
			for n := 1; n <= len(tt.stream); n++ {
				d := tt.line.NewDecoder()
				got := decode(d, []byte(tt.stream), n)
				d.Reset()
				if !reflect.DeepEqual(got, tt.want) {
					t.Fatalf("chunks of %d: got %q, want %q", n, got, tt.want)
				}
				if c := d.Counters(); c != tt.c {
					t.Fatalf("chunks of %d: counters %+v, want %+v", n, c, tt.c)
				}
			}
		})
	}
}

func TestResetKeepsStreamsApart(t *testing.T) {
	d := Line{}.NewDecoder()
	if got := decode(d, []byte("temp=1"), 3); got != nil {
		t.Fatalf("got %q before the ending", got)
	}
	d.Reset()
	if got := decode(d, []byte("2\n"), 9); !reflect.DeepEqual(got, []string{"2"}) {
		t.Fatalf("got %q, want the second stream's line only", got)
	}
}

func TestLineAppend(t *testing.T) {
	if b, err := (Line{Ending: "\r\n"}).Append([]byte("0"), []byte("ab")); err != nil || string(b) != "0ab\r\n" {
		t.Fatalf("got %q, %v", b, err)
	}
	for _, tt := range []struct {
		name    string
		line    Line
		payload string
	}{
		{"a payload with the ending", Line{}, "a\nb"},
		{"a payload that makes an earlier ending with it", Line{Ending: ";;"}, "a;"},
		{"a payload longer than max", Line{Max: 2}, "abc"},
	} {
		if b, err := tt.line.Append([]byte("0"), []byte(tt.payload)); !errors.Is(err, ErrEncode) || string(b) != "0" {
			t.Errorf("%s: got %q, %v", tt.name, b, err)
		}
	}
}

func TestLineCheck(t *testing.T) {
	for _, l := range []Line{{Max: -1}, {Ending: strings.Repeat("\n", 17)}} {
		if l.Check() == nil {
			t.Errorf("%+v passes", l)
		}
	}
	if err := (Line{}).Check(); err != nil {
		t.Error(err)
	}
}

func FuzzLineSplits(f *testing.F) {
	f.Add([]byte("a\nbc\r\n\r\nxxxxxxxxxxxxxxx\ny"), "\n", true, uint8(8), []byte{1, 3})
	f.Add([]byte("a\r\r\nb\r\n\r"), "\r\n", false, uint8(3), []byte{1})
	f.Add([]byte("aaabaaaabab"), "aab", false, uint8(1), []byte{2, 1, 5})
	f.Fuzz(func(t *testing.T, stream []byte, ending string, trim bool, maxLen uint8, splits []byte) {
		l := Line{Ending: ending, Trim: trim, Max: int(maxLen)}
		if l.Check() != nil {
			return
		}
		whole := l.NewDecoder()
		want := decode(whole, stream, max(1, len(stream)))
		for _, f := range want {
			if len(f) > l.withDefaults().Max {
				t.Fatalf("frame of %d bytes, max %d", len(f), l.Max)
			}
		}

		d := l.NewDecoder()
		var got []string
		rest := stream
		for i := 0; len(rest) > 0; i++ {
			n := len(rest)
			if len(splits) > 0 {
				n = min(n, 1+int(splits[i%len(splits)]))
			}
			got = append(got, decode(d, rest[:n], n)...)
			rest = rest[n:]
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("split: %q, whole: %q", got, want)
		}
		if d.Counters() != whole.Counters() {
			t.Fatalf("split: %+v, whole: %+v", d.Counters(), whole.Counters())
		}
		d.Reset()
		whole.Reset()
		if d.Counters() != whole.Counters() {
			t.Fatalf("after reset: split: %+v, whole: %+v", d.Counters(), whole.Counters())
		}

		// Encoding and decoding agree.
		enc, err := l.Append(nil, stream)
		if err == nil && !trim {
			if back := decode(l.NewDecoder(), enc, 1); len(back) != 1 || back[0] != string(stream) {
				t.Fatalf("%q encoded as %q, decoded as %q", stream, enc, back)
			}
		}
	})
}
