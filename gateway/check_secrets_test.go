package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"packetboat/config"
)

// openDir makes a directory that everybody may enter, from the root on.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != filepath.Dir(os.TempDir()); d = filepath.Dir(d) {
		st, err := os.Stat(d)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode()&0o001 == 0 {
			if err := os.Chmod(d, st.Mode()|0o001); err != nil {
				t.Skipf("%s cannot be opened to everybody: %v", d, err)
			}
		}
	}
	return dir
}

func putMode(t *testing.T, mode os.FileMode, path string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte("x\n"), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

// TestSecretsThatEverybodyCanReadAreRefused: FILE stands for the configuration,
// DIR for its directory.
func TestSecretsThatEverybodyCanReadAreRefused(t *testing.T) {
	const bridge = "[[bridge]]\nname = \"a\"\nservers = [\"mqtts://h\"]\nup = [{ filter = \"#\" }]\n"
	const remedy = "chmod o= DIR/secret (and chgrp packetboat DIR/secret, so that the service still may read it)"
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode // of the file secret
		want       []string
	}{
		{"the key of a listener", "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = { cert = \"c\", key = \"secret\" }\n", 0o644,
			[]string{"FILE:5:27: listener[0].tls.key: everybody on this machine may read DIR/secret (mode 0644): " + remedy}},
		{"the key of a TCP listener", "[[tcp]]\nname = \"t\"\nlisten = \":1\"\ntls = { cert = \"c\", key = \"secret\" }\n", 0o604,
			[]string{"FILE:6:27: tcp[0].tls.key: everybody on this machine may read DIR/secret (mode 0604): " + remedy}},
		{"the key of a bridge, which others may replace", bridge + "tls = { cert = \"c\", key = \"secret\" }\n", 0o642,
			[]string{"FILE:7:27: bridge[0].tls.key: everybody on this machine may change DIR/secret (mode 0642): " + remedy}},
		{"the password of a bridge", bridge + "password_file = \"secret\"\n", 0o666,
			[]string{"FILE:7:17: bridge[0].password_file: everybody on this machine may read and change DIR/secret (mode 0666): " + remedy}},
		{"the device key", strings.Replace(bridge, "{ filter = \"#\"", "{ filter = \"#\", topic = \"devices/gw/messages/events/\"", 1) +
			"profile = \"azure-iot-hub\"\ntoken_key_file = \"secret\"\n", 0o644,
			[]string{"FILE:8:18: bridge[0].token_key_file: everybody on this machine may read DIR/secret (mode 0644): " + remedy}},
		{"a group may read them", bridge + "password_file = \"secret\"\ntls = { cert = \"c\", key = \"secret\" }\n", 0o640, nil},
		{"what is no secret", bridge + "tls = { ca = \"secret\" }\n", 0o644, nil},
		{"what is not there, others say", bridge + "tls = { cert = \"c\", key = \"none\" }\n", 0o644, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := openDir(t)
			putMode(t, tt.mode, filepath.Join(dir, "secret"))
			file := filepath.Join(dir, "f")
			cfg, err := config.Parse(file, []byte("[gateway]\nid = \"gw\"\n"+tt.text), config.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range Check(cfg) {
				got = append(got, strings.ReplaceAll(strings.ReplaceAll(e.Error(), file, "FILE"), dir, "DIR"))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestSecretsInAConfigurationThatEverybodyCanReadAreRefused(t *testing.T) {
	text := `[gateway]
id = "gw"
[[bridge]]
name = "a"
servers = ["wss://h/?key=1"]
password = "x"
proxy = "http://u:x@p"
up = [{ filter = "#" }]
`
	dir := openDir(t)
	for _, tt := range []struct {
		mode os.FileMode
		env  bool
		want int
	}{{0o644, false, 3}, {0o640, false, 0}, {0o644, true, 0}} {
		file := putMode(t, tt.mode, filepath.Join(dir, fmt.Sprintf("f%o", tt.mode)))
		text := text
		if tt.env {
			text = strings.NewReplacer("=1", "=${K}", `"x"`, `"${K}"`, ":x@", ":${K}@").Replace(text)
		}
		cfg, err := config.Parse(file, []byte(text), config.Options{Getenv: func(string) (string, bool) { return "x", true }})
		if err != nil {
			t.Fatal(err)
		}
		errs := Check(cfg)
		if len(errs) != tt.want {
			t.Errorf("mode %o, from the environment: %v: %v", tt.mode, tt.env, errs)
		}
		for _, e := range errs {
			if !strings.Contains(e.Msg, "chmod o= "+file) || !strings.Contains(e.Msg, "; or ") {
				t.Errorf("no remedy in %v", e)
			}
		}
	}
}

func TestWhatADirectoryProtectsIsNotExposed(t *testing.T) {
	dir := openDir(t)
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o750); err != nil {
		t.Fatal(err)
	}
	inside := putMode(t, 0o644, filepath.Join(closed, "key"))
	outside := putMode(t, 0o644, filepath.Join(dir, "key"))
	links := map[string]string{filepath.Join(dir, "in"): inside, filepath.Join(closed, "out"): outside}
	for from, to := range links {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]bool{inside: false, outside: true, filepath.Join(dir, "in"): false, filepath.Join(closed, "out"): true} {
		if got := exposed(path) != ""; got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}
