package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// letters are the payloads of what waits for a consumer.
func (b *box) letters(name string) (got []string) {
	b.t.Helper()
	v := b.consumer(name).View()
	var d Delivery
	for {
		ok, err := v.Next(&d)
		if err != nil {
			b.t.Fatal(err)
		}
		if !ok {
			return got
		}
		got = append(got, string(d.Payload))
	}
}

// TestDeadLettersAreKept of each kind of give-up, with the reason, whatever comes
// between: never a gap without its letter.
func TestDeadLettersAreKept(t *testing.T) {
	for seed := range uint64(200) {
		b := newBox(t).open()
		c := b.consumer("c")
		c.SetDead(b.consumer("dead"))
		refuse := func(d *Delivery, _ time.Duration) (Reason, string) {
			if string(d.Payload) == "2" {
				return TooLarge, "5 bytes"
			}
			return 0, ""
		}
		c.Inspect(refuse)
		for i := range 5 {
			b.publish(fmt.Sprint(i), byte(i%3), "c")
		}
		b.commit()
		if seed%2 == 0 {
			b.restart()
			c = b.consumer("c")
			c.SetDead(b.consumer("dead"))
			c.Inspect(refuse)
		}
		first := b.next("c")
		second := b.next("c")
		c.Done(first.Seq)
		c.GiveUp(second.Seq, Refused, "not authorized")
		var d Delivery
		for c.TryNext(&d) {
		}
		if seed%3 == 0 {
			b.commit()
		}
		b.crash(seed)
		lost := b.balance("c").Lost
		var want []string
		if lost[Refused] > 0 {
			want = append(want, "1")
		}
		if lost[TooLarge] > 0 {
			want = append(want, "2")
		}
		got := b.letters("dead")
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Fatalf("seed %d: lost %v, dead letters %q", seed, lost, got)
			}
		}
		if seed%3 == 0 && !slices.Equal(got, []string{"1", "2"}) {
			t.Fatalf("seed %d: dead letters %q", seed, got)
		}
	}
}

func TestADeadLetterSaysWhy(t *testing.T) {
	b := newBox(t).open()
	c := b.consumer("c")
	c.SetDead(b.consumer("dead"))
	m := &Message{Topic: "t", Payload: []byte("x"), QoS: 2, Props: appendUserProperty(nil, "k", "v"), Expiry: 1, HasExpiry: true}
	if _, err := b.tryPublish(m, "c"); err != nil {
		t.Fatal(err)
	}
	b.commit()
	d := b.next("c")
	c.GiveUp(d.Seq, Refused, "not authorized")
	b.commit()
	b.clock.pass(time.Hour)
	v := b.consumer("dead").View()
	if ok, err := v.Next(&d); !ok || err != nil {
		t.Fatal(ok, err)
	}
	want := appendUserProperty(appendUserProperty(slices.Clone(m.Props), DeadReason, "refused: not authorized"), DeadQueue, "c")
	if !bytes.HasPrefix(d.Props, want) || !bytes.Contains(d.Props, []byte(DeadReceived)) || d.HasExpiry || d.Topic != "t" {
		t.Errorf("%q, expiry %t", d.Props, d.HasExpiry)
	}
}

// TestDeadLettersAreBounded: their oldest go, and the rest of the queue has its room.
func TestDeadLettersAreBounded(t *testing.T) {
	b := newBox(t).open()
	c := b.consumer("c")
	dead := b.consumer("dead")
	dead.SetLimit(0, 64<<10)
	c.SetDead(dead)
	for life := range 4 {
		for i := range 100 {
			b.publish(fmt.Sprintf("%d/%d %s", life, i, bytes.Repeat([]byte{'x'}, 1<<10)), 1, "c")
		}
		b.commit()
		for range 100 {
			c.GiveUp(b.next("c").Seq, Refused, "")
			b.commit()
		}
		if l := b.balance("dead"); l.Bytes > 66<<10 || l.Messages < 40 || l.Accepted != uint64(life+1)*100 {
			t.Fatalf("life %d: %+v", life, l)
		}
		b.restart()
		c, dead = b.consumer("c"), b.consumer("dead")
		dead.SetLimit(0, 64<<10)
		c.SetDead(dead)
	}
}

// TestARefusedTargetIsADeadLetter at once; the other targets get the message.
func TestARefusedTargetIsADeadLetter(t *testing.T) {
	b := newBox(t).open()
	c := b.consumer("c")
	c.SetDead(b.consumer("dead"))
	publish := func(payload string, refused Reason, id uint16) Receipt {
		t.Helper()
		r, err := b.s.Publish(&Message{Topic: "t", Payload: []byte(payload), QoS: 2, PacketID: id, Origin: "session/p"}, []Target{
			{Consumer: b.consumer("other"), QoS: 1}, {Consumer: c, QoS: 2, Refused: refused, Why: "8 slashes"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	publish("fine", 0, 1)
	r := publish("unfit", Unfit, 2)
	publish("large", TooLarge, 3)
	if again := publish("unfit", Unfit, 2); again != r {
		t.Error("the repeat of a QoS 2 publish was taken")
	}
	publish("fine too", 0, 4)
	b.commit()
	if !b.s.IsDurable(r) {
		t.Error("not durable")
	}
	b.crash(1)
	equal(t, "other", b.drain("other"), []string{"fine", "unfit", "large", "fine too"})
	equal(t, "c", b.drain("c"), []string{"fine", "fine too"})
	equal(t, "dead letters", b.letters("dead"), []string{"unfit", "large"})
	if l := b.balance("c"); l.Accepted != 4 || l.Lost[Unfit] != 1 || l.Lost[TooLarge] != 1 {
		t.Errorf("ledger %+v", l)
	}
	if gaps := b.s.Gaps(); len(gaps) != 2 || gaps[0].Reason != Unfit || gaps[1].Reason != TooLarge || gaps[0].Topics[0].Topic != "t" {
		t.Errorf("gaps %+v", gaps)
	}
}

// TestAFullQueueHasNoRoomForDeadLetters, and gives up all the same: a lane that
// rejects must not be blocked.
func TestAFullQueueHasNoRoomForDeadLetters(t *testing.T) {
	b := newBox(t)
	b.opt.SegmentSize, b.opt.MaxSize = 64<<10, 1<<20
	b.open()
	c := b.consumer("c")
	c.SetDead(b.consumer("dead"))
	c.SetPolicy(Reject, 0)
	for i := range 2000 {
		if _, err := b.tryPublish(&Message{Topic: "t", Payload: fmt.Appendf(nil, "%d %01000d", i, 0), QoS: 1}, "c"); errors.Is(err, ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 {
			b.commit()
		}
	}
	b.commit()
	n := b.balance("c").Messages
	if n < 100 {
		t.Fatalf("%d messages fill the queue", n)
	}
	for range n {
		d := b.next("c")
		c.GiveUp(d.Seq, Refused, "")
		b.commit()
	}
	l := b.balance("c")
	if l.Lost[Refused] != n || l.Messages != 0 {
		t.Errorf("ledger %+v", l)
	}
	if size := b.du(); size > b.opt.MaxSize {
		t.Errorf("%d bytes", size)
	}
}
