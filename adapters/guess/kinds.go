package guess

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"packetboat/adapters/frame"
)

// cut runs a framing over the stream, and says what part of the bytes its frames
// are made of. What stands before the first frame may be the end of one, and what
// stands behind the last one the beginning of another.
func cut(f frame.Framing, b []byte) (frames [][]byte, good float64) {
	d := f.NewDecoder()
	d.Push(b)
	for {
		x, ok := d.Next()
		if !ok {
			break
		}
		frames = append(frames, bytes.Clone(x))
	}
	c := d.Counters()
	return frames, 1 - share(int(c.Discarded), int(c.Bytes))
}

// modbus: most groups, or pieces of the stream, end with a checksum that is right.
func modbus(s *stream) (Guess, bool) {
	good, total := 0, 0
	var frames [][]byte
	for _, g := range s.inner() {
		total += len(g)
		rest := g
		for len(rest) >= 4 {
			n := rtuLength(rest)
			if n == 0 {
				rest = rest[1:]
				continue
			}
			frames = append(frames, rest[:n-2])
			good += n
			rest = rest[n:]
		}
	}
	return Guess{
		Kind: "modbus-rtu", Frame: `{ type = "modbus-rtu" }`, Decode: `{ type = "hex" }`, Frames: frames,
		Score: 0.99 * share(good, total),
		Why:   fmt.Sprintf("%d frames with a Modbus checksum that is right; for a meter that has to be asked, use [[modbus]]", len(frames)),
	}, len(frames) >= least
}

// rtuLength is the length of the shortest piece at the beginning of b whose last two
// bytes are its CRC; 0 for none.
func rtuLength(b []byte) int {
	crc := uint16(0xFFFF)
	for i := 0; i+2 < len(b) && i < 254; i++ {
		crc = frame.CRCModbus(crc, b[i:i+1])
		if i >= 1 && b[i+1] == byte(crc) && b[i+2] == byte(crc>>8) {
			return i + 3
		}
	}
	return 0
}

// nmea: lines that begin with $ or ! and end with a checksum that is right.
func nmea(s *stream) (Guess, bool) {
	lines := completeLines(s.all, "\n")
	good := 0
	for _, l := range lines {
		if nmeaSum(l) {
			good++
		}
	}
	return Guess{
		Kind: "nmea", Frame: `{ type = "line" }`, Decode: `{ type = "nmea" }`, Frames: lines,
		Score: 0.98 * share(good, len(lines)),
		Why:   fmt.Sprintf("%d of %d lines are NMEA sentences with a checksum that is right", good, len(lines)),
	}, good >= least
}

func nmeaSum(l []byte) bool {
	star := bytes.LastIndexByte(l, '*')
	if len(l) < 4 || l[0] != '$' && l[0] != '!' || star < 1 || star+3 > len(l) {
		return false
	}
	sum := byte(0)
	for _, b := range l[1:star] {
		sum ^= b
	}
	want, err := strconv.ParseUint(string(l[star+1:star+3]), 16, 8)
	return err == nil && byte(want) == sum
}

// completeLines are the lines between the first ending and the last.
func completeLines(b []byte, ending string) (lines [][]byte) {
	parts := bytes.Split(b, []byte(ending))
	if len(parts) < 3 {
		return nil
	}
	for _, p := range parts[1 : len(parts)-1] {
		if p = bytes.TrimSpace(p); len(p) > 0 {
			lines = append(lines, p)
		}
	}
	return lines
}

// slip: 0xC0 between frames in which each 0xDB is followed by 0xDC or 0xDD.
func slip(s *stream) (Guess, bool) {
	b := between(s.all, 0xC0)
	frames, good := cut(frame.SLIP{}, b)
	return Guess{
		Kind: "slip", Frame: `{ type = "slip" }`, Decode: `{ type = "hex" }`, Frames: frames,
		Score: 0.95 * good, Why: fmt.Sprintf("%d frames between bytes C0, all escapes in them are right", len(frames)),
	}, len(frames) >= least && bytes.Count(s.all, []byte{0xC0}) > least
}

