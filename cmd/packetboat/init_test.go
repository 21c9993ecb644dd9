package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"packetboat/adapters/serial"
	"packetboat/cmd/packetboat/sim"
	"packetboat/config"
)

func TestInitWritesWhatCheckTakes(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	cert, key := serverCert(t)
	if err := os.WriteFile("hub.key", []byte("c2VjcmV0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const head = "# A start. packetboat check says what it does, docs/configuration.md has every key.\n"
	for _, c := range []struct {
		name, args, in string
		want           []string // lines, without their comments
		secret         string   // file=content
	}{
		{"a serial device and a cloud", "-id plant-7 -serial /dev/ttyUSB0 -baud 115200 -cloud mqtts://mqtt.example.com -user plant-7 -password-file -", "pass word\nignored\n", []string{
			"[gateway]", `id       = "plant-7"`,
			"[[serial]]", `name     = "device"`, `port     = "/dev/ttyUSB0"`, "baud     = 115200", `topic    = "sensors/{name}"`,
			"[[bridge]]", `name     = "cloud"`, `servers  = ["mqtts://mqtt.example.com"]`, `username = "plant-7"`, `password_file = "cloud.password"`,
			"[[bridge.up]]", `filter   = "sensors/#"`, `topic    = "sites/{gateway}/{1}"`}, "cloud.password=pass word\n"},
		{"devices by TCP, and no cloud", "-tcp :7000", "", []string{
			"[[tcp]]", `name     = "loggers"`, `listen   = ":7000"`, `topic    = "sensors/{name}"`, `ack      = "OK\n"`}, ""},
		{"AWS, known by its URL", "-id plant-7 -tcp :7000 -cloud mqtts://X-ats.iot.eu-central-1.amazonaws.com -cert " + cert + " -key " + key, "", []string{
			"[gateway]", `id       = "plant-7"`,
			"[[tcp]]", `name     = "loggers"`, `listen   = ":7000"`, `topic    = "sensors/{name}"`, `ack      = "OK\n"`,
			"[[bridge]]", `name     = "cloud"`, `profile  = "aws-iot"`, `servers  = ["mqtts://X-ats.iot.eu-central-1.amazonaws.com"]`,
			"[bridge.tls]", `cert     = "` + cert + `"`, `key      = "` + key + `"`,
			"[[bridge.up]]", `filter   = "sensors/#"`, `topic    = "sites/{gateway}/{1}"`}, ""},
		{"Azure, with the key in a file", "-id plant-7 -cloud mqtts://hub.azure-devices.net -password-file hub.key", "", []string{
			"[gateway]", `id       = "plant-7"`,
			"[[bridge]]", `name     = "cloud"`, `profile  = "azure-iot-hub"`, `servers  = ["mqtts://hub.azure-devices.net"]`,
			`token_key_file = "` + dir + `/hub.key"`, `stamp    = "json:packetboat"`,
			"[[bridge.up]]", `filter   = "sensors/+"`, `topic    = "devices/{gateway}/messages/events/sensor={1}"`}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "etc", "packetboat.toml")
			feed(t, c.in)
			said := mustCall(t, append([]string{"init", "-o", out}, strings.Fields(c.args)...)...)
			text, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(text), head) {
				t.Errorf("it begins with %q", text)
			}
			var got []string
			for line := range strings.Lines(strings.TrimPrefix(string(text), head)) {
				line, _, _ = strings.Cut(strings.TrimSpace(line), " # ")
				if line = strings.TrimSpace(line); line != "" {
					got = append(got, line)
				}
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("it is\n%s", text)
			}
			mustCall(t, "check", "-config", out)
			if !strings.Contains(said, "packetboat run -config "+out) {
				t.Errorf("it said\n%s", said)
			}
			if name, content, ok := strings.Cut(c.secret, "="); ok {
				path := filepath.Join(filepath.Dir(out), name)
				data, err := os.ReadFile(path)
				if err != nil || string(data) != content {
					t.Errorf("%s: %q %v", name, data, err)
				}
				if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
					t.Errorf("%v %v", st.Mode(), err)
				}
			}
		})
	}
}

func TestInitReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	out, password := filepath.Join(dir, "packetboat.toml"), filepath.Join(dir, "cloud.password")
	args := []string{"init", "-o", out, "-tcp", ":7000", "-cloud", "mqtts://h", "-user", "u", "-password-file", "-"}
	for _, there := range []string{out, password} {
		if err := os.WriteFile(there, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		feed(t, "secret\n")
		code, _, errOut := call(t, args...)
		if code != 2 || !strings.Contains(errOut, there+" is there already; -force replaces it") {
			t.Errorf("exit code %d: %s", code, errOut)
		}
		if data, err := os.ReadFile(there); err != nil || string(data) != "mine" {
			t.Errorf("%q %v", data, err)
		}
		if there == out {
			if err := os.Remove(out); err != nil {
				t.Fatal(err)
			}
		} else if _, err := os.Stat(out); err == nil {
			t.Error("it is half written")
		}
	}
	feed(t, "secret\n")
	mustCall(t, append(args, "-force")...)
	if data, err := os.ReadFile(password); err != nil || string(data) != "secret\n" {
		t.Errorf("%q %v", data, err)
	}
}

