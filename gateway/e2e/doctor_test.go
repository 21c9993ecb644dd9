package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/gateway/doctor"
)

// diagnosis is what doctor says about a gateway's bridges, and its exit code.
func diagnosis(t *testing.T, g *gateway, args ...string) (all []doctor.Finding, code int) {
	t.Helper()
	out, code := g.tool(append([]string{"doctor", "-json", "-timeout", "2s"}, args...)...)
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var f doctor.Finding
		if err := d.Decode(&f); err != nil {
			t.Fatalf("packetboat doctor: %v: %s", err, out)
		}
		all = append(all, f)
	}
	return all, code
}

// findingOf is that of a check; the newest when there are several.
func findingOf(all []doctor.Finding, check string) (f doctor.Finding) {
	for _, x := range all {
		if x.Check == check {
			f = x
		}
	}
	return f
}

func TestDoctorNamesTheStepThatFails(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t, "Ours"), newAuthority(t, "Theirs")
	ourFile, theirFile := filepath.Join(t.TempDir(), "ours.crt"), filepath.Join(t.TempDir(), "theirs.crt")
	ours.file(ourFile)
	theirs.file(theirFile)
	good, old, other, young, stranger := newPair(t), newPair(t), newPair(t), newPair(t), newPair(t)
	theirs.issue("gateway", stranger)
	ours.issue("cloud", good)
	ours.issueAs("cloud", old, ended)
	ours.issueAs("cloud", other, otherHost)
	ours.issueAs("cloud", young, of1970)
	plain, closed := newMosquitto(t, anonymous), newMosquitto(t, "allow_anonymous false")
	secure := func(p pair) string {
		return newMosquitto(t, anonymous+fmt.Sprintf("\ncertfile %s\nkeyfile %s\n", p.cert, p.key)).address
	}
	mutual := newMosquitto(t, anonymous+fmt.Sprintf("\ncertfile %s\nkeyfile %s\ncafile %s\nrequire_certificate true\n", good.cert, good.key, ourFile)).address
	proxy := newHTTPProxy(t, "user", "s3cr3t")
	silent := listening(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<10)); <-t.Context().Done() })
	busy := listening(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1<<10))
		_, _ = c.Write(packet.AppendConnack(nil, packet.V5, &packet.Connack{Code: packet.ServerBusy, ReasonString: "come later"}))
	})
	ca := func(file string) string { return fmt.Sprintf("[bridge.tls]\nca = %q\n", file) }
	for _, c := range []struct {
		name, url, more string
		check           string // the last step
		outcome         string
		text, remedy    string
	}{
		{"all is well", "mqtt://" + plain.address, "", "round trip", "ok", "QoS 1 by e2e/doctor", ""},
		{"all is well with MQTT 3.1.1", "mqtt://" + plain.address, "version = \"3.1.1\"\n", "round trip", "ok", "QoS 1 by e2e/doctor", ""},
		{"all is well with TLS", "mqtts://" + secure(good), ca(ourFile), "round trip", "ok", "", ""},
		{"all is well through a proxy", "mqtts://" + secure(good), fmt.Sprintf("proxy = \"http://user:s3cr3t@%s\"\n", proxy.address) + ca(ourFile), "round trip", "ok", "", ""},
		{"the proxy does not take the password", "mqtts://" + secure(good), fmt.Sprintf("proxy = \"http://user:other@%s\"\n", proxy.address) + ca(ourFile), "proxy", "FAILED", "it does not take the user name and password", "correct them in its URL"},
		{"the server wants a client certificate", "mqtts://" + mutual, ca(ourFile), "TLS", "FAILED", "client certificate", "give tls.cert and tls.key"},
		{"the client's certificate is another one", "mqtts://" + mutual, ca(ourFile) + fmt.Sprintf("cert = %q\nkey = %q\n", stranger.cert, stranger.key), "TLS", "FAILED", "does not take the client certificate", "registered there"},
		{"the name is wrong", "mqtt://cloud.invalid", "", "name", "FAILED", "cloud.invalid", "name"},
		{"nobody listens", "mqtt://" + freePort(t), "", "connection", "FAILED", "connection refused", "nothing listens at that port"},
		{"the authority is another one", "mqtts://" + secure(good), ca(theirFile), "TLS", "FAILED", "signed by an authority that is not known here", "tls.ca has others"},
		{"the certificate has expired", "mqtts://" + secure(old), ca(ourFile), "TLS", "FAILED", "has expired", "renewed there"},
		{"the certificate is for another host", "mqtts://" + secure(other), ca(ourFile), "TLS", "FAILED", "it is for other.test, not for 127.0.0.1", "tls.server_name"},
		{"the certificate is not valid yet", "mqtts://" + secure(young), ca(ourFile), "TLS", "FAILED", "is not valid yet", "clock"},
		{"the port is without TLS", "mqtts://" + plain.address, ca(ourFile), "TLS", "FAILED", "", "speaks TLS at this port"},
		{"the file is missing", "mqtts://" + plain.address, ca("/nowhere/ca.crt"), "files", "FAILED", "/nowhere/ca.crt", "put the file there"},
		{"the password is wrong", "mqtt://" + closed.address, "username = \"gw\"\npassword = \"wrong\"\n", "login", "FAILED", "not authorized", "check username, password"},
		{"CONNECT is refused", "mqtt://" + busy, "", "login", "FAILED", "server busy (0x89): come later", "overloaded"},
		{"CONNECT has no answer", "mqtt://" + silent, "", "login", "FAILED", "no answer to CONNECT within 2s", "does not answer as an MQTT broker"},
		{"the source is an interface that is not there", "mqtt://" + plain.address, "source = \"wwan7\"\n", "way", "FAILED", "wwan7", "not there now"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			section := strings.Replace(bridgeTo("x", c.more+upRule), "mqtt://x", c.url, 1)
			g := newGateway(t, section)
			began := time.Now()
			all, code := diagnosis(t, g, "cloud")
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			if len(all) == 0 {
				t.Fatal("it says nothing")
			}
			f := all[len(all)-1]
			if f.Check != c.check || string(f.Outcome) != c.outcome || !strings.Contains(f.Text, c.text) || !strings.Contains(f.Remedy, c.remedy) {
				t.Errorf("the last step is %+v", f)
			}
			if wantCode := map[string]int{"ok": 0, "FAILED": 1}[c.outcome]; code != wantCode {
				t.Errorf("exit code %d", code)
			}
			for _, f := range all[:len(all)-1] {
				if f.Outcome != "ok" {
					t.Errorf("before that: %+v", f)
				}
			}
		})
	}
}