// cobs: 0x00 between frames whose codes lead exactly to their end.
func cobs(s *stream) (Guess, bool) {
	b := between(s.all, 0)
	frames, good := cut(frame.COBS{}, b)
	return Guess{
		Kind: "cobs", Frame: `{ type = "cobs" }`, Decode: `{ type = "hex" }`, Frames: frames,
		Score: 0.94 * good, Why: fmt.Sprintf("%d frames between bytes 00, and the codes in them are right", len(frames)),
	}, len(frames) >= least && bytes.IndexByte(s.all, 0) >= 0
}

// between is b from its first mark to its last.
func between(b []byte, mark byte) []byte {
	from, to := bytes.IndexByte(b, mark), bytes.LastIndexByte(b, mark)
	if from < 0 {
		return nil
	}
	return b[from : to+1]
}

// startEnd: nearly every end is followed by a start.
func startEnd(s *stream) (best Guess, ok bool) {
	for _, p := range []struct{ start, end string }{
		{"\x02", "\x03"}, {"\x01", "\x04"}, {"<", ">"}, {"[", "]"}, {"(", ")"}, {"{", "}"}, {":", "\r\n"}, {"*", "#"}, {"#", "\r"}, {"$", ";"}, {"!", "\r"},
	} {
		from, to := bytes.Index(s.all, []byte(p.start)), bytes.LastIndex(s.all, []byte(p.end))
		if from < 0 || to < from {
			continue
		}
		frames, good := cut(frame.StartEnd{Start: p.start, End: p.end}, s.all[from:to+len(p.end)])
		covered := share(to+len(p.end)-from, len(s.all))
		if len(frames) < least || covered < 0.5 || nested(frames, p.start) {
			continue
		}
		score := 0.935 * good
		if score <= best.Score {
			continue
		}
		ok = true
		best = Guess{
			Kind: "start-end", Frame: fmt.Sprintf(`{ type = "start-end", start = %s, end = %s }`, quote(p.start), quote(p.end)),
			Decode: decodeOf(frames), Frames: frames, Score: score,
			Why: fmt.Sprintf("%d frames between %s and %s", len(frames), quote(p.start), quote(p.end)),
		}
	}
	return best, ok
}

// nested: frames that hold starts are objects in objects, not what is sent.
func nested(frames [][]byte, start string) bool {
	n := 0
	for _, f := range frames {
		if bytes.Contains(f, []byte(start)) {
			n++
		}
	}
	return n > len(frames)/4
}

// line: text with line ends.
func line(s *stream) (Guess, bool) {
	ending, shown := "\n", `{ type = "line" }`
	if bytes.IndexByte(s.all, '\n') < 0 {
		ending, shown = "\r", `{ type = "line", ending = "\r" }`
	}
	lines := completeLines(s.all, ending)
	return Guess{
		Kind: "line", Frame: shown, Decode: decodeOf(lines), Frames: lines,
		Score: 0.93 * s.text * s.text, Why: fmt.Sprintf("%d lines of text", len(lines)),
	}, len(lines) >= least
}

// delimiter: a byte that stands between pieces that look alike.
func delimiter(s *stream) (best Guess, ok bool) {
	for _, mark := range []byte(";|\x03\x04\x1e\x1d\x1c\x00\t,& ") {
		parts := bytes.Split(s.all, []byte{mark})
		if len(parts) < least+2 {
			continue
		}
		parts = parts[1 : len(parts)-1]
		score := 0.9 * alike(parts)
		if mark == ',' || mark == ' ' || mark == '\t' || mark == '&' {
			score *= 0.7 // rather between the fields of one
		}
		if score <= best.Score {
			continue
		}
		ok = true
		best = Guess{
			Kind: "delimiter", Frame: fmt.Sprintf(`{ type = "delimiter", bytes = %s }`, quote(string(mark))), Decode: decodeOf(parts), Frames: parts,
			Score: score, Why: fmt.Sprintf("%d pieces that look alike, with %s between them", len(parts), quote(string(mark))),
		}
	}
	return best, ok
}

