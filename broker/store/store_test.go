package store

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"packetboat/broker/store/wal/simdisk"
)

// testClock is the clock of a machine that stands still until it is told.
type testClock struct {
	boot   byte
	up     time.Duration
	wall   time.Time
	synced bool
}

func (c *testClock) BootID() [16]byte        { return [16]byte{c.boot} }
func (c *testClock) Uptime() time.Duration   { return c.up }
func (c *testClock) Wall() (time.Time, bool) { return c.wall, c.synced }

// pass lets d go by.
func (c *testClock) pass(d time.Duration) {
	c.up += d
	c.wall = c.wall.Add(d)
}

// reboot is a new boot after the machine was off for off; a machine without a
// clock of its own wakes up in 1970.
func (c *testClock) reboot(off time.Duration, rtc bool) {
	c.boot++
	c.up = 0
	c.wall = c.wall.Add(off)
	if !rtc {
		c.wall = time.Unix(0, 0)
	}
	c.synced = false
}

// box is a store on a simulated disk.
type box struct {
	t     testing.TB
	disk  *simdisk.Disk
	clock *testClock
	opt   Options
	s     *Store
	logs  strings.Builder
}

func newBox(t testing.TB) *box {
	b := &box{t: t, disk: simdisk.New(), clock: &testClock{boot: 1, up: time.Minute, wall: time.Unix(1_700_000_000, 0)}}
	b.opt = Options{FS: b.disk, Clock: b.clock, SegmentSize: 16 << 10, Log: slog.New(slog.NewTextHandler(&b.logs, nil))}
	return b
}

func (b *box) open() *box {
	b.t.Helper()
	s, err := Open("", b.opt)
	if err != nil {
		b.t.Fatalf("open: %v", err)
	}
	b.s = s
	return b
}

func (b *box) commit() {
	b.t.Helper()
	if err := b.s.Commit(context.Background()); err != nil {
		b.t.Fatalf("commit: %v", err)
	}
}

// settle commits with all progress.
func (b *box) settle() {
	b.t.Helper()
	for _, ending := range []bool{true, false} {
		b.s.mu.Lock()
		b.s.ending = ending
		b.s.mu.Unlock()
		b.commit()
	}
}

// restart settles and opens again.
func (b *box) restart() {
	b.t.Helper()
	b.settle()
	b.open()
}

// crash loses what is not durable and opens again.
func (b *box) crash(seed uint64) {
	b.t.Helper()
	b.disk.Crash(rand.New(rand.NewPCG(seed, 1)))
	b.open()
}

func (b *box) snapshot() {
	b.t.Helper()
	b.commit()
	st := b.s.freeze()
	b.commit()
	if err := b.s.writeSnapshot(st); err != nil {
		b.t.Fatalf("snapshot: %v", err)
	}
}

func (b *box) consumer(name string) *Consumer {
	b.t.Helper()
	c, err := b.s.Consumer(name, SessionIDs)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *box) publish(payload string, qos byte, names ...string) Receipt {
	b.t.Helper()
	r, err := b.tryPublish(&Message{Topic: "t", Payload: []byte(payload), QoS: qos}, names...)
	if err != nil {
		b.t.Fatalf("publish: %v", err)
	}
	return r
}

func (b *box) tryPublish(m *Message, names ...string) (Receipt, error) {
	var to []Target
	for _, name := range names {
		to = append(to, Target{Consumer: b.consumer(name), QoS: m.QoS})
	}
	return b.s.Publish(m, to)
}

// next takes the next delivery, which has to be there.
func (b *box) next(name string) Delivery {
	b.t.Helper()
	var d Delivery
	if !b.consumer(name).TryNext(&d) {
		b.t.Fatalf("%s: nothing to deliver", name)
	}
	d.Payload = slices.Clone(d.Payload)
	return d
}

// drain takes all there is, finishing each, and returns what it was: the
// payload, or "rel ID" of what is released.
func (b *box) drain(name string) (got []string) {
	b.t.Helper()
	c := b.consumer(name)
	var d Delivery
	commits := 0
	for range 1 << 20 {
		if !c.TryNext(&d) {
			if commits == 10 { // each may end a give-up that holds the rest back
				return got
			}
			commits++
			b.commit()
			continue
		}
		commits = 0
		got = append(got, what(&d))
		c.Done(d.Seq)
	}
	b.t.Fatalf("%s: there is no end to it", name)
	return nil
}

