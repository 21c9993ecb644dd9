package gateway

import (
	"strings"
	"testing"

	"packetboat/config"
)

func TestCheckFilesPlacesWhatIsWrongWithThoseOfDevices(t *testing.T) {
	cfg, err := config.Parse("f", []byte(`[gateway]
id = "gw"
[[tcp]]
name = "plain"
listen = ":7000"
[[tcp]]
name = "secure"
listen = ":7001"
[tcp.tls]
cert = "/nowhere/crt"
key = "/nowhere/key"
[[tcp]]
name = "called"
connect = "h:1"
tls = { ca = "/nowhere/ca" }
`), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if errs := Check(cfg); len(errs) > 0 { // does not read them
		t.Error(errs)
	}
	want := []string{
		"f:10:8: tcp[1].tls.cert: open /nowhere/crt: no such file or directory: put the file there, or correct the path",
		"f:15:14: tcp[2].tls.ca: open /nowhere/ca: no such file or directory: put the file there, or correct the path",
	}
	if got := CheckFiles(cfg).Error(); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}
