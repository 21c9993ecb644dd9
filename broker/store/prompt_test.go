package store

import (
	"context"
	"testing"

	"packetboat/broker/store/wal/simdisk"
)

// A command that was written to a device is not written again after a crash
// that comes a commit later, although nothing else happened meanwhile.
func TestAPromptConsumerRemembersEachDelivery(t *testing.T) {
	disk := simdisk.New()
	s, err := Open("", Options{FS: disk, Clock: &fakeClock{id: 1}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Consumer("adapter/valve", SessionIDs)
	if err != nil {
		t.Fatal(err)
	}
	c.Prompt()
	if _, err := s.Publish(&Message{Topic: "t", Payload: []byte("open"), QoS: 1}, []Target{{Consumer: c, QoS: 1}}); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := s.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	var d Delivery
	for range 2 {
		if !c.TryNext(&d) {
			t.Fatal("no delivery")
		}
		c.Done(d.Seq)
		if err := s.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Publish(&Message{Topic: "t", Payload: []byte("close"), QoS: 1}, []Target{{Consumer: c, QoS: 1}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if s, err = Open("", Options{FS: disk.Clone(), Clock: &fakeClock{id: 1}}); err != nil {
		t.Fatal(err)
	}
	if floor := s.Lookup("adapter/valve").Floor(); floor != 2 {
		t.Errorf("after the crash %d of 2 commands count as written", floor)
	}
}
