package main

import (
	"fmt"
	"regexp"
	"strings"
)

// referencePage makes packetboat.toml.5 of docs/configuration.md: as much of
// Markdown as is in it.
func referencePage(markdown, date string) string {
	var s strings.Builder
	fmt.Fprintf(&s, `.TH PACKETBOAT.TOML 5 "%s" packetboat "File Formats"
.SH NAME
packetboat.toml \- configuration of packetboat
.SH DESCRIPTION
`, date)
	r := roff{out: &s}
	for line := range strings.Lines(markdown) {
		r.line(strings.TrimRight(line, "\n"))
	}
	r.end()
	s.WriteString(".SH SEE ALSO\n.BR packetboat (1)\n")
	return s.String()
}

// A roff turns lines of Markdown into those of a manual page.
type roff struct {
	out    *strings.Builder
	code   bool     // within ```
	header []string // of the table that the lines are in
}

func (r *roff) line(line string) {
	switch {
	case strings.HasPrefix(line, "```"):
		r.code = !r.code
		r.print(map[bool]string{true: ".PP\n.RS 4\n.nf", false: ".fi\n.RE"}[r.code])
	case r.code:
		r.print(escaped(line))
	case strings.HasPrefix(line, "# "): // the page has its own
	case strings.HasPrefix(line, "## "):
		r.end()
		r.print(".SH \"" + heading(plain(line[3:])) + "\"")
	case strings.HasPrefix(line, "###"):
		r.end()
		r.print(".SS \"" + plain(strings.TrimLeft(line, "# ")) + "\"")
	case strings.HasPrefix(line, "|"):
		r.row(cells(line))
	case strings.HasPrefix(line, "- "):
		r.print(".IP \\(bu 2\n" + inline(line[2:]))
	case strings.TrimSpace(line) == "":
		r.end()
		r.print(".PP")
	default:
		r.print(inline(strings.TrimSpace(line)))
	}
}

func (r *roff) print(s string) { fmt.Fprintln(r.out, s) }

// end ends a table.
func (r *roff) end() { r.header = nil }

// row takes a line of a table: the first one names the columns, the second is
// only a line. A column called default stands behind the key, others follow in
// the text.
func (r *roff) row(c []string) {
	switch {
	case r.header == nil:
		r.header = c
		return
	case strings.Trim(strings.Join(c, ""), "-: ") == "":
		return
	}
	head, text := inline(c[0]), ""
	for i := 1; i < len(c); i++ {
		switch {
		case i < len(r.header) && strings.TrimSpace(r.header[i]) == "default":
			head += " (default " + inline(c[i]) + ")"
			if strings.TrimSpace(c[i]) == "required" {
				head = inline(c[0]) + " (required)"
			}
		case text == "":
			text = inline(c[i])
		default:
			text += "; " + inline(c[i])
		}
	}
	r.print(".TP\n" + head + "\n" + text)
}

// cells splits a row; | within `…` is no border, nor is \|.
func cells(line string) []string {
	var list []string
	cell, quoted := "", false
	line = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "|"), "|")
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line) && line[i+1] == '|':
			cell += "|"
			i++
		case c == '|' && !quoted:
			list, cell = append(list, strings.TrimSpace(cell)), ""
		default:
			quoted = quoted != (c == '`')
			cell += string(c)
		}
	}
	return append(list, strings.TrimSpace(cell))
}

var (
	aLink = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	aSpan = regexp.MustCompile("`([^`]+)`|\\*\\*([^*]+)\\*\\*|\\*([^*\\s./][^*]*[^*\\s])\\*")
)

// inline sets code and what is bold in bold, and what is stressed in italics;
// of a link its text stays.
func inline(s string) string {
	s = aLink.ReplaceAllString(s, "$1")
	var out strings.Builder
	for {
		m := aSpan.FindStringSubmatchIndex(s)
		if m == nil {
			break
		}
		out.WriteString(escaped(s[:m[0]]))
		for group, font := range []string{1: "B", 2: "B", 3: "I"} {
			if group > 0 && m[2*group] >= 0 {
				out.WriteString(`\f` + font + escaped(strings.ReplaceAll(s[m[2*group]:m[2*group+1]], "`", "")) + `\fR`)
			}
		}
		s = s[m[1]:]
	}
	out.WriteString(escaped(s))
	return guarded(out.String())
}

// heading is in capitals, as is usual, unless it is the name of a section.
func heading(s string) string {
	if strings.Contains(s, "[") {
		return s
	}
	return strings.ToUpper(s)
}

// plain is the text of a heading.
func plain(s string) string {
	return strings.ReplaceAll(escaped(strings.ReplaceAll(aLink.ReplaceAllString(s, "$1"), "`", "")), `"`, `\(dq`)
}

var special = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "^", `\(ha`, "~", `\(ti`, "…", "...", "→", "->", "·", `\(bu`)

// escaped makes text of s, line by line: nothing in it is a command.
func escaped(s string) string {
	lines := strings.Split(special.Replace(s), "\n")
	for i := range lines {
		lines[i] = guarded(lines[i])
	}
	return strings.Join(lines, "\n")
}

// guarded keeps a line that begins with a dot from being a command.
func guarded(line string) string {
	if strings.HasPrefix(line, ".") {
		return `\&` + line
	}
	return line
}
