package gateway

import (
	"strings"
	"testing"
)

func TestTheConfigurationIsShownWithoutSecrets(t *testing.T) {
	c := shownConfig(parse(t, `data_dir = "/d"
[[bridge]]
name = "cloud"
servers = ["mqtt://h"]
password = "SECRET"
proxy = "http://user:SECRET@p"
up = [{ filter = "#" }]
`))
	keys := map[string]string{}
	for _, k := range c.Keys {
		keys[k.Key] = k.Value
		if strings.Contains(k.Value, "SECRET") || k.Explanation == "" || k.Set != (k.Line > 0) {
			t.Errorf("%+v", k)
		}
	}
	if strings.Contains(c.Text, "SECRET") || c.File == "" || keys["bridge[0].password"] != `"***"` || keys["bridge[0].up[0].filter"] != `"#"` {
		t.Errorf("%+v", c)
	}
}
