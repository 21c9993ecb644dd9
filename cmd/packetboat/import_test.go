package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// site is a directory with a mosquitto.conf that has users, rights and a bridge.
type site struct {
	dir, conf string
	cloud     string // address of the other broker
	address   string // of the listener
}

func newSite(t *testing.T) *site {
	t.Helper()
	passwd, err := exec.LookPath("mosquitto_passwd")
	if err != nil {
		t.Skipf("%v: install the package mosquitto", err)
	}
	s := &site{dir: t.TempDir(), cloud: runMosquitto(t, "allow_anonymous true\n"), address: freeAddress(t)}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := strings.Cut(s.address, ":")
	put("passwd", "")
	for _, name := range []string{"ann", "bob"} {
		if out, err := exec.Command(passwd, "-b", filepath.Join(s.dir, "passwd"), name, "secret-"+name).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	put("acl", "topic write guests/#\n\nuser ann\ntopic readwrite sensors/#\ntopic read commands/#\n\nuser bob\ntopic write odd/+/topic\n\npattern write own/%u/#\npattern readwrite clients/%c\n")
	s.conf = filepath.Join(s.dir, "mosquitto.conf")
	put("mosquitto.conf", fmt.Sprintf(`user root
listener %s %s
allow_anonymous true
password_file DIR/passwd
acl_file DIR/acl
max_queued_messages 500

connection cloud
address %s
bridge_protocol_version mqttv50
remote_clientid site
remote_username site
remote_password bridge-secret
topic sensors/# out 1 "" plants/7/
topic commands/# in 1 "" plants/7/
`, port, host, s.cloud))
	data, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	put("mosquitto.conf", strings.ReplaceAll(string(data), "DIR", s.dir))
	return s
}

// imported imports the site, and gives the configuration; what a test needs more
// stands in conf.d.
func (s *site) imported(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "packetboat.toml")
	out := mustCall(t, "import-mosquitto", s.conf, "-o", file)
	if strings.Contains(out, "secret") || !strings.Contains(out, "packetboat check finds nothing wrong with it") {
		t.Errorf("it said\n%s", out)
	}
	extra := filepath.Join(filepath.Dir(file), "conf.d")
	if err := os.Mkdir(extra, 0o700); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("[gateway]\nid = \"gw\"\ndata_dir = %q\n[admin]\nsocket = \"\"\naddress = \"\"\n[queue]\nmin_free = \"1MiB\"\n", t.TempDir())
	if err := os.WriteFile(filepath.Join(extra, "test.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAnImportedBridgeCarriesMessages(t *testing.T) {
	s := newSite(t)
	file := s.imported(t)
	for _, secret := range []string{"users", "cloud.password"} {
		if st, err := os.Stat(filepath.Join(filepath.Dir(file), secret)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", secret, st.Mode(), err)
		}
	}
	runFile(t, file)
	ann := []string{"-config", file, "-u", "ann", "-P", "secret-ann"}
	upstream := []string{"sub", "-url", s.cloud, "-c", "-i", "reader", "-q", "1", "-t", "plants/7/sensors/#", "-W", "30"}
	call(t, append(upstream[:len(upstream)-1:len(upstream)-1], "10ms")...)
	mustCall(t, append([]string{"pub", "-t", "sensors/kitchen/t", "-m", "21.5", "-q", "1"}, ann...)...)
	if out := mustCall(t, append(upstream, "-C", "1", "-v")...); out != "plants/7/sensors/kitchen/t 21.5\n" {
		t.Errorf("at the cloud: %q", out)
	}
	down := append([]string{"sub", "-c", "-i", "ann-1", "-q", "1", "-t", "commands/#"}, ann...)
	call(t, append(down, "-W", "10ms")...)
	mustCall(t, "pub", "-url", s.cloud, "-t", "plants/7/commands/valve", "-m", "shut", "-q", "1")
	if out := mustCall(t, append(down, "-C", "1", "-W", "30", "-v")...); out != "commands/valve shut\n" {
		t.Errorf("from the cloud: %q", out)
	}
}

// TestAnImportedBrokerAllowsWhatMosquittoDoes: the same file, first with Mosquitto,
// then imported.
func TestAnImportedBrokerAllowsWhatMosquittoDoes(t *testing.T) {
	s := newSite(t)
	who := []struct {
		name  string
		flags []string
	}{ // those with wrong passwords last: a gateway refuses an address after ten
		{"nobody", nil}, {"ann", []string{"-u", "ann", "-P", "secret-ann"}}, {"bob", []string{"-u", "bob", "-P", "secret-bob"}},
		{"ann with bob's password", []string{"-u", "ann", "-P", "secret-bob"}}, {"carl", []string{"-u", "carl", "-P", "x"}},
	}
	topics := []string{"guests/a", "sensors/a", "commands/a", "odd/x/topic", "odd/x/y/topic", "own/ann/x", "own/bob/x", "own", "clients/id-1", "clients/id-2", "x"}
	publish := func() map[string]int {
		codes := map[string]int{}
		for _, w := range who {
			for _, topic := range topics {
				code, _, _ := call(t, append([]string{"pub", "-url", s.address, "-i", "id-1", "-q", "1", "-t", topic, "-m", "x"}, w.flags...)...)
				codes[w.name+" to "+topic] = code
			}
		}
		return codes
	}
	var want map[string]int
	t.Run("Mosquitto", func(t *testing.T) {
		startMosquitto(t, s.conf, s.address)
		want = publish()
	})
	runFile(t, s.imported(t))
	got := publish()
	allowed := 0
	for what, code := range want {
		if code == 0 {
			allowed++
		}
		if got[what] != code {
			t.Errorf("%s: exit code %d with Mosquitto, %d imported", what, code, got[what])
		}
	}
	if allowed < 8 || allowed > len(want)/2 {
		t.Errorf("Mosquitto allows %d of %d", allowed, len(want))
	}
}

// TestAnImportedBridgeMapsTopicsAsMosquittoDoes: lines that overlap, in an order in
// which Mosquitto does not take the first.
func TestAnImportedBridgeMapsTopicsAsMosquittoDoes(t *testing.T) {
	up := []string{"a/b", "a/c", "site/alarms/x", "site/y", "plain/k/t", "plain/z", "one"}
	run := func(t *testing.T, start func(conf, address string)) (atCloud, atEdge string) {
		cloud, address := runMosquitto(t, "allow_anonymous true\n"), freeAddress(t)
		host, port, _ := strings.Cut(address, ":")
		conf := filepath.Join(t.TempDir(), "mosquitto.conf")
		text := fmt.Sprintf(`user root
listener %s %s
allow_anonymous true
connection c
address %s
remote_clientid edge
notifications false
topic a/b out 1
topic plain/+/t out 1
topic plain/# out 2
topic # out 1 site/ sites/a/
topic site/alarms/# out 1
topic a/# out 1 "" R/
topic "" out 1 one R/1
topic # in 1 l/ in/
`, port, host, cloud)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, topic := range []string{"in/x", "in/y"} {
			mustCall(t, "pub", "-url", cloud, "-t", topic, "-m", topic, "-r", "-q", "1")
		}
		reader := []string{"sub", "-url", cloud, "-c", "-i", "reader", "-t", "#", "-q", "1", "-R", "-v", "-W"}
		call(t, append(reader, "10ms")...)
		start(conf, address)
		for _, topic := range up {
			mustCall(t, "pub", "-url", address, "-t", topic, "-m", topic, "-q", "1")
		}
		atCloud = mustCall(t, append(reader, "30", "-C", fmt.Sprint(len(up)))...)
		return sorted(atCloud), sorted(mustCall(t, "sub", "-url", address, "-t", "l/#", "-v", "-W", "30", "-C", "2"))
	}
	var wantCloud, wantEdge, gotCloud, gotEdge string
	t.Run("Mosquitto", func(t *testing.T) {
		wantCloud, wantEdge = run(t, func(conf, address string) { startMosquitto(t, conf, address) })
	})
	t.Run("imported", func(t *testing.T) {
		gotCloud, gotEdge = run(t, func(conf, _ string) { runFile(t, (&site{conf: conf}).imported(t)) })
	})
	if gotCloud != wantCloud || !strings.Contains(gotCloud, "R/a/b a/b") {
		t.Errorf("at the cloud is\n%s\nand with Mosquitto\n%s", gotCloud, wantCloud)
	}
	if gotEdge != wantEdge {
		t.Errorf("from the cloud came\n%s\nand with Mosquitto\n%s", gotEdge, wantEdge)
	}
}

// sorted sorts lines.
func sorted(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestImportReplacesWhatSetsNothing: docs/migrating.md imports into the file that the
// package has installed.
func TestImportReplacesWhatSetsNothing(t *testing.T) {
	packaged, err := os.ReadFile("../../packaging/packetboat.toml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	conf, out := filepath.Join(dir, "mosquitto.conf"), filepath.Join(dir, "packetboat.toml")
	for file, text := range map[string]string{conf: "listener 1884 127.0.0.1\nallow_anonymous true\n", out: string(packaged)} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, errOut := call(t, "import-mosquitto", conf, "-o", out); code != 0 {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	if code, _, errOut := call(t, "import-mosquitto", conf, "-o", out); code != 2 || !strings.Contains(errOut, "is there already") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

func TestImportSaysWhatBecameOfTheLines(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "mosquitto.conf")
	text := "pid_file /run/m.pid\nlistener 8883\nallow_anonymous true\ncertfile /none/s.crt\nkeyfile /none/s.key\nmax_qos 1\nlog_dest topic\n" +
		"connection c\naddress h\nremote_username u\nremote_password hidden\ntopic a out 1\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := call(t, "import-mosquitto", conf)
	if code != 0 || !strings.Contains(out, "[[bridge]]") || strings.Contains(out+errOut, "hidden") {
		t.Errorf("exit code %d\n%s\n%s", code, out, errOut)
	}
	for _, want := range []string{
		"# cannot be carried over:\n" + conf + ":6: max_qos: clients may use QoS 0 to 2",
		conf + ":7: log_dest: the log is not published",
		"# 1 more line is not needed; -all says why",
		"# -o FILE writes what is not shown here: c.password",
	} {
		if !strings.Contains(errOut, want) {
			t.Errorf("no %q in\n%s", want, errOut)
		}
	}
	file := filepath.Join(dir, "p.toml")
	code, out, errOut = call(t, "import-mosquitto", "-all", conf, "-o", file)
	if code != 1 || !strings.Contains(errOut, "packetboat check still finds") || !strings.Contains(errOut, "/none/s.crt") || !strings.Contains(out, conf+":1: pid_file: ") {
		t.Errorf("exit code %d\n%s\n%s", code, out, errOut)
	}
	code, _, errOut = call(t, "import-mosquitto", conf, "-o", file)
	if code != 2 || !strings.Contains(errOut, "is there already") {
		t.Errorf("exit code %d\n%s", code, errOut)
	}
	code, out, _ = call(t, "import-mosquitto", conf, "-o", file, "-force", "-json")
	var report struct {
		Files []string
		Notes []struct {
			Line int
			Kind string
		}
		Check []string
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 1 || len(report.Files) != 2 || len(report.Notes) != 4 || len(report.Check) != 1 {
		t.Errorf("exit code %d, %v, %s", code, err, out)
	}
	for _, args := range [][]string{{}, {conf, "more"}, {dir + "/none"}, {conf, "-json"}} {
		if code, _, errOut := call(t, append([]string{"import-mosquitto"}, args...)...); code != 2 || errOut == "" {
			t.Errorf("%q: exit code %d, %s", args, code, errOut)
		}
	}
}
