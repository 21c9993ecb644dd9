package store

import (
	"fmt"
	"testing"
	"time"
)

func (b *box) commits() uint64 { return b.s.Stats().Commits }

// TestAChainOfExpiredMessagesCostsOneCommit, not one each.
func TestAChainOfExpiredMessagesCostsOneCommit(t *testing.T) {
	b := newBox(t)
	b.opt.SegmentSize = 1 << 20
	b.open()
	for i := range 900 {
		m := &Message{Topic: "t", Payload: fmt.Append(nil, i), QoS: 1, Expiry: 10, HasExpiry: true}
		if _, err := b.tryPublish(m, "c"); err != nil {
			t.Fatal(err)
		}
	}
	b.publish("lives", 1, "c")
	b.commit()
	b.clock.pass(time.Minute)
	before := b.commits()
	var d Delivery
	c := b.consumer("c")
	if c.TryNext(&d) {
		t.Fatalf("%q is delivered before the give-up is durable", what(&d))
	}
	b.commit()
	if n := b.commits() - before; n > 1 {
		t.Fatalf("%d commits", n)
	}
	if d := b.next("c"); what(&d) != "lives" || d.Seq != 900 {
		t.Fatalf("delivered %q, seq %d", what(&d), d.Seq)
	}
	gaps := b.s.Gaps()
	if len(gaps) != 1 || gaps[0].Count != 900 || gaps[0].FirstSeq != 0 || gaps[0].LastSeq != 899 || gaps[0].Reason != Expired || gaps[0].Consumer != "c" {
		t.Fatalf("gap markers %+v", gaps)
	}
	if l := b.balance("c"); l.Lost[Expired] != 900 || l.Messages != 1 {
		t.Fatalf("ledger %+v", l)
	}
	b.crash(1)
	equal(t, "after a crash", b.drain("c"), []string{"lives"})
	if l := b.balance("c"); l.Lost[Expired] != 900 || l.Delivered != 1 {
		t.Fatalf("ledger after a crash %+v", l)
	}
}

// TestInspectDecides for each message before it is handed out.
func TestInspectDecides(t *testing.T) {
	b := newBox(t).open()
	for i := range 6 {
		b.publish(fmt.Sprint(i), byte(i%3), "c")
	}
	b.commit()
	c := b.consumer("c")
	var ages []time.Duration
	inspect := func(d *Delivery, age time.Duration) (Reason, string) {
		ages = append(ages, age)
		switch string(d.Payload) {
		case "1":
			return Refused, "by a test"
		case "2", "3":
			return TooLarge, ""
		}
		return 0, ""
	}
	c.Inspect(inspect)
	b.clock.pass(time.Second)
	equal(t, "delivered", b.drain("c"), []string{"0", "4", "5"})
	if len(ages) < 6 || ages[0] != time.Second {
		t.Fatalf("ages %v", ages)
	}
	if l := b.balance("c"); l.Lost[Refused] != 1 || l.Lost[TooLarge] != 2 || l.Delivered != 3 {
		t.Fatalf("ledger %+v", l)
	}
	b.restart()
	if l := b.balance("c"); l.Lost[Refused] != 1 || l.Lost[TooLarge] != 2 || l.Delivered != 3 {
		t.Fatalf("ledger after a restart %+v", l)
	}
	if len(b.s.Gaps()) != 2 {
		t.Fatalf("gap markers after a restart %+v", b.s.Gaps())
	}
}

// TestWhatMayHaveBeenSentIsEndedAsTheProtocolWants: a QoS 2 message that is given
// up comes again as released; on expiry it is delivered all the same.
func TestWhatMayHaveBeenSentIsEndedAsTheProtocolWants(t *testing.T) {
	b := newBox(t).open()
	publish := func(payload string, qos byte) {
		m := &Message{Topic: "t", Payload: []byte(payload), QoS: qos, Expiry: 10, HasExpiry: true}
		if _, err := b.tryPublish(m, "c"); err != nil {
			t.Fatal(err)
		}
	}
	publish("sent at 2", 2)
	publish("sent at 1", 1)
	publish("never sent", 2)
	b.commit()
	c := b.consumer("c")
	first := b.next("c")
	second := b.next("c")
	b.clock.pass(time.Minute)
	c.Rewind()
	d := b.next("c")
	if what(&d) != "sent at 2" || !d.Dup || d.ID != first.ID {
		t.Fatalf("expired after it was sent: %+v, want it again [MQTT-4.3.3-7]", d)
	}
	if r := c.GiveUp(d.Seq, Refused, ""); r.IsZero() || b.s.IsDurable(r) {
		t.Fatalf("given up with receipt %v", r)
	}
	var none Delivery
	if c.TryNext(&none) || c.TryReleased(&none) {
		t.Fatalf("%q leaves before the give-up is durable", what(&none))
	}
	equal(t, "then", b.drain("c"), []string{fmt.Sprintf("rel %d", first.ID)})
	l := b.balance("c")
	if l.Lost[Refused] != 1 || l.Lost[Expired] != 2 || l.Messages != 0 {
		t.Fatalf("ledger %+v", l)
	}
	if g := b.s.Gaps(); len(g) < 2 || !g[0].Abandoned {
		t.Fatalf("gap markers %+v", g)
	}
	c.Done(second.Seq) // a late PUBACK is nothing new
	b.crash(1)
	if got := b.drain("c"); len(got) > 0 && got[0] != fmt.Sprintf("rel %d", first.ID) {
		t.Fatalf("after a crash: %q", got)
	}
	b.balance("c")
}

