package store

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// append1 appends one message to a consumer.
func (b *box) append1(name, payload string, earlier Wall) error {
	b.t.Helper()
	m := &Message{Topic: "t", Payload: []byte(payload), QoS: 1, Expiry: 3600, HasExpiry: true, Earlier: earlier, Retain: true, Origin: "session/p", PacketID: 7}
	_, err := b.s.Append(m, Target{Consumer: b.consumer(name), QoS: 1, KeepRetain: true, SubscriptionIDs: []uint32{7}})
	return err
}

// TestAnAppendedMessageIsAsOldAsItIs: by the clock of the gateway that received it
// where that can be compared, and through everything that happens to the log.
func TestAnAppendedMessageIsAsOldAsItIs(t *testing.T) {
	epoch := time.Unix(1_700_000_000, 0)
	for _, tt := range []struct {
		name        string
		here, there bool // the clocks are synchronised
		received    time.Time
		want        time.Duration // when it is appended
	}{
		{name: "before this boot", here: true, there: true, received: epoch.Add(-time.Hour), want: time.Hour},
		{name: "in this boot", here: true, there: true, received: epoch.Add(-time.Second), want: time.Second},
		{name: "by a clock that is ahead", here: true, there: true, received: epoch.Add(time.Hour), want: 0},
		{name: "by a clock that was not set", here: true, received: epoch.Add(-time.Hour), want: 0},
		{name: "on a gateway whose clock is not set", there: true, received: epoch.Add(-time.Hour), want: 0},
		{name: "long ago", here: true, there: true, received: time.Unix(1, 0), want: epoch.Sub(time.Unix(1, 0))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t)
			b.clock.synced = tt.here
			b.open()
			b.clock.wall = epoch
			b.s.checkClock()
			if tt.here {
				b.s.mu.Lock()
				b.s.recordClockLocked()
				b.s.mu.Unlock()
			}
			if err := b.append1("c", "old", WallOf(tt.received, tt.there)); err != nil {
				t.Fatal(err)
			}
			b.publish("new", 1, "c")
			b.commit()
			want := tt.want
			check := func(when string) {
				t.Helper()
				var d Delivery
				v := b.consumer("c").View()
				for _, text := range []string{"old", "new"} {
					if ok, err := v.Next(&d); !ok || err != nil || string(d.Payload) != text {
						t.Fatalf("%s: %s, %v, %v", when, d.Payload, ok, err)
					}
					if text == "new" {
						break
					}
					if got := b.s.Age(d.Received); got != want {
						t.Errorf("%s: age %v, want %v", when, got, want)
					}
					if !d.At.Equal(tt.received) || d.AtTrusted != tt.there || !d.Retain || d.Expiry != 3600 || d.SubscriptionIDs[0] != 7 || d.Origin != "" {
						t.Errorf("%s: %+v", when, d)
					}
				}
				if got := b.consumer("c").Lag().Oldest; got != want {
					t.Errorf("%s: the oldest is of age %v, want %v", when, got, want)
				}
				if l := b.balance("c"); l.Messages != 2 {
					t.Errorf("%s: %+v", when, l)
				}
			}
			check("as it is")
			b.clock.pass(time.Minute)
			want += time.Minute
			b.s.checkClock() // notes how long the boot lasted
			b.publish("x", 1, "other")
			b.commit()
			b.crash(1)
			check("from the log")
			b.snapshot()
			b.open()
			check("from a snapshot")
			b.s.mu.Lock()
			b.s.clocks.note(Stamp{1, 1 << 63})
			b.s.mu.Unlock()
			b.clock.reboot(0, false) // its uptimes are all that is known
			b.crash(2)
			b.clock.pass(time.Minute)
			want += time.Minute
			check("after a boot")
			for _, k := range b.s.Consumers() {
				if strings.HasPrefix(k, "session/p") {
					t.Error("a publisher was made of it")
				}
			}
			if len(b.s.retained) > 0 {
				t.Error("it is a retained message now")
			}
		})
	}
}

