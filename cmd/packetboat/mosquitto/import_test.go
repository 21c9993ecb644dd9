package mosquitto

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"packetboat/config"
	"packetboat/gateway"
)

var update = flag.Bool("update", false, "write what the imports give as what they are to give")

// options read from testdata only, whatever there is on this machine.
func options() Options {
	hidden := func(path string) error {
		if filepath.IsAbs(path) {
			return &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		return nil
	}
	return Options{
		ReadFile: func(path string) ([]byte, error) {
			if err := hidden(path); err != nil {
				return nil, err
			}
			return os.ReadFile(path)
		},
		ReadDir: func(dir string) ([]string, error) {
			if err := hidden(dir); err != nil {
				return nil, err
			}
			entries, err := os.ReadDir(dir)
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			return names, err
		},
		Hostname: "plant",
	}
}

// check checks a result as packetboat check does, but for files of TLS.
func check(t *testing.T, r *Result) *config.Config {
	t.Helper()
	dir := t.TempDir()
	for _, f := range r.Files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Parse(filepath.Join(dir, "packetboat.toml"), r.TOML, config.Options{Hostname: func() (string, error) { return "plant", nil }})
	if err != nil {
		t.Fatalf("%v, in\n%s", err, r.TOML)
	}
	if errs := gateway.Check(cfg); len(errs) > 0 {
		t.Errorf("%v, in\n%s", errs, r.TOML)
	}
	return cfg
}

// TestConfigurationsAreCarriedOver: each directory of testdata has a mosquitto.conf
// of a shape that there is in the field, want.toml, and want.txt with what is said.
func TestConfigurationsAreCarriedOver(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/mosquitto.conf")
	if err != nil || len(dirs) < 10 {
		t.Fatalf("%d shapes, %v", len(dirs), err)
	}
	for _, file := range dirs {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			r, err := Import(file, options())
			if err != nil {
				t.Fatal(err)
			}
			check(t, r)
			var said bytes.Buffer
			for _, n := range r.Notes {
				fmt.Fprintf(&said, "%s\n    %s\n", n.Kind, n)
			}
			for _, f := range r.Files {
				fmt.Fprintf(&said, "file %s, %d bytes\n", f.Name, len(f.Data))
			}
			golden(t, filepath.Join(dir, "want.toml"), r.TOML)
			golden(t, filepath.Join(dir, "want.txt"), said.Bytes())
			for _, secret := range []string{"s3cret", "sig=abc", "$7$"} {
				if bytes.Contains(r.TOML, []byte(secret)) || bytes.Contains(said.Bytes(), []byte(secret)) {
					t.Errorf("it shows the secret %s", secret)
				}
			}
		})
	}
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is to be\n%s\nand is\n%s", file, want, got)
	}
}

