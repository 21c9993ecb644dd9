package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// everyKind has a section of each kind, with what is hard to write.
const everyKind = `
[gateway]
id = "gw"
[queue]
max_size = "3GiB"
[broker]
unrouted = "lost/{{x}}/{topic}"
max_session_expiry = "36h"
[auth]
users = "/u"
[[auth.rule]]
user = "m-*"
publish = ["meters/{user}/#", "{gateway}"]
[[auth.rule]]
adapter = "*"
[[listener]]
address = "127.0.0.1:1883"
[[listener]]
address = ":8883"
[listener.tls]
cert = "a"
key = "b"
client_ca = "c"
client_cert = "username"
[[serial]]
name = "scale"
match = { vid = "0403", pid = "6001" }
when = "grams > 0 && x != \"\\\""
set = { kg = "grams / 1000.0", "odd key" = "1" }
frame = { type = "start-end", start = "\u0002", end = "hex:03 FF" }
decode = { type = "binary", fields = [{ name = "grams", type = "int16", scale = 0.1 }, { name = "t", offset = 2, type = "int16" }] }
topic = "{gateway}/{name}/{field:grams}"
[serial.command]
encode = "$${payload}\t{payload}\r\n"
topic = "set/{{1}}/+"
[[serial]]
name = "gps"
port = "/dev/ttyUSB0"
decode = { type = "nmea" }
poll = { send = "W\r" }
[[tcp]]
name = "in"
listen = ":7000"
ack = "OK\n"
frame = { type = "length", size = 2, crc = "crc32" }
decode = { type = "keyvalue" }
poll = { send_hex = "01" }
command = { ttl = "2d" }
[[tcp]]
name = "third"
listen = ":7001"
frame = { type = "delimiter", bytes = "hex:FF" }
decode = { type = "regexp", pattern = "T=(?P<t>[0-9.]+)" }
[[tcp]]
name = "fourth"
listen = ":7002"
frame = { type = "idle" }
decode = { type = "binary", fields = [{ name = "t", type = "uint8" }] }
[[tcp]]
name = "out"
connect = "h:1"
tls = { ca = "ca.pem", alpn = ["x"] }
decode = { type = "csv", names = ["a", "b"], types = ["float", "float"] }
[[modbus]]
name = "line"
port = "/dev/ttyS0"
mode = "8N2"
unit = [{ name = "u", id = 2, read = [{ name = "v", type = "float32" }, { name = "c", table = "coil" }] }]
[[modbus]]
name = "usb"
match = { vid = "0403" }
unit = [{ name = "u", id = 2, read = [{ name = "v" }] }]
[[modbus]]
name = "net"
connect = "h:502"
unit = [{ name = "u", id = 2, read = [{ name = "v", type = "string:8" }] }]
[[bridge]]
name = "cloud"
servers = ["mqtts://a", "wss://b/mqtt"]
client_id = "{gateway}-{{1}}"
version = "3.1.1"
session_expiry = "1h30m"
up = [{ filter = "a/+", topic = "x/{1}", qos = 1, when_full = "reject", max_size = "1MiB" }, { filter = "{{", topic = "b", priority = 1 }]
[[bridge]]
name = "other"
servers = ["mqtt://a"]
client_id = "o"
down = [{ filter = "c/#" }]
`

// forget removes from a configuration how the file had it.
func forget(c *Config) {
	c.places, c.secrets = nil, nil
	for i := range c.Bridges {
		c.Bridges[i].Given = nil
	}
	for i := range c.Listeners {
		c.Listeners[i].Implied, c.Listeners[i].Limited = false, false
	}
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Struct:
			if t, ok := v.Addr().Interface().(*Template); ok {
				t.src = t.bound()
				return
			}
			for _, f := range fields(v) {
				walk(f.v)
			}
		}
	}
	walk(reflect.ValueOf(c).Elem())
}