func what(d *Delivery) string {
	if d.Released {
		return fmt.Sprintf("rel %d", d.ID)
	}
	return string(d.Payload)
}

// balance checks the ledger of a consumer and its recount from the log.
func (b *box) balance(name string) Lag {
	b.t.Helper()
	l := b.s.Lookup(name).Lag()
	if !l.balances() || l.Delivered > l.Accepted {
		b.t.Fatalf("%s: the ledger does not balance: %+v", name, l)
	}
	b.agrees()
	return l
}

// agrees checks all ledgers against the log.
func (b *box) agrees() *Verification {
	b.t.Helper()
	b.commit()
	a := b.s.beginAudit()
	b.commit()
	v, err := a.run(context.Background(), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range v.Ledgers {
		if l := &v.Ledgers[i]; !l.Agrees() {
			b.t.Fatalf("the log does not agree: %+v; it gives %+v", *l, l.Counts)
		}
	}
	return v
}

func equal[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n  %.2000s\nwant\n  %.2000s", what, fmt.Sprint(got), fmt.Sprint(want))
	}
}

// messages leaves out what came released.
func messages(got []string) []string {
	return slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "rel ") })
}

func TestKeysSurvive(t *testing.T) {
	b := newBox(t).open()
	a, sub := Key("session", "a"), Key("sub", "a", "x/#")
	b.s.Set(a, []byte("1"))
	b.s.Set(sub, []byte("2"))
	b.s.Set(Key("sub", "ab", "x/#"), []byte("3"))
	b.s.Set(a, []byte("one"))
	b.s.Set(Key("gone"), nil)
	b.s.Delete(Key("gone"))
	b.commit()
	b.s.Set(a, []byte("never durable"))
	check := func(when string) {
		if v, _ := b.s.Get(a); string(v) != "one" {
			t.Errorf("%s: session a is %q", when, v)
		}
		if _, ok := b.s.Get(Key("gone")); ok {
			t.Errorf("%s: a deleted key is back", when)
		}
		n := 0
		b.s.Each(Key("sub", "a"), func(k string, v []byte) {
			n++
			if k != sub || string(v) != "2" || !slices.Equal(KeyParts(k), []string{"sub", "a", "x/#"}) {
				t.Errorf("%s: %q = %q", when, k, v)
			}
		})
		if n != 1 {
			t.Errorf("%s: %d subscriptions of a", when, n)
		}
	}
	b.disk.Crash(rand.New(rand.NewPCG(4, 4))) // drops all that is not synced
	b.open()
	check("from the log")
	b.snapshot()
	b.open()
	check("from a snapshot")
}

func TestRetainedMessagesSurvive(t *testing.T) {
	b := newBox(t).open()
	retain := func(topic, payload string) {
		m := Message{Topic: topic, Payload: []byte(payload), QoS: 1, Retain: true, Props: []byte("\x01\x01"), Expiry: 60, HasExpiry: true}
		if _, err := b.tryPublish(&m); err != nil {
			t.Fatal(err)
		}
	}
	retain("a", "1")
	retain("a", "2")
	retain("b", "3")
	retain("b", "")
	b.commit()
	check := func(when string) {
		n := 0
		b.s.Retained(func(m *Message) { n++ })
		m := b.s.RetainedMessage("a")
		if n != 1 || m == nil || string(m.Payload) != "2" || m.QoS != 1 || !m.Retain || string(m.Props) != "\x01\x01" || m.Expiry != 60 || !m.HasExpiry {
			t.Fatalf("%s: %d retained, a is %+v", when, n, m)
		}
		if age := b.s.Age(m.Received); age != time.Hour {
			t.Fatalf("%s: received %v ago", when, age)
		}
	}
	b.clock.pass(time.Hour)
	check("before")
	b.crash(1)
	check("from the log")
	b.snapshot()
	b.open()
	check("from a snapshot")
}