func TestAReleasedMessageIsNotGivenUp(t *testing.T) {
	b := newBox(t).open()
	b.publish("m", 2, "c")
	b.commit()
	d := b.next("c")
	c := b.consumer("c")
	c.Release(d.Seq)
	if r := c.GiveUp(d.Seq, Refused, ""); !r.IsZero() || len(b.s.Gaps()) > 0 {
		t.Fatalf("the peer has it, and it is called lost: %+v", b.s.Gaps())
	}
	for _, seq := range []uint64{1, 2000, 1 << 63} {
		if r := c.GiveUp(seq, Refused, ""); !r.IsZero() {
			t.Fatalf("seq %d, which there is not, is given up", seq)
		}
		c.Done(seq)
		if r := c.Release(seq); !r.IsZero() {
			t.Fatalf("seq %d, which there is not, is released", seq)
		}
	}
	b.commit()
	c.Rewind()
	equal(t, "again", b.drain("c"), []string{fmt.Sprintf("rel %d", d.ID)})
	if l := b.balance("c"); l.Delivered != 1 {
		t.Fatalf("ledger %+v", l)
	}
}

// TestRestartForAPeerThatForgot: all that is not finished is new, but for what was
// given up.
func TestRestartForAPeerThatForgot(t *testing.T) {
	b := newBox(t).open()
	for i := range 5 {
		b.publish(fmt.Sprint(i), 2, "c")
	}
	b.commit()
	c := b.consumer("c")
	for range 4 {
		b.next("c")
	}
	c.Release(1)
	c.Release(2)
	c.GiveUp(3, Purged, "") // abandoned
	b.commit()
	r := c.Restart()
	if b.s.IsDurable(r) {
		t.Fatal("durable without a commit")
	}
	b.commit()
	check := func(when string) {
		t.Helper()
		var got []string
		for range 4 {
			d := b.next("c")
			got = append(got, what(&d))
		}
		equal(t, when, got, []string{"0", "1", "2", "4"})
		var none Delivery
		if b.consumer("c").TryNext(&none) {
			t.Fatalf("%s: %q", when, what(&none))
		}
		if l := b.balance("c"); l.Delivered != 0 || l.Messages != 4 || l.Lost[Purged] != 1 {
			t.Fatalf("%s: ledger %+v", when, l)
		}
	}
	d := b.next("c")
	if d.Dup {
		t.Fatal("DUP for a peer that has forgotten")
	}
	c.Rewind()
	check("at once")
	b.crash(1)
	check("after a crash")
	b.snapshot()
	b.open()
	check("from a snapshot")
}

// TestDoneIsRememberedWithinAWindow: after a crash at most 1,024 and what was in
// flight come again.
func TestDoneIsRememberedWithinAWindow(t *testing.T) {
	b := newBox(t)
	b.opt.SegmentSize = 1 << 20
	b.open()
	const n = 5000
	for i := range n {
		b.publish(fmt.Sprint(i), 1, "c")
	}
	b.commit()
	c := b.consumer("c")
	done := 0
	var d Delivery
	for done < 4000 {
		if !c.TryNext(&d) {
			t.Fatalf("stuck at %d", done)
		}
		c.Done(d.Seq)
		if done++; done%16 == 0 {
			b.commit() // what the committer does when it is asked
		}
	}
	b.crash(1)
	got := b.drain("c")
	if again := done - (n - len(got)); again < 0 || again > windowSize {
		t.Fatalf("%d of %d finished messages come again", again, done)
	}
	if l := b.balance("c"); l.Delivered != n {
		t.Fatalf("ledger %+v", l)
	}
}

// TestTheEndRemembersAllProgress, even when that fills the segment.
func TestTheEndRemembersAllProgress(t *testing.T) {
	for fill := range 50 {
		b := newBox(t)
		b.opt.SegmentSize = 4 << 10
		b.open()
		var names []string
		for i := range 20 {
			names = append(names, fmt.Sprintf("session/%02d", i))
		}
		b.publish("m", 1, names...)
		b.commit()
		for _, name := range names {
			d := b.next(name)
			b.consumer(name).Done(d.Seq)
		}
		// Fill the segment so that the records of the end have no room in it.
		for range fill {
			b.publish(string(make([]byte, 80)), 0, "other")
		}
		b.restart()
		for _, name := range names {
			if l := b.s.Lookup(name).Lag(); l.Delivered != 1 {
				t.Fatalf("%d messages before: %s: %+v", fill, name, l)
			}
		}
	}
}
