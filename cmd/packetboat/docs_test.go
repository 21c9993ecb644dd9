package main

import (
	"fmt"
	"os"
	"os/exec"
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

// TestTheAuditFindsWhatIsMissing runs the audit of docs/durability.md over what a
// subscriber has written: repeats, a message's own properties, two lanes, a gap.
func TestTheAuditFindsWhatIsMissing(t *testing.T) {
	text, err := os.ReadFile("../../docs/durability.md")
	if err != nil {
		t.Fatal(err)
	}
	_, script, _ := strings.Cut(string(text), "```sh\nsed -n ")
	script, _, ok := strings.Cut(script, "```")
	if !ok {
		t.Fatal("the audit was not found")
	}
	dir := t.TempDir()
	lines := `sites/plant-7/n 1 received:2026-11-30T20:24:10.156Z seq:0/0 gateway:plant-7
sites/plant-7/n 2 unit:C received:2026-11-30T20:24:10.156Z received_trusted:false seq:0/1 gateway:plant-7 packetboat-via:plant-7
sites/plant-7/n 2 received:2026-11-30T20:24:10.156Z seq:0/1 gateway:plant-7
plant-7/gaps {"lane":"0","reason":"dropped","count":8,"first_seq":2,"last_seq":9} 
sites/plant-7/n 11 received:2026-11-30T20:24:10.156Z seq:0/10 gateway:plant-7
sites/plant-7/n 9 received:2026-11-30T20:24:10.156Z seq:0/3 gateway:plant-70
sites/plant-7/alarm 1 received:2026-11-30T20:24:10.156Z seq:3/0 gateway:plant-7
`
	if err := os.WriteFile(filepath.Join(dir, "audit.txt"), []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sh", "-c", "{ sed -n "+script+"} | sort")
	c.Dir = dir
	out, err := c.CombinedOutput()
	if want := "lane 0: 2 to 9 did not come\nlane 0: 3 came\nlane 3: 1 came\n"; err != nil || string(out) != want {
		t.Errorf("%v\n%s", err, out)
	}
}
