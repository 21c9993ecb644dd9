package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/creack/pty"

	"packetboat/broker/packet"
)

// newGuarded prepares a gateway whose listener needs users; their file is beside
// its configuration.
func newGuarded(t *testing.T, more string) (g *gateway, file string) {
	t.Helper()
	g = newGateway(t, "anonymous = false\n[auth]\nusers = \"users\"\n"+more)
	return g, filepath.Join(filepath.Dir(g.config), "users")
}

// passwd runs the command with that on standard input.
func (g *gateway) passwd(password string, args ...string) {
	g.t.Helper()
	c := exec.Command(binary, append([]string{"passwd", "-config", g.config}, args...)...)
	c.Stdin = strings.NewReader(password + "\n")
	if out, err := c.CombinedOutput(); err != nil {
		g.t.Fatalf("packetboat passwd %v: %v\n%s", args, err, out)
	}
}

// login connects as a user, from an address of this machine ("": any), and gives
// the code of CONNACK.
func login(t *testing.T, address, from, id, user, password string, version byte) (net.Conn, byte) {
	t.Helper()
	conn, ack, err := tryLogin(address, from, id, user, password, version)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, ack
}

func tryLogin(address, from, id, user, password string, version byte) (net.Conn, byte, error) {
	var d net.Dialer
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		return nil, 0, err
	}
	c := &packet.Connect{Version: version, CleanStart: true, ClientID: id, HasUser: true, User: user, HasPass: true, Password: []byte(password)}
	if _, err := conn.Write(packet.AppendConnect(nil, c)); err != nil {
		return conn, 0, err
	}
	var buf []byte
	for {
		chunk := make([]byte, 1024)
		n, err := conn.Read(chunk)
		if err != nil {
			return conn, 0, err
		}
		buf = append(buf, chunk[:n]...)
		typ, _, body, size, err := packet.Next(buf, 0)
		if err != nil || size > 0 && typ != packet.CONNACK {
			return conn, 0, fmt.Errorf("packet of type %d: %v", typ, err)
		}
		if size > 0 {
			return conn, body[1], nil
		}
	}
}

func TestMosquittosClientsLogInWithMosquittosFiles(t *testing.T) {
	t.Parallel()
	g, file := newGuarded(t, "[limits]\nfailed_logins = 0\n")
	for _, args := range [][]string{
		{"-c", "-b", file, "pbkdf2", "secret 7"},
		{"-b", "-H", "sha512", file, "sha512", "secret 6"},
	} {
		if out, err := exec.Command("mosquitto_passwd", args...).CombinedOutput(); err != nil {
			t.Fatalf("mosquitto_passwd: %v\n%s", err, out)
		}
	}
	g.passwd("sécret", "ours")
	if out, code := g.tool("check"); code != 0 {
		t.Fatal(out)
	}
	g.start()
	host, port, _ := net.SplitHostPort(g.mqtt)
	for _, c := range []struct {
		user, password string
		says           string // when it is not let in
	}{
		{"pbkdf2", "secret 7", ""},
		{"sha512", "secret 6", ""},
		{"ours", "sécret", ""},
		{"pbkdf2", "secret 6", "bad user name or password"},
		{"sha512", "", "bad user name or password"},
		{"nobody", "secret 7", "bad user name or password"},
		{"", "", "not authorised"},
	} {
		for _, version := range []string{"311", "5"} {
			args := []string{"-h", host, "-p", port, "-V", version, "-t", "t", "-m", "m", "-q", "1"}
			if c.user != "" {
				args = append(args, "-u", c.user, "-P", c.password)
			}
			out, err := exec.Command("mosquitto_pub", args...).CombinedOutput()
			if c.says == "" && err != nil {
				t.Errorf("%s, MQTT %s: %v\n%s", c.user, version, err, out)
			}
			text := strings.ToLower(strings.ReplaceAll(string(out), "username", "user name"))
			if c.says != "" && (err == nil || !strings.Contains(text, c.says) && !strings.Contains(text, "not authorized")) {
				t.Errorf("%s with %q, MQTT %s: %v\n%s", c.user, c.password, version, err, out)
			}
		}
	}
	if strings.Contains(g.said(), "secret") {
		t.Error("a password is in the log")
	}
}

