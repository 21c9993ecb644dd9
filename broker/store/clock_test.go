package store

import (
	"testing"
	"time"
)

// TestAgesAreLowerBoundsThatNeedNoClock follows one message over boots.
func TestAgesAreLowerBoundsThatNeedNoClock(t *testing.T) {
	const h = time.Hour
	type step func(b *box)
	pass := func(d time.Duration) step { return func(b *box) { b.clock.pass(d) } }
	// What the log knows of a boot is what was last recorded in it.
	note := func(b *box) { b.s.checkClock(); b.publish("x", 1, "other"); b.commit() }
	restart := func(b *box) { b.crash(1) }
	reboot := func(off time.Duration, rtc bool) step {
		return func(b *box) { b.clock.reboot(off, rtc); b.crash(1) }
	}
	sync := func(b *box) {
		b.clock.synced = true
		b.clock.wall = time.Unix(1_700_000_000, 0).Add(100 * h) // the real time is what a test says last
		b.s.checkClock()
		b.commit()
	}
	step2 := func(d time.Duration) step { return func(b *box) { b.clock.wall = b.clock.wall.Add(d) } }
	for _, tt := range []struct {
		name  string
		steps []step
		want  time.Duration
		known bool
	}{
		{"within a boot it is the time that passed", []step{pass(3 * h)}, 3 * h, true},
		{"a restart of the process changes nothing", []step{pass(h), note, restart, pass(h)}, 2 * h, true},
		{"a crash before anything was noted changes nothing", []step{pass(h), restart, pass(h)}, 2 * h, true},
		{"a step of the wall clock changes nothing", []step{step2(56 * 365 * 24 * h), pass(h), step2(-56 * 365 * 24 * h)}, h, true},
		{"after a reboot it is the uptimes", []step{pass(h), note, reboot(10*h, false), pass(2 * h)}, 3 * h, false},
		{"what was not noted before a reboot is missing", []step{pass(h), note, pass(h), reboot(10*h, false), pass(2 * h)}, 3 * h, false},
		{"the time switched off is not known without a clock", []step{reboot(1000*h, true), pass(h)}, h, false},
		{"several boots add up", []step{pass(h), note, reboot(0, false), pass(h), note, reboot(0, false), pass(h), note, reboot(0, false), pass(h)}, 4 * h, false},
		{"one synchronised boot is not enough", []step{pass(h), note, reboot(99*h, false), sync, pass(h)}, 2 * h, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t).open()
			b.publish("m", 1, "c")
			b.commit()
			for _, f := range tt.steps {
				f(b)
			}
			check := func(when string) {
				t.Helper()
				d := b.next("c")
				b.consumer("c").Rewind()
				if got := b.s.Age(d.Received); got != tt.want {
					t.Errorf("%s: age %v, want %v", when, got, tt.want)
				}
				if got := b.s.AgeKnown(d.Received); got != tt.known {
					t.Errorf("%s: known %v, want %v", when, got, tt.known)
				}
				if got := b.consumer("c").Lag().Oldest; got != tt.want {
					t.Errorf("%s: the oldest is of age %v, want %v", when, got, tt.want)
				}
			}
			check("as it is")
			b.snapshot()
			b.open()
			check("from a snapshot")
		})
	}
}

// TestTwoSynchronisedBootsKnowTheTimeBetween: then wall clocks may be compared.
func TestTwoSynchronisedBootsKnowTheTimeBetween(t *testing.T) {
	b := newBox(t).open()
	b.clock.synced = true
	b.s.checkClock()
	b.publish("m", 1, "c")
	b.commit()
	at := b.next("c").Received
	b.clock.pass(time.Hour)
	b.clock.reboot(10*time.Hour, true)
	b.crash(1)
	if age := b.s.Age(at); age != 0 || b.s.AgeKnown(at) {
		t.Fatalf("before it is synchronised: age %v, known %v", age, b.s.AgeKnown(at))
	}
	b.clock.pass(time.Minute)
	b.clock.synced = true
	b.s.checkClock()
	if age := b.s.Age(at); age != 11*time.Hour+time.Minute || !b.s.AgeKnown(at) {
		t.Fatalf("age %v, known %v", age, b.s.AgeKnown(at))
	}
	b.commit()
	b.crash(2) // the record of the synchronisation is what counts
	b.clock.synced = false
	if age := b.s.Age(at); age != 11*time.Hour+time.Minute || !b.s.AgeKnown(at) {
		t.Fatalf("after a restart: age %v, known %v", age, b.s.AgeKnown(at))
	}
}

