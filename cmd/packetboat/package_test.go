package main

import (
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

const packaging = "../../packaging"

func readFile(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTheDefaultConfigurationIsRight: as it is installed, and with all of its
// examples, which are the lines that begin with # and no space.
func TestTheDefaultConfigurationIsRight(t *testing.T) {
	t.Setenv("CLOUD_PASSWORD", "secret")
	t.Setenv("PACKETBOAT_CONFIG", filepath.Join(packaging, "packetboat.toml"))
	if code, out, errOut := call(t, "check"); code != 0 || !strings.Contains(out, "MQTT on 127.0.0.1:1883") {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
	text := regexp.MustCompile(`(?m)^#([^ #\n])`).ReplaceAllString(readFile(t, packaging, "packetboat.toml"), "$1")
	cfg, err := config.Parse("packetboat.toml", []byte(text), config.Options{Hostname: func() (string, error) { return "gw", nil }})
	if err != nil {
		t.Fatalf("with its examples: %v", err)
	}
	// One of them is for other machines, whose clients need a user.
	cfg.Auth.Users = filepath.Join(t.TempDir(), "users")
	if err := users.Edit(cfg.Auth.Users, nil, func(l *users.List) error { return l.Set("ann", []byte("secret")) }); err != nil {
		t.Fatal(err)
	}
	for _, err := range gateway.Check(cfg) {
		t.Errorf("with its examples: %v", err)
	}
	if len(cfg.Serial) != 1 || len(cfg.TCP) != 1 || len(cfg.Listeners) != 2 || len(cfg.Bridges) != 1 {
		t.Errorf("not all of its examples were found: %d serial, %d tcp, %d listeners, %d bridges",
			len(cfg.Serial), len(cfg.TCP), len(cfg.Listeners), len(cfg.Bridges))
	}
}

// TestThePackageHasWhatItNeeds: its files exist or are made by scripts/package, and
// are where the program, the unit and systemd look for them.
func TestThePackageHasWhatItNeeds(t *testing.T) {
	text := readFile(t, packaging, "nfpm.yaml")
	script := readFile(t, "../../scripts/package")
	where := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^  - src: (\S+)\n    dst: (\S+)\n((?:    .*\n)*)`).FindAllStringSubmatch(text, -1) {
		src, dst := m[1], m[2]
		where[dst] = src
		if !strings.Contains(m[3], "mode: 0") {
			t.Errorf("%s has the mode that the file happens to have", dst)
		}
		if name, ok := strings.CutPrefix(src, "${STAGE}/"); ok {
			if base := strings.TrimSuffix(name, ".gz"); !strings.Contains(script, base) && !strings.Contains(script, "packetboat.$shell") {
				t.Errorf("scripts/package does not make %s", name)
			}
			continue
		}
		if found, err := filepath.Glob(filepath.Join("../..", src)); err != nil || len(found) == 0 && src != "${BINARY}" {
			t.Errorf("%s does not exist", src)
		}
		if (dst == "/etc/packetboat/packetboat.toml") != strings.Contains(m[3], "type: config") {
			t.Errorf("%s: only the configuration is a conffile, and it has to be one", dst)
		}
	}
	if len(where) != strings.Count(text, "- src:") {
		t.Errorf("%d of %d files could be read", len(where), strings.Count(text, "- src:"))
	}
	unit := readFile(t, units, "packetboat.service")
	for _, file := range []string{
		"/usr/bin/packetboat", "/etc/packetboat/packetboat.toml", "/usr/lib/systemd/system/packetboat.service",
		"/usr/lib/systemd/system/packetboat.socket", "/usr/lib/sysusers.d/packetboat.conf", "/usr/lib/udev/rules.d/70-packetboat.rules",
		"/usr/share/man/man1/packetboat.1.gz", "/usr/share/man/man5/packetboat.toml.5.gz",
		"/usr/share/bash-completion/completions/packetboat", "/usr/share/zsh/vendor-completions/_packetboat",
		"/usr/share/fish/vendor_completions.d/packetboat.fish", "/usr/share/doc/packetboat/copyright", "/usr/share/doc/packetboat/changelog.gz",
	} {
		if where[file] == "" {
			t.Errorf("the package has no %s", file)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^Documentation=.*file:(\S+)`).FindAllStringSubmatch(unit, -1) {
		if where[m[1]] == "" {
			t.Errorf("the unit names %s, which the package does not have", m[1])
		}
	}
	sysusers := readFile(t, packaging, "systemd/sysusers.conf")
	for _, line := range []string{"u packetboat ", "m packetboat dialout"} {
		if !strings.Contains(sysusers, "\n"+line) {
			t.Errorf("sysusers.d has no %q", line)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^  \w+: (packaging/deb/\S+)`).FindAllStringSubmatch(text, -1) {
		if out, err := exec.Command("sh", "-n", filepath.Join("../..", m[1])).CombinedOutput(); err != nil {
			t.Errorf("%s: %v %s", m[1], err, out)
		}
	}
}

// TestOnlyPurgingTakesTheData, and what the operator has put there stays.
func TestOnlyPurgingTakesTheData(t *testing.T) {
	script := readFile(t, packaging, "deb/postrm")
	before, purge, ok := strings.Cut(script, `if [ "$1" = purge ]; then`)
	if !ok || strings.Contains(before, "rm ") || !strings.Contains(purge, "rm -rf /var/lib/packetboat") {
		t.Errorf("postrm:\n%s", script)
	}
	for _, other := range []string{"prerm", "postinst"} {
		if s := readFile(t, packaging, "deb", other); regexp.MustCompile(`\brm\b`).MatchString(s) {
			t.Errorf("%s removes something:\n%s", other, s)
		}
	}
}

func TestInstallingWithoutAPackageManager(t *testing.T) {
	root := t.TempDir()
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho it said \"$*\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	install := func(args ...string) {
		t.Helper()
		cmd := exec.Command("../../scripts/install", args...)
		cmd.Env = append(os.Environ(), "DESTDIR="+root)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("scripts/install %v: %v\n%s", args, err, out)
		}
	}
	files := func() (list []string) {
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, _ error) error {
			if !d.IsDir() {
				list = append(list, strings.TrimPrefix(path, root))
			}
			return nil
		})
		return list
	}
	install(program)
	want := "/etc/packetboat/packetboat.toml /etc/systemd/system/packetboat.service /etc/systemd/system/packetboat.socket " +
		"/etc/sysusers.d/packetboat.conf /etc/udev/rules.d/70-packetboat.rules /usr/local/bin/packetboat " +
		"/usr/local/share/bash-completion/completions/packetboat /usr/local/share/fish/vendor_completions.d/packetboat.fish " +
		"/usr/local/share/zsh/site-functions/_packetboat"
	if got := strings.Join(files(), " "); got != want {
		t.Errorf("it has installed\n%s\nnot\n%s", got, want)
	}
	if unit := readFile(t, root, "etc/systemd/system/packetboat.service"); !strings.Contains(unit, "\nExecStart=/usr/local/bin/packetboat run\n") {
		t.Errorf("the unit starts something else:\n%s", unit)
	}
	if got := readFile(t, root, "usr/local/share/zsh/site-functions/_packetboat"); got != "it said completion zsh\n" {
		t.Errorf("completion: %q", got)
	}

	conf := filepath.Join(root, "etc/packetboat/packetboat.toml")
	if err := os.WriteFile(conf, []byte("# edited\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	install(program)
	if got := readFile(t, conf); got != "# edited\n" {
		t.Errorf("installing again has changed the configuration: %s", got)
	}
	install("-uninstall")
	if got := strings.Join(files(), " "); got != "/etc/packetboat/packetboat.toml" {
		t.Errorf("after -uninstall there is %s", got)
	}
}
