package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestMarkdownBecomesAPage(t *testing.T) {
	for _, c := range []struct{ name, markdown, want string }{
		{"a section of the configuration keeps its name", "## `[gateway]`", ".SH \"[gateway]\"\n"},
		{"another heading is in capitals", "## Topics of `it`", ".SH \"TOPICS OF IT\"\n"},
		{"code and what is bold", "the `id` is **yours**, *really*", "the \\fBid\\fR is \\fByours\\fR, \\fIreally\\fR\n"},
		{"an asterisk by itself is one", "conf.d/*.toml and 2 * 3", "conf.d/*.toml and 2 * 3\n"},
		{"of a link the text stays", "see [users](security.md#users)", "see users\n"},
		{"no line is a command", ".TH and 'quoted'", "\\&.TH and \\(aqquoted\\(aq\n"},
		{"a key with its default", "| key | default | meaning |\n|---|---|---|\n| `id` | `\"\"` | a name; `a|b` |",
			".TP\n\\fBid\\fR (default \\fB\"\"\\fR)\na name; \\fBa|b\\fR\n"},
		{"one that is required", "| key | default | meaning |\n|---|---|---|\n| `id` | required | a name |",
			".TP\n\\fBid\\fR (required)\na name\n"},
		{"code stays as it is", "```toml\n# **x**\n.y\n```", ".PP\n.RS 4\n.nf\n# **x**\n\\&.y\n.fi\n.RE\n"},
		{"a list", "- **Sizes** are", ".IP \\(bu 2\n\\fBSizes\\fR are\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s strings.Builder
			r := roff{out: &s}
			for line := range strings.Lines(c.markdown) {
				r.line(strings.TrimRight(line, "\n"))
			}
			if s.String() != c.want {
				t.Errorf("%q, not %q", s.String(), c.want)
			}
		})
	}
}

// TestThePagesHaveEverything: of the program its commands and flags, of the
// reference its keys; and groff has nothing to say about them.
func TestThePagesHaveEverything(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "packetboat")
	if out, err := exec.Command("go", "build", "-o", program, "packetboat/cmd/packetboat").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	const reference = "../../docs/configuration.md"
	if err := write(program, reference, "2026-01-31", dir); err != nil {
		t.Fatal(err)
	}
	read := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	page := read(filepath.Join(dir, "packetboat.1"))
	all, err := help(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(commandNames(all), "run", "queue", "completion") {
		if !strings.Contains(page, ".SS \"packetboat "+name+"\"\n") {
			t.Errorf("packetboat.1 has no %s", name)
		}
	}
	if !strings.Contains(page, "\\fB\\-config\\fR \\fIFILE\\fR\n") {
		t.Error("packetboat.1 has no flags")
	}
	page = read(filepath.Join(dir, "packetboat.toml.5"))
	keys := regexp.MustCompile("(?m)^\\| `([a-z_0-9]+)`").FindAllStringSubmatch(read(reference), -1)
	if len(keys) < 100 {
		t.Errorf("the reference has only %d keys", len(keys))
	}
	for _, k := range keys {
		if !strings.Contains(page, ".TP\n\\fB"+k[1]+"\\fR") {
			t.Errorf("packetboat.toml.5 has no %s", k[1])
		}
	}
	if _, err := exec.LookPath("groff"); err != nil {
		t.Skip("groff is not here")
	}
	for _, name := range []string{"packetboat.1", "packetboat.toml.5"} {
		out, err := exec.Command("groff", "-man", "-Kutf8", "-ww", "-Tutf8", "-z", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("groff about %s: %v\n%s", name, err, out)
		}
	}
}