func TestUsersChangeWhileClientsAreConnected(t *testing.T) {
	t.Parallel()
	g, _ := newGuarded(t, "")
	for _, name := range []string{"stays", "changed", "gone"} {
		g.passwd(name, name)
	}
	g.start()
	conns := map[string]net.Conn{}
	for _, name := range []string{"stays", "changed", "gone"} {
		conn, code := login(t, g.mqtt, "", name, name, name, packet.V5)
		if code != 0 {
			t.Fatalf("%s: code 0x%02X", name, code)
		}
		conns[name] = conn
	}
	g.passwd("another", "changed")
	g.passwd("", "-delete", "gone")
	g.reload() // it would see by itself, too, some seconds later
	buf := make([]byte, 100)
	n, err := conns["gone"].Read(buf)
	if err != nil || n < 3 || buf[0] != packet.DISCONNECT<<4 || buf[2] != packet.NotAuthorized {
		t.Errorf("who is gone hears %x, %v", buf[:n], err)
	}
	for _, name := range []string{"stays", "changed"} {
		if _, err := conns[name].Write(packet.AppendPing(nil, packet.PINGREQ)); err != nil {
			t.Fatal(err)
		}
		if n, err := conns[name].Read(buf); err != nil || !slices.Equal(buf[:n], packet.AppendPing(nil, packet.PINGRESP)) {
			t.Errorf("%s hears %x, %v", name, buf[:n], err)
		}
	}
	for _, c := range []struct {
		user, password string
		code           byte
	}{
		{"gone", "gone", packet.BadUserNameOrPassword},
		{"changed", "changed", packet.BadUserNameOrPassword},
		{"changed", "another", 0},
	} {
		if _, code := login(t, g.mqtt, "", "x", c.user, c.password, packet.V5); code != c.code {
			t.Errorf("%s with %s: code 0x%02X", c.user, c.password, code)
		}
	}
	// And without a reload, when nobody logs in.
	g.passwd("", "-delete", "stays")
	if n, err := conns["stays"].Read(buf); err != nil || n < 3 || buf[2] != packet.NotAuthorized {
		t.Errorf("who is gone hears %x, %v", buf[:n], err)
	}
	// A file that everybody may read is no configuration to reload.
	if err := os.Chmod(filepath.Join(filepath.Dir(g.config), "users"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, code := g.tool("reload"); code != 2 || !strings.Contains(out, "chmod o=") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestAPasswordIsAskedForOnATerminalWithoutEcho(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		first, second string
		code          int
		says          string
	}{
		{"twice the same", "s3cret", "s3cret", 0, "user bob was added"},
		{"two different ones", "s3cret", "s3crets", 1, "differ; nothing was changed"},
		{"given up", "\x03", "", 1, "given up; nothing was changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "users")
			cmd := exec.Command(binary, "passwd", "-file", file, "bob")
			tty, err := pty.Start(cmd)
			if err != nil {
				t.Fatal(err)
			}
			defer tty.Close()
			said := ""
			until := func(text string) {
				buf := make([]byte, 1000)
				for !strings.Contains(said, text) {
					n, err := tty.Read(buf)
					if said += string(buf[:n]); err != nil {
						return // the end
					}
				}
			}
			until("Password for bob: ")
			fmt.Fprint(tty, c.first)
			if c.second != "" {
				fmt.Fprint(tty, "\n")
				until("Once more: ")
				fmt.Fprint(tty, c.second+"\n")
			}
			until("never")
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(said, c.says) || strings.Contains(said, "s3cret") {
				t.Errorf("exit code %d\n%q", code, said)
			}
			if _, err := os.Stat(file); (err == nil) != (c.code == 0) {
				t.Errorf("the file: %v", err)
			}
		})
	}
}
