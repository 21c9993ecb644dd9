package frame

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// hush stands for a silence in the streams of tests, after which Flush is called.
const hush = "(silence)"

// play feeds a stream in chunks whose sizes next gives, lets it be silent where
// it says so, and returns the frames.
func play(d Decoder, stream string, next func() int) []string {
	var got []string
	for i, burst := range strings.Split(stream, hush) {
		if i > 0 {
			got = append(got, flush(d)...)
		}
		for len(burst) > 0 {
			n := min(max(1, next()), len(burst))
			got = append(got, decode(d, []byte(burst[:n]), n)...)
			burst = burst[n:]
		}
	}
	return got
}

func flush(d Decoder) (got []string) {
	if d.Idle() == 0 {
		return nil
	}
	for {
		f, ok := d.Flush()
		if !ok {
			return got
		}
		got = append(got, string(f))
	}
}

// chunks of one size.
func chunks(n int) func() int { return func() int { return n } }

// A streamCase is a stream that ends and what comes of it.
type streamCase struct {
	name   string
	of     Framing
	stream string
	want   []string
	c      Counters // Bytes and Frames are filled in
}

// runStreams plays each stream in chunks of each small and some large sizes.
func runStreams(t *testing.T, cases []streamCase) {
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.of.Check(); err != nil {
				t.Fatal(err)
			}
			tt.c.Bytes, tt.c.Frames = uint64(len(strings.ReplaceAll(tt.stream, hush, ""))), uint64(len(tt.want))
			for n := 1; n <= len(tt.stream); n += 1 + n/40 {
				d := tt.of.NewDecoder()
				got := play(d, tt.stream, chunks(n))
				d.Reset()
				if !reflect.DeepEqual(got, tt.want) {
					t.Fatalf("chunks of %d: got %q, want %q", n, got, tt.want)
				}
				if c := d.Counters(); c != tt.c {
					t.Fatalf("chunks of %d: counters\n%+v, want\n%+v", n, c, tt.c)
				}
				if more := play(d, "", chunks(1)); more != nil {
					t.Fatalf("after the reset: %q", more)
				}
			}
		})
	}
}

// runEncodings checks Append and that decoders give the payload back. want is
// the frame in hex, "" for ErrEncode.
func runEncodings(t *testing.T, cases []struct {
	name          string
	of            Framing
	payload, want string
}) {
	for _, tt := range cases {
		b, err := tt.of.Append([]byte("dst"), []byte(tt.payload))
		if tt.want == "" {
			if !errors.Is(err, ErrEncode) || string(b) != "dst" {
				t.Errorf("%s: got %q, %v", tt.name, b, err)
			}
			continue
		}
		want := append([]byte("dst"), unhex(t, tt.want)...)
		if err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s: got % x, %v, want % x", tt.name, b[3:], err, want[3:])
			continue
		}
		d := tt.of.NewDecoder()
		got := play(d, string(b[3:])+hush, chunks(1))
		d.Reset()
		switch c := d.Counters(); {
		case c.Bad() != 0 || c.Discarded != 0:
			t.Errorf("%s: decoding it counts %+v", tt.name, c)
		case tt.payload == "" && len(got) != 0:
			t.Errorf("%s: decoded as %q", tt.name, got)
		case tt.payload != "" && (len(got) != 1 || got[0] != tt.payload):
			t.Errorf("%s: decoded as %q", tt.name, got)
		}
	}
}

type encoding = struct {
	name          string
	of            Framing
	payload, want string
}

// runChecks checks which parameter is found wrong; want is "" for none.
func runChecks(t *testing.T, cases []struct {
	of   Framing
	want string
}) {
	for _, tt := range cases {
		got := ""
		var p *ParamError
		if err := tt.of.Check(); errors.As(err, &p) {
			got = p.Param
			if !strings.HasPrefix(err.Error(), got+" ") || p.Problem == "" {
				t.Errorf("%+v: %v", tt.of, err)
			}
		} else if err != nil {
			t.Errorf("%+v: %v is no *ParamError", tt.of, err)
		}
		if got != tt.want {
			t.Errorf("%+v: %q is wrong, want %q", tt.of, got, tt.want)
		}
	}
}

type paramCheck = struct {
	of   Framing
	want string
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bin is the bytes of a hex string, for streams.
func bin(s string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestCountersAddUp(t *testing.T) {
	a := Counters{1, 2, 3, 4, 5, 6, 7, 8}
	b := Counters{10, 20, 30, 40, 50, 60, 70, 80}
	if sum := a.Plus(b); sum != (Counters{11, 22, 33, 44, 55, 66, 77, 88}) || sum.Minus(a) != b {
		t.Errorf("%+v", sum)
	}
	if a.Bad() != 4+5+6+7 {
		t.Error(a.Bad())
	}
}
