package interop

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

//go:embed testdata/mqttjs.js
var mqttJSScript string

// mqttJS runs in Node.js. The module is looked for where scripts/test puts it.
func mqttJS(t *testing.T, s *site) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skipf("%v: install the packages nodejs and npm", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	modules := filepath.Join(cache, "packetboat-test", "node_modules")
	if _, err := os.Stat(filepath.Join(modules, "mqtt")); err != nil {
		t.Skipf("no MQTT.js: npm install --prefix %s mqtt", filepath.Dir(modules))
	}
	script := filepath.Join(t.TempDir(), "mqttjs.js")
	if err := os.WriteFile(script, []byte(mqttJSScript), 0o600); err != nil {
		t.Fatal(err)
	}
	c := command(t, node, script, s.ca(), s.cert(), s.key(), s.address["unix"],
		s.port("tcp"), s.port("tls"), s.port("mtls"), s.port("ws"), s.port("wss"))
	c.Env = append(os.Environ(), "NODE_PATH="+modules)
	if out := output(t, c); out != "18 connections\n" {
		t.Error(out)
	}
}
