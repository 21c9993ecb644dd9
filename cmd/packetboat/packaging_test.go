package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const units = "../../packaging/systemd"

func systemdAnalyze(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not here (Debian: systemd)")
	}
	out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestTheUnitExposesLittle: at most 2.0 of 10.
func TestTheUnitExposesLittle(t *testing.T) {
	systemdAnalyze(t, "security", "--offline=true", "--threshold=20", "--no-pager", filepath.Join(units, "packetboat.service"))
}

func TestTheUnitsHaveNoMistakes(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"packetboat.service", "packetboat.socket"} {
		text, err := os.ReadFile(filepath.Join(units, name))
		if err != nil {
			t.Fatal(err)
		}
		// The program need not be installed here.
		there := strings.ReplaceAll(string(text), "/usr/bin/packetboat", self)
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(there), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	if out := systemdAnalyze(t, append([]string{"verify", "--man=no"}, files...)...); out != "" {
		t.Errorf("systemd-analyze verify:\n%s", out)
	}
}

// TestTheUnitLetsTheServiceDoItsWork: what it needs and what a stricter unit
// would take away, without an error that says so.
func TestTheUnitLetsTheServiceDoItsWork(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(units, "packetboat.service"))
	if err != nil {
		t.Fatal(err)
	}
	set := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			set[key] = append(set[key], value)
		}
	}
	for _, c := range []struct{ key, value, why string }{
		{"Type", "notify", "READY=1 is sent"},
		{"WatchdogSec", "30", "WATCHDOG=1 is sent"},
		{"StartLimitIntervalSec", "0", "it must come back without anybody"},
		{"RequiresMountsFor", "/var/lib/packetboat", "the default of gateway.data_dir"},
		{"ExecStart", "/usr/bin/packetboat run", "where the package puts it"},
		{"ExecReload", "/bin/kill -HUP $MAINPID", "SIGHUP reads the configuration again"},
		{"RestartPreventExitStatus", "2", "a wrong configuration ends with it"},
		{"SupplementaryGroups", "dialout", "serial ports are the group's"},
		{"StateDirectory", "packetboat", "the default of gateway.data_dir"},
		{"RuntimeDirectory", "packetboat", "the default of admin.socket"},
		{"DeviceAllow", "char-188 rw", "ttyUSB"},
		{"DeviceAllow", "char-166 rw", "ttyACM"},
		{"SystemCallFilter", "adjtimex", "whether the clock is synchronised"},
	} {
		found := false
		for _, v := range set[c.key] {
			found = found || v == c.value
		}
		if !found {
			t.Errorf("no %s=%s (%s)", c.key, c.value, c.why)
		}
	}
	for _, c := range []struct{ key, why string }{
		{"PrivateDevices", "serial ports"},
		{"ProtectClock", "whether the clock is synchronised"},
		{"ProcSubset", "/proc/locks, the boot id"},
		{"PrivateNetwork", "a broker"},
	} {
		if v, ok := set[c.key]; ok {
			t.Errorf("%s=%s takes away what the service needs: %s", c.key, v, c.why)
		}
	}
}
