package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// statement is a row of the standard's appendix. who is S for the server, C
// for the client, B for both.
type statement struct {
	id   string
	who  byte
	text string
}

// chapters are all tables, in the order of the standard.
var chapters = []chapter{
	formatChapter, connectChapter, sessionChapter, willChapter, publishChapter, retainChapter, propertyChapter, qosChapter, flowChapter,
	subscribeChapter, unsubscribeChapter, sharedChapter, topicChapter, endChapter, webSocketChapter,
}

const document = "../../docs/conformance.md"

// byVersion are the statements of both versions.
var byVersion = []struct {
	v    byte
	list []statement
}{{v5, of5}, {v311, of311}}

// shown collects for each statement, as "5.0/3.1.0-1", what shows it.
func shown(t *testing.T) map[string][]string {
	by := map[string][]string{}
	for _, b := range byVersion {
		for _, s := range b.list {
			by[versionName(b.v)+"/"+s.id] = nil
		}
	}
	note := func(key, what string) {
		if _, exists := by[key]; !exists {
			t.Errorf("%q claims %s, which does not exist", what, key)
			return
		}
		by[key] = append(by[key], what)
	}
	names := map[string]bool{}
	for _, ch := range chapters {
		for _, c := range ch.cases {
			full := ch.name + ": " + c.name
			if names[full] {
				t.Errorf("%q is there twice", full)
			}
			names[full] = true
			if len(c.shows(v5))+len(c.shows(v311)) == 0 {
				t.Errorf("%q shows nothing", full)
			}
			for _, v := range []byte{v5, v311} {
				for _, id := range c.shows(v) {
					what := full
					if c.pending != "" {
						what = "*pending (" + c.pending + "):* " + full
					}
					note(versionName(v)+"/"+id, what)
				}
			}
		}
	}
	for _, e := range elsewhere {
		for _, key := range strings.Fields(e.shows) {
			note(key, "`"+e.pkg+"`: "+e.test)
		}
	}
	for _, e := range exceptions {
		for _, key := range strings.Fields(e.of) {
			note(key, "*"+e.reason+"*")
		}
	}
	return by
}

func TestEveryStatementIsShownAndTheDocumentSaysWhere(t *testing.T) {
	by := shown(t)
	var doc strings.Builder
	doc.WriteString(preface)
	for _, b := range byVersion {
		fmt.Fprintf(&doc, "\n## MQTT %s\n\n| id | who | statement | shown by |\n|---|---|---|---|\n", versionName(b.v))
		for _, s := range b.list {
			list := by[versionName(b.v)+"/"+s.id]
			if len(list) == 0 && s.who != 'C' {
				t.Errorf("nothing shows [MQTT-%s] of %s: %s", s.id, versionName(b.v), s.text)
			}
			if len(list) == 0 {
				list = []string{"*binds clients*"}
			}
			slices.Sort(list)
			fmt.Fprintf(&doc, "| %s | %c | %s | %s |\n", s.id, s.who, cell(s.text), cell(strings.Join(slices.Compact(list), "; ")))
		}
	}
	if *update {
		if err := os.WriteFile(document, []byte(doc.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	is, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if string(is) != doc.String() {
		t.Errorf("%s is not what the tables say: go test ./broker/conformance -update", filepath.Base(document))
	}
}

// cell is text that may stand in a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func TestTheTestsElsewhereExist(t *testing.T) {
	for _, e := range elsewhere {
		files, err := filepath.Glob(filepath.Join("../..", e.pkg, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("no tests in %s (%v)", e.pkg, err)
			continue
		}
		name, sub, _ := strings.Cut(e.test, "/")
		found := false
		for _, f := range files {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(src), "\nfunc "+name+"(t *testing.T) {") && (sub == "" || strings.Contains(string(src), `"`+sub+`"`))
		}
		if !found {
			t.Errorf("%s has no %s", e.pkg, e.test)
		}
	}
}
