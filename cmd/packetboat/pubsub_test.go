package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"packetboat/broker/transport/certtest"
	"packetboat/broker/users"
	"packetboat/config"
	"packetboat/gateway"
)

// runConfig runs a gateway with the configuration in a directory of its own, where
// data, users and sockets are. It gives the file.
func runConfig(t *testing.T, text string) (file string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pubsub-") // sockets' paths are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file = filepath.Join(dir, "packetboat.toml")
	head := "[gateway]\nid = \"gw\"\ndata_dir = \"DIR/data\"\n[admin]\nsocket = \"\"\naddress = \"\"\n[queue]\nmin_free = \"1MiB\"\n"
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(head+text, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "DIR/users") {
		if err := users.Edit(filepath.Join(dir, "users"), nil, func(l *users.List) error { return l.Set("ann", []byte("secret")) }); err != nil {
			t.Fatal(err)
		}
	}
	runFile(t, file)
	return file
}

// runFile runs a gateway with the configuration.
func runFile(t *testing.T, file string) {
	t.Helper()
	cfg, err := config.Load(file, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{}, 10)
	g := gateway.New(cfg, gateway.Options{Log: slog.New(slog.DiscardHandler), Notify: func(state string) {
		if strings.HasPrefix(state, "READY=1") {
			ready <- struct{}{}
		}
	}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatalf("the gateway has ended: %v", err)
	}
}

// serverCert makes a certificate for a host that is called gw.example, and its key:
// two files.
func serverCert(t *testing.T) (cert, key string) {
	return certtest.SelfSigned("gateway", certtest.Hosts("gw.example")).Files(t.TempDir(), "server")
}

// freeAddress is one on loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// feed gives the commands in this process a standard input.
func feed(t *testing.T, text string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdin
	os.Stdin = r
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = w.WriteString(text)
		_ = w.Close()
	}()
	t.Cleanup(func() {
		os.Stdin = before
		_ = r.Close()
		<-done
	})
}

// ways are the flags that lead pub and sub to a broker, by name.
type ways map[string][]string

// passOn has pub send to sub, over each way with each version of MQTT.
func passOn(t *testing.T, all ways) {
	for name, way := range all {
		for _, version := range []string{"5", "3.1.1", "3.1"} {
			t.Run(name+" "+version, func(t *testing.T) {
				flags := func(more ...string) []string { return append(append(more, "-V", version), way...) }
				topic := "ways/" + strings.ReplaceAll(name+version, " ", "")
				mustCall(t, flags("pub", "-t", topic+"/kept", "-m", "before", "-r", "-q", "1")...)
				// A subscription that the session keeps takes what is sent before it is read.
				session := flags("sub", "-t", topic+"/#", "-c", "-i", strings.ReplaceAll(topic, "/", "-"), "-q", "2", "-W", "30")
				if out := mustCall(t, append(session, "-C", "1", "-F", `%t %q %r %p`)...); out != topic+"/kept 1 1 before\n" {
					t.Errorf("retained: %.100q", out)
				}
				mustCall(t, flags("pub", "-t", topic, "-m", "one", "-q", "1")...)
				mustCall(t, flags("pub", "-t", topic, "-n", "-q", "2")...)
				feed(t, "first\nsecond\nlast, without an end")
				mustCall(t, flags("pub", "-t", topic, "-l", "-q", "2")...)
				large := filepath.Join(t.TempDir(), "large")
				if err := os.WriteFile(large, []byte(strings.Repeat("0123456789", 20_000)), 0o600); err != nil {
					t.Fatal(err)
				}
				mustCall(t, flags("pub", "-t", topic, "-f", large, "-q", "1")...)
				out := mustCall(t, append(session, "-R", "-C", "6", "-F", `%q %l %p`)...)
				want := "1 3 one\n2 0 \n2 5 first\n2 6 second\n2 20 last, without an end\n1 200000 "
				if !strings.HasPrefix(out, want) {
					t.Errorf("%.200q", out)
				}
				mustCall(t, flags("pub", "-t", topic+"/kept", "-n", "-r", "-q", "1")...)
			})
		}
	}
}

func mustCall(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errOut := call(t, args...)
	if code != 0 {
		t.Fatalf("%s: exit code %d\n%s", strings.Join(args, " "), code, errOut)
	}
	return out
}

