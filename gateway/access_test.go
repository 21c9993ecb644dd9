package gateway

import (
	"slices"
	"testing"
)

func TestMistakesInAccessRulesHaveTheirPlaces(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a pattern that does not end", "[[auth.rule]]\nclient = \"a[\"\n", `p.toml:4:10: auth.rule[0].client: "a[" is no pattern: a [ has no ], or it ends in a \`},
		{"a rule that never decides", "[[auth.rule]]\nuser = \"meter-*\"\n[[auth.rule]]\nuser = \"bob\"\n[[auth.rule]]\nuser = \"meter-1\"\n",
			`p.toml:8:8: auth.rule[2].user: names only whom auth.rule[0] (user = "meter-*", at p.toml:3:8) names, which comes first: this rule never decides; put it before that one`},
		{"every client first", "[[auth.rule]]\nclient = \"*\"\n[[auth.rule]]\nuser = \"bob\"\n",
			`p.toml:6:8: auth.rule[1].user: names only whom auth.rule[0] (client = "*", at p.toml:3:8) names, which comes first: this rule never decides; put it before that one`},
		{"the same adapter", "[[auth.rule]]\nadapter = \"bridge/*\"\n[[auth.rule]]\nadapter = \"bridge/cloud\"\n",
			`p.toml:6:11: auth.rule[1].adapter: names only whom auth.rule[0] (adapter = "bridge/*", at p.toml:3:8) names, which comes first: this rule never decides; put it before that one`},
		{"none", "[[auth.rule]]\nuser = \"*\"\npublish = [\"{gateway}/{user}/#\"]\n[[auth.rule]]\nclient = \"*\"\n[[auth.rule]]\nadapter = \"*\"\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			errs := Check(parse(t, c.text))
			got := ""
			if len(errs) > 0 {
				got = errs.Error()
			}
			if got != c.want {
				t.Errorf("%s\nnot\n%s", got, c.want)
			}
		})
	}
}

func TestAnAdapterThatAnswersKeepsToItsOwnTopics(t *testing.T) {
	const adapters = `
[[serial]]
name = "scale"
port = "/dev/ttyS0"
topic = "{gateway}/at-{time}/{name}"
[serial.command]
topic = "{gateway}/{name}/set/+"
states = ""
[[tcp]]
name = "open"
listen = ":7000"
[[tcp]]
name = "named"
listen = ":7001"
[tcp.command]
`
	if rules, err := rulesOf(parse(t, adapters)); rules != nil || err != nil {
		t.Errorf("without rules: %v, %v", rules, err)
	}
	rules, err := rulesOf(parse(t, adapters+"[[auth.rule]]\nadapter = \"nam*\"\npublish = [\"{gateway}/#\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	own := rules.Inside("adapter/scale")
	if want := []string{"g/+/scale", "g/scale/status", "g/scale/reply"}; !slices.Equal(own.Publish, want) || !slices.Equal(own.Subscribe, []string{"g/scale/set/+"}) {
		t.Errorf("%+v", own)
	}
	if named := rules.Inside("adapter/named"); named.Rule != 0 || !slices.Equal(named.Publish, []string{"g/#"}) {
		t.Errorf("%+v", named)
	}
	if open := rules.Inside("adapter/open"); open != nil {
		t.Errorf("%+v", open)
	}
}
