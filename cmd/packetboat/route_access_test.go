package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRouteExplainsWhatAClientMay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(file, []byte(`
[[auth.rule]]
user = "meter-*"
publish = ["all", "meters/{user}/#"]
subscribe = ["cmd/{user}/+"]
[[auth.rule]]
client = "panel"
subscribe = ["meters/#"]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"allowed, and by which filter", []string{"meters/meter-1/kwh", "-user", "meter-1"}, 0, `user "meter-1", client ""  meters/meter-1/kwh
  publish                  allowed: meters/meter-1/#, auth.rule[0] (at FILE:2:8)
  subscribe                DENIED: auth.rule[0] (at FILE:2:8) allows cmd/meter-1/+

no bridge is configured
`},
		{"nothing", []string{"cmd/a/b", "-client", "panel"}, 0, `user "", client "panel"  cmd/a/b
  publish                DENIED: auth.rule[1] (at FILE:6:8) allows nothing
  subscribe              DENIED: auth.rule[1] (at FILE:6:8) allows meters/#

no bridge is configured
`},
		{"no rule names it", []string{"all", "-client", "x", "-user", "bob"}, 0, `user "bob", client "x"  all
  publish               DENIED: no rule names this client
  subscribe             DENIED: no rule names this client

no bridge is configured
`},
		{"a name that will not do", []string{"meters/x/kwh", "-user", "meter-+"}, 0, `user "meter-+", client ""  meters/x/kwh
  publish                  DENIED: auth.rule[0] (at FILE:2:8) allows all; 1 of its filters ask for a name, which this client does not have, or with / + # or a leading $
  subscribe                DENIED: auth.rule[0] (at FILE:2:8) allows nothing; 1 of its filters ask for a name, which this client does not have, or with / + # or a leading $

no bridge is configured
`},
		{"a filter", []string{"cmd/meter-1/#", "-user", "meter-1"}, 0, `user "meter-1", client ""  cmd/meter-1/#
  subscribe                DENIED: auth.rule[0] (at FILE:2:8) allows cmd/meter-1/+
`},
		{"a filter of a group", []string{"$share/g/meters/+", "-client", "panel", "-json"}, 0, `{"topic":"$share/g/meters/+","access":{"user":"","client":"panel","subscribe":{"allowed":true,"by":"meters/#","rule":{"key":"auth.rule[1]","at":"FILE:6:8"}}},"bridges":[]}
`},
		{"for programs", []string{"all", "-user", "meter-1", "-json"}, 0, `{"topic":"all","access":{"user":"meter-1","client":"","publish":{"allowed":true,"by":"all","rule":{"key":"auth.rule[0]","at":"FILE:2:8"}},` +
			`"subscribe":{"allowed":false,"rule":{"key":"auth.rule[0]","at":"FILE:2:8"},"allows":["cmd/meter-1/+"]}},"bridges":[]}
`},
		{"the broker's own topics", []string{"$SYS/x", "-user", "meter-1"}, 0, `user "meter-1", client ""  $SYS/x
  publish                  DENIED: the topic is the broker's own
  subscribe                DENIED: auth.rule[0] (at FILE:2:8) allows cmd/meter-1/+

no bridge is configured
`},
		{"neither topic nor filter", []string{"a/#/b", "-user", "meter-1"}, 2, "packetboat route: \"a/#/b\" is neither a topic nor a topic filter\n"},
		{"at the cloud", []string{"a", "-down", "-user", "meter-1"}, 2, "packetboat route: -user and -client ask about local topics, -down about those at the cloud\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errOut := call(t, append(append([]string{"route"}, c.args...), "-config", file)...)
			if got := strings.ReplaceAll(out+errOut, file, "FILE"); code != c.code || got != c.want {
				t.Errorf("exit code %d\n%s\nnot\n%s", code, got, c.want)
			}
		})
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, out, _ := call(t, "route", "a", "-user", "bob", "-config", file); !strings.Contains(out, "publish              allowed: there are no access rules\n") {
		t.Error(out)
	}
}