func TestPubAndSubReachAGateway(t *testing.T) {
	cert, key := serverCert(t)
	secure := fmt.Sprintf("tls = { cert = %q, key = %q }\nanonymous = true\n", cert, key)
	addresses := []string{freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)}
	listeners := "[[listener]]\naddress = \"unix:DIR/mqtt.sock\"\n"
	for i, more := range []string{"", secure, "transport = \"websocket\"\n", "transport = \"websocket\"\n" + secure} {
		listeners += fmt.Sprintf("[[listener]]\naddress = %q\n%s", addresses[i], more)
	}
	file := runConfig(t, listeners)
	dir := filepath.Dir(file)
	all := ways{
		"the first listener": {"-config", file},
		"a unix socket":      {"-url", "unix:" + filepath.Join(dir, "mqtt.sock")},
		"host and port":      {"-url", addresses[0]},
	}
	for i, name := range []string{"TCP", "TLS", "WebSocket", "WebSocket over TLS"} {
		all[name] = []string{"-config", file, "-listener", addresses[i]}
	}
	passOn(t, all)
}

// TestPubKnowsThatAnotherBrokerHasThePort: a Mosquitto that was not stopped would
// acknowledge what is meant for the gateway.
func TestPubKnowsThatAnotherBrokerHasThePort(t *testing.T) {
	taken, other, web := freeAddress(t), freeAddress(t), freeAddress(t)
	runConfig(t, fmt.Sprintf("[[listener]]\naddress = %q\n", taken))
	for _, admin := range []string{
		"socket = \"DIR/admin.sock\"\naddress = \"\"\n",
		fmt.Sprintf("socket = \"\"\naddress = %q\n", web),
	} {
		dir, err := os.MkdirTemp("", "pubsub-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		file := filepath.Join(dir, "packetboat.toml")
		text := "[gateway]\ndata_dir = \"DIR/data\"\n[queue]\nmin_free = \"1MiB\"\n[admin]\n" + admin +
			fmt.Sprintf("[[listener]]\naddress = %q\n[[listener]]\naddress = %q\n", taken, other)
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Run("", func(t *testing.T) { // which ends the gateway
			runFile(t, file)
			code, _, errOut := call(t, "pub", "-config", file, "-t", "a", "-m", "x", "-q", "1")
			if want := "what answers on " + taken + " is not the gateway"; code != 1 || !strings.Contains(errOut, want) || !strings.Contains(errOut, "-url "+taken) {
				t.Errorf("exit code %d: %s", code, errOut)
			}
			if code, _, errOut := call(t, "pub", "-config", file, "-listener", other, "-t", "a", "-m", "x"); code != 0 {
				t.Errorf("exit code %d: %s", code, errOut)
			}
		})
	}
}

func TestPubAndSubReachMosquitto(t *testing.T) {
	address := runMosquitto(t, "allow_anonymous true\n")
	passOn(t, ways{"Mosquitto": {"-url", "mqtt://" + address}})
}

// runMosquitto runs one with a listener on loopback and the lines.
func runMosquitto(t *testing.T, lines string) (address string) {
	t.Helper()
	if _, err := os.Stat(mosquittoPath); err != nil {
		t.Skipf("%v: install the package mosquitto", err)
	}
	address = freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := "listener " + port + " 127.0.0.1\nuser root\nlog_type error\n" + lines
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startMosquitto(t, file, address)
	return address
}

const mosquittoPath = "/usr/sbin/mosquitto"

// startMosquitto runs one until the test ends, and waits until it listens.
func startMosquitto(t *testing.T, file, address string) {
	t.Helper()
	cmd := exec.Command(mosquittoPath, "-c", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	late := time.After(10 * time.Second)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-look.C:
		case <-late:
			t.Fatal("mosquitto does not listen")
		}
	}
}