// TestAnAppendedMessageThatIsRescuedStaysAsItIs when its segment has to go.
func TestAnAppendedMessageThatIsRescuedStaysAsItIs(t *testing.T) {
	b := newBox(t)
	b.clock.synced = true
	b.open()
	at := time.Unix(1_600_000_000, 123_456_000)
	if err := b.append1("c", "old", WallOf(at, true)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for range 2 { // else it is most of the segment, and stays where it is
			b.publish(strings.Repeat("x", 5000), 1, "other")
		}
		b.restart()
		b.commit()
		b.s.mu.Lock()
		gained := b.s.dropOldestLocked()
		b.s.mu.Unlock()
		if gained == 0 {
			t.Fatal("nothing was rescued")
		}
		b.commit()
		var d Delivery
		if ok, err := b.consumer("c").View().Next(&d); !ok || err != nil || !d.At.Equal(at) || !d.AtTrusted || b.s.Age(d.Received) != time.Unix(1_700_000_000, 0).Sub(at) {
			t.Fatalf("%+v, %v, %v", d, ok, err)
		}
		b.balance("c")
	}
}

// TestAnAppendedMessageThatHasExpiredIsNotDelivered, and what its dead letter says
// of the time is the truth.
func TestAnAppendedMessageThatHasExpiredIsNotDelivered(t *testing.T) {
	b := newBox(t)
	b.clock.synced = true
	b.open()
	dead := b.consumer("dead")
	b.consumer("c").SetDead(dead)
	at := time.Unix(1_700_000_000, 0).Add(-59 * time.Minute)
	for _, text := range []string{"kept", "refused"} {
		if err := b.append1("c", text, WallOf(at, true)); err != nil {
			t.Fatal(err)
		}
	}
	b.commit()
	if d := b.next("c"); string(d.Payload) != "kept" {
		t.Fatalf("%+v", d)
	}
	d := b.next("c")
	b.consumer("c").GiveUp(d.Seq, Refused, "no")
	b.consumer("c").Rewind()
	b.clock.pass(time.Minute)
	b.commit()
	if got := b.drain("c"); len(got) > 0 {
		t.Errorf("delivered although it has expired: %q", got)
	}
	if l := b.balance("c"); l.Lost[Expired] != 1 {
		t.Errorf("%+v", l)
	}
	var letter Delivery
	if ok, err := dead.View().Next(&letter); !ok || err != nil || !strings.Contains(string(letter.Props), at.UTC().Format(time.RFC3339Nano)) || !letter.Earlier.IsZero() {
		t.Errorf("dead letter: %+v, %v, %v", letter, ok, err)
	}
}

