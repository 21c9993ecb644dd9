package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckPlacesTheMistakesOfBridges: FILE stands for the file.
func TestCheckPlacesTheMistakesOfBridges(t *testing.T) {
	const head = `[gateway]
id = "gw"
[[bridge]]
name = "a"
servers = ["mqtt://h"]
`
	for _, c := range []struct{ name, text, want string }{
		{"an unknown placeholder of an up rule", head + `[[bridge.up]]
filter = "a/#"
topic = "sites/{gatway}/{1}"
`, `FILE:8:9: bridge[0].up[0].topic: {gatway} means nothing here; there are {bridge} {gateway} {topic} {1} (did you mean {gateway}?)`},
		{"an unknown placeholder of a down rule", head + `[[bridge.down]]
filter = "a/#"
topic = "{toppic}"
`, `FILE:8:9: bridge[0].down[0].topic: {toppic} means nothing here; there are {bridge} {gateway} {topic} {1} (did you mean {topic}?)`},
		{"a capture that does not exist, up", head + `[[bridge.up]]
filter = "a/+/b"
topic = "x/{2}"
`, `FILE:8:9: bridge[0].up[0].topic: {2} means nothing here; there are {bridge} {gateway} {topic} {1}`},
		{"a capture that does not exist, down", head + `[[bridge.down]]
filter = "a/b"
topic = "x/{1}"
`, `FILE:8:9: bridge[0].down[0].topic: {1} means nothing here; there are {bridge} {gateway} {topic}`},
		{"a loop", head + `[[bridge.down]]
filter = "sites/{gateway}/#"
topic = "{1}"
[[bridge]]
name = "b"
servers = ["mqtt://h:1883"]
client_id = "gw-b"
[[bridge.up]]
filter = "alarms"
topic = "other/alarms"
[[bridge.up]]
filter = "#"
topic = "sites/{gateway}/{1}"
`, `FILE:17:10: bridge[1].up[1].filter: makes a loop, in which a message goes round for ever: sites/gw/x -> bridge[0].down[0] (at FILE:7:10) -> x -> this rule -> sites/gw/x; ` +
			`narrow a filter or change a topic, or give the rules to one bridge, which never sends up what it has received`},
		{"a loop in two turns is told at its last rule", head + `down = [{ filter = "a/#", topic = "x/{1}" }, { filter = "b/#", topic = "y/{1}" }]
[[bridge]]
name = "b"
servers = ["mqtt://h"]
client_id = "gw-b"
up = [{ filter = "x/#", topic = "b/{1}" }, { filter = "y/#", topic = "a/{1}" }]
`, `FILE:11:55: bridge[1].up[1].filter: makes a loop, in which a message goes round for ever: a/x -> bridge[0].down[0] (at FILE:6:20) -> x/x -> bridge[1].up[0] (at FILE:11:18) -> ` +
			`b/x -> bridge[0].down[1] (at FILE:6:57) -> y/x -> this rule -> a/x; narrow a filter or change a topic, or give the rules to one bridge, which never sends up what it has received`},
		{"lanes with the same filter", head + `[[bridge.up]]
filter = "a/#"
[[bridge.up]]
filter = "a/#"
priority = 3
`, `FILE:9:10: bridge[0].up[1].filter: is the same as bridge[0].up[0]'s (at FILE:7:10), which comes first: this rule never carries a message, and its priority 3 never counts (that one has 0)`},
		{"lanes one of which takes all of another", head + `[[bridge.up]]
filter = "a/#"
[[bridge.up]]
filter = "a/+/alarm"
priority = 3
`, `FILE:9:10: bridge[0].up[1].filter: matches only what bridge[0].up[0] (a/#, at FILE:7:10) takes, which comes first: this rule never carries a message, and its priority 3 never counts (that one has 0); put it before that one`},
		{"two policies of one lane", head + `[[bridge.up]]
filter = "a"
when_full = "reject"
max_size = "1MiB"
[[bridge.up]]
filter = "b"
when_full = "drop-newest"
`, `FILE:12:13: bridge[0].up[1].when_full: is drop-newest, but that of bridge[0].up[0] with the same priority (0) is reject (at FILE:8:13); a lane has one: make them the same, or give one of the rules another priority`},
		{"two sizes of one lane", head + `[[bridge.up]]
filter = "a"
max_size = "1MiB"
[[bridge.up]]
filter = "b"
max_size = "2MiB"
`, `FILE:11:12: bridge[0].up[1].max_size: is 2MiB, but that of bridge[0].up[0] with the same priority (0) is 1MiB (at FILE:8:12); a lane has one: leave one of them out`},
		{"what a profile does not allow", strings.Replace(head, "mqtt:", "mqtts:", 1) + `profile = "aws-iot"
keep_alive = "10s"
[[bridge.up]]
filter = "a/#"
topic = "1/2/3/4/5/6/7/8/{1}"
qos = 2
[[bridge.down]]
filter = "1/2/3/4/5/6/7/8/9"
`, `FILE:7:14: bridge[0].keep_alive: 10s: aws-iot takes 30s to 20m0s
FILE:11:7: bridge[0].up[0].qos: 2: aws-iot takes at most QoS 1
FILE:10:9: bridge[0].up[0].topic: "1/2/3/4/5/6/7/8/{1}": 8 slashes, aws-iot takes 7
FILE:13:10: bridge[0].down[0].filter: "1/2/3/4/5/6/7/8/9": 8 slashes, aws-iot takes 7`},
		{"topics that Azure does not have", strings.Replace(head, "mqtt:", "mqtts:", 1) + `profile = "azure-iot-hub"
token_key_file = "key"
version = 5
[[bridge.up]]
filter = "a/#"
`, `FILE:8:11: bridge[0].version: 5: azure-iot-hub speaks 3.1.1 only
FILE:9:10: bridge[0].up[0].topic: "{topic}": azure-iot-hub takes messages on devices/gw/messages/events/…, $iothub/twin/…, $iothub/methods/res/… only`},
		{"a proxy, a source and a key without its certificate", head + `proxy = "socks5://p"
source = "no such interface"
tls.key = "/k.pem"
[[bridge.up]]
filter = "a/#"
`, `FILE:6:9: bridge[0].proxy: has the scheme socks5; there are http and https
FILE:7:10: bridge[0].source: is neither an IP address of this machine, such as 192.168.1.5, nor a network interface, such as wwan0
FILE:8:1: bridge[0].tls.cert: is missing; give the file of the certificate that belongs to tls.key`},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "c.toml")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			code, out, errOut := call(t, "check", "-config", file)
			if got := strings.ReplaceAll(errOut, file, "FILE"); code != 2 || out != "" || got != c.want+"\n" {
				t.Errorf("exit code %d %s\n%s\nnot\n%s", code, out, got, c.want)
			}
		})
	}
}
