package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"packetboat/broker/users"
)

// TestTheRecipesAreRight checks each configuration of docs/recipes.md as it stands,
// and each device with each cloud, by the program itself; the commands behind a
// configuration run with it, and their output is compared.
func TestTheRecipesAreRight(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	before, clouds, ok := strings.Cut(string(text), "\n## Clouds\n")
	if !ok {
		t.Fatal("there are no clouds")
	}
	devices := recipes(t, before, 0)
	all := append(devices, recipes(t, clouds, strings.Count(before, "\n")+2)...)
	if len(devices) < 6 || len(all)-len(devices) < 5 {
		t.Fatalf("%d devices, %d clouds", len(devices), len(all)-len(devices))
	}
	for _, r := range all {
		r.check(t, r.configuration)
		for _, b := range r.blocks {
			r.run(t, b)
		}
	}
	for _, d := range devices {
		for _, c := range all[len(devices):] {
			both := *d
			both.dir = filesOf(t, d.configuration+c.configuration)
			both.check(t, d.configuration+c.configuration)
		}
	}
}

// A recipe is a configuration, and the commands behind it.
type recipe struct {
	configuration string
	dir           string // with the configuration, and the files that it names
	blocks        []guideBlock
}

func recipes(t *testing.T, text string, line int) (list []*recipe) {
	t.Helper()
	blocks, err := readGuide(text)
	if err != nil {
		t.Fatalf("docs/recipes.md: %v", err)
	}
	for _, b := range blocks {
		b.line += line
		switch {
		case b.configuration:
			list = append(list, &recipe{configuration: b.commands, dir: filesOf(t, b.commands)})
		case b.elsewhere != "":
			t.Logf("line %d is not run here, it is for %s", b.line, b.elsewhere)
		case len(list) == 0:
			t.Fatalf("docs/recipes.md, line %d: no configuration stands before these commands", b.line)
		default:
			last := list[len(list)-1]
			last.blocks = append(last.blocks, b)
		}
	}
	return list
}

var namedFile = regexp.MustCompile(`(?m)^(ca|cert|key|password_file|token_key_file|users) *= *"([^"]+)"`)

// filesOf makes the files that a configuration names, in a new directory.
func filesOf(t *testing.T, configuration string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	ours := newAuthority(t, "The cloud's")
	own := pair{filepath.Join(dir, "own.crt"), filepath.Join(dir, "own.key")}
	ours.issue("plant-7", own)
	for _, m := range namedFile.FindAllStringSubmatch(configuration, -1) {
		file := filepath.Join(dir, m[2])
		switch m[1] {
		case "ca":
			ours.file(file)
		case "cert":
			copyFile(t, own.cert, file)
		case "key":
			copyFile(t, own.key, file)
		case "users":
			if err := users.Edit(file, nil, func(l *users.List) error { return l.Set("homeassistant", []byte("secret")) }); err != nil {
				t.Fatal(err)
			}
		default:
			write(t, file, "c2VjcmV0\n")
		}
	}
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(b))
}

func (r *recipe) file() string { return filepath.Join(r.dir, "packetboat.toml") }

// check has the configuration checked by the program.
func (r *recipe) check(t *testing.T, configuration string) {
	t.Helper()
	write(t, r.file(), configuration)
	if out, err := exec.Command(binary, "check", "-config", r.file()).CombinedOutput(); err != nil {
		t.Errorf("packetboat check: %v\n%s\nin\n%s", err, out, configuration)
	}
}

// run gives commands to a shell that finds the program, and compares their output.
func (r *recipe) run(t *testing.T, b guideBlock) {
	t.Helper()
	c := exec.Command("bash", "-c", b.commands)
	c.Dir = r.dir
	c.Env = append(os.Environ(), "PACKETBOAT_CONFIG="+r.file(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	out, err := c.CombinedOutput()
	if code := c.ProcessState.ExitCode(); code != b.code {
		t.Errorf("docs/recipes.md, line %d: %v\n%s", b.line, err, out)
	}
	if wrong := asShown(string(out), b.shown); wrong != "" {
		t.Errorf("docs/recipes.md, line %d:\n%s\n%s\nnot as shown: %s", b.line, b.commands, out, wrong)
	}
}