// text imports a configuration that is one text; other files are those of testdata.
func text(t testing.TB, conf string, files map[string]string) *Result {
	t.Helper()
	o := options()
	o.ReadFile = func(path string) ([]byte, error) {
		if path == "m.conf" {
			return []byte(conf), nil
		}
		if text, ok := files[path]; ok {
			return []byte(text), nil
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	r, err := Import("m.conf", o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEachOptionOfTheManualIsKnown(t *testing.T) {
	data, err := os.ReadFile("testdata/options.txt")
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(data))
	if len(names) < 110 {
		t.Fatalf("%d options", len(names))
	}
	for _, name := range names {
		name = strings.ReplaceAll(name, "*", "x")
		for _, value := range []string{"1", "true", "false", "nonsense"} {
			r := text(t, "connection c\n"+name+" "+value+"\n", nil)
			for _, n := range r.Notes {
				if strings.Contains(n.Text, "is no option") {
					t.Errorf("%s: %s", name, n)
				}
			}
		}
	}
	if r := text(t, "no_such_option 1\n", nil); len(r.Notes) != 1 || r.Notes[0].Kind != Lost || r.Notes[0].String() != "m.conf:1: no_such_option: is no option of Mosquitto 2.0; it was left out" {
		t.Errorf("%v", r.Notes)
	}
}

// TestNothingIsLetInThatMosquittoKeptOut: what a gateway would take that Mosquitto
// would not.
func TestNothingIsLetInThatMosquittoKeptOut(t *testing.T) {
	const tls = "certfile c\nkeyfile k\n"
	for _, c := range []struct {
		name, conf string
		files      map[string]string
		has, not   string // what the result has, and has not
	}{
		{"nobody may log in", "listener 1883\n", nil, "# [[listener]]", "\n[[listener]]"},
		{"a plugin decides", "listener 1883\nallow_anonymous true\nplugin x.so\n", nil, "# anonymous = false", "anonymous = true"},
		{"revoked certificates", "listener 8883\n" + tls + "cafile a\nrequire_certificate true\nuse_identity_as_username true\ncrlfile r\n", nil, "# [[listener]]", "\n[[listener]]"},
		{"subjects as names", "listener 8883\n" + tls + "cafile a\nrequire_certificate true\nuse_subject_as_username true\n", nil, "# [[listener]]", "\n[[listener]]"},
		{"no authority", "listener 8883\n" + tls + "require_certificate true\nuse_identity_as_username true\n", nil, "# [[listener]]", "\n[[listener]]"},
		{"pre-shared keys", "listener 8883\nallow_anonymous true\npsk_hint h\n", nil, "# [[listener]]", "\n[[listener]]"},
		{"a mount point", "listener 1883\nallow_anonymous true\nmount_point a/\n", nil, "# [[listener]]", "\n[[listener]]"},
		{"one interface", "listener 1883\nallow_anonymous true\nbind_interface eth0\n", nil, "# [[listener]]", "\n[[listener]]"},
		{"half of TLS", "listener 8883\nallow_anonymous true\ncertfile c\n", nil, "# [[listener]]", "\n[[listener]]"},
		{"an empty ACL file", "listener 1883\nallow_anonymous true\nacl_file acl\n", map[string]string{"acl": ""}, "[[auth.rule]]\nuser = \"*\"\n", "client ="},
		{"an ACL file that cannot be read", "listener 1883\nallow_anonymous true\nacl_file acl\n", nil, "[[auth.rule]]\nuser = \"*\"\n", "client ="},
		{"a deny that takes a part", "listener 1883\nallow_anonymous true\nacl_file acl\n", map[string]string{"acl": "topic read a/#\ntopic read b\ntopic deny a/+/c\n"}, `subscribe = ["b"]`, "a/#"},
		{"a deny that takes all", "listener 1883\nallow_anonymous true\nacl_file acl\n", map[string]string{"acl": "topic read a/b\ntopic read b\ntopic deny a/#\n"}, `subscribe = ["b"]`, "a/b"},
		{"a deny of other topics", "listener 1883\nallow_anonymous true\nacl_file acl\n", map[string]string{"acl": "topic read a/b\ntopic deny c/#\n"}, `subscribe = ["a/b"]`, ""},
		{"two kinds of guests", "per_listener_settings true\nlistener 1883\nallow_anonymous true\nlistener 1884\nallow_anonymous true\nacl_file acl\n",
			map[string]string{"acl": "topic read a\n"}, "user = \"*\"", "client ="},
		{"a name that would be a pattern", "listener 1883\nallow_anonymous true\nacl_file acl\n", map[string]string{"acl": "user *\ntopic read a\n"}, `user = "\\*"`, "\nuser = \"\\\\*\"\nsubscribe = [\"b\"]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := text(t, c.conf, c.files)
			check(t, r)
			if got := string(r.TOML); !strings.Contains(got, c.has) || c.not != "" && strings.Contains(got, c.not) {
				t.Errorf("it is\n%s", got)
			}
			if lost := strings.Count(fmt.Sprint(r.Notes), "left out"); strings.HasPrefix(c.has, "# ") && lost == 0 {
				t.Errorf("it is not said: %v", r.Notes)
			}
		})
	}
}

func TestTopicsAreMappedAsMosquittoDoes(t *testing.T) {
	// The table of mosquitto.conf(5), and what else there is.
	for _, c := range []struct{ line, want string }{
		{"pattern out 1 L/ R/", "up L/pattern -> R/pattern at 1"},
		{`pattern out 1 L/ ""`, "up L/pattern -> pattern at 1"},
		{`pattern out 1 "" R/`, "up pattern -> R/pattern at 1"},
		{`pattern out 1 "" ""`, "up pattern -> {topic} at 1"},
		{`"" out 1 local remote`, "up local -> remote at 1"},
		{`"" out 1 local ""`, ""},
		{`"" out 1 "" remote`, ""},
		{`"" out 1 "" ""`, ""},
		{"#", "up # -> {topic} at 0"},
		{"# both 2 l/ r/", "up l/# -> r/{1} at keep; down r/# -> l/{1} at 2"},
		{"a/+/b/# in 1 l/", "down a/+/b/# -> l/a/{1}/b/{2} at 1"},
		{"{x}/+ out 2 l/ r/", "up l/{x}/+ -> r/{{x}}/{1} at keep"},
		{"a sideways 1", ""},
		{"a out 3", ""},
		{"a#", ""},
	} {
		t.Run(c.line, func(t *testing.T) {
			r := text(t, "connection c\naddress h\ntopic "+c.line+"\n", nil)
			cfg := check(t, r)
			var got []string
			for _, b := range cfg.Bridges {
				for _, u := range b.Up {
					got = append(got, fmt.Sprintf("up %s -> %s at %s", u.Filter, u.Topic, u.QoS))
				}
				for _, d := range b.Down {
					got = append(got, fmt.Sprintf("down %s -> %s at %d", d.Filter, d.Topic, d.QoS))
				}
			}
			if strings.Join(got, "; ") != c.want {
				t.Errorf("%s", strings.Join(got, "; "))
			}
			if c.want == "" && !strings.Contains(fmt.Sprint(r.Notes), "it was left out") {
				t.Errorf("it is not said: %v", r.Notes)
			}
		})
	}
}

// FuzzImport: whatever stands in the files, what comes out is a configuration that can
// be read.
func FuzzImport(f *testing.F) {
	files, err := filepath.Glob("testdata/*/mosquitto.conf")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data), "user a\ntopic read a/#\npattern write %u/b\n", "a:$7$x\n")
	}
	f.Add("connection c\naddress h\ntopic # both 2 l/ r/\nlistener 1883\nallow_anonymous true\nacl_file acl\npassword_file passwd\n", "topic deny a/+\ntopic a/#\n", "a:b\n")
	f.Fuzz(func(t *testing.T, conf, acl, passwords string) {
		r := text(t, conf, map[string]string{"acl": acl, "passwd": passwords})
		for _, file := range r.Files {
			if filepath.Base(file.Name) != file.Name {
				t.Fatalf("the file %q is not beside the configuration", file.Name)
			}
		}
		if err := toml.Unmarshal(r.TOML, new(map[string]any)); err != nil {
			t.Errorf("%v, in\n%s", err, r.TOML)
		}
		if errs := wrong(r); len(errs) > 0 {
			t.Errorf("%v, in\n%s", errs, r.TOML)
		}
	})
}

// wrong is what the configuration would complain of, but for what Mosquitto cannot do
// either: two listeners at one address, two bridges as one client.
func wrong(r *Result) (errs []string) {
	text := r.TOML
	for _, f := range r.Files { // secrets are not read here
		text = bytes.ReplaceAll(text, []byte("\npassword_file = "+config.Quote(f.Name)+"\n"), []byte("\n"))
	}
	_, err := config.Parse("p.toml", text, config.Options{Hostname: func() (string, error) { return "plant", nil }})
	if err == nil {
		return nil
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		if !strings.Contains(line, "is taken by") && !strings.Contains(line, "each would disconnect the other") {
			errs = append(errs, line)
		}
	}
	return errs
}
