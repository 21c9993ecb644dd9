package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"packetboat/broker/transport/certtest"
	"packetboat/broker/users"
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

// TestCheckReadsTheFilesOfBridges: DIR stands for their directory. The files are
// named as in the configuration, beside it.
func TestCheckReadsTheFilesOfBridges(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certtest.SelfSigned("gw").Files(dir, "gw")
	certtest.SelfSigned("gw", certtest.Valid(time.Time{}, time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC))).Files(dir, "ended")
	put("empty.crt", "")
	put("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
	const head = `[gateway]
id = "gw"
[[bridge]]
name = "a"
servers = ["mqtts://h"]
`
	const rule = `[[bridge.up]]
filter = "#"
`
	const azure = head + `profile = "azure-iot-hub"
up = [{ filter = "#", topic = "devices/gw/messages/events/" }]
`
	for _, c := range []struct {
		name, text string
		want       []string // a line each
	}{
		{"all good", head + `tls = { ca = "gw.crt", cert = "gw.crt", key = "gw.key" }
` + rule, nil},
		{"no file of authorities", head + `tls = { ca = "none.crt" }
` + rule, []string{`DIR/c.toml:6:14: bridge[0].tls.ca: open DIR/none.crt: no such file or directory; put the file there, or correct the path`}},
		{"a file of authorities without one", head + `[bridge.tls]
ca = "empty.crt"
` + rule, []string{`DIR/c.toml:7:6: bridge[0].tls.ca: DIR/empty.crt has no certificate; the file must be in PEM form, text with -----BEGIN lines; openssl converts others`}},
		{"everything is told at once, listeners first", head + `[bridge.tls]
ca = "a"
cert = "b"
key = "c"
` + rule + `[[listener]]
address = "127.0.0.1:1"
tls = { cert = "d", key = "gw.key" }
`, []string{
			`DIR/c.toml:14:16: listener[0].tls.cert: open DIR/d: no such file or directory (put the file there, or correct the path)`,
			`DIR/c.toml:7:6: bridge[0].tls.ca: open DIR/a: no such file or directory; put the file there, or correct the path`,
			`DIR/c.toml:8:8: bridge[0].tls.cert: open DIR/b: no such file or directory; put the file there, or correct the path`,
			`DIR/c.toml:9:7: bridge[0].tls.key: open DIR/c: no such file or directory; put the file there, or correct the path`,
		}},
		{"the files of the second bridge", head + rule + `[[bridge]]
name = "b"
servers = ["wss://h"]
client_id = "b"
tls = { cert = "gw.crt", key = "ended.key" }
` + rule, []string{`DIR/c.toml:12:32: bridge[1].tls.key: DIR/ended.key is not the key of the certificate in DIR/gw.crt; ` +
			`give the key that the certificate was made for; in tls.cert, the gateway's own certificate comes before those of authorities`}},
		{"a key with a passphrase", head + `tls = { cert = "gw.crt", key = "locked.key" }
` + rule, []string{`DIR/c.toml:6:32: bridge[0].tls.key: DIR/locked.key is protected with a passphrase; store the key without one: openssl pkey -in KEY -out NEWKEY`}},
		{"an expired certificate", head + `tls = { cert = "ended.crt", key = "ended.key" }
` + rule, []string{`DIR/c.toml:6:16: bridge[0].tls.cert: the certificate in DIR/ended.crt has expired: it ended on 2020-01-02T03:04:05Z, here it is NOW; renew it; or check this machine's clock`}},
		{"a certificate without a key", head + `tls = { cert = "gw.crt" }
` + rule, []string{`DIR/c.toml:6:7: bridge[0].tls.key: is missing; give the file of the key that belongs to tls.cert`}},
		{"no device key", azure + `token_key_file = "none.key"
`, []string{`DIR/c.toml:8:18: bridge[0].token_key_file: read the key that tokens are made from (token_key_file): open DIR/none.key: no such file or directory`}},
		{"a device key that is none", azure + `token_key_file = "gw.key"
`, []string{`DIR/c.toml:8:18: bridge[0].token_key_file: DIR/gw.key: the device key is not base64; it is the primary or secondary key as the hub shows it`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			put("c.toml", c.text)
			code, out, errOut := call(t, "check", "-config", filepath.Join(dir, "c.toml"))
			got := toldTime.ReplaceAllString(strings.ReplaceAll(errOut, dir, "DIR"), "here it is NOW;")
			if c.want == nil {
				if code != 0 || errOut != "" {
					t.Errorf("exit code %d\n%s", code, errOut)
				}
				return
			}
			if want := strings.Join(c.want, "\n") + "\n"; code != 2 || out != "" || got != want {
				t.Errorf("exit code %d %s\n%s\nnot\n%s", code, out, got, want)
			}
		})
	}
}

