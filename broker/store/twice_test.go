package store

import "testing"

// A session has a message once for its own subscription and once for each of its
// shared ones.
func TestAConsumerMayHaveAMessageTwice(t *testing.T) {
	b := newBox(t).open()
	b.publish("both", 1, "session/a", "session/b", "session/a", "session/a")
	b.publish("later", 1, "session/a")
	b.settle()
	b.agrees()
	b.restart()
	b.agrees()
	for i, want := range []string{"both", "both", "both", "later"} {
		if d := b.next("session/a"); string(d.Payload) != want || d.Seq != uint64(i) {
			t.Errorf("message %d is %q, seq %d", i, d.Payload, d.Seq)
		}
	}
	if d := b.next("session/b"); string(d.Payload) != "both" {
		t.Errorf("the other one has %q", d.Payload)
	}
}
