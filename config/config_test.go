package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// fixed is a machine called gw with one environment variable.
var fixed = Options{
	Getenv: func(name string) (string, bool) {
		return "tank-7", name == "SITE"
	},
	Hostname: func() (string, error) { return "gw", nil },
	Board:    func() string { return "10000000abcdef12" },
}

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("f", []byte(text), fixed)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// bridge is a [[bridge]] with no fault, to which more can be added.
const bridge = "[[bridge]]\nname = \"b\"\nservers = [\"mqtt://h\"]\nup = [{ filter = \"a/#\" }]\n"

func TestEveryKeyAtItsDefaultLoads(t *testing.T) {
	c, err := Load("testdata/contract.toml", fixed)
	if err != nil {
		t.Fatal(err)
	}
	// The file says each key that may be said.
	pending := pendingRules()
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		for _, f := range fields(reflect.New(typ).Elem()) {
			key := strings.TrimPrefix(path+"."+f.name, ".")
			pattern := strings.ReplaceAll(key, "[0]", "[]")
			if r, ok := pending[pattern]; ok && r.accept == nil {
				continue
			}
			if _, frame, ok := strings.Cut(pattern, ".frame."); ok && !slices.Contains([]string{"type", "ending", "trim", "max", "crc"}, frame) {
				continue
			}
			if _, decode, ok := strings.Cut(pattern, ".decode."); ok && decode != "type" {
				continue
			}
			if !c.isSet(key) {
				t.Errorf("testdata/contract.toml does not have %s", key)
			}
			e := f.v.Type()
			if e.Kind() == reflect.Slice {
				e, key = e.Elem(), key+"[0]"
			}
			if e.Kind() == reflect.Pointer {
				e = e.Elem()
			}
			if isSection(e) {
				walk(e, key)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")

	// And saying it is the same as not saying it.
	short := parse(t, `
[[listener]]
address = "127.0.0.1:1883"
tls = { cert = "/etc/packetboat/tls/server.crt", key = "/etc/packetboat/tls/server.key" }
[[auth.rule]]
user = "meter-*"
[[serial]]
name = "scale"
port = "/dev/serial/by-id/usb-FTDI_*"
[serial.poll]
[serial.command]
[[tcp]]
name = "loggers"
listen = ":7000"
[tcp.poll]
[tcp.command]
[[modbus]]
name = "meters"
port = "/dev/ttyUSB0"
[[modbus.unit]]
name = "main"
[[modbus.unit.read]]
name = "voltage"
[[bridge]]
name = "cloud"
servers = ["mqtt://mqtt.example.com:1883"]
[[bridge.up]]
filter = "sensors/+/temp"
[[bridge.down]]
filter = "sites/{gateway}/cmd/#"
`)
	c.places, short.places, c.secrets, short.secrets = nil, nil, nil, nil
	c.Bridges[0].Given, short.Bridges[0].Given = nil, nil // what says so
	c.Listeners[0].Limited = false
	if !reflect.DeepEqual(c, short) {
		t.Errorf("with all defaults:\n%+v\nwith none:\n%+v", c, short)
	}
}

func TestPathsOfCertificatesAreRelativeToTheConfiguration(t *testing.T) {
	c, err := Parse("/etc/p/f.toml", []byte("[[listener]]\naddress = \"[::1]:1\"\ntls = { cert = \"tls/c\", key = \"/k\" }\n"), fixed)
	if err != nil {
		t.Fatal(err)
	}
	if got := *c.Listeners[0].TLS; got != (ListenerTLS{Cert: "/etc/p/tls/c", Key: "/k", ClientCert: "optional"}) {
		t.Errorf("%+v", got)
	}
	c, err = Parse("/etc/p/f.toml", []byte(`[[bridge]]
name = "a"
servers = ["mqtts://h"]
token_key_file = "device.key"
tls = { ca = "tls/ca", cert = "/c" }
up = [{ filter = "#" }]
`), fixed)
	if err != nil {
		t.Fatal(err)
	}
	if b := c.Bridges[0]; b.TokenKeyFile != "/etc/p/device.key" || !reflect.DeepEqual(b.TLS, BridgeTLS{CA: "/etc/p/tls/ca", Cert: "/c"}) {
		t.Errorf("%+v", b)
	}
}

func TestAnEmptyFileIsAGateway(t *testing.T) {
	c := parse(t, "")
	if c.Gateway.ID != "gw" || c.Queue.MaxSize != 1<<30 || c.Queue.SegmentSize != Auto || c.Broker.MaxSessionExpiry != 7*24*time.Hour {
		t.Errorf("defaults: %+v", c)
	}
	if len(c.Listeners) != 2 || !c.Listeners[0].Implied || !c.Listeners[0].Anonymous || c.Listeners[1].Address != "[::1]:1883" {
		t.Errorf("listeners: %+v", c.Listeners)
	}
}

func TestValuesArriveWhereTheyBelong(t *testing.T) {
	c := parse(t, `
[gateway]
id = "${SITE}"
[log]
format = "json"
[queue]
commit_interval = "20ms"
max_size = "64 MiB"
[[listener]]
address = "unix:/run/mqtt.sock"
[[listener]]
address = "0.0.0.0:1884"
anonymous = true
[[serial]]
name = "scale"
port = "/dev/ttyUSB0"
mode = "7E1.5"
topic = "{gateway}/{name}/{port}/{{x}}"
frame = { ending = "\r" }
[serial.command]
topic = "{gateway}/+/set"
encode = "S{field:speed}\r"
[[bridge]]
name = "cloud"
servers = ["mqtt://a", "mqtt://b:1884"]
client_id = "{gateway}-{bridge}"
password = "$${SITE}"
backoff = { max = "5m" }
up = [{ filter = "{gateway}/+/x/#", topic = "{bridge}/{2}/{1}", qos = 1, min_qos = 1 }, { filter = "#" }]
down = [{ filter = "cmd/{gateway}/#", topic = "{1}" }]
`)
	if c.Gateway.ID != "tank-7" || c.Log.Format != "json" || c.Queue.CommitInterval != 20*time.Millisecond || c.Queue.MaxSize != 64<<20 {
		t.Errorf("%+v %+v %+v", c.Gateway, c.Log, c.Queue)
	}
	if n, a := c.Listeners[0].Network(); n != "unix" || a != "/run/mqtt.sock" || !c.Listeners[0].Anonymous {
		t.Errorf("listener: %+v", c.Listeners[0])
	}
	s := c.Serial[0]
	status, _ := s.Status.Literal()
	commandTopic, _ := s.Command.Topic.Literal()
	if s.Mode != (Mode{7, 'E', "1.5"}) || s.Mode.String() != "7E1.5" || status != "tank-7/scale/status" || commandTopic != "tank-7/+/set" || s.Frame.Ending != "\r" || !s.Frame.Trim {
		t.Errorf("serial: %+v", s)
	}
	echo := func(dst []byte, name string) []byte { return append(append(dst, '<'), name+">"...) }
	if got := string(s.Topic.Expand(nil, echo)); got != "tank-7/scale/<port>/{x}" {
		t.Errorf("serial topic: %s", got)
	}
	if got := string(s.Command.Encode.Expand(nil, echo)); got != "S<field:speed>\r" {
		t.Errorf("command: %q", got)
	}
	b := c.Bridges[0]
	if b.ClientID != "tank-7-cloud" || b.Password != "${SITE}" || b.Backoff != (Backoff{time.Second, 5 * time.Minute, 30 * time.Second}) || b.Version != 5 {
		t.Errorf("bridge: %+v", b)
	}
	if b.Up[0].Filter != "tank-7/+/x/#" || b.Up[0].QoS != 1 || b.Up[1].QoS != Keep || b.Down[0].QoS != 2 || b.Down[0].Filter != "cmd/tank-7/#" {
		t.Errorf("rules: %+v %+v", b.Up, b.Down)
	}
	if got := string(b.Up[0].Topic.Expand(nil, echo)); got != "cloud/<2>/<1>" {
		t.Errorf("up topic: %s", got)
	}
	if got := c.At("bridge[0].up[1].topic"); got.String() != "f:29:89" {
		t.Errorf("At gives %s for a key left out, not its table", got)
	}
	if got := c.Errorf("serial[0].mode", "is %s", "odd").Error(); got != "f:17:8: serial[0].mode: is odd" {
		t.Errorf("Errorf gives %s", got)
	}
	if got := c.At("admin.socket").String(); got != "f" {
		t.Errorf("At gives %s for a section left out", got)
	}
}

func TestALaneHasOnePolicyAndOneBound(t *testing.T) {
	c := parse(t, `
queue = { when_full = "drop-newest" }
[[bridge]]
name = "b"
servers = ["mqtt://h"]
up = [
  { filter = "a", when_full = "reject" },
  { filter = "b", priority = 1 },
  { filter = "c", when_full = "reject", max_size = "1MiB" },
  { filter = "d", priority = 1, max_size = "2MiB" },
  { filter = "e", priority = 2, when_full = "drop-oldest" },
]
`)
	for i, want := range []struct {
		policy string
		size   Size
	}{{Reject, 1 << 20}, {DropNewest, 2 << 20}, {Reject, 1 << 20}, {DropNewest, 2 << 20}, {DropOldest, 0}} {
		if u := c.Bridges[0].Up[i]; u.WhenFull != want.policy || u.MaxSize != want.size {
			t.Errorf("rule %s: %s, %s, want %s, %s", u.Filter, u.WhenFull, u.MaxSize, want.policy, want.size)
		}
	}
}

func TestGatewayIDComesFromTheHost(t *testing.T) {
	tests := []struct{ name, host, board, want, err string }{
		{"the host name", "mill.example", "", "mill.example", ""},
		{"a host name that everybody has gets the board's last digits", "raspberrypi", "10000000abcdef12", "raspberrypi-cdef12", ""},
		{"also with a domain, and with a short serial", "Debian.lan", "77", "Debian.lan-77", ""},
		{"a host name that everybody has and no serial is an error", "localhost", "", "", "f: gateway.id: cannot be made from the host name localhost, which many machines have, and this one has neither a board serial number nor a machine id; set it"},
		{"no host name is an error", "", "", "", "f: gateway.id: cannot be taken from the host name (there is none); set it"},
		{"a host name that is no topic level is an error", "a/b", "", "", `f: gateway.id: "a/b" must not have "/", "+", "#", braces, spaces or control characters`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("f", nil, Options{
				Hostname: func() (string, error) { return tt.host, nil },
				Board:    func() string { return tt.board },
			})
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("got %v", err)
				}
			} else if err != nil || c.Gateway.ID != tt.want {
				t.Errorf("got %v, %v", c, err)
			}
		})
	}
}

