package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// call runs a command line and gives what it printed.
func call(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	dir := t.TempDir()
	open := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	o, e := open("out"), open("err")
	code = dispatch(context.Background(), args, o, e)
	read := func(f *os.File) string {
		f.Close()
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	return code, read(o), read(e)
}

func TestTheCommandLine(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.toml")
	if err := os.WriteFile(good, []byte("[gateway]\nid = \"g\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		args     []string
		code     int
		out, err string // parts of what is printed
	}{
		{"nothing gives the usage, as an error", nil, 2, "", "usage: packetboat COMMAND"},
		{"help gives it as asked", []string{"help"}, 0, "usage: packetboat COMMAND", ""},
		{"-h too", []string{"-h"}, 0, "usage: packetboat COMMAND", ""},
		{"help on a command", []string{"help", "demo"}, 0, "usage: packetboat demo", ""},
		{"-h on a command", []string{"check", "-h"}, 0, "-config FILE", ""},
		{"an unknown command names those there are", []string{"start"}, 2, "", `no command "start"; there are `},
		{"a part of a command names that", []string{"export", "bridge/cloud/0"}, 2, "", `no command "export"; there is packetboat queue export`},
		{"an unknown flag gives the command's usage", []string{"run", "-x"}, 2, "", "usage: packetboat run"},
		{"a stray argument too, with what was probably meant", []string{"check", "file.toml"}, 2, "", `unexpected argument "file.toml" (-config file.toml)`},
		{"version", []string{"version"}, 0, "packetboat ", ""},
		{"-v", []string{"-v"}, 0, "packetboat ", ""},
		{"--version", []string{"--version"}, 0, "packetboat ", ""},
		{"a right configuration is ok", []string{"check", "-config", good}, 0, good + ": ok\n", ""},
		{"one that is not there", []string{"check", "-config", good + "x"}, 2, "", "cannot be read: no such file"},
		{"nor is it run", []string{"run", "-config", good + "x"}, 2, "", "cannot be read: no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errOut := call(t, c.args...)
			if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errOut, c.err) {
				t.Errorf("exit code %d\nout: %s\nerr: %s", code, out, errOut)
			}
			if (c.code == 0) != (errOut == "") {
				t.Errorf("exit code %d with this on standard error: %s", code, errOut)
			}
		})
	}
}

func TestCheckSaysWhatTheConfigurationDoes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(file, []byte(`
[gateway]
id = "gw"
[[serial]]
name = "scale"
port = "/dev/ttyUSB0"
[[serial]]
name = "meter"
match = { vid = "0403", pid = "6001", serial = "A9007" }
enabled = false
[[tcp]]
name = "loggers"
listen = ":7000"
topic = "sensors/{name}/{remote}"
[tcp.command]
[[tcp]]
name = "gauge"
connect = "10.0.0.9:4001"
tls = { server_name = "gauge.lan" }
topic = "sensors/{name}"
[[bridge]]
name = "cloud"
servers = ["mqtt://10.8.0.1"]
username = "plant-7"
[[bridge.up]]
filter = "sensors/#"
topic = "sites/{gateway}/{1}"
`), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := call(t, "check", "-config", file)
	want := file + `: ok
  gateway gw, queue in /var/lib/packetboat, at most 1GiB
  MQTT on 127.0.0.1:1883
  MQTT on [::1]:1883
  serial scale: /dev/ttyUSB0, 9600 8N1 -> gw/scale (no bridge takes this topic)
  serial meter: USB 0403:6001 serial A9007, 9600 8N1 -> gw/meter (not enabled)
  tcp loggers: :7000 -> sensors/loggers/{remote}, commands from gw/loggers/set
  tcp gauge: calls 10.0.0.9:4001 over TLS -> sensors/gauge
  bridge cloud: mqtt://10.8.0.1, client id gw, user plant-7
    up   sensors/# -> sites/gw/{1}
`
	if code != 0 || out != want {
		t.Errorf("exit code %d, %s\n%s\nnot\n%s", code, errOut, out, want)
	}
}

func TestTheConfigurationCanBeNamedByTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "named.toml")
	t.Setenv("PACKETBOAT_CONFIG", file)
	if _, _, errOut := call(t, "check"); !strings.Contains(errOut, file) {
		t.Error(errOut)
	}
}