// TestARemovedConsumerStaysRemoved, also when the snapshot stands in the middle
// of a segment in whose table it still is.
func TestARemovedConsumerStaysRemoved(t *testing.T) {
	b := newBox(t).open()
	b.publish("old", 1, "session/a", "session/b")
	b.commit()
	first := b.s.Lookup("session/a").num
	b.restart() // a new segment, with a table that names session/a
	b.s.Remove("session/a")
	b.publish("new", 1, "session/a") // another of that name
	b.publish("both", 1, "session/a", "session/b")
	if n := b.s.Lookup("session/a").num; n == first {
		t.Fatalf("number %d is used again", n)
	}
	b.snapshot()
	b.publish("last", 1, "session/a")
	b.commit()
	b.open()
	equal(t, "session/a", b.drain("session/a"), []string{"new", "both", "last"})
	equal(t, "session/b", b.drain("session/b"), []string{"old", "both"})
	if _, there := b.s.consumers[first]; there {
		t.Fatal("the removed consumer is back")
	}
	b.balance("session/a")

	b.s.Remove("session/b")
	b.commit()
	b.crash(1)
	if b.s.Lookup("session/b") != nil {
		t.Fatal("the removed consumer is back")
	}
	equal(t, "names", b.s.Consumers(), []string{"session/a"})
	if r := b.s.Remove("session/b"); !r.IsZero() {
		t.Fatal("removed twice")
	}
}

func TestARemovedConsumerDeliversNothing(t *testing.T) {
	b := newBox(t).open()
	b.publish("1", 1, "a")
	b.publish("2", 2, "a")
	b.commit()
	c := b.consumer("a")
	d := b.next("a")
	b.s.Remove("a")
	var again Delivery
	if c.TryNext(&again) || c.TryReleased(&again) {
		t.Fatal("delivered")
	}
	c.Done(d.Seq)
	if r := c.Release(1); !r.IsZero() {
		t.Fatal("released")
	}
	if r := c.GiveUp(1, Purged, ""); !r.IsZero() {
		t.Fatal("given up")
	}
	if _, err := b.s.Publish(&Message{Topic: "t", QoS: 1}, []Target{{Consumer: c, QoS: 1}}); err != nil {
		t.Fatal(err)
	}
	b.restart()
	if b.s.Lookup("a") != nil {
		t.Fatal("back")
	}
}

// TestQoS2IdentifiersAreHeldUntilForgotten is the publisher's side of exactly once.
func TestQoS2IdentifiersAreHeldUntilForgotten(t *testing.T) {
	b := newBox(t).open()
	send := func(id uint16) Receipt {
		r, err := b.tryPublish(&Message{Topic: "t", Payload: fmt.Append(nil, id), QoS: 2, Origin: "session/p", PacketID: id}, "c")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	held := func(when string, want ...uint16) {
		t.Helper()
		var got []uint16
		for id := range uint16(10) {
			if _, ok := b.s.Received("session/p", id); ok {
				got = append(got, id)
			}
		}
		equal(t, when, got, want)
	}
	r := send(1)
	if again := send(1); again != r {
		t.Fatalf("a repetition has receipt %v, the first %v", again, r)
	}
	send(2)
	send(3)
	b.commit()
	held("published", 1, 2, 3)
	b.crash(1)
	held("after a crash", 1, 2, 3)
	if r := send(1); !r.IsZero() {
		t.Fatalf("a repetition of what is durable waits for %v", r)
	}
	f := b.s.Forget("session/p", 2)
	if b.s.IsDurable(f) {
		t.Fatal("forgotten durably before a commit")
	}
	if again := b.s.Forget("session/p", 2); again != f {
		t.Fatalf("a repeated PUBREL may be answered at %v, the record is at %v", again, f)
	}
	b.snapshot()
	b.open()
	held("from a snapshot", 1, 3)
	b.s.Forget("session/p", 0)
	held("all forgotten")
	send(1)
	b.commit()
	b.crash(2)
	held("a new session", 1)
	equal(t, "delivered", b.drain("c"), []string{"1", "2", "3", "1"})

	// About what nothing is durable: held in memory.
	none := &Message{Topic: "t", QoS: 2, Origin: "session/q", PacketID: 7}
	for range 2 {
		if r, err := b.s.Publish(none, nil); err != nil || !r.IsZero() {
			t.Fatalf("%v, %v", r, err)
		}
	}
	if _, ok := b.s.Received("session/q", 7); !ok {
		t.Fatal("not held")
	}
	b.s.Forget("session/q", 7)
	if _, ok := b.s.Received("session/q", 7); ok {
		t.Fatal("still held")
	}
	if r := b.s.Forget("session/unknown", 1); !r.IsZero() {
		t.Fatal("a record for nobody")
	}
}
