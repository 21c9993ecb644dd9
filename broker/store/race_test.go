package store

import (
	"context"
	"testing"

	"packetboat/broker/store/wal/simdisk"
)

// A reader that looks for a message while the commit that carries it is under
// way waits for it; it must not take the end of what is durable for the end of
// the log and give the message up.
func TestAReaderBesideTheCommitterLosesNothing(t *testing.T) {
	s, err := Open("", Options{FS: simdisk.New(), SegmentSize: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	c, err := s.Consumer("session/a", SessionIDs) // not online: it reads frames, not the newest records
	if err != nil {
		t.Fatal(err)
	}
	const n = 4000
	go func() {
		for range n {
			if _, err := s.Publish(&Message{Topic: "t", Payload: []byte("x"), QoS: 1}, []Target{{Consumer: c, QoS: 1}}); err != nil {
				t.Error(err)
			}
			// Another reader's wake-up, at any moment: look again and again.
			select {
			case c.wait <- struct{}{}:
			default:
			}
		}
	}()
	for seq := range uint64(n) {
		d, err := c.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if d.Seq != seq {
			t.Fatalf("got seq %d, want %d; lost %v", d.Seq, seq, c.Lag().Lost)
		}
		c.Done(d.Seq)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
