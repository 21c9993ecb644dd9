package main

import (
	"flag"
	"slices"
	"strings"
	"testing"
)

func TestEachHelpNamesWhatItsFlagsTake(t *testing.T) {
	for _, c := range commands() {
		code, out, errOut := call(t, c.name, "-help")
		first, _, _ := strings.Cut(out, "\n")
		if code != exitFine || errOut != "" || first != strings.TrimSpace("usage: packetboat "+c.name+" "+c.args) {
			t.Errorf("%s: exit code %d, %q %s", c.name, code, first, errOut)
		}
		if strings.Contains(out, "(default 0)") || strings.Contains(out, "(default 0s)") {
			t.Errorf("%s tells of defaults that say nothing: %s", c.name, out)
		}
		describe := func(f *flag.FlagSet) {
			f.VisitAll(func(g *flag.Flag) {
				value, text := flag.UnquoteUsage(g)
				if slices.Contains([]string{"string", "int", "uint", "duration", "value", "float"}, value) || text == "" {
					t.Errorf("%s -%s takes a %q: %s", c.name, g.Name, value, text)
				}
			})
		}
		c.run(t.Context(), &env{cmd: &c, describe: describe}, []string{"-help"})
	}
}
