package store

import (
	"context"
	"errors"
	"testing"

	"packetboat/broker/store/wal/simdisk"
)

// A purged or renamed queue stays so over a crash, keeps its seqs, and its
// ledger balances.
func TestPurgeAndRenameOutliveACrash(t *testing.T) {
	disk, clock := simdisk.New(), &fakeClock{id: 1}
	open := func() *Store {
		s, err := Open("", Options{FS: disk, SegmentSize: 64 << 10, Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	c, err := s.Consumer("bridge/old/0", LaneIDs(0))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := s.Publish(&Message{Topic: "t", Payload: []byte("x"), QoS: 2}, []Target{{Consumer: c, QoS: 2}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	var d Delivery
	for range 3 { // may have been sent
		if !c.TryNext(&d) {
			t.Fatal("nothing to deliver")
		}
	}
	if n, _ := c.Purge(); n != 10 {
		t.Fatalf("purged %d of 10", n)
	}
	if _, err := s.Rename("bridge/old/0", "bridge/new/0"); err != nil {
		t.Fatal(err)
	}
	other, err := s.Consumer("bridge/other/0", LaneIDs(0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Consumer("bridge/unused/0", LaneIDs(0)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rename("bridge/new/0", "bridge/unused/0"); err != nil {
		t.Fatalf("renamed onto a queue that was never used: %v", err)
	}
	if _, err := s.Rename("bridge/unused/0", "bridge/new/0"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(&Message{Topic: "t", Payload: []byte("x"), QoS: 1}, []Target{{Consumer: other, QoS: 1}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rename("bridge/other/0", "bridge/new/0"); !errors.Is(err, ErrExists) {
		t.Fatalf("renamed onto another queue: %v", err)
	}
	if err := s.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	s = open()
	c = s.Lookup("bridge/new/0")
	if c == nil || s.Lookup("bridge/old/0") != nil {
		t.Fatal("the new name was forgotten")
	}
	if l := c.Lag(); l.Messages != 0 || l.Lost[Purged] != 10 || l.Accepted != 10 {
		t.Fatalf("ledger %+v", l)
	}
	// PUBREL goes out for the three that may have been sent, then new ones.
	if _, err := s.Publish(&Message{Topic: "t", Payload: []byte("new"), QoS: 2}, []Target{{Consumer: c, QoS: 2}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(3) {
		if !c.TryNext(&d) || !d.Released || d.Seq != seq {
			t.Fatalf("seq %d: got %+v", seq, d)
		}
		c.Done(d.Seq)
	}
	if !c.TryNext(&d) || string(d.Payload) != "new" || d.Seq != 10 {
		t.Fatalf("got %+v", d)
	}
}

// What was finished before a purge is no loss, though a crash comes before that was
// remembered with another commit.
func TestWhatWasFinishedBeforeAPurgeIsDeliveredOverACrash(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		b := newBox(t).open()
		for range 10 {
			b.publish("x", qos, "c")
		}
		b.commit()
		c := b.consumer("c")
		for range 6 {
			if d := b.next("c"); d.Seq != 1 { // one is left
				c.Done(d.Seq)
			}
		}
		if n, _ := c.Purge(); n != 5 {
			t.Fatalf("purged %d of 5", n)
		}
		want := c.Lag()
		b.commit()
		b.crash(1)
		got := b.consumer("c").Lag()
		if !got.same(&want) || got.Lost[Purged] != 5 {
			t.Errorf("QoS %d: ledger %+v, before the crash %+v", qos, got, want)
		}
	}
}

// What a bridge has received, and the cloud has not released, is known under the
// bridge's new name, over crashes and snapshots.
func TestWhatIsReceivedOutlivesARename(t *testing.T) {
	disk, clock := simdisk.New(), &fakeClock{id: 1}
	open := func() *Store {
		s, err := Open("", Options{FS: disk, SegmentSize: 64 << 10, Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	c, err := s.Consumer("session/x", SessionIDs)
	if err != nil {
		t.Fatal(err)
	}
	receive := func(origin string, id uint16) {
		t.Helper()
		if _, err := s.Publish(&Message{Topic: "t", QoS: 2, Origin: origin, PacketID: id}, []Target{{Consumer: c, QoS: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		for _, x := range []struct {
			origin string
			id     uint16
			want   bool
		}{{"bridge/new", 7, true}, {"bridge/new", 9, false}, {"bridge/new", 8, false}, {"bridge/old", 7, false}} {
			if _, got := s.Received(x.origin, x.id); got != x.want {
				t.Errorf("%s: %s holds %d: %v", when, x.origin, x.id, got)
			}
		}
	}
	receive("bridge/old", 7)
	receive("bridge/old", 8)
	receive("bridge/new", 9)
	if err := s.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.RenameOrigin("bridge/old", "bridge/new")
	s.Forget("bridge/new", 8)
	check("at once")
	if err := s.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	s = open()
	check("after a crash")
	receive("bridge/old", 5) // another one of that name
	if err := s.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	s = open()
	if _, held := s.Received("bridge/old", 5); !held {
		t.Error("the old name is not usable any more")
	}
	s.Forget("bridge/old", 0)
	check("after another one of the old name")
}
