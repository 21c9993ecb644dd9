// Package guess finds out how a device cuts its byte stream into frames, from what
// it has sent for a while: for people who have a device and no manual.
//
// Each kind of framing is tried on the stream and says how much of it makes sense
// as its own, from 0 to 1. Kinds that prove themselves by checksums come before
// those that a stream of another kind may look like by chance.
package guess

import (
	"cmp"
	"slices"
	"time"
)

// Chunk is bytes that came together.
type Chunk struct {
	At    time.Duration // since listening began
	Bytes []byte
}

// Guess is how the stream may be cut.
type Guess struct {
	Kind   string   // as in frame.type; "nmea" is lines with the decoder of that name
	Frame  string   // the value of frame, TOML
	Decode string   // the value of decode, TOML
	Score  float64  // 0 to 1: how much of the stream makes sense so
	Why    string   // for people
	Frames [][]byte // the first few, as cut
}

// most is how many frames a Guess shows, and least how many are needed to make one.
const (
	most  = 5
	least = 2
)

// quiet is the silence between two groups of bytes: longer than a serial line
// pauses within a frame, shorter than devices do between two.
const quiet = 15 * time.Millisecond

// Of returns guesses about a stream, the best first; none when there is too little.
func Of(chunks []Chunk) []Guess {
	s := newStream(chunks)
	var list []Guess
	for _, try := range []func(*stream) (Guess, bool){
		modbus, nmea, slip, cobs, startEnd, line, delimiter, fixed, silence,
	} {
		if g, ok := try(s); ok && g.Score > 0.3 {
			g.Frames = g.Frames[:min(len(g.Frames), most)]
			list = append(list, g)
		}
	}
	slices.SortStableFunc(list, func(a, b Guess) int { return cmp.Compare(b.Score, a.Score) })
	return list
}

// stream is what came, whole and by the silences in it.
type stream struct {
	all    []byte
	groups [][]byte
	text   float64 // share of printable ASCII
}

func newStream(chunks []Chunk) *stream {
	s := &stream{}
	last := time.Duration(0)
	for i, c := range chunks {
		if len(c.Bytes) == 0 {
			continue
		}
		if i == 0 || len(s.groups) == 0 || c.At-last > quiet {
			s.groups = append(s.groups, nil)
		}
		last = c.At
		g := &s.groups[len(s.groups)-1]
		*g = append(*g, c.Bytes...)
		s.all = append(s.all, c.Bytes...)
	}
	printable := 0
	for _, b := range s.all {
		if b >= ' ' && b < 0x7f || b == '\r' || b == '\n' || b == '\t' {
			printable++
		}
	}
	if len(s.all) > 0 {
		s.text = float64(printable) / float64(len(s.all))
	}
	return s
}

// inner are the groups but the first and the last, which listening may have cut.
func (s *stream) inner() [][]byte {
	if len(s.groups) <= 2 {
		return s.groups
	}
	return s.groups[1 : len(s.groups)-1]
}

// share is part of whole.
func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