func TestBoardSerialComesFromTheFirstFileThatHasOne(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tree := write("tree", "10000000abcdef12\x00")
	cpu := write("cpu", "processor\t: 0\nModel\t\t: Pi\n\nSerial\t\t: 00000000deadbeef\nRevision: 1\n")
	zeros := write("zeros", "Serial\t\t: 0000000000000000\n")
	id := write("id", "0123456789abcdef0123456789abcdef\n")
	none := filepath.Join(dir, "none")
	tests := []struct{ name, a, b, c, want string }{
		{"device tree", tree, cpu, id, "10000000abcdef12"},
		{"cpuinfo", none, cpu, id, "00000000deadbeef"},
		{"machine id when the serial is zero", none, zeros, id, "0123456789abcdef0123456789abcdef"},
		{"none", none, none, none, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := boardFrom(tt.a, tt.b, tt.c); got != tt.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestFilesOfConfDAreMerged(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  string // names of the serial ports, or errors
	}{
		{"arrays append in name order, tables join", map[string]string{
			"main.toml":           "[queue]\nmax_size = \"32MiB\"\n[[serial]]\nname = \"a\"\nport = \"/a\"\n",
			"conf.d/20.toml":      "[[serial]]\nname = \"c\"\nport = \"/c\"\n",
			"conf.d/10.toml":      "[queue]\nqos0 = \"all\"\n[[serial]]\nname = \"b\"\nport = \"/b\"\n[serial.command]\nttl = \"1s\"\n",
			"conf.d/.hidden.toml": "no toml",
			"conf.d/30.txt":       "no toml",
		}, "a b c"},
		{"a key set twice names both places", map[string]string{
			"main.toml":     "[queue]\nmax_size = \"32MiB\"\n",
			"conf.d/a.toml": "queue.max_size = \"64MiB\"\n",
		}, "conf.d/a.toml:1:7: queue.max_size: is set twice; the first time at main.toml:2:1"},
		{"a table in one and an array in the other", map[string]string{
			"main.toml":     "[[serial]]\nname = \"a\"\nport = \"/a\"\n",
			"conf.d/a.toml": "[serial]\nname = \"b\"\n",
		}, "conf.d/a.toml:1:2: serial: is set twice; the first time at main.toml:1:3"},
		{"errors name their own file, main first, and all syntax errors come at once", map[string]string{
			"main.toml":     "[queue]\nmax_sise = \"32MiB\"\n",
			"conf.d/a.toml": "x = \n",
			"conf.d/b.toml": "[log]\nlevel = 'x\n",
		}, `main.toml:2:1: queue.max_sise: is not a known key (did you mean max_size?)
conf.d/a.toml:1:5: x: expected value but found '\n' instead
conf.d/b.toml:2:11: log.level: strings cannot contain newlines`},
		{"the same name in two files", map[string]string{
			"main.toml":     "[[serial]]\nname = \"a\"\nport = \"/a\"\n",
			"conf.d/a.toml": "# b\n[[serial]]\nname = \"a\"\nport = \"/b\"\n",
		}, `conf.d/a.toml:3:8: serial[1].name: "a" is the name of serial[0] already (at main.toml:2:8)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "conf.d"), 0o700); err != nil {
				t.Fatal(err)
			}
			for name, text := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			c, err := Load(filepath.Join(dir, "main.toml"), fixed)
			if err != nil {
				if got := strings.ReplaceAll(err.Error(), dir+"/", ""); got != tt.want {
					t.Errorf("got\n%s\nwant\n%s", got, tt.want)
				}
				return
			}
			var names []string
			for _, s := range c.Serial {
				names = append(names, s.Name)
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("got %s", got)
			}
			if c.Queue.MaxSize != 32<<20 || c.Queue.QoS0 != "all" || c.Serial[1].Command == nil {
				t.Errorf("not merged: %+v", c)
			}
		})
	}
}

func TestAFileThatCannotBeReadIsOneClearError(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.toml"), fixed)
	var errs Errors
	if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &errs) || len(errs) != 1 {
		t.Fatalf("got %v", err)
	}
	if errs[0].Msg != "cannot be read: no such file or directory" || errs[0].Line != 0 {
		t.Errorf("got %+v", errs[0])
	}
}

func TestSecretsComeFromFilesAndStayHidden(t *testing.T) {
	dir := t.TempDir()
	load := func(lines string) (*Config, error) {
		main := filepath.Join(dir, "main.toml")
		if err := os.WriteFile(main, []byte(bridge+lines), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(main, fixed)
	}
	if err := os.WriteFile(filepath.Join(dir, "pw"), []byte("  s3cret \r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "empty"), []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(`password_file = "pw"`)
	if err != nil {
		t.Fatal(err)
	}
	p := c.Bridges[0].Password
	if string(p) != "  s3cret " {
		t.Errorf("password %q", string(p))
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "p", p)
	for _, shown := range []string{fmt.Sprint(p), fmt.Sprintf("%#v %+v %q", p, c.Bridges[0], p), log.String()} {
		if strings.Contains(shown, "s3cret") {
			t.Errorf("the secret is shown: %s", shown)
		}
	}
	for lines, want := range map[string]string{
		"password_file = \"none\"":                 `main.toml:5:17: bridge[0].password_file: cannot read DIR/none: no such file or directory`,
		"password_file = \"empty\"":                `main.toml:5:17: bridge[0].password_file: DIR/empty is empty`,
		"password_file = 5":                        `main.toml:5:17: bridge[0].password_file: must be a string, not an integer`,
		"password = \"x\"\npassword_file = \"pw\"": `main.toml:6:1: bridge[0].password_file: is set beside password (at DIR/main.toml:5:1); give one of them`,
		"pasword_file = \"pw\"":                    `main.toml:5:1: bridge[0].pasword_file: is not a known key (did you mean password_file?)`,
		"username_file = \"pw\"":                   `main.toml:5:1: bridge[0].username_file: is not a known key`,
	} {
		_, err := load(lines)
		if err == nil || strings.ReplaceAll(strings.TrimPrefix(err.Error(), dir+"/"), dir, "DIR") != want {
			t.Errorf("%s: got\n%v\nwant\n%s", lines, err, want)
		}
	}
}

func TestTagsAndThePendingTableAreSound(t *testing.T) {
	pending := pendingRules()
	var walk func(typ reflect.Type, pattern string)
	walk = func(typ reflect.Type, pattern string) {
		v := reflect.New(typ).Elem()
		preset(v) // panics on a bad default
		for _, f := range fields(v) {
			key := strings.TrimPrefix(pattern+"."+f.name, ".")
			for _, bound := range []string{"min", "max"} {
				if text, ok := f.tag.Lookup(bound); ok {
					if err := setText(reflect.New(f.v.Type()).Elem(), text, ""); err != nil {
						t.Errorf("%s: %s: %v", key, bound, err)
					}
				}
			}
			if r, ok := pending[key]; ok {
				delete(pending, key)
				for i, text := range r.accept {
					accepted := decodeText(text, f) // panics on a bad value
					if i == 0 && !reflect.DeepEqual(accepted.Interface(), f.v.Interface()) {
						t.Errorf("%s: the default is %v, the table of pending keys says %s", key, f.v, text)
					}
				}
			}
			e := f.v.Type()
			for e.Kind() == reflect.Slice || e.Kind() == reflect.Pointer {
				if e.Kind() == reflect.Slice {
					key += "[]"
				}
				e = e.Elem()
			}
			delete(pending, key) // of an array's items
			if isSection(e) {
				walk(e, key)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	for key := range pending {
		t.Errorf("the table of pending keys has %s, which is no key", key)
	}
}

// TestInflightOfMQTT311 is small unless it was asked for.
func TestInflightOfMQTT311(t *testing.T) {
	for text, want := range map[string]int{
		"version = 5\n":                         256,
		"version = \"3.1.1\"\n":                 20,
		"version = \"3.1.1\"\ninflight = 256\n": 256,
	} {
		c, err := Parse("f", []byte("[[bridge]]\nname = \"b\"\nservers = [\"mqtt://h\"]\nup = [{ filter = \"#\" }]\n"+text), fixed)
		if err != nil || c.Bridges[0].Inflight != want {
			t.Errorf("%q: %v, %+v", text, err, c)
		}
	}
}