// listening serves each connection until the end of the test.
func listening(t *testing.T, handle func(c net.Conn)) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); handle(c) }()
		}
	}()
	return ln.Addr().String()
}

func TestDoctorIsAGuestThatChangesNothing(t *testing.T) {
	t.Parallel()
	cloud := newMosquitto(t, anonymous)
	g := newGateway(t, bridgeTo(cloud.address, upRule+"[[bridge.down]]\nfilter = \"cmd/#\"\n"))
	g.start()
	online := func() bool { return details(t, g).State == "online" }
	g.await("it is online", online)
	before := details(t, g)
	all, code := diagnosis(t, g, "cloud")
	if f := findingOf(all, "round trip"); code != 0 || f.Outcome != "ok" {
		t.Errorf("exit code %d, %+v", code, f)
	}
	if after := details(t, g); after.Counters.Connects != before.Counters.Connects {
		t.Error("the bridge was disconnected")
	}

	// With its own id it takes the connection over, and leaves the session: what comes
	// meanwhile is there for the bridge.
	g.stop()
	dialClient(t, cloud.address, "operator", packet.V5).publish(packet.Publish{Topic: "cmd/valve", Payload: []byte("open"), QoS: 1})
	all, code = diagnosis(t, g, "-own-id", "cloud")
	if f := findingOf(all, "login"); code != 0 || !strings.Contains(f.Text, "as e2e: let in") {
		t.Errorf("exit code %d, %+v", code, f)
	}
	if f := findingOf(all, "round trip"); f.Outcome != "skipped" || !strings.Contains(f.Text, "session") {
		t.Errorf("%+v", f)
	}
	g.start()
	g.await("the command arrives", func() bool { return details(t, g).Counters.Received > 0 })
	if n := details(t, g).Counters.SessionsLost; n != 0 {
		t.Errorf("the session was lost %d times", n)
	}
	g.stop()
}

func TestDoctorLeavesNoSessionOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"5", `"3.1.1"`} {
		cloud := newMosquitto(t, anonymous)
		g := newGateway(t, bridgeTo(cloud.address, fmt.Sprintf("version = %s\n", version)+upRule))
		for range 2 { // a session that the first had left would be found by the second
			all, code := diagnosis(t, g, "-own-id", "cloud")
			if f := findingOf(all, "round trip"); code != 0 || f.Outcome != "ok" {
				t.Errorf("version %s: exit code %d, %+v", version, code, all)
			}
		}
	}
}

func TestDoctorSkipsWhatIsNotAllowed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, rule, version, why string }{
		{"to read", "topic write e2e/#\n", "5", "does not send it back"},
		{"to publish", "topic read e2e/#\n", "5", "it may not publish there: not authorized (0x87)"},
		{"to read, with MQTT 3.1.1", "topic write e2e/#\n", `"3.1.1"`, "does not send it back"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rules := filepath.Join(t.TempDir(), "acl")
			write(t, rules, c.rule)
			cloud := newMosquitto(t, anonymous+"\nacl_file "+rules)
			g := newGateway(t, bridgeTo(cloud.address, "version = "+c.version+"\n"+upRule))
			all, code := diagnosis(t, g, "cloud")
			f := findingOf(all, "round trip")
			if code != 0 || f.Outcome != "skipped" || !strings.Contains(f.Text, "topic e2e/doctor: ") || !strings.Contains(f.Text, c.why) || f.Remedy == "" {
				t.Errorf("exit code %d, %+v", code, f)
			}
		})
	}
}

func TestDoctorLooksAtTheMachine(t *testing.T) {
	t.Parallel()
	taken := newMosquitto(t, anonymous)
	g := newGateway(t, fmt.Sprintf("[[listener]]\naddress = %q\n%s", taken.address, serialAt("/dev/serial/by-id/usb-nobody_*", "")))
	g.start()
	all, code := diagnosis(t, g)
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	find := func(subject, check string) doctor.Finding {
		for _, f := range all {
			if f.Subject == subject && f.Check == check {
				return f
			}
		}
		t.Errorf("nothing about %s, %s", subject, check)
		return doctor.Finding{}
	}
	for _, c := range []struct{ subject, check, outcome, text string }{
		{"configuration", "keys", "ok", g.config},
		{"listener " + g.mqtt, "port", "ok", fmt.Sprintf("listened on by the gateway (process %d)", g.cmd.Process.Pid)},
		{"listener " + taken.address, "port", "FAILED", fmt.Sprintf("mosquitto (process %d) listens there", taken.cmd.Process.Pid)},
		{"data directory", "writable", "ok", g.data},
		{"data directory", "space", "ok", "free"},
		{"data directory", "inodes", "ok", "free"},
		{"data directory", "syncs", "", "20 of 512 bytes"},
		{"machine", "open files", "", "the configuration needs"},
		{"machine", "clock", "", time.Now().UTC().Format("2006-01-02")},
		{"adapter scale", "serial port", "FAILED", "is the device plugged in"},
		{"gateway", "status", "", "adapter scale is not ready"},
	} {
		if f := find(c.subject, c.check); c.outcome != "" && string(f.Outcome) != c.outcome || c.check != "status" && !strings.Contains(f.Text, c.text) {
			t.Errorf("%+v, want %s, %q", f, c.outcome, c.text)
		}
	}
	if out, code := g.tool("doctor", "nobody"); code != 2 || !strings.Contains(out, "no bridge is called nobody; there are none") {
		t.Errorf("exit code %d: %s", code, out)
	}
	g.stop()
}
