package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A guideBlock is a block of commands of the guide, as it stands there, or of a
// configuration.
type guideBlock struct {
	file          string
	line          int // where it begins
	commands      string
	configuration bool
	shown         []string // the output that the guide shows; nil: none

	fresh      bool   // on a machine where nothing was done yet
	elsewhere  string // not on this machine, but: …
	untilCtrlC bool
	again      bool // given again until the output is as shown
	code       int  // the exit code
}

// readGuide takes the blocks of commands, with the outputs that follow them, from a
// document. Comments <!-- guide: … --> say how a block is to be taken.
func readGuide(text string) (blocks []guideBlock, err error) {
	var next guideBlock
	var within *[]string // a block's lines
	var commands []string
	output := false // a block without a language is that of the commands before it
	for i, line := range strings.Split(text, "\n") {
		switch note, isNote := strings.CutPrefix(line, "<!-- guide: "); {
		case within != nil && line == "```":
			if within == &commands {
				next.commands = strings.Join(commands, "\n") + "\n"
				blocks = append(blocks, next)
				output = !next.configuration
				next, commands = guideBlock{}, nil
			}
			within = nil
		case within != nil:
			*within = append(*within, line)
		case isNote:
			if err := next.note(strings.TrimSuffix(note, " -->")); err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
		case line == "```sh" || line == "```toml":
			next.line, next.configuration, within = i+1, line == "```toml", &commands
		case line == "```" && output:
			last := &blocks[len(blocks)-1]
			last.shown, within, output = []string{}, &last.shown, false
		case strings.HasPrefix(line, "```"):
			return nil, fmt.Errorf("line %d: %s is neither commands nor their output", i+1, line)
		}
	}
	return blocks, nil
}

func (b *guideBlock) note(text string) error {
	for part := range strings.SplitSeq(text, "; ") {
		where, elsewhere := strings.CutPrefix(part, "not here: ")
		code, isCode := strings.CutPrefix(part, "exit code ")
		switch {
		case elsewhere:
			b.elsewhere = where
		case isCode:
			n, err := strconv.Atoi(code)
			if err != nil {
				return err
			}
			b.code = n
		case part == "a fresh machine":
			b.fresh = true
		case part == "until Ctrl-C":
			b.untilCtrlC = true
		case part == "again until it is so":
			b.again = true
		default:
			return fmt.Errorf("%q is no note", part)
		}
	}
	return nil
}

var (
	// What differs from one time to the next: times of day, durations, sizes, numbers.
	guideVaries = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ][0-9:.]+Z?|(\d+(\.\d+)?(ns|µs|ms|h|m|s|d)\b)+|\d+(\.\d+)? ([KMGT]iB|bytes?\b)|\d+(\.\d+)*`)
	guideSpace  = regexp.MustCompile(` +`)
)

// pattern is a line that the guide shows, as an expression: other times, durations,
// sizes and numbers will do, except for 0.
func pattern(line string) *regexp.Regexp {
	var b strings.Builder
	literal := func(s string) {
		s = guideSpace.ReplaceAllString(regexp.QuoteMeta(s), ` +`)
		b.WriteString(strings.ReplaceAll(s, "…", ".*"))
	}
	b.WriteString("^")
	at := 0
	for _, m := range guideVaries.FindAllStringIndex(line, -1) {
		literal(line[at:m[0]])
		switch s := line[m[0]:m[1]]; {
		case s == "0":
			b.WriteString("0")
		case strings.ContainsAny(s, ":"):
			b.WriteString(`\d{4}-\d\d-\d\d[T ][0-9:.]+Z?`)
		case strings.HasSuffix(s, "iB"), strings.HasSuffix(s, "byte"), strings.HasSuffix(s, "bytes"):
			b.WriteString(`[0-9.]+ ([KMGT]iB|bytes?)`)
		case strings.ContainsAny(s, "nµmshd"):
			b.WriteString(`([0-9.]+(ns|µs|ms|h|m|s|d))+`)
		default:
			b.WriteString(`\d+(\.\d+)*`)
		}
		at = m[1]
	}
	literal(line[at:])
	return regexp.MustCompile(b.String() + " *$")
}

// asShown compares an output with what the guide shows: line by line, where … alone in a
// line is any number of them, also none, and … within a line any text. What is
// wrong is "" or the line that is not there.
func asShown(output string, shown []string) (wrong string) {
	lines := strings.Split(strings.TrimRight(output, "\n"), "\n")
	anywhere := false
	for _, want := range shown {
		if want == "…" {
			anywhere = true
			continue
		}
		p, found := pattern(want), false
		for len(lines) > 0 && !found {
			found = p.MatchString(lines[0])
			lines = lines[1:]
			if !found && !anywhere {
				break
			}
		}
		if !found {
			return want
		}
		anywhere = false
	}
	if len(lines) > 0 && !anywhere {
		return "the end, before: " + lines[0]
	}
	return ""
}

func TestTheGuidesOutputIsComparedStrictly(t *testing.T) {
	for _, c := range []struct {
		name, output, shown string
		same                bool
	}{
		{"the same", "a\nb", "a\nb", true},
		{"other numbers, times and durations", "up 1m2s, 36 of 1.5 GiB since 2026-11-30T17:34:46Z", "up 3s, 7 of 12.0 MiB since 2025-01-02T03:04:05.678Z", true},
		{"columns of other widths", "QUEUE    WAITING", "QUEUE  WAITING", true},
		{"nothing where there was something", "0 waiting", "36 waiting", true},
		{"something where nothing should be", "36 waiting", "0 waiting", false},
		{"another word", "bridge stalled", "bridge online", false},
		{"a line more", "a\nb\nc", "a\nb", false},
		{"a line less", "a", "a\nb", false},
		{"a line between", "a\nx\nb", "a\nb", false},
		{"lines left out", "x\ny\na\nz", "…\na\n…", true},
		{"none left out", "a", "…\na\n…", true},
		{"the line after those left out is missing", "x\ny", "…\na", false},
		{"a part left out", "TLS 1.3, valid until 2026", "TLS 1.2, …", true},
		{"the part before is another", "SSL 3, valid", "TLS 1.2, …", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if wrong := asShown(c.output, strings.Split(c.shown, "\n")); (wrong == "") != c.same {
				t.Errorf("wrong is %q", wrong)
			}
		})
	}
}