// TestReceiveTimesAreCorrectedAfterSynchronisation: a Pi starts in 1970 and gets
// the time later.
func TestReceiveTimesAreCorrectedAfterSynchronisation(t *testing.T) {
	b := newBox(t)
	b.clock.wall = time.Unix(50, 0)
	b.open()
	b.publish("early", 1, "c")
	b.commit()
	early := b.next("c").Received
	if w, ok := b.s.Wall(early); ok || w.Unix() != 50 {
		t.Fatalf("before: %v, %v", w, ok)
	}
	b.clock.pass(10 * time.Minute)
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	b.clock.wall, b.clock.synced = now, true
	b.s.checkClock()
	want := now.Add(-10 * time.Minute)
	check := func(when string) {
		t.Helper()
		if w, ok := b.s.Wall(early); !ok || w.Sub(want).Abs() > time.Second {
			t.Fatalf("%s: received at %v, %v; want %v", when, w, ok, want)
		}
	}
	check("after")
	b.clock.wall = now.Add(-time.Hour) // what is wrong again later is not believed
	b.clock.synced = false
	b.s.checkClock()
	check("after a step back")
	b.commit()
	b.crash(1)
	check("after a crash")
	b.clock.reboot(time.Hour, false)
	b.crash(2)
	check("after a boot in 1970")
	b.snapshot()
	b.open()
	check("from a snapshot")
	if _, ok := b.s.Wall(b.s.Now()); ok {
		t.Fatal("the present boot is not synchronised")
	}
	for _, none := range []Stamp{{}, {Boot: 99, Up: 1}} {
		if w, ok := b.s.Wall(none); ok || !w.IsZero() || b.s.Age(none) != 0 || b.s.AgeKnown(none) {
			t.Fatalf("%+v is taken for a moment", none)
		}
	}
}

// TestABootWithoutAnIDIsKnownByItsUptime: some containers hide the boot id.
func TestABootWithoutAnIDIsKnownByItsUptime(t *testing.T) {
	b := newBox(t)
	b.clock.boot = 0
	b.open()
	b.clock.pass(time.Hour)
	b.publish("m", 1, "c")
	b.commit()
	at := b.next("c").Received
	b.clock.up = time.Minute
	b.crash(1)
	if age := b.s.Age(at); age != time.Minute {
		t.Fatalf("age %v, want the minute since the boot", age)
	}
}

// TestExpiryNeedsNoClock: nothing expires early, whatever the wall clock says,
// and what has expired by the bound is not delivered.
func TestExpiryNeedsNoClock(t *testing.T) {
	for _, tt := range []struct {
		name   string
		live   func(b *box)
		expire bool
	}{
		{"a clock step of 56 years", func(b *box) { b.clock.wall = b.clock.wall.AddDate(56, 0, 0); b.clock.synced = true; b.s.checkClock() }, false},
		{"59 seconds", func(b *box) { b.clock.pass(59 * time.Second) }, false},
		{"a minute", func(b *box) { b.clock.pass(time.Minute) }, true},
		{"half a minute and a reboot", func(b *box) {
			b.clock.pass(30 * time.Second)
			b.publish("later", 1, "other")
			b.commit()
			b.clock.reboot(time.Hour, false)
			b.crash(1)
			b.clock.pass(29 * time.Second)
		}, false},
		{"half a minute on each side of a reboot", func(b *box) {
			b.clock.pass(30 * time.Second)
			b.publish("later", 1, "other")
			b.commit()
			b.clock.reboot(time.Hour, false)
			b.crash(1)
			b.clock.pass(30 * time.Second)
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t).open()
			m := &Message{Topic: "t", Payload: []byte("m"), QoS: 1, Expiry: 60, HasExpiry: true}
			if _, err := b.tryPublish(m, "c"); err != nil {
				t.Fatal(err)
			}
			b.commit()
			tt.live(b)
			got := b.drain("c")
			l := b.balance("c")
			if tt.expire && (len(got) > 0 || l.Lost[Expired] != 1) || !tt.expire && (len(got) != 1 || l.Delivered != 1) {
				t.Fatalf("delivered %q, ledger %+v", got, l)
			}
		})
	}
}
