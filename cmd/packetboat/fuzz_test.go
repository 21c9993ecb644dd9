package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// parsers are what reads bytes that come from outside, and the fuzz target of each.
var parsers = map[string][]string{
	"MQTT packets":                              {"broker/packet.FuzzFrames", "broker/packet.FuzzDecodeEncodeDecodeAgree", "broker.FuzzConnection", "broker.FuzzSessions"},
	"topic names and filters":                   {"broker/topic.FuzzFiltersAreValid", "broker/topic.FuzzTheTreesAgreeWithMatch"},
	"requests for a WebSocket":                  {"broker/transport.FuzzUpgrade"},
	"WebSocket frames":                          {"broker/transport.FuzzFrames", "bridge/dial.FuzzFrames"},
	"answers of clouds and proxies":             {"bridge/dial.FuzzUpgradeAnswer", "bridge/dial.FuzzProxyAnswer"},
	"names in access rules":                     {"broker/acl.FuzzNames", "broker/acl.FuzzGlobs"},
	"the users file":                            {"broker/users.FuzzParse"},
	"the configuration and its templates":       {"config.FuzzParse", "config.FuzzTemplate"},
	"lines of an export":                        {"gateway/admin.FuzzExported"},
	"the admin API":                             {"gateway/admin.FuzzRequest", "gateway/admin.FuzzAPI", "gateway/admin.FuzzHost"},
	"segments and snapshots of the log":         {"broker/store/wal.FuzzRecovery", "broker/store/wal.FuzzSnapshot"},
	"records of the queue and of sessions":      {"broker/store.FuzzRecords", "broker.FuzzSavedState"},
	"frames of devices":                         {"adapters/frame.FuzzLineSplits", "adapters/frame.FuzzDelimiter", "adapters/frame.FuzzFixed", "adapters/frame.FuzzLength", "adapters/frame.FuzzStartEnd", "adapters/frame.FuzzSLIP", "adapters/frame.FuzzCOBS", "adapters/frame.FuzzIdle", "adapters/frame.FuzzModbusRTU", "adapters/frame.FuzzChecked"},
	"values of devices, and commands":           {"adapters/decode.FuzzNMEA", "adapters/decode.FuzzShape", "adapters/decode.FuzzRegexp", "adapters/decode.FuzzJSON", "adapters/decode.FuzzCommand", "adapters/decode.FuzzHex", "adapters/decode.FuzzBase64", "adapters/decode.FuzzKeyValue", "adapters/decode.FuzzBinary", "adapters/decode.FuzzCSV", "adapters/decode.FuzzCSVColumns"},
	"answers of Modbus devices":                 {"adapters/modbus.FuzzValue", "adapters/modbus.FuzzRTU", "adapters/modbus.FuzzTCP", "adapters/modbus.FuzzCheckReply"},
	"mosquitto.conf, its ACL and passwords":     {"cmd/packetboat/mosquitto.FuzzImport"},
	"what packetboat frame guesses from":        {"adapters/guess.FuzzOf"},
	"mosquitto.conf":                            {"cmd/packetboat/mosquitto.FuzzImport"},
	"JSON objects that the bridge adds time to": {"bridge.FuzzAStampedObjectKeepsItsFields"},
}

// TestEveryParserHasAFuzzTarget: each of the list is there, has seeds, and there
// are no others. scripts/fuzz runs what `go test -list` names, so a target must not
// hide behind a build constraint either.
func TestEveryParserHasAFuzzTarget(t *testing.T) {
	found := map[string]bool{} // with seeds
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ParseComments)
		if err != nil {
			return err
		}
		dir, _ := filepath.Rel(root, filepath.Dir(path))
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "Fuzz") || f.Recv != nil {
				continue
			}
			kept, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "testdata", "fuzz", f.Name.Name, "*"))
			found[filepath.ToSlash(dir)+"."+f.Name.Name] = len(kept) > 0 || seeded(f)
			if before, _, _ := strings.Cut(string(src), "package "); strings.Contains(before, "//go:build") {
				t.Errorf("%s: scripts/fuzz does not see %s everywhere", path, f.Name.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for what, targets := range parsers {
		for _, target := range targets {
			listed[target] = true
			if seeds, ok := found[target]; !ok {
				t.Errorf("%s: there is no %s", what, target)
			} else if !seeds {
				t.Errorf("%s: %s has no seeds", what, target)
			}
		}
	}
	for target := range found {
		if !listed[target] {
			t.Errorf("%s is not in the list of parsers", target)
		}
	}
}

// seeded reports whether a target adds seeds, or hands its *testing.F to who does.
func seeded(f *ast.FuncDecl) (yes bool) {
	own := f.Type.Params.List[0].Names[0].Name
	ast.Inspect(f.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Add" {
			yes = true
		}
		for _, arg := range call.Args {
			if id, ok := arg.(*ast.Ident); ok && id.Name == own {
				yes = true
			}
		}
		return true
	})
	return yes
}
