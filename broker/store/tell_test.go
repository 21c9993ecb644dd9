package store

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// tell tells the next gap of "bridge/b" in its lane 3; "" when there is none or
// the last one is under way.
func (b *box) tell() (text string) {
	b.t.Helper()
	b.s.TellGap("b", b.consumer("bridge/b/3"),
		func(consumer string) bool {
			return consumer == "" || consumer == "bridge/b/0" || consumer == "bridge/b/3"
		},
		func(g *Gap, from, to time.Time, trusted bool) *Message {
			text = fmt.Sprintf("%s %s %d: %d-%d", g.Consumer, g.Reason, g.Count, g.FirstSeq, g.LastSeq)
			if from.IsZero() || to.IsZero() || trusted {
				b.t.Errorf("told from %v to %v, trusted: %v", from, to, trusted)
			}
			return &Message{Topic: "gaps", Payload: []byte(text), QoS: 1}
		})
	return text
}

func (b *box) lose(name string, seqs ...uint64) {
	b.t.Helper()
	for _, seq := range seqs {
		b.consumer(name).GiveUp(seq, Refused, "")
	}
	b.commit()
}

func TestEachGapIsToldOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		live func(b *box) // what happens between two gaps
	}{
		{"in one life", func(b *box) { b.commit() }},
		{"over restarts", func(b *box) { b.restart() }},
		{"over power cuts", func(b *box) { b.commit(); b.crash(1) }},
		{"over snapshots and restarts", func(b *box) { b.snapshot(); b.snapshot(); b.restart() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t).open()
			for i := range 20 {
				b.publish(fmt.Sprint(i), 1, "bridge/b/0", "session/x")
			}
			b.commit()
			b.lose("session/x", 0)
			b.lose("bridge/b/0", 0, 1, 2)
			b.lose("session/x", 1)
			b.s.Remove("session/x") // its markers do not become those of a consumer that nobody knows
			tt.live(b)
			var got []string
			step := func() {
				t.Helper()
				text := b.tell()
				if again := b.tell(); again != "" {
					t.Errorf("told %q while %q is under way", again, text)
				}
				got = append(got, text)
				tt.live(b)
				if again := b.tell(); text != "" && again != "" {
					t.Errorf("told %q while %q is under way", again, text)
				}
				if text != "" {
					if all := b.drain("bridge/b/3"); !slices.Equal(all, []string{text}) {
						t.Errorf("the lane had %q, want %q", all, text)
					}
				}
				b.settle()
			}
			step()
			step() // nothing
			// Next to what was told, and not merged with it.
			b.lose("bridge/b/0", 3, 4)
			tt.live(b)
			b.lose("bridge/b/0", 7)
			step()
			step()
			tt.live(b)
			step()
			want := []string{"bridge/b/0 refused 3: 0-2", "", "bridge/b/0 refused 2: 3-4", "bridge/b/0 refused 1: 7-7", ""}
			if !slices.Equal(got, want) {
				t.Errorf("told %q\nwant %q", got, want)
			}
		})
	}
}

func TestAMergedGapDoesNotHideOneThatCameBetween(t *testing.T) {
	b := newBox(t).open()
	for i := range 5 {
		b.publish(fmt.Sprint(i), 1, "bridge/b/0", "bridge/b/3")
	}
	b.commit()
	b.lose("bridge/b/0", 0)
	b.lose("bridge/b/3", 0)
	b.lose("bridge/b/0", 1)
	var got []string
	for range 3 {
		got = append(got, b.tell())
		b.drain("bridge/b/3")
		b.restart()
	}
	if want := []string{"bridge/b/3 refused 1: 0-0", "bridge/b/0 refused 2: 0-1", ""}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestWhatTellsOfAGapAndIsLostIsNotToldForEver(t *testing.T) {
	b := newBox(t).open()
	for i := range 3 {
		b.publish(fmt.Sprint(i), 1, "bridge/b/0")
	}
	b.commit()
	b.lose("bridge/b/0", 0)
	if b.tell() == "" {
		t.Fatal("not told")
	}
	b.commit()
	b.lose("bridge/b/3", 0)
	for range 3 {
		if text := b.tell(); text != "" {
			t.Fatalf("told %q", text)
		}
		b.restart()
		b.snapshot()
		b.snapshot()
	}
	// A later gap is told all the same, and one of other messages of that lane.
	b.lose("bridge/b/0", 2)
	if text := b.tell(); text != "bridge/b/0 refused 1: 2-2" {
		t.Errorf("told %q", text)
	}
	b.drain("bridge/b/3")
	b.publish("x", 1, "bridge/b/3")
	b.commit()
	lane := b.consumer("bridge/b/3")
	b.lose("bridge/b/3", lane.next-1)
	if text := b.tell(); text != "bridge/b/3 refused 1: 2-2" {
		t.Errorf("told %q", text)
	}
}

func TestGapsAreToldFromTheReserve(t *testing.T) {
	b := newBox(t)
	b.opt.MaxSize = 256 << 10
	b.open()
	lane := b.consumer("bridge/b/3")
	lane.SetPolicy(Reject, 1<<10)
	var err error
	for i := 0; err == nil; i++ {
		_, err = b.tryPublish(&Message{Topic: "t", Payload: make([]byte, 100), QoS: 1}, "bridge/b/3")
		b.commit()
	}
	b.lose("bridge/b/3", 0)
	heard := 0
	b.s.OnGap("b", func() { heard++ })
	b.lose("bridge/b/3", 2)
	if heard != 1 {
		t.Errorf("the new gap was heard of %d times", heard)
	}
	lane.SetPolicy(Reject, 1) // full
	if _, err := b.tryPublish(&Message{Topic: "t", QoS: 1}, "bridge/b/3"); err == nil {
		t.Fatal("not full")
	}
	if text := b.tell(); text != "bridge/b/3 refused 1: 0-0" {
		t.Errorf("told %q", text)
	}
}
