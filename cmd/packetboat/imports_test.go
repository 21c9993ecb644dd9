package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "packetboat"

// graph is who may import whom: data flows one way through the packages, and
// imports point the same way. Mechanisms do not know the configuration, only
// gateway and the commands know all parts, and what is outside of the standard
// library and golang.org/x has one place each.
var graph = map[string][]string{
	"config":                   {"github.com/BurntSushi/toml"},
	"broker/store/wal":         {},
	"broker/store/wal/simdisk": {"broker/store/wal"},
	"broker/store":             {"broker/store/wal"},
	"broker/packet":            {},
	"broker/topic":             {},
	"broker/acl":               {"broker/topic"},
	"broker/qos":               {"broker/packet", "broker/store"},
	"broker/transport":         {"github.com/gobwas/ws"},
	"broker/users":             {},
	"broker/conformance":       {},
	"broker":                   {"broker/acl", "broker/packet", "broker/topic", "broker/qos", "broker/store", "config"},
	"adapters/frame":           {},
	"adapters/decode": {"config", "github.com/expr-lang/expr", "github.com/expr-lang/expr/ast", "github.com/expr-lang/expr/file",
		"github.com/expr-lang/expr/types", "github.com/expr-lang/expr/vm"},
	"adapters":        {"adapters/frame", "adapters/decode", "broker", "broker/packet", "broker/store", "broker/topic", "config"},
	"adapters/guess":  {"adapters/frame"},
	"adapters/serial": {"adapters", "config", "go.bug.st/serial"},
	"adapters/tcp":    {"adapters", "adapters/frame", "config"},
	"bridge/dial":     {"github.com/gobwas/ws"},
	"adapters/modbus": {"adapters", "adapters/frame", "adapters/serial", "broker/store", "config"},
	"bridge": {"bridge/dial", "broker", "broker/packet", "broker/topic", "broker/qos", "broker/store", "config",
		"github.com/eclipse/paho.golang/paho", "github.com/eclipse/paho.golang/paho/log",
		"github.com/eclipse/paho.golang/paho/session", "github.com/eclipse/paho.golang/packets"},
	"gateway": {"adapters", "adapters/modbus", "adapters/serial", "adapters/tcp", "bridge", "broker", "broker/acl", "broker/packet", "broker/store", "broker/transport", "broker/users", "config", "gateway/admin", "gateway/quantity",
		"github.com/coreos/go-systemd/v22/activation", "github.com/coreos/go-systemd/v22/daemon", "github.com/coreos/go-systemd/v22/journal"},
	"gateway/admin": {"adapters", "bridge", "broker", "broker/packet", "broker/store", "broker/users", "gateway/quantity",
		"github.com/prometheus/client_golang/prometheus", "github.com/prometheus/client_golang/prometheus/collectors", "github.com/prometheus/common/expfmt"},
	"packaging/man":            {},
	"gateway/e2e":              {},
	"gateway/interop":          {},
	"gateway/powercut":         {"cmd/packetboat/sim"},
	"cmd/packetboat":           {"cmd/packetboat/bench", "cmd/packetboat/demo", "cmd/packetboat/sim", "adapters", "adapters/frame", "adapters/guess", "adapters/serial", "bridge", "broker/acl", "broker/store", "broker/topic", "broker/users", "config", "gateway", "gateway/admin", "cmd/packetboat/client", "bridge/dial", "broker/packet", "gateway/doctor", "gateway/quantity", "cmd/packetboat/mosquitto"},
	"cmd/packetboat/bench":     {"broker/packet", "cmd/packetboat/client"},
	"cmd/packetboat/demo":      {"cmd/packetboat/sim", "broker", "broker/store"},
	"cmd/packetboat/sim":       {"adapters/frame", "broker/packet", "github.com/creack/pty"},
	"cmd/packetboat/client":    {"bridge/dial", "broker/packet"},
	"gateway/doctor":           {"adapters", "adapters/serial", "bridge", "config", "gateway", "gateway/admin", "gateway/quantity"},
	"cmd/packetboat/mosquitto": {"broker/topic", "broker/users", "config"},
	"gateway/dashboard":        {},
	"gateway/quantity":         {},

	"broker/transport/certtest": {}, // only tests import it: onlyForTests
}

// onlyForTests are packages that no other imports outside of its tests, so that they
// do not get into the program.
var onlyForTests = []string{"broker/store/wal/simdisk", "broker/transport/certtest"}

func TestImportsPointTheWayTheDataFlows(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		seen[name] = true
		allowed, known := graph[name]
		if !known {
			t.Errorf("package %s has no place in the graph", name)
			continue
		}
		for _, i := range p.Imports {
			ours := strings.HasPrefix(i, module+"/")
			host, _, _ := strings.Cut(i, "/")
			standard := !ours && !strings.Contains(host, ".")
			if standard || strings.HasPrefix(i, "golang.org/x/") {
				continue
			}
			if i = strings.TrimPrefix(i, module+"/"); !slices.Contains(allowed, i) {
				t.Errorf("%s must not import %s", name, i)
			}
			if slices.Contains(onlyForTests, i) {
				t.Errorf("%s imports %s, which is for tests only", name, i)
			}
		}
	}
	for name := range graph {
		if !seen[name] {
			t.Errorf("the graph has %s, which does not exist", name)
		}
	}
}