func TestPubAndSubSayWhatWasRefused(t *testing.T) {
	file := runConfig(t, `
[auth]
users = "DIR/users"
[[auth.rule]]
user = "ann"
publish = ["ann/#"]
subscribe = ["ann/#"]
[[listener]]
address = "unix:DIR/mqtt.sock"
anonymous = false
`)
	as := func(args ...string) []string {
		return append(args, "-config", file, "-u", "ann", "-password-file", filepath.Join(filepath.Dir(file), "password"))
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "password"), []byte("secret\nbehind it"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		in   string
		code int
		out  string
		err  string
	}{
		{"nobody", []string{"pub", "-config", file, "-t", "a", "-m", "x"}, "", 1, "",
			"the broker refused the connection: not authorized (0x87): a user name and password are needed (say who you are with -u and -password-file; a gateway's users are made by packetboat passwd NAME)"},
		{"a wrong password", []string{"pub", "-config", file, "-t", "a", "-m", "x", "-u", "ann", "-P", "wrong"}, "", 1, "", "bad user name or password (0x86): wrong user name or password (check -u and the password)"},
		{"the password in a file", as("pub", "-t", "ann/a", "-m", "x", "-q", "1"), "", 0, "", "acknowledged, and nobody subscribes to ann/a"},
		{"it is retained", as("pub", "-t", "ann/a", "-m", "x", "-q", "1", "-r"), "", 0, "", "packetboat pub: acknowledged, and retained at ann/a for who subscribes later; nobody does now"},
		{"the last of several is retained", as("pub", "-t", "ann/a", "-l", "-q", "1", "-r"), "a\nb\n", 0, "", "the last one is retained at ann/a"},
		{"it is retained no more", as("pub", "-t", "ann/a", "-n", "-q", "1", "-r"), "", 0, "", "no message is retained at ann/a any more"},
		{"the password on standard input", []string{"pub", "-config", file, "-t", "ann/a", "-l", "-q", "1", "-u", "ann", "-password-file", "-", "-json"}, "secret\none\ntwo\n", 0,
			`{"topic":"ann/a","qos":1,"sent":2,"acknowledged":2,"no_subscribers":2,"refused":[]}`, ""},
		{"a topic of others", as("pub", "-t", "bob/a", "-m", "x", "-q", "1"), "", 1, "",
			"the broker refused it: not authorized (0x87): not allowed by the access rules (the broker must allow this user to publish to bob/a; packetboat route TOPIC -user NAME says what a gateway allows)"},
		{"at QoS 2", as("pub", "-t", "bob/a", "-m", "x", "-q", "2"), "", 1, "", "not authorized (0x87)"},
		{"of lines, each", as("pub", "-t", "bob/a", "-l", "-q", "1"), "a\nb\n", 1, "", "2 of 2 messages were refused (the broker must allow this user to publish to bob/a; packetboat route TOPIC -user NAME says what a gateway allows)\n  message 1: the broker refused it: not authorized (0x87): not allowed by the access rules\n  message 2:"},
		{"a filter of others", as("sub", "-t", "#"), "", 1, "", "the broker refused to subscribe to #: not authorized (0x87) (the broker must allow this user all that the filter matches"},
		{"one of two filters", as("sub", "-t", "ann/#", "-t", "bob/#"), "", 1, "", "to subscribe to bob/#: "},
		{"nothing comes", as("sub", "-t", "ann/#", "-C", "1", "-W", "10ms"), "", 1, "", "0 of 1 messages came in 10ms"},
		{"nothing comes, and need not", as("sub", "-t", "ann/#", "-W", "10ms"), "", 0, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			feed(t, c.in)
			code, out, errOut := call(t, c.args...)
			if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errOut, c.err) {
				t.Errorf("exit code %d\nout: %s\nerr: %s", code, out, errOut)
			}
		})
	}
	t.Run("the password in the environment", func(t *testing.T) {
		t.Setenv("PACKETBOAT_PASSWORD", "secret")
		mustCall(t, "pub", "-config", file, "-t", "ann/a", "-m", "x", "-q", "1", "-u", "ann")
	})
}

