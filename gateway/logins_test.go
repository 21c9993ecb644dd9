package gateway

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"packetboat/broker"
	"packetboat/broker/packet"
	"packetboat/broker/users"
	"packetboat/config"
)

// usersFile makes a file of users whose passwords are their names.
func usersFile(t *testing.T, names ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	if err := users.Edit(path, nil, func(l *users.List) error {
		for _, name := range names {
			if err := l.Set(name, []byte(name)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhoIsLetIn(t *testing.T) {
	open := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1883}
	shut := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1883}
	unknown := &net.UnixAddr{Net: "unix", Name: "127.0.0.1:1883"} // the name of another kind
	const bad = packet.BadUserNameOrPassword
	for _, c := range []struct {
		name  string
		users string // the file's
		at    net.Addr
		shown broker.Credentials
		user  string
		code  byte
	}{
		{"nobody in particular, where that is allowed", "bob", open, broker.Credentials{}, "", 0},
		{"nobody in particular, elsewhere", "bob", shut, broker.Credentials{}, "", packet.NotAuthorized},
		{"on a listener that nothing is known of", "bob", unknown, broker.Credentials{}, "", packet.NotAuthorized},
		{"a password alone is nobody", "bob", shut, broker.Credentials{HasPassword: true, Password: []byte("bob")}, "", packet.NotAuthorized},
		{"a user", "bob", shut, broker.Credentials{HasUser: true, User: "bob", HasPassword: true, Password: []byte("bob")}, "bob", 0},
		{"a user where none is needed", "bob", open, broker.Credentials{HasUser: true, User: "bob", HasPassword: true, Password: []byte("bob")}, "bob", 0},
		{"a wrong password", "bob", shut, broker.Credentials{HasUser: true, User: "bob", HasPassword: true, Password: []byte("eve")}, "", bad},
		{"a wrong password where none is needed", "bob", open, broker.Credentials{HasUser: true, User: "bob", HasPassword: true, Password: []byte("eve")}, "", bad},
		{"no password", "bob", shut, broker.Credentials{HasUser: true, User: "bob"}, "", bad},
		{"an unknown user", "bob", shut, broker.Credentials{HasUser: true, User: "eve", HasPassword: true, Password: []byte("eve")}, "", bad},
		{"an empty name", "bob", open, broker.Credentials{HasUser: true}, "", bad},
		{"a name that says nothing, as there are no users", "", open, broker.Credentials{HasUser: true, User: "eve", HasPassword: true}, "", 0},
		{"a name where one is needed, and there are no users", "", shut, broker.Credentials{HasUser: true, User: "eve", HasPassword: true}, "", bad},
		{"a certificate's name is enough", "bob", shut, broker.Credentials{HasUser: true, User: "device", Verified: true}, "device", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := logins{users: users.New(users.Options{Path: usersFile(t, strings.Fields(c.users)...)}), anonymous: map[string]bool{}}
			l.let(open, true)
			l.let(shut, false)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- l.users.Run(ctx) }()
			c.shown.Listener, c.shown.Remote = c.at, "10.0.0.2:40000"
			if user, code := l.authenticate(&c.shown); user != c.user || code != c.code {
				t.Errorf("user %q, code 0x%02X", user, code)
			}
			cancel()
			<-ended
		})
	}
}

func TestTheAddressOfAPeer(t *testing.T) {
	for remote, want := range map[string]string{"10.0.0.2:40000": "10.0.0.2", "[fe80::1%eth0]:1": "fe80::1%eth0", "@": "invalid IP", "": "invalid IP"} {
		if got := addressOf(remote).String(); got != want {
			t.Errorf("%q: %s", remote, got)
		}
	}
}

const mutual = "[listener.tls]\ncert = \"c\"\nkey = \"k\"\nclient_ca = \"a\"\nclient_cert = "

func TestListenersWhereNobodyCanLogInAreNamed(t *testing.T) {
	const remote = "[[listener]]\naddress = \"0.0.0.0:1883\"\n"
	with, none, empty := usersFile(t, "bob"), filepath.Join(t.TempDir(), "none"), usersFile(t)
	const others = "or have client certificates that name the users ([listener.tls] with client_cert = \"username\"); set anonymous = true only if everybody who reaches 0.0.0.0:1883 may connect"
	for _, c := range []struct{ name, file, text, want string }{
		{"there are users", with, remote, ""},
		{"there is no file", none, remote, "listener[0].anonymous: false lets nobody connect: there is no users file " + none + ". Make a user (packetboat passwd NAME), " + others},
		{"there is nobody in it", empty, remote, "listener[0].anonymous: false lets nobody connect: there are no users in " + empty + ". Make a user (packetboat passwd NAME), " + others},
		{"there is to be none", "", remote, "listener[0].anonymous: false lets nobody connect: auth.users is empty. Make a user (packetboat passwd NAME), " + others},
		{"everybody may", none, remote + "anonymous = true\n", ""},
		{"everybody on this machine may", none, "[[listener]]\naddress = \"127.0.0.1:1883\"\n", ""},
		{"nobody on this machine may", none, "[[listener]]\naddress = \"127.0.0.1:1883\"\nanonymous = false\n", "false lets nobody connect"},
		{"a socket of systemd may be reached from anywhere", none, "[[listener]]\naddress = \"systemd:mqtt\"\n", "reaches systemd:mqtt may connect"},
		{"certificates name the users", none, remote + mutual + "\"username\"\n", ""},
		{"certificates alone are no users", none, remote + mutual + "\"required\"\n", "(packetboat passwd NAME), or have client_cert = \"username\"; set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Check(parse(t, fmt.Sprintf("[auth]\nusers = %q\n%s", c.file, c.text)))
			switch {
			case c.want == "" && len(got) != 0, c.want != "" && len(got) != 1:
				t.Errorf("%v", got)
			case c.want != "" && !strings.Contains(got.Error(), c.want):
				t.Errorf("%v\nnot\n%s", got, c.want)
			}
		})
	}
}

