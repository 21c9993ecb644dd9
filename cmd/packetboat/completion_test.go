package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompletionKnowsTheCommandsTheirVerbsAndFlags(t *testing.T) {
	known := map[string]completable{}
	for _, c := range completables() {
		known[c.name] = c
	}
	for _, c := range commands() {
		if _, ok := known[c.name]; !ok {
			t.Errorf("%s is missing", c.name)
		}
	}
	if v := strings.Join(known["queue"].verbs, " "); v != "ls tail export verify rename purge import replay" {
		t.Errorf("the verbs of queue: %s", v)
	}
	if v := known["route"].verbs; v != nil {
		t.Errorf("route has verbs: %v", v)
	}
	flags := map[string]completableFlag{}
	for _, f := range known["queue"].flags {
		flags[f.name] = f
	}
	if f := flags["config"]; !f.file {
		t.Errorf("-config is no file: %+v", f)
	}
	if f := flags["n"]; f.file || f.value == "" {
		t.Errorf("-n takes no number: %+v", f)
	}
	if f := flags["json"]; f.value != "" {
		t.Errorf("-json takes a value: %+v", f)
	}
}

func TestShellsReadTheirScript(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			code, out, errOut := call(t, "completion", shell)
			if code != 0 || errOut != "" {
				t.Fatalf("exit code %d: %s", code, errOut)
			}
			if _, err := exec.LookPath(shell); err != nil {
				t.Skip(shell + " is not here")
			}
			file := filepath.Join(t.TempDir(), "packetboat")
			if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
				t.Fatal(err)
			}
			if said, err := exec.Command(shell, "-n", file).CombinedOutput(); err != nil || len(said) > 0 {
				t.Errorf("%v: %s", err, said)
			}
		})
	}
	if code, _, errOut := call(t, "completion", "csh"); code != exitUsage || !strings.Contains(errOut, "bash, zsh or fish") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

func TestBashCompletes(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("bash is not here")
	}
	_, script, _ := call(t, "completion", "bash")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "some.toml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, want string }{
		{"packetboat rel", "reload"},
		{"packetboat queue ver", "verify"},
		{"packetboat queue -js", "-json"},
		{"packetboat check -config so", "some.toml"},
		{"packetboat queue tail -n ", ""},
		{"packetboat help vers", "version"},
	} {
		words := strings.Fields(c.line)
		if strings.HasSuffix(c.line, " ") {
			words = append(words, "")
		}
		var quotedWords []string
		for _, w := range words {
			quotedWords = append(quotedWords, quoted(w))
		}
		run := exec.Command("bash", "--norc", "-c", script+"\nCOMP_WORDS=("+strings.Join(quotedWords, " ")+
			"); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _packetboat; echo \"${COMPREPLY[*]}\"")
		run.Dir = dir
		out, err := run.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != c.want {
			t.Errorf("%q completes to %q, not %q (%v)", c.line, out, c.want, err)
		}
	}
}