func TestSubPrintsWhatAMessageHas(t *testing.T) {
	file := runConfig(t, "[[listener]]\naddress = \"unix:DIR/mqtt.sock\"\n")
	sub := []string{"sub", "-config", file, "-t", "a/#", "-c", "-i", "reader", "-q", "1", "-W", "30"}
	call(t, append(sub[:len(sub)-1:len(sub)-1], "10ms")...)
	mustCall(t, "pub", "-config", file, "-t", "a/b", "-m", "21.5", "-q", "1", "-content-type", "text/plain", "-response", "a/answer", "-expiry", "1h")
	binary := filepath.Join(t.TempDir(), "binary")
	if err := os.WriteFile(binary, []byte{0xff, 0x01}, 0o600); err != nil {
		t.Fatal(err)
	}
	mustCall(t, "pub", "-config", file, "-t", "a/c", "-f", binary, "-q", "1")
	mustCall(t, "pub", "-config", file, "-t", "a/d", "-m", "é", "-q", "1")
	mustCall(t, "pub", "-config", file, "-t", "a/e", "-m", "e", "-q", "1")

	if out := mustCall(t, append(sub, "-C", "1", "-N", "-F", `%t|%p|%l|%x|%q|%r|%C|%R|%%\t%E`)...); !strings.HasPrefix(out, "a/b|21.5|4|32312e35|1|0|text/plain|a/answer|%\t3") {
		t.Errorf("%q", out)
	}
	out := mustCall(t, append(sub, "-C", "2", "-json")...)
	binaryLine, textLine, _ := strings.Cut(out, "\n")
	var got struct {
		Topic   string
		Payload *string
		Base64  []byte `json:"payload_base64"`
	}
	if err := json.Unmarshal([]byte(binaryLine), &got); err != nil || got.Payload != nil || string(got.Base64) != "\xff\x01" {
		t.Errorf("%v in %s", err, binaryLine)
	}
	if err := json.Unmarshal([]byte(textLine), &got); err != nil || got.Topic != "a/d" || *got.Payload != "é" {
		t.Errorf("%v in %s", err, textLine)
	}
	if out := mustCall(t, append(sub, "-C", "1", "-v")...); out != "a/e e\n" {
		t.Errorf("%q", out)
	}
}

func TestPubAndSubTellWrongUsage(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.toml")
	for _, c := range []struct{ args, want string }{
		{"pub", "-t TOPIC"},
		{"pub -t a", "say what: -m TEXT"},
		{"pub -t a -m x -n", "-m and -n are two messages"},
		{"pub -t a/# -m x", "one topic, without + and #"},
		{"pub -t a -m x -q 3", "-q must be 0, 1 or 2"},
		{"pub -t a -m x -V 4.0", "-V 4.0: there are 5, 3.1.1 and 3.1"},
		{"pub -t a -m x -V 3.1.1 -expiry 1m", "are of MQTT 5"},
		{"pub -t a -m x -url http://h", "-url has the scheme http"},
		{"pub -t a -m x -url mqtt://me:secret@h", "-url must not have a user name in it"},
		{"pub -t a -m x -config " + none, "-url URL needs no configuration"},
		{"pub -t a -m x -P a -password-file b", "give one"},
		{"pub -t a -m x -V 3.1.1 -P a -url h", "a password needs a user name"},
		{"sub", "-t TOPIC"},
		{"sub -t a#", "no topic filter"},
		{"sub -t a -F %y", "%y means nothing"},
		{"sub -t a -F %t -v", "three ways to print"},
		{"sub -t a -c", "-c needs -i"},
		{"sub -t a -W soon", "must be seconds"},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, out, errOut := call(t, strings.Fields(c.args)...)
			if code != 2 || out != "" || !strings.Contains(errOut, c.want) || strings.Contains(errOut, "secret") {
				t.Errorf("exit code %d\nout: %s\nerr: %s", code, out, errOut)
			}
		})
	}
}

func TestPubKnowsTheGatewayByItsCertificate(t *testing.T) {
	address := freeAddress(t)
	cert, key := serverCert(t)
	file := runConfig(t, fmt.Sprintf("[[listener]]\naddress = %q\nanonymous = true\ntls = { cert = %q, key = %q }\n", address, cert, key))
	other, _ := serverCert(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := filepath.Join(t.TempDir(), "changed.toml")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), cert, other, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := call(t, "pub", "-config", changed, "-t", "a", "-m", "x"); code != 1 || !strings.Contains(errOut, "certificate") {
		t.Errorf("another's certificate: exit code %d, %s", code, errOut)
	}
	if code, _, errOut := call(t, "pub", "-url", "mqtts://"+address, "-t", "a", "-m", "x"); code != 1 || !strings.Contains(errOut, "certificate") {
		t.Errorf("one that no authority has signed: exit code %d, %s", code, errOut)
	}
}
