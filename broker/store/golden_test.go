package store

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/v1 anew: only when the format version changes")

// goldenDir is a data directory that an earlier build of format 1 has written.
const goldenDir = "testdata/v1"

// writeGolden makes a directory with every kind of record, part of it in a
// snapshot and part behind it.
func writeGolden(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(goldenDir); err != nil {
		t.Fatal(err)
	}
	s, err := Open(goldenDir, Options{SegmentSize: 16 << 10, Clock: &fakeClock{id: 7}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	lane, err := s.Consumer("bridge/cloud/0", LaneIDs(0))
	if err != nil {
		t.Fatal(err)
	}
	session, err := s.Consumer("session/a", SessionIDs)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(m Message, to ...*Consumer) {
		var targets []Target
		for _, c := range to {
			targets = append(targets, Target{Consumer: c, QoS: m.QoS, SubscriptionIDs: []uint32{3}})
		}
		if _, err := s.Publish(&m, targets); err != nil {
			t.Fatal(err)
		}
	}
	for half := range 2 {
		for i := range 10 {
			publish(Message{Topic: "t", Payload: []byte{byte(half), byte(i)}, QoS: 1, Expiry: 1 << 30, HasExpiry: true, Props: []byte{1, 1}}, lane, session)
		}
		publish(Message{Topic: "q", Payload: []byte("once"), QoS: 2, Origin: "session/p", PacketID: uint16(half + 1)}, lane)
		publish(Message{Topic: "r", Payload: []byte("kept"), QoS: 1, Retain: true})
		r := s.Set(Key("session", "a"), []byte{byte(half)})
		if err := s.Wait(ctx, r); err != nil {
			t.Fatal(err)
		}
		var d Delivery
		for range 3 {
			if lane.TryNext(&d) {
				lane.Done(d.Seq)
			}
		}
		if lane.TryNext(&d) {
			lane.Release(d.Seq)
		}
		if lane.TryNext(&d) {
			lane.GiveUp(d.Seq, Refused, "")
		}
		if half == 0 {
			if err := s.Snapshot(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(goldenDir, "lock")); err != nil {
		t.Fatal(err)
	}
}

// What an earlier build wrote in this format is read whole, from its snapshot
// and from the log alone.
func TestADirectoryOfAnEarlierBuildIsReadWhole(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	for _, snapshots := range []bool{true, false} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(goldenDir)); err != nil {
			t.Fatal(err)
		}
		if !snapshots {
			snaps, err := filepath.Glob(filepath.Join(dir, "*.snap"))
			if err != nil || len(snaps) == 0 {
				t.Fatalf("no snapshot in %s: %v", goldenDir, err)
			}
			for _, f := range snaps {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
		s, err := OpenReadOnly(dir, Options{Clock: &fakeClock{id: 7}})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(s.Stats().Damage); n > 0 {
			t.Errorf("snapshots %v: %d places are taken for damaged", snapshots, n)
		}
		for name, want := range map[string]Lag{
			"bridge/cloud/0": {Messages: 15, Accepted: 22, Delivered: 5},
			"session/a":      {Messages: 20, Accepted: 20},
		} {
			l := s.Lookup(name).Lag()
			if l.Messages != want.Messages || l.Accepted != want.Accepted || l.Delivered != want.Delivered {
				t.Errorf("snapshots %v: %s: %+v, want %+v", snapshots, name, l, want)
			}
		}
		if n := s.Lookup("bridge/cloud/0").Lag().Lost[Refused]; n != 2 {
			t.Errorf("snapshots %v: %d refused, want 2", snapshots, n)
		}
		for id := range uint16(2) {
			if _, held := s.Received("session/p", id+1); !held {
				t.Errorf("snapshots %v: id %d was forgotten", snapshots, id+1)
			}
		}
		if v, _ := s.Get(Key("session", "a")); string(v) != "\x01" {
			t.Errorf("snapshots %v: session record %x", snapshots, v)
		}
		if m := s.RetainedMessage("r"); m == nil || string(m.Payload) != "kept" {
			t.Errorf("snapshots %v: retained message %+v", snapshots, m)
		}
		v, err := s.beginAudit().run(context.Background(), nil)
		if err != nil || !v.OK() {
			t.Errorf("snapshots %v: verify: %v %+v", snapshots, err, v)
		}
	}
}