// TestAppendTakesNobodysPlace: at each bound it is refused, and says which; what
// waits stays, and who publishes then still has room.
func TestAppendTakesNobodysPlace(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bound func(b *box, c *Consumer)
		want  string
	}{
		{"the consumer's messages", func(_ *box, c *Consumer) { c.SetLimit(10, 0) }, "10 messages wait in c, which may have 10"},
		{"the consumer's bytes", func(_ *box, c *Consumer) { c.SetLimit(0, 4000) }, "which may have 4000"},
		{"the lane's bytes, dropping the oldest", func(_ *box, c *Consumer) { c.SetPolicy(DropOldest, 4000) }, "which may have 4000"},
		{"the lane's bytes, rejecting", func(_ *box, c *Consumer) { c.SetPolicy(Reject, 4000) }, "which may have 4000"},
		{"the lane's bytes, dropping the newest", func(_ *box, c *Consumer) { c.SetPolicy(DropNewest, 4000) }, "which may have 4000"},
		{"the size of the queue", func(b *box, _ *Consumer) {}, "max_size 1048576"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBox(t)
				b.opt.MaxSize = 1 << 20
				b.open()
				stop := b.run()
				defer stop()
				c := b.consumer("c")
				b.publish(numbered(0, 500), 1, "c", "other")
				tt.bound(b, c)
				n, err := 1, error(nil)
				for ; err == nil && n < 10_000; n++ {
					b.s.WaitForRoom()
					err = b.append1("c", numbered(n, 500), Wall{})
				}
				n-- // the last one was refused
				if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("after %d: %v", n, err)
				}
				if l := c.Lag(); l.Messages != uint64(n) || len(l.Lost) > 0 {
					t.Errorf("%d were appended: %+v", n, l)
				}
				if tt.name == "the size of the queue" {
					for range 60 { // devices still have some of the reserve
						b.s.WaitForRoom()
						b.publish(numbered(0, 500), 1, "other")
					}
					if n < 800 {
						t.Errorf("only %d of 500 bytes in 1 MiB", n)
					}
				}
				for _, name := range []string{"c", "other"} {
					if l := b.consumer(name).Lag(); len(l.Lost) > 0 {
						t.Errorf("%s: %+v", name, l)
					}
				}
				if du := b.du(); du > b.opt.MaxSize {
					t.Errorf("the files have %d bytes", du)
				}
			})
		})
	}
}

func TestAppendToAQueueThatIsGone(t *testing.T) {
	b := newBox(t).open()
	c := b.consumer("c")
	b.s.Remove("c")
	if _, err := b.s.Append(&Message{Topic: "t"}, Target{Consumer: c}); !errors.Is(err, ErrRemoved) {
		t.Error(err)
	}
	if _, err := b.s.Append(&Message{Topic: "t", Payload: make([]byte, 9<<10)}, Target{Consumer: b.consumer("d")}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

// TestRecordsOfAnImportByHand reads them as FORMAT.md describes them.
func TestRecordsOfAnImportByHand(t *testing.T) {
	wall := func(at int64) []byte { return binary.AppendVarint(nil, at) }
	up := uint64(1<<64 - 5_000_000) // 5 s before the boot
	imported := record(byte(19), byte(1|8|32), wall(1_600_000_000_000_001), byte(1), 1, 3, 0, byte(2|4), up, 60, prefixed("\x01\x01"), prefixed("t"), "old")
	again := record(byte(20), byte(1), wall(1_600_000_000_000_002), byte(0), 1, 1, 3, 1, byte(1), up, prefixed("t"), "again")
	b := newBox(t)
	b.clock.up = 10 * time.Second
	b.byHand([][]byte{clockBytes(1, 1, 1000), record(byte(6), 3, 1, 65535, "c")}, [][]byte{imported, message(3, 1, 1, 2000, "m1"), message(3, 2, 1, 3000, "m2")}, [][]byte{again})
	b.open()
	for i, want := range []struct {
		payload string
		at      int64
		trusted bool
		age     time.Duration
	}{
		{"old", 1_600_000_000_000_001, true, 15 * time.Second},
		{"again", 1_600_000_000_000_002, false, 15 * time.Second},
		{"m2", 1_700_000_000_000_000 - 10_000_000 + 3000, false, 10*time.Second - 3*time.Millisecond},
	} {
		d := b.next("c")
		at, trusted := b.s.clocks.received(&d.Message)
		if string(d.Payload) != want.payload || at.UnixMicro() != want.at || trusted != want.trusted || b.s.Age(d.Received) != want.age {
			t.Errorf("%d: %s, received %d, trusted %v, age %v", i, d.Payload, at.UnixMicro(), trusted, b.s.Age(d.Received))
		}
		if i == 0 && (d.QoS != 2 || !d.Retain || d.Expiry != 60 || string(d.Props) != "\x01\x01") {
			t.Errorf("%+v", d)
		}
	}
	if l := b.balance("c"); l.Messages != 3 {
		t.Errorf("%+v", l)
	}
}