// alike is how much pieces are of one shape, digits and letters apart: the share of
// those that have the most common one, or nearly.
func alike(parts [][]byte) float64 {
	shapes := map[string]int{}
	top := 0
	for _, p := range parts {
		k := shape(p)
		shapes[k]++
		top = max(top, shapes[k])
	}
	if len(shapes) == 1 && shapes[""] > 0 {
		return 0
	}
	return share(top, len(parts))
}

// shape is a piece with each number as 9 and each word as a.
func shape(p []byte) string {
	var b strings.Builder
	last := byte(0)
	for _, c := range p {
		k := c
		switch {
		case c >= '0' && c <= '9' || c == '.' || c == '-' || c == '+':
			k = '9'
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			k = 'a'
		case c < ' ' || c >= 0x7f:
			k = 'x'
		}
		if k != last || k != '9' && k != 'a' && k != 'x' {
			b.WriteByte(k)
		}
		last = k
	}
	return b.String()
}

// fixed: groups of one size, or a period after which bytes come again.
func fixed(s *stream) (Guess, bool) {
	size, score := sameSize(s.inner())
	if score < 0.9 {
		size, score = period(s.all)
	}
	if size < 2 {
		return Guess{}, false
	}
	frames, _ := cut(frame.Fixed{Size: size}, s.all)
	if len(s.groups) > 1 && len(s.inner()[0])%size == 0 {
		frames, _ = cut(frame.Fixed{Size: size}, bytes.Join(s.inner(), nil))
	}
	return Guess{
		Kind: "fixed", Frame: fmt.Sprintf(`{ type = "fixed", size = %d }`, size), Decode: `{ type = "hex" }`, Frames: frames,
		Score: 0.8 * score, Why: fmt.Sprintf("the stream repeats itself every %d bytes", size),
	}, len(frames) >= least
}

// sameSize is the size that groups have.
func sameSize(groups [][]byte) (size int, score float64) {
	if len(groups) < 4 {
		return 0, 0
	}
	n := map[int]int{}
	for _, g := range groups {
		n[len(g)]++
	}
	for k, v := range n {
		if v > n[size] {
			size = k
		}
	}
	return size, share(n[size], len(groups))
}

// period is the distance at which some bytes of a frame come again: a header, a
// high byte.
func period(b []byte) (size int, score float64) {
	for n := 2; n <= 64 && 4*n <= len(b); n++ {
		best := 0.0
		for at := range n {
			same, total := 0, 0
			for i := at; i+n < len(b); i += n {
				total++
				if b[i] == b[i+n] {
					same++
				}
			}
			best = max(best, share(same, total))
		}
		if best > score+0.05 { // a multiple is no better
			size, score = n, best
		}
	}
	return size, score * 0.9
}

// silence: what nothing else explains is cut where the device pauses.
func silence(s *stream) (Guess, bool) {
	groups := s.inner()
	return Guess{
		Kind: "idle", Frame: `{ type = "idle", gap = "20ms" }`, Decode: decodeOf(groups), Frames: groups,
		Score: 0.4, Why: fmt.Sprintf("%d groups of bytes with silence between them; nothing else fits better", len(groups)),
	}, len(groups) > 3
}

// decodeOf is a decoder for frames.
func decodeOf(frames [][]byte) string {
	object, text := 0, 0
	for _, f := range frames {
		f = bytes.TrimSpace(f)
		if len(f) > 1 && f[0] == '{' && f[len(f)-1] == '}' {
			object++
		}
		if newStream([]Chunk{{Bytes: f}}).text == 1 {
			text++
		}
	}
	switch {
	case object == len(frames):
		return `{ type = "json" }`
	case text == len(frames):
		return `{ type = "text" }`
	}
	return `{ type = "hex" }`
}

// quote is s as a TOML string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
