package store

import (
	"strings"
	"testing"
)

// TestWhatWasRescuedIsFoundWithoutAnySnapshot: the oldest segment there is names
// a consumer with messages before it. Those are finished, or they were rescued
// into a later segment, where they still wait.
func TestWhatWasRescuedIsFoundWithoutAnySnapshot(t *testing.T) {
	b := newBox(t).open()
	b.publish("open", 1, "valve")
	b.publish("close", 1, "valve")
	for i := range 100 { // a bulk stream that is read, over several segments
		b.publish(numbered(i, 1000), 1, "bulk")
	}
	b.commit()
	c := b.consumer("bulk")
	var d Delivery
	for c.TryNext(&d) {
		c.Done(d.Seq)
	}
	b.settle()
	first := b.s.wal.Segments()[0].Start
	b.s.mu.Lock()
	b.s.dropOldestLocked() // the two commands are small: rescued
	b.s.mu.Unlock()
	b.settle()
	b.snapshot()
	b.publish("again", 1, "bulk")
	b.snapshot()
	b.s.freeSegments()
	if b.s.wal.Segments()[0].Start == first {
		t.Fatal("the oldest segment is still there")
	}
	b.settle()
	files, err := b.disk.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name, ".snap") {
			b.disk.Edit(f.Name, func([]byte) []byte { return nil })
		}
	}
	b.open()
	if l := b.consumer("valve").Lag(); l.Messages != 2 {
		t.Fatalf("2 commands waited before the snapshots went: ledger %+v\n%s", l, b.logs.String())
	}
	b.agrees()
	valve := b.consumer("valve")
	for _, want := range []string{"open", "close"} {
		if !valve.TryNext(&d) || string(d.Payload) != want {
			t.Fatalf("got %q, want %q", d.Payload, want)
		}
	}
}