// TestInitReplacesWhatSetsNothing: the package installs a configuration of examples,
// and the first thing to do there is init.
func TestInitReplacesWhatSetsNothing(t *testing.T) {
	packaged, err := os.ReadFile("../../packaging/packetboat.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string
		replaced   bool
	}{
		{"the package's", string(packaged), true},
		{"an empty one", "", true},
		{"one with a key", string(packaged) + "max_size = \"2GiB\"\n", false},
		{"one with a section of devices", string(packaged) + "[[listener]]\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "packetboat.toml")
			if err := os.WriteFile(out, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			code, _, errOut := call(t, "init", "-o", out, "-tcp", ":7000")
			text, err := os.ReadFile(out)
			if err != nil || (code == 0) != c.replaced || (string(text) != c.text) != c.replaced {
				t.Errorf("exit code %d, %v: %s\nit is\n%s", code, err, errOut, text)
			}
		})
	}
}

// TestWhoTriesNeedsNoRights: all that a gateway writes is in -dir.
func TestWhoTriesNeedsNoRights(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	mustCall(t, "init", "-serial", "sensor", "-dir", "try", "-o", "try.toml")
	cfg, err := loadChecked("try.toml")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Gateway.DataDir != dir+"/try/data" || cfg.Admin.Socket != dir+"/try/admin.sock" {
		t.Errorf("data_dir %s, socket %s", cfg.Gateway.DataDir, cfg.Admin.Socket)
	}
	if cfg.Serial[0].Port != dir+"/sensor" {
		t.Errorf("the port, which packetboat sim serial -link made, is %s", cfg.Serial[0].Port)
	}
}

func TestAPortIsWrittenDownByTheNameThatItKeeps(t *testing.T) {
	ports := []serial.Info{{Path: "/dev/ttyAMA0"}, {Path: "/dev/ttyUSB0", ByID: "/dev/serial/by-id/usb-A", ByPath: "/dev/serial/by-path/p"}}
	for given, want := range map[string]string{
		"/dev/ttyUSB0": "/dev/serial/by-id/usb-A", "/dev/ttyAMA0": "/dev/ttyAMA0", "sensor": "sensor", "": "",
	} {
		if got := lastingName(ports, given); got != want {
			t.Errorf("%q is %q", given, got)
		}
	}
}

func TestAPortThatAnotherProgramHasIsFound(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	text := fmt.Sprintf("[admin]\nsocket = \"\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = %q\n", ln.Addr())
	cfg, err := config.Parse("packetboat.toml", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if l, err := takenListener(t.Context(), cfg); l == nil || l.Address != ln.Addr().String() || err == nil {
		t.Errorf("%+v, %v", l, err)
	}
	ln.Close()
	if l, err := takenListener(t.Context(), cfg); l != nil || err != nil {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestInitSaysWhatIsMissing(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "usage: packetboat init"},
		{"", "no terminal to ask questions on"},
		{"-user u", "give it with -cloud URL"},
		{"-cloud mqtts://h -user u", "-user u has no password"},
		{"-cloud mqtts://u:secret@h", "a user name goes into -user"},
		{"-cloud mqtts://h -password-file p", "no -user"},
		{"-cloud mqtts://x.amazonaws.com", "give -cert FILE and -key FILE"},
		{"-cloud mqtts://x.azure-devices.net", "give -password-file FILE with the primary key"},
		{"-cloud mqtts://h -profile gcp", "profile"},
		{"-tcp nonsense", "nothing was written"},
		{"-cloud mqtts://h -user u -password-file /none", "cannot read /none"},
	} {
		t.Run(c.args, func(t *testing.T) {
			feed(t, "")
			out := filepath.Join(t.TempDir(), "p.toml")
			code, _, errOut := call(t, append([]string{"init", "-o", out}, strings.Fields(c.args)...)...)
			if code != 2 || !strings.Contains(errOut, c.want) || strings.Contains(errOut, "secret@") {
				t.Errorf("exit code %d: %s", code, errOut)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("it was written")
			}
		})
	}
}

func TestInitAsksOnATerminal(t *testing.T) {
	master, path, err := sim.OpenTerminal()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	terminal, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	before := os.Stdin
	os.Stdin = terminal
	defer func() { os.Stdin = before }()

	out := filepath.Join(t.TempDir(), "packetboat.toml")
	if _, err := master.WriteString("plant-9\nmaybe\n/dev/ttyUSB3\nfast\n19200\nhttp://h\nmqtts://h\nplant\nsecret\n"); err != nil {
		t.Fatal(err)
	}
	code, _, asked := call(t, "init", "-o", out)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, asked)
	}
	for _, want := range []string{`"maybe" is none of these`, "that is no rate", "it must be like mqtts://", "Password of plant (not shown): "} {
		if !strings.Contains(asked, want) {
			t.Errorf("no %q in\n%s", want, asked)
		}
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"plant-9"`, `"/dev/ttyUSB3"`, "baud     = 19200", `"mqtts://h"`, `username = "plant"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if data, err := os.ReadFile(filepath.Join(filepath.Dir(out), "cloud.password")); err != nil || string(data) != "secret\n" {
		t.Errorf("%q %v", data, err)
	}
}
