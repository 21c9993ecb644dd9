package broker

import (
	"fmt"
	"strings"
	"testing"
)

func TestDenialsAreRememberedWithinBounds(t *testing.T) {
	var b Broker
	for i := range 40 {
		b.denied.note(Denial{Who: fmt.Sprint("client-", i), Action: "publish", Topic: strings.Repeat("é", 300)})
	}
	b.denied.note(Denial{Who: "client-30", Action: "publish", Topic: strings.Repeat("é", 300)})
	newest, all := b.Denials()
	if all != 41 || len(newest) != maxDenials {
		t.Fatalf("%d in all, %d remembered", all, len(newest))
	}
	if d := newest[0]; d.Who != "client-30" || d.Count != 2 || len(d.Topic) > maxDenialBytes+len("…") {
		t.Errorf("the newest is %+v", d)
	}
	if d := newest[len(newest)-1]; d.Who != "client-24" || d.Count != 1 {
		t.Errorf("the last is %+v", d)
	}
}
