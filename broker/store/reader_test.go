package store

import (
	"context"
	"fmt"
	"testing"

	"packetboat/broker/store/wal/simdisk"
)

// TestReadersHaveMemoryWhileTheyReadOnly: a consumer that reads the log has a whole
// frame in memory, up to as much as a commit has. There is one for each session, so
// it lets go of it when it has caught up, when its peer is gone, and when the peer
// takes nothing for a while; and finds the rest all the same.
func TestReadersHaveMemoryWhileTheyReadOnly(t *testing.T) {
	for name, rest := range map[string]func(s *Store, c *Consumer, d *Delivery){
		"caught up": func(s *Store, c *Consumer, d *Delivery) {
			for c.TryNext(d) {
				c.Done(d.Seq)
			}
		},
		"its peer is gone":       func(_ *Store, c *Consumer, _ *Delivery) { c.OnReady(nil) },
		"its peer takes nothing": func(s *Store, _ *Consumer, _ *Delivery) { s.restReaders(); s.restReaders() },
		"it was used a while ago": func(s *Store, c *Consumer, d *Delivery) {
			s.restReaders()
			c.TryNext(d)
			c.Done(d.Seq)
			s.restReaders()
			s.restReaders()
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			s, err := Open("", Options{FS: simdisk.New(), Clock: &fakeClock{id: 1}})
			if err != nil {
				t.Fatal(err)
			}
			c, err := s.Consumer("session/a", SessionIDs)
			if err != nil {
				t.Fatal(err)
			}
			const n = 40
			for i := range n { // large frames of several, no longer in memory when they are read
				m := &Message{Topic: "t", Payload: fmt.Appendf(make([]byte, 100<<10), "%d", i), QoS: 1}
				if _, err := s.Publish(m, []Target{{Consumer: c, QoS: 1}}); err != nil {
					t.Fatal(err)
				}
				if i%4 == 3 {
					if err := s.Commit(ctx); err != nil {
						t.Fatal(err)
					}
				}
			}
			var d Delivery
			next := 0
			take := func() bool {
				if !c.TryNext(&d) {
					return false
				}
				if got := string(d.Payload[100<<10:]); got != fmt.Sprint(next) {
					t.Fatalf("message %s, not %d", got, next)
				}
				next++
				c.Done(d.Seq)
				return true
			}
			for range 5 {
				take()
			}
			if cap(c.rd.buf) < 200<<10 {
				t.Fatalf("it reads with %d bytes: the test tests nothing", cap(c.rd.buf))
			}
			rest(s, c, &d)
			if n := cap(c.rd.buf) + cap(c.rd.recs) + cap(c.rd.rec); n > smallRecord {
				t.Errorf("it keeps %d bytes", n)
			}
			if len(s.readers) > 0 && name != "caught up" && name != "its peer is gone" {
				t.Error("it is still looked at")
			}
			switch name {
			case "caught up":
				next = n
			case "it was used a while ago":
				next++
			}
			for take() {
			}
			if next != n {
				t.Errorf("%d of %d", next, n)
			}
		})
	}
}
