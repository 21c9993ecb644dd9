package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRouteExplainsWhoTakesATopic(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(file, []byte(`
[gateway]
id = "gw"
[[bridge]]
name = "cloud"
servers = ["mqtt://10.8.0.1"]
[[bridge.up]]
filter = "sensors/+/alarm"
topic = "sites/{gateway}/{1}/alarm"
priority = 3
min_qos = 1
retain = "never"
max_age = "2h"
when_full = "reject"
max_size = "2MiB"
[[bridge.up]]
filter = "+/raw"
topic = "{1}"
[[bridge.up]]
filter = "sensors/#"
[[bridge.down]]
filter = "sites/{gateway}/cmd/#"
topic = "cmd/{1}"
qos = 1
[[bridge]]
name = "spare"
enabled = false
servers = ["mqtt://10.8.0.2"]
[[bridge.up]]
filter = "meters/#"
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string // whole, FILE for the file
	}{
		{"the first rule, and one behind it", []string{"sensors/a/alarm"}, 0, `bridge cloud   sensors/a/alarm -> sites/gw/a/alarm
  rule         sensors/+/alarm, bridge[0].up[0] (at FILE:7:10)
  QoS          0 -> 1, 1 -> 1, 2 -> 2
  retain       never
  priority     3, queue bridge/cloud/3
  waits        at most 2h; when full: reject, beyond 2MiB of this priority
  not reached  sensors/#, bridge[0].up[2] (at FILE:19:10)

bridge spare (not enabled)  takes nothing: no rule matches
`},
		{"flags may come last", []string{"/raw", "-json"}, 0, `{"topic":"/raw","bridges":[{"bridge":"cloud","enabled":true,"rule":{"key":"bridge[0].up[1]","at":"FILE:16:10","filter":"+/raw"},` +
			`"qos":[0,1,2],"retain":true,"lane":{"priority":0,"max_age_seconds":0,"when_full":"drop-oldest","max_size":0}},{"bridge":"spare","enabled":false,"rule":null}]}
`},
		{"a rule that makes no topic", []string{"/raw"}, 0, `bridge cloud  takes it and gives it up: the rule makes no valid topic of it
  rule        +/raw, bridge[0].up[1] (at FILE:16:10)
  QoS         as published
  retain      as published
  priority    0, queue bridge/cloud/0
  waits       until it is delivered; when full: drop-oldest

bridge spare (not enabled)  takes nothing: no rule matches
`},
		{"from the cloud", []string{"-down", "sites/gw/cmd/valve/1"}, 0, `bridge cloud  sites/gw/cmd/valve/1 -> cmd/valve/1
  rule        sites/gw/cmd/#, bridge[0].down[0] (at FILE:21:10)
  QoS         0 -> 0, 1 -> 1, 2 -> 1
  retain      as published

bridge spare (not enabled)  takes nothing: no rule matches
`},
		{"a filter is no topic", []string{"sensors/#"}, 2, `packetboat route: "sensors/#" is no topic that a message can be published to: that is UTF-8 text, not empty, without wildcards (+ and #) and NUL
`},
		{"no topic", nil, 2, "packetboat route: usage: packetboat route TOPIC (packetboat help route)\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errOut := call(t, append(append([]string{"route"}, c.args...), "-config", file)...)
			if got := strings.ReplaceAll(out+errOut, file, "FILE"); code != c.code || got != c.want {
				t.Errorf("exit code %d\n%s\nnot\n%s", code, got, c.want)
			}
		})
	}
}

func TestRouteOfABadConfigurationSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(file, []byte("[[bridge]]\nname = \"b\"\nservers = [\"mqtt://h\"]\nup = [{ filter = \"a/#/b\" }]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errOut := call(t, "route", "a", "-config", file); code != 2 || !strings.Contains(errOut, file+":4:18: ") {
		t.Errorf("%d %s%s", code, out, errOut)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := call(t, "route", "a", "-config", file); code != 0 || out != "no bridge is configured\n" {
		t.Errorf("%d %s", code, out)
	}
}