func TestAUsersFileForEverybodyIsAMistake(t *testing.T) {
	path := usersFile(t, "bob")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	got := Check(parse(t, fmt.Sprintf("[auth]\nusers = %q\n", path)))
	want := fmt.Sprintf("auth.users: everybody on this machine may read or write %[1]s (mode 0644), and guess the passwords: chmod o= %[1]s", path)
	if len(got) != 1 || !strings.HasSuffix(got.Error(), want) {
		t.Errorf("%v\nnot\n%s", got, want)
	}
}

func TestLinesOfTheUsersFileThatCannotBeUsedAreMistakes(t *testing.T) {
	path := usersFile(t, "bob")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("eve:hunter2\nhunter3\n")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	got := CheckFiles(parse(t, fmt.Sprintf("[auth]\nusers = %q\n", path)))
	if text := fmt.Sprint(got); len(got) != 2 || strings.Contains(text, "hunter") || !strings.Contains(text, path+`: line 2: user "eve": `) || !strings.Contains(text, path+": line 3: ") {
		t.Error(text)
	}
	if got := CheckFiles(parse(t, "[auth]\nusers = \"none\"\n")); len(got) != 0 {
		t.Error(got)
	}
	if got := CheckFiles(parse(t, fmt.Sprintf("[auth]\nusers = %q\n", t.TempDir()))); len(got) != 1 {
		t.Error(got)
	}
}

func TestTheUsersFileIsBesideTheConfiguration(t *testing.T) {
	cfg, err := config.Parse("/etc/gw/p.toml", []byte("[auth]\nusers = \"people\"\n"), config.Options{})
	if err != nil || cfg.Auth.Users != "/etc/gw/people" {
		t.Errorf("%v, %v", cfg, err)
	}
}
