package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"packetboat/broker/users"
	"packetboat/config"
	"packetboat/gateway"
)

// tomlBlocks gives the configurations in a document.
func tomlBlocks(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```toml\n")[1:]
	for i := range blocks {
		blocks[i], _, _ = strings.Cut(blocks[i], "```")
	}
	if len(blocks) == 0 {
		t.Fatalf("%s: the configurations were not found", file)
	}
	return blocks
}

var passwordFile = regexp.MustCompile(`password_file *= *"[^"]*"`)

// checkDoc checks a configuration of a document as `packetboat check` does, without
// the files of TLS; there is a password, and the user ann.
func checkDoc(t *testing.T, file, text string) {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	people := filepath.Join(t.TempDir(), "users")
	if err := users.Edit(people, nil, func(l *users.List) error { return l.Set("ann", []byte("secret")) }); err != nil {
		t.Fatal(err)
	}
	text = strings.Replace(text, `users = "users"`, fmt.Sprintf("users = %q", people), 1)
	text = passwordFile.ReplaceAllString(text, `password_file = "`+secret+`"`)
	cfg, err := config.Parse(file, []byte(text), config.Options{
		Hostname: func() (string, error) { return "gw", nil },
	})
	if err != nil {
		t.Fatalf("%v, in\n%s", err, text)
	}
	if errs := gateway.Check(cfg); len(errs) > 0 {
		t.Fatalf("%v, in\n%s", errs, text)
	}
}

func TestTheReadmesConfigurationIsRight(t *testing.T) {
	text := ""
	for _, block := range tomlBlocks(t, "README.md") {
		text += block // each makes sense behind those before
		checkDoc(t, "README.md", text)
	}
	if !strings.Contains(text, "[serial.command]") {
		t.Error("the configurations were not found")
	}
}

// TestTheConfigurationsOfTheDocumentsAreRight checks those of all documents. What
// begins with keys of an adapter is the inside of a [[serial]] section.
func TestTheConfigurationsOfTheDocumentsAreRight(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		if filepath.Base(file) == "recipes.md" {
			continue // gateway/e2e checks these with the files that they name
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "```toml\n") {
			continue
		}
		for _, block := range tomlBlocks(t, filepath.Join("docs", filepath.Base(file))) {
			if strings.HasPrefix(block, "decode") {
				block = "[[serial]]\nname = \"scale\"\nport = \"/dev/ttyUSB0\"\n" + block
			}
			checkDoc(t, file, block)
			found++
		}
	}
	if found < 20 {
		t.Errorf("%d configurations were found", found)
	}
}
