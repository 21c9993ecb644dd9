package store

import (
	"strings"
	"testing"
	"time"
)

// The size of a backlog is an estimate; however long a consumer lives without
// its queue ever being empty, it stays near the truth.
func TestTheEstimateOfABacklogDoesNotDrift(t *testing.T) {
	large := strings.Repeat("l", 4000)
	for name, payload := range map[string]func(i int) string{
		"a mean with a fraction": func(i int) string { return large[:100+i%2] },
		"small ones, then large": func(i int) string { return large[:1+3999*(i/100%2)] },
	} {
		b := newBox(t)
		b.opt.SegmentSize = 256 << 10
		b.open()
		c := b.consumer("a")
		b.publish("first", 1, "a")
		var d Delivery
		for i := range 20_000 {
			b.publish(payload(i), 1, "a")
			b.commit()
			if !c.TryNext(&d) {
				t.Fatal("nothing to deliver")
			}
			c.Done(d.Seq)
			b.clock.pass(10 * time.Millisecond)
		}
		b.settle()
		if l := c.Lag(); l.Messages != 1 || l.Bytes > 8000 {
			t.Errorf("%s: %d messages of %d bytes wait, want 1 of at most 4000 and some", name, l.Messages, l.Bytes)
		}
	}
}