var toldTime = regexp.MustCompile(`here it is [^;]*;`)

func TestCheckPrintsTheWholeConfigurationWithoutSecrets(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := users.Edit(filepath.Join(dir, "users"), nil, func(l *users.List) error { return l.Set("pump", []byte("SECRET-user")) }); err != nil {
		t.Fatal(err)
	}
	hash, err := os.ReadFile(filepath.Join(dir, "users"))
	if err != nil {
		t.Fatal(err)
	}
	put("cloud.password", "SECRET-password\n")
	put("device.key", "U0VDUkVULWtleQ==") // SECRET-key
	t.Setenv("PACKETBOAT_TEST_SECRET", "SECRET-environment")
	put("c.toml", `[gateway]
id = "gw"
[auth]
users = "users"
[[bridge]]
name = "a"
servers = ["wss://h/mqtt?sig=SECRET-query"]
username = "me"
password_file = "cloud.password"
proxy = "http://me:SECRET-proxy@proxy:3128"
up = [{ filter = "#" }]
[[bridge]]
name = "b"
servers = ["mqtts://h"]
client_id = "gw-b"
password = "${PACKETBOAT_TEST_SECRET}"
proxy = "http://SECRET-token@proxy"
up = [{ filter = "#" }]
`)
	put("conf.d/azure.toml", `[[bridge]]
name = "c"
servers = ["mqtts://hub"]
client_id = "gw-c"
profile = "azure-iot-hub"
token_key_file = "../device.key"
up = [{ filter = "#", topic = "devices/gw-c/messages/events/" }]
`)
	file := filepath.Join(dir, "c.toml")
	code, out, errOut := call(t, "check", "-config", file, "-print")
	if code != 0 || errOut != "" {
		t.Fatalf("exit code %d\n%s", code, errOut)
	}
	_, plain, _ := call(t, "check", "-config", file)
	_, verifier, _ := strings.Cut(strings.TrimSpace(string(hash)), ":")
	for _, secret := range []string{"SECRET", "U0VDUkVU", verifier} {
		if strings.Contains(out, secret) || strings.Contains(plain, secret) {
			t.Errorf("%s is in\n%s\n%s", secret, out, plain)
		}
	}
	for _, want := range []string{
		"[queue]\nmax_size = \"1GiB\"\n", // a default
		`servers = ["wss://h/mqtt?***"]`, `proxy = "http://me:***@proxy:3128"`, `proxy = "http://***@proxy"`,
		`password_file = "` + dir + `/cloud.password"`, `password = "***"`, `token_key_file = "` + dir + `/device.key"`,
		`version = "3.1.1"`, `gaps = "devices/gw-c/messages/events/packetboat=gaps"`, // the profile's
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}

func TestCheckPrintsAConfigurationThatIsAlreadyWhole(t *testing.T) {
	dir := t.TempDir()
	whole := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errOut := call(t, "check", "-config", file, "-print")
		if code != 0 {
			t.Fatalf("exit code %d\n%s\nof\n%s", code, errOut, text)
		}
		return out
	}
	for _, doc := range []string{"docs/bridge.md", "docs/clouds.md", "docs/modbus.md"} {
		for _, block := range tomlBlocks(t, doc) {
			if strings.Contains(block, "_file") || strings.Contains(block, "tls") {
				continue // their files are not here
			}
			if once := whole("doc.toml", block); whole("once.toml", once) != once {
				t.Errorf("%s: printed, it is another configuration:\n%s", doc, once)
			}
		}
	}
}
