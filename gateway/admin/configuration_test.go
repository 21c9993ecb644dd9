package admin

import (
	"encoding/json"
	"testing"
)

func TestTheConfigurationIsShown(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580")
	want := Configuration{File: "/f", Text: "[gateway]\nid = \"gw\"\n", Keys: []ConfigKey{{Key: "gateway.id", Value: `"gw"`, Set: true, File: "/f", Line: 2, Explanation: "its name"}}}
	w.opt.API.Configuration = func() *Configuration { return &want }
	var got Configuration
	if err := json.NewDecoder(w.do(asks{path: "/v1/config"}).Body).Decode(&got); err != nil || got.Text != want.Text || len(got.Keys) != 1 || got.Keys[0] != want.Keys[0] {
		t.Errorf("%+v, %v", got, err)
	}
}
