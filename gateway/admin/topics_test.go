package admin

import (
	"encoding/json"
	"strings"
	"testing"

	"packetboat/broker"
)

func TestTopicsAreListedWithTheirLatestValues(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580")
	ask := func(path string) (list Topics) {
		t.Helper()
		if err := json.NewDecoder(w.do(asks{path: path}).Body).Decode(&list); err != nil || list.Topics == nil {
			t.Fatalf("%+v, %v", list, err)
		}
		return list
	}
	if list := ask("/v1/topics"); list.Total != 0 || list.More {
		t.Errorf("%+v", list)
	}
	for topic, payload := range map[string]string{"a": "1.5", "b": "\xff", "c": strings.Repeat("€", 100)} {
		if _, err := w.opt.Sources.Broker.Publish(&broker.Message{Topic: topic, Payload: []byte(payload)}); err != nil {
			t.Fatal(err)
		}
	}
	list := ask("/v1/topics?limit=2")
	if list.Total != 3 || len(list.Topics) != 2 || !list.More || *list.Topics[0].Text != "1.5" || list.Topics[1].Text != nil || string(list.Topics[1].Base64) != "\xff" {
		t.Errorf("%+v", list)
	}
	c := ask("/v1/topics?match=c").Topics
	if len(c) != 1 || c[0].Text == nil || *c[0].Text != strings.Repeat("€", 85) || c[0].Bytes != 300 || c[0].Count != 1 {
		t.Errorf("%+v", c)
	}
	if got := w.do(asks{path: "/v1/topics?limit=x"}).StatusCode; got != 400 {
		t.Errorf("%d", got)
	}
}
