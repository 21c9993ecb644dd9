package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"packetboat/broker/users"
)

// say has the next command find text on standard input.
func say(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stdin
	os.Stdin = f
	t.Cleanup(func() {
		os.Stdin = was
		f.Close()
	})
}

func TestPasswd(t *testing.T) {
	dir := t.TempDir()
	cfg, file := filepath.Join(dir, "p.toml"), filepath.Join(dir, "people")
	if err := os.WriteFile(cfg, []byte("[gateway]\nid = \"g\"\ndata_dir = \""+dir+"\"\n[auth]\nusers = \"people\"\n[[listener]]\naddress = \":1883\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		in       string
		args     []string
		code     int
		out, err string
	}{
		{"the file is not there yet", "", []string{"-config", cfg, "-list"}, 1, "", "no such file"},
		{"nor is somebody to be removed", "", []string{"-config", cfg, "-delete", "bob"}, 1, "", "no such file"},
		{"a user is added", "s3cret\nmore\n", []string{"-config", cfg, "bob"}, 0, "user bob was added to " + file + "\n", ""},
		{"another, in the other order", "s3cret", []string{"eve", "-file", file}, 0, "user eve was added to " + file + "\n", ""},
		{"a line of Windows", "s3cret\r\n", []string{"-file", file, "al"}, 0, "user al was added", ""},
		{"the password is changed", "another\n", []string{"-config", cfg, "bob"}, 0, "user bob has another password now, in " + file + "\n", ""},
		{"they are listed", "", []string{"-config", cfg, "-list"}, 0, "bob\neve\nal\n", ""},
		{"one is removed", "", []string{"-config", cfg, "-delete", "eve"}, 0, "user eve was removed from " + file + "\n", ""},
		{"who is not there cannot be", "", []string{"-config", cfg, "-delete", "eve"}, 1, "", `there is no user "eve"`},
		{"an empty password", "\n", []string{"-config", cfg, "eve"}, 1, "", "the password is empty"},
		{"nothing on standard input", "", []string{"-config", cfg, "eve"}, 1, "", "the password is empty"},
		{"a name that cannot be", "s3cret\n", []string{"-config", cfg, "a:b"}, 1, "", "no colon"},
		{"no name", "", []string{"-config", cfg}, 2, "", "usage: packetboat passwd [-config"},
		{"two names", "", []string{"-config", cfg, "a", "b"}, 2, "", "usage: packetboat passwd [-config"},
		{"a list of one", "", []string{"-config", cfg, "-list", "bob"}, 2, "", "usage: packetboat passwd [-config"},
		{"no configuration", "", []string{"-config", cfg + "x", "bob"}, 2, "", "-file FILE needs no configuration"},
		{"no directory", "s3cret\n", []string{"-file", filepath.Join(dir, "none", "users"), "bob"}, 1, "", "open the directory of the users file"},
	} {
		say(t, c.in)
		code, out, errOut := call(t, append([]string{"passwd"}, c.args...)...)
		if code != c.code || c.code == 0 && !strings.HasPrefix(out, c.out) || !strings.Contains(errOut, c.err) || strings.Contains(out+errOut, "s3cret") {
			t.Errorf("%s: exit code %d\n%s%s", c.name, code, out, errOut)
		}
	}
	l, err := users.Read(file)
	if err != nil || !slices.Equal(l.Names(), []string{"bob", "al"}) {
		t.Errorf("%q, %v", l.Names(), err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if code, _, errOut := call(t, "check", "-config", cfg); code != 0 {
		t.Error(errOut)
	}
}

func TestWithoutUsersARemoteListenerIsAMistakeThatNamesPasswd(t *testing.T) {
	cfg := filepath.Join(t.TempDir(), "p.toml")
	if err := os.WriteFile(cfg, []byte("[gateway]\nid = \"g\"\n[auth]\nusers = \"people\"\n[[listener]]\naddress = \":1883\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"check", "run"} {
		if code, _, errOut := call(t, command, "-config", cfg); code != 2 || !strings.Contains(errOut, "p.toml:5:3: listener[0].anonymous: false lets nobody connect") || !strings.Contains(errOut, "packetboat passwd NAME") {
			t.Errorf("%s: exit code %d\n%s", command, code, errOut)
		}
	}
}
