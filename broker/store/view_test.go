package store

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// see reads all that a view shows.
func see(t *testing.T, v *View) (got []string) {
	t.Helper()
	var d Delivery
	for {
		ok, err := v.Next(&d)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return got
		}
		got = append(got, string(d.Payload))
	}
}

func TestAViewShowsWhatWaitsAndChangesNothing(t *testing.T) {
	b := newBox(t).open()
	for i := range 8 {
		m := &Message{Topic: "t", Payload: []byte(fmt.Sprint(i)), QoS: 2, Expiry: 1, HasExpiry: true}
		if _, err := b.tryPublish(m, "c"); err != nil {
			t.Fatal(err)
		}
	}
	b.commit()
	c := b.consumer("c")
	b.publish("not durable", 1, "c")
	for i := range 4 {
		d := b.next("c")
		switch i {
		case 1:
			c.Release(d.Seq)
		case 2:
			c.Done(d.Seq)
		}
	}
	b.clock.pass(time.Hour) // expired ones wait until somebody comes for them
	before := c.Lag()
	equal(t, "view", see(t, c.View()), []string{"0", "3", "4", "5", "6", "7"})
	v := c.View()
	v.SkipTo(c.NewestFrom(3))
	equal(t, "the newest three", see(t, v), []string{"6", "7"}) // the third is not on the disk
	v = c.View()
	v.SkipTo(c.NewestFrom(1000))
	equal(t, "all", see(t, v), []string{"0", "3", "4", "5", "6", "7"})
	if l := c.Lag(); l.Messages != before.Messages || len(b.s.Gaps()) > 0 || v.Missing() > 0 {
		t.Fatalf("ledger %+v, was %+v", l, before)
	}
}

func TestAViewBesideADelivery(t *testing.T) {
	s, err := Open(t.TempDir(), Options{SegmentSize: 32 << 10})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	c, err := s.Consumer("bridge/c/0", SessionIDs)
	if err != nil {
		t.Fatal(err)
	}
	const n = 20_000
	all.Go(func() {
		for i := range n {
			s.WaitForRoom()
			if _, err := s.Publish(&Message{Topic: "t", Payload: fmt.Appendf(nil, "%08d", i), QoS: 1}, []Target{{Consumer: c, QoS: 1}}); err != nil {
				t.Error(err)
			}
		}
	})
	drained := make(chan struct{})
	all.Go(func() {
		defer close(drained)
		for range n {
			d, err := c.Next(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			c.Done(d.Seq)
		}
	})
	for done := false; !done; {
		select {
		case <-drained:
			done = true
		default:
		}
		v := c.View()
		if got := see(t, v); !slices.IsSorted(got) || v.Missing() > 0 {
			t.Errorf("%d messages in view, %d are missing", len(got), v.Missing())
		}
	}
	cancel()
	all.Wait()
}
