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

func TestTheConfigurationsOfTheDocumentsAreRight(t *testing.T) {
	for _, file := range []string{"docs/bridge.md", "docs/clouds.md", "docs/devices.md", "docs/installing.md", "docs/migrating.md", "docs/operations.md", "docs/security.md"} {
		for _, block := range tomlBlocks(t, file) {
			checkDoc(t, file, block)
		}
	}
}