func TestWhatIsPrintedIsTheSameConfiguration(t *testing.T) {
	for name, text := range map[string]string{"defaults": "[gateway]\nid = \"gw\"\n", "every kind of section": everyKind} {
		t.Run(name, func(t *testing.T) {
			first, err := Parse("/etc/f", []byte(text), Options{})
			if err != nil {
				t.Fatal(err)
			}
			printed := string(first.AppendTOML(nil))
			again, err := Parse("/etc/f", []byte(printed), Options{})
			if err != nil {
				t.Fatalf("%v, in\n%s", err, printed)
			}
			if twice := string(again.AppendTOML(nil)); twice != printed {
				t.Errorf("printed\n%s\nand again\n%s", printed, twice)
			}
			forget(first)
			forget(again)
			if !reflect.DeepEqual(first, again) {
				t.Errorf("%+v\nis not\n%+v\nin\n%s", again, first, printed)
			}
		})
	}
}

func TestEveryKeyIsPrinted(t *testing.T) {
	c, err := Parse("/etc/f", []byte(everyKind), Options{})
	if err != nil {
		t.Fatal(err)
	}
	printed := string(c.AppendTOML(nil))
	for section, rows := range docTables(t) {
		if section != "[gateway]" && !strings.Contains(printed, "\n"+section+"\n") {
			t.Errorf("no %s", section)
		}
		for key := range rows {
			if !strings.Contains(printed, "\n"+key+" = ") && !strings.Contains(printed, "."+key+"]") {
				t.Errorf("%s: no %s", section, key)
			}
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/pw", []byte("SECRET-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse("/etc/f", []byte(`
[gateway]
id = "gw"
[[bridge]]
name = "a"
servers = ["wss://h/mqtt?token=SECRET-query"]
password = "SECRET-plain"
proxy = "http://user:SECRET-proxy@p:3128/"
up = [{ filter = "#" }]
[[bridge]]
name = "b"
servers = ["mqtt://h"]
client_id = "b"
password_file = "`+dir+`/pw"
proxy = "https://SECRET-token@p"
up = [{ filter = "#" }]
[[bridge]]
name = "c"
servers = ["mqtt://h"]
client_id = "c"
password = "${P}"
up = [{ filter = "#" }]
`), Options{Getenv: func(string) (string, bool) { return "SECRET-environment", true }})
	if err != nil {
		t.Fatal(err)
	}
	printed := string(c.AppendTOML(nil))
	if strings.Contains(printed, "SECRET") {
		t.Errorf("a secret is in\n%s", printed)
	}
	for _, want := range []string{
		`servers = ["wss://h/mqtt?***"]`, `proxy = "http://user:***@p:3128/"`, `proxy = "https://***@p"`,
		"password = \"***\"\n", `password_file = "` + dir + `/pw"`,
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("no %s in\n%s", want, printed)
		}
	}
}

func TestHideSecrets(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"env":                     "env",
		"mqtt://h:1883":           "mqtt://h:1883",
		"wss://h/a@b:c":           "wss://h/a@b:c",
		"http://u:p@h":            "http://u:***@h",
		"http://u:p@q@h/x":        "http://u:***@h/x",
		"http://u:@h":             "http://u:***@h",
		"http://token@h":          "http://***@h",
		"http://h?a=b":            "http://h?***",
		"wss://u:p@h:1/m?q#f":     "wss://u:***@h:1/m?***",
		"http://u:p?q@h":          "http://***", // no URL: the port is wrong
		"no URL: a@b?c":           "no URL: a@b?c",
		"http://[fe80::1%25a]:80": "http://[fe80::1%25a]:80",
	} {
		if got := HideSecrets(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestWhereSecretsStand(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/pw", []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse(dir+"/f", []byte(`
[gateway]
id = "gw"
[[bridge]]
name = "a"
servers = ["wss://h/mqtt?token=x", "wss://h"]
password = "x"
proxy = "http://user:x@p:3128/"
up = [{ filter = "#" }]
[[bridge]]
name = "b"
servers = ["mqtt://h"]
client_id = "b"
password_file = "pw"
proxy = "http://user:${P}@p"
up = [{ filter = "#" }]
[[bridge]]
name = "c"
servers = ["mqtt://h"]
client_id = "c"
password = "${P}"
proxy = "http://p"
up = [{ filter = "#" }]
`), Options{Getenv: func(string) (string, bool) { return "x", true }})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"bridge[0].servers[0]": dir + "/f", "bridge[0].servers[1]": "", "bridge[0].password": dir + "/f", "bridge[0].proxy": dir + "/f",
		"bridge[1].password": dir + "/pw", "bridge[1].proxy": "",
		"bridge[2].password": "", "bridge[2].proxy": "",
	} {
		if got := c.SecretFile(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}
