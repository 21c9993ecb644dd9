package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A dependency is a row of docs/dependencies.md.
type dependency struct {
	version, licence string
	linked           bool // into the program
}

// documented gives the rows by module.
func documented(t *testing.T) map[string]dependency {
	t.Helper()
	text, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	program, tests, ok := strings.Cut(string(text), "\n## In tests only\n")
	if !ok {
		t.Fatal("docs/dependencies.md has no section of what is in tests only")
	}
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\| (\\S+) \\| v\\S+, \\d{4}-\\d\\d-\\d\\d \\| ([^|]+) \\|$")
	all := map[string]dependency{}
	for _, part := range []struct {
		text   string
		linked bool
	}{{program, true}, {tests, false}} {
		rows := row.FindAllStringSubmatch(part.text, -1)
		for _, m := range rows {
			if _, twice := all[m[1]]; twice {
				t.Errorf("docs/dependencies.md has %s twice", m[1])
			}
			all[m[1]] = dependency{version: m[3], licence: m[4], linked: part.linked}
		}
		if n := strings.Count(part.text, "\n| `"); n != len(rows) {
			t.Errorf("docs/dependencies.md: %d of %d rows of a table cannot be read", n-len(rows), n)
		}
	}
	return all
}

// goTool runs the go command.
func goTool(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// required gives the modules of go.mod with their versions.
func required(t *testing.T) map[string]string {
	t.Helper()
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go mod edit: %v", err)
	}
	var mod struct {
		Require []struct{ Path, Version string }
		Replace []struct{ Old struct{ Path string } }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	for _, r := range mod.Replace {
		t.Errorf("go.mod replaces %s: then it is not the module that the document names", r.Old.Path)
	}
	all := map[string]string{}
	for _, r := range mod.Require {
		all[r.Path] = r.Version
	}
	return all
}

func TestTheDocumentHasTheDependenciesOfGoMod(t *testing.T) {
	doc, mod := documented(t), required(t)
	if len(mod) == 0 {
		t.Fatal("go.mod requires nothing?")
	}
	for path, version := range mod {
		switch d, ok := doc[path]; {
		case !ok:
			t.Errorf("docs/dependencies.md does not have %s %s", path, version)
		case d.version != version:
			t.Errorf("docs/dependencies.md has %s %s, go.mod %s", path, d.version, version)
		}
	}
	for path := range doc {
		if _, ok := mod[path]; !ok {
			t.Errorf("docs/dependencies.md has %s, which go.mod does not require", path)
		}
	}
}

func TestTheDocumentSaysWhichDependenciesAreInTheProgram(t *testing.T) {
	linked := map[string]bool{}
	for path := range strings.FieldsSeq(string(goTool(t, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "."))) {
		linked[path] = true
	}
	for path, d := range documented(t) {
		if d.linked != linked[path] {
			t.Errorf("%s is in the program: %v; docs/dependencies.md says %v", path, linked[path], d.linked)
		}
	}
}

// The licences that may be in the program and its tests: each allows to pass it
// on under our own. Each is known by words of its text.
var licences = []struct{ name, words string }{
	{"Apache-2.0", "Apache License"},
	{"BSD-2-Clause", "Redistributions in binary form must reproduce the above copyright"},
	{"BSD-3-Clause", "to endorse or promote products derived from"},
	{"EPL-2.0", "Eclipse Public License - v 2.0"},
	{"MIT", "The above copyright notice and this permission notice shall be included in all copies"},
}

// licencesIn names those that a text has.
func licencesIn(text string) []string {
	text = strings.NewReplacer("*", " ", "//", " ").Replace(text)
	text = strings.Join(strings.Fields(text), " ")
	var names []string
	for _, l := range licences {
		if strings.Contains(text, l.words) {
			names = append(names, l.name)
		}
	}
	if slices.Contains(names, "BSD-3-Clause") { // has the words of two clauses, too
		names = slices.DeleteFunc(names, func(name string) bool { return name == "BSD-2-Clause" })
	}
	return names
}

func TestTheLicencesOfTheDependenciesAreThoseOfTheDocument(t *testing.T) {
	doc := documented(t)
	// Those that no build on this machine needs have not been fetched yet.
	args := []string{"mod", "download", "-json"}
	for path := range doc {
		args = append(args, path)
	}
	for d := json.NewDecoder(strings.NewReader(string(goTool(t, args...)))); ; {
		var m struct{ Path, Dir string }
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		text, err := licenceText(m.Dir)
		if err != nil {
			t.Errorf("%s: %v", m.Path, err)
			continue
		}
		got := licencesIn(text)
		want := regexp.MustCompile(` (OR|AND) `).Split(doc[m.Path].licence, -1)
		if strings.Contains(doc[m.Path].licence, " OR ") {
			want = want[:1] // the other one stands in a file of its own
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: its licence is %v, docs/dependencies.md says %s", m.Path, got, doc[m.Path].licence)
		}
	}
}

// licenceText reads the licence in a module's directory.
func licenceText(dir string) (string, error) {
	for _, name := range []string{"LICENSE", "LICENSE.md", "LICENSE.txt", "COPYING"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return string(text), err
		}
	}
	return "", errors.New("has no file with a licence")
}
