package broker

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// fill attaches a bridge for up/# whose lane rejects what does not fit, and
// fills it. What it returns lets everything out of the lane.
func (r *rig) fill() (drained func() []string) {
	r.t.Helper()
	lane := r.store.Lookup("bridge/b")
	if lane == nil {
		a, err := r.b.Attach("bridge/b", 0, []Subscription{{Filter: "up/#", QoS: 2}}, nil)
		if err != nil {
			r.t.Fatal(err)
		}
		lane = a.Lane(0)
		lane.SetPolicy(store.Reject, 4<<10)
	}
	var err error
	var last store.Receipt
	for _, size := range []int{1 << 10, 0} {
		for err = nil; err == nil; {
			var receipt store.Receipt
			receipt, err = r.b.Publish(&Message{Topic: "up/fill", QoS: 1, Payload: make([]byte, size)})
			last = last.After(receipt)
		}
		if !errors.Is(err, store.ErrFull) {
			r.t.Fatal(err)
		}
	}
	if err := r.store.Wait(r.t.Context(), last); err != nil {
		r.t.Fatal(err)
	}
	return func() (got []string) {
		for _, s := range drain(lane) {
			if !bytes.HasPrefix([]byte(s), []byte("up/fill ")) {
				got = append(got, s)
			}
		}
		return got
	}
}

func TestPublishersOfAFullQueue(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, r *rig, drained func() []string)
	}{
		{"MQTT 5 is refused in the order of answers, and accepted after the drain", func(t *testing.T, r *rig, drained func() []string) {
			d := r.connect(packet.V5, "d", persistent)
			d.subscribe(filter("d", 1))
			p := r.connect(packet.V5, "p")
			release := r.holdSyncs()
			defer release()
			p.publish(pub("d", 1, 1, ""))
			p.publish(pub("up/x", 1, 2, ""))
			p.publish(pub("up/x", 2, 3, ""))
			p.ping() // nothing is answered but this
			release()
			p.wantAck(packet.PUBACK, 1)
			if code := p.wantAck(packet.PUBACK, 2); code != packet.QuotaExceeded {
				t.Errorf("PUBACK %02x", code)
			}
			if code := p.wantAck(packet.PUBREC, 3); code != packet.QuotaExceeded {
				t.Errorf("PUBREC %02x", code)
			}
			drained()
			p.publishAll(pub("up/x", 2, 3, "y"))
			if got := drained(); !slices.Equal(got, []string{"up/x y 2"}) {
				t.Errorf("queued %q", got)
			}
		}},
		{"nobody gets what is refused, but QoS 0 goes to who needs no queue", func(t *testing.T, r *rig, _ func() []string) {
			s := r.connect(packet.V5, "s")
			s.subscribe(filter("up/#", 1), filter("raised", 1))
			if _, err := r.b.Attach("bridge/raised", 0, []Subscription{{Filter: "raised", QoS: 1, MinQoS: 1}}, nil); err != nil {
				t.Fatal(err)
			}
			r.store.Lookup("bridge/raised").SetPolicy(store.Reject, 1)
			p := r.connect(packet.V5, "p")
			p.publish(pub("up/x", 1, 1, "refused"))
			p.wantAck(packet.PUBACK, 1)
			p.publishAll(pub("up/x", 0, 0, "a"))
			p.publishAll(packet.Publish{Topic: "raised", Retain: true, Payload: []byte("b")})
			s.wantMessage("up/x", "a", 0)
			s.wantMessage("raised", "b", 0)
			s.subscribe(filter("raised", 0)) // it is not retained
			s.ping()
			if _, err := r.b.Publish(&Message{Topic: "raised"}); !errors.Is(err, store.ErrFull) {
				t.Errorf("in this process: %v", err)
			}
			s.ping()
		}},
		{"MQTT 3.1.1 is parked, everything else goes on, and what is parked follows in order", func(t *testing.T, r *rig, drained func() []string) {
			s := r.connect(packet.V5, "s")
			s.subscribe(filter("live/#", 2))
			p := r.connect(packet.V311, "p")
			p.publish(pub("up/x", 1, 1, "a"))
			p.publish(pub("up/x", 2, 2, "b"))
			p.publish(pub("live/late", 1, 3, "c")) // not past the others
			p.publish(pub("live/now", 0, 0, "d"))
			p.ping()
			s.wantMessage("live/now", "d", 0)
			s.ping()
			p.subscribe(filter("down", 2))
			p.sendAck(packet.PUBREL, 9)
			p.wantAck(packet.PUBCOMP, 9)
			down := r.connect(packet.V5, "down")
			down.publishAll(pub("down", 2, 1, "e"))
			p.wantMessage("down", "e", 2)
			if n := r.b.Stats().Parked; n != 3 {
				t.Errorf("%d are parked", n)
			}
			time.Sleep(7 * parkedRetry / 2)
			p.ping() // still nothing
			drained()
			p.wantAck(packet.PUBACK, 1)
			p.wantAck(packet.PUBREC, 2)
			p.wantAck(packet.PUBACK, 3)
			p.sendAck(packet.PUBREL, 2)
			p.wantAck(packet.PUBCOMP, 2)
			s.wantMessage("live/late", "c", 1)
			if got := drained(); !slices.Equal(got, []string{"up/x a 1", "up/x b 2"}) {
				t.Errorf("queued %q", got)
			}
			p.publishAll(pub("up/x", 1, 1, "f")) // nothing is parked any more
			if n := r.b.Stats().Parked; n != 0 {
				t.Errorf("%d are parked", n)
			}
		}},
		{"what is parked is a copy", func(t *testing.T, r *rig, drained func() []string) {
			p := r.connect(packet.V311, "p")
			p.publish(pub("up/first", 1, 1, "first"))
			p.ping()
			for range 100 {
				p.publish(pub("no/thing", 0, 0, "XXXXXXXXXXXXXXXX"))
			}
			p.ping()
			drained()
			p.wantAck(packet.PUBACK, 1)
			if got := drained(); !slices.Equal(got, []string{"up/first first 1"}) {
				t.Errorf("queued %q", got)
			}
		}},
		{"a QoS 2 publish repeated while it is parked is staged once", func(t *testing.T, r *rig, drained func() []string) {
			p := r.connect(packet.V311, "p")
			p.publish(pub("up/x", 2, 1, "a"))
			p.publish(packet.Publish{Topic: "up/x", QoS: 2, ID: 1, Dup: true, Payload: []byte("a")})
			p.ping()
			drained()
			p.wantAck(packet.PUBREC, 1)
			p.wantAck(packet.PUBREC, 1)
			if got := drained(); !slices.Equal(got, []string{"up/x a 2"}) {
				t.Errorf("queued %q", got)
			}
		}},
		{"max_inflight publishes may be parked", func(t *testing.T, r *rig, _ func() []string) {
			p := r.connect(packet.V311, "p")
			for id := range uint16(4) {
				p.publish(pub("up/x", 1, id+1, ""))
			}
			p.ping()
			p.publish(pub("up/x", 1, 5, ""))
			p.wantEnd(0)
		}},
		{"1 MiB may be parked, also the second time", func(t *testing.T, r *rig, drained func() []string) {
			p := r.connect(packet.V311, "p")
			p.publish(pub("up/x", 1, 1, "a"))
			p.ping()
			drained()
			p.wantAck(packet.PUBACK, 1)
			r.fill()
			for id := range uint16(2) {
				p.publish(packet.Publish{Topic: "up/x", QoS: 1, ID: id + 1, Payload: make([]byte, parkedBytes/2-4)})
			}
			p.ping()
			p.publish(pub("up/x", 1, 3, ""))
			p.wantEnd(0)
		}},
		{"the next connection starts with nothing parked, and sends again", func(t *testing.T, r *rig, drained func() []string) {
			p := r.connect(packet.V311, "p", persistent)
			p.publish(pub("up/x", 1, 1, "a"))
			p.publish(pub("up/x", 2, 2, "b"))
			p.ping()
			r.drop(p, "p")
			drained()
			p = r.connect(packet.V311, "p", persistent)
			time.Sleep(7 * parkedRetry / 2)
			p.ping()
			if got := drained(); len(got) != 0 {
				t.Errorf("queued %q", got)
			}
			p.publishAll(packet.Publish{Topic: "up/x", QoS: 1, ID: 1, Dup: true, Payload: []byte("a")})
			p.publishAll(packet.Publish{Topic: "up/x", QoS: 2, ID: 2, Dup: true, Payload: []byte("b")})
			if got := drained(); !slices.Equal(got, []string{"up/x a 1", "up/x b 2"}) {
				t.Errorf("queued %q", got)
			}
		}},
		{"a takeover ends what is parked", func(t *testing.T, r *rig, drained func() []string) {
			old := r.connect(packet.V311, "p", persistent)
			old.publish(pub("up/x", 1, 1, "old"))
			old.ping()
			p := r.connect(packet.V311, "p", persistent)
			old.wantEnd(0)
			if n := r.b.Stats().Parked; n != 0 {
				t.Errorf("%d are parked", n)
			}
			p.publish(pub("up/x", 1, 1, "new"))
			p.ping()
			drained()
			p.wantAck(packet.PUBACK, 1)
			if got := drained(); !slices.Equal(got, []string{"up/x new 1"}) {
				t.Errorf("queued %q", got)
			}
		}},
		{"a will waits for room", func(t *testing.T, r *rig, drained func() []string) {
			for _, id := range []string{"gone", "back"} {
				w := r.connect(packet.V311, id, func(p *packet.Connect) {
					p.Will = &packet.Will{Topic: "up/" + id, QoS: 1, Payload: []byte("offline")}
				})
				r.drop(w, id)
			}
			r.connect(packet.V311, "back")
			time.Sleep(7 * parkedRetry / 2)
			drained()
			time.Sleep(2 * parkedRetry)
			if got := drained(); !slices.Equal(got, []string{"up/gone offline 1"}) {
				t.Errorf("queued %q", got)
			}
		}},
		{"a silent client is still closed after 1.5 times its keep alive", func(t *testing.T, r *rig, _ func() []string) {
			p := r.connect(packet.V311, "p", func(p *packet.Connect) { p.KeepAlive = 5 })
			began := time.Now()
			p.publish(pub("up/x", 1, 1, ""))
			p.wantEnd(0)
			if d := time.Since(began); d != 7500*time.Millisecond {
				t.Errorf("closed after %v", d)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rigPipes(t, Options{MaxInflight: 4})
				c.run(t, r, r.fill())
				r.stop()
			})
		})
	}
}

func TestWhatNoSegmentHoldsIsRefused(t *testing.T) {
	r := rigTCP(t, Options{})
	d := r.connect(packet.V5, "d", persistent)
	d.subscribe(filter("d", 1))
	large := packet.Publish{Topic: "d", QoS: 1, ID: 1, Payload: make([]byte, 600<<10)}
	for _, version := range []byte{packet.V311, packet.V5} {
		for large.QoS = range byte(3) {
			p := r.connect(version, "p")
			p.publish(large)
			if large.QoS == 0 {
				p.ping()
				d.want(packet.PUBLISH) // not through the queue
				continue
			}
			p.wantEnd(packet.PacketTooLarge)
		}
	}
	if _, err := r.b.Publish(&Message{Topic: "d", QoS: 1, Payload: large.Payload}); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("in this process: %v", err)
	}
	live := r.connect(packet.V5, "live")
	live.subscribe(filter("live", 1))
	large.Topic, large.QoS = "live", 1
	r.connect(packet.V311, "p").publishAll(large)
	live.want(packet.PUBLISH)
	if n := r.b.Stats().Refused; n != 4 {
		t.Errorf("%d were refused", n)
	}
	d.ping()
}

func TestNobodyElseWaitsForADiskThatDoesNotKeepUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rigPipes(t, Options{})
		d := r.connect(packet.V5, "d", persistent)
		d.subscribe(filter("d", 1))
		d.disconnect(0)
		release := r.holdSyncs()
		defer release()
		published := make(chan error)
		go func() {
			var err error
			var receipt store.Receipt
			for range 40 {
				if receipt, err = r.b.Publish(&Message{Topic: "d", QoS: 1, Payload: make([]byte, 500<<10)}); err != nil {
					break
				}
			}
			if err == nil {
				err = r.store.Wait(t.Context(), receipt)
			}
			published <- err
		}()
		for r.store.HasRoom() {
			synctest.Wait()
		}
		s, p := r.connect(packet.V5, "s"), r.connect(packet.V311, "p")
		s.subscribe(filter("live", 1))
		p.subscribe(filter("live", 0))
		p.publish(pub("live", 1, 1, "x"))
		p.publish(pub("d", 1, 2, "y"))
		s.wantMessage("live", "x", 1)
		p.wantMessage("live", "x", 0)
		p.wantAck(packet.PUBACK, 1)
		if staged := r.store.Stats().Staged; staged > 9<<20 {
			t.Errorf("nothing held the publisher back: %d bytes are staged", staged)
		}
		release()
		if err := <-published; err != nil {
			t.Error(err)
		}
		p.wantAck(packet.PUBACK, 2)
		r.stop()
	})
}

func TestSessionsHaveLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		opt   Options
		again bool
		want  []string
	}{
		{"of messages", Options{MaxSessionMessages: 3}, false, []string{"7@1", "8@1", "9@1"}},
		{"of messages, over a restart", Options{MaxSessionMessages: 3}, true, []string{"7@1", "8@1", "9@1"}},
		{"of bytes", Options{MaxSessionSize: 100}, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rigTCP(t, c.opt)
			s := r.connect(packet.V5, "s", persistent)
			s.subscribe(filter("t", 1))
			s.disconnect(0)
			if c.again {
				r.restart()
			}
			p := r.connect(packet.V5, "p")
			for i := range 10 {
				p.publishAll(pub("t", 1, 1, fmt.Sprint(i)))
			}
			lag := r.store.Lookup("session/s").Lag()
			if n := lag.Messages + lag.Lost[store.Dropped]; n != 10 || lag.Messages >= 10 || lag.Messages == 0 {
				t.Fatalf("%d queued, %d dropped", lag.Messages, lag.Lost[store.Dropped])
			}
			s = r.connect(packet.V5, "s", persistent)
			got := s.wantAll(int(lag.Messages))
			if c.want != nil && !slices.Equal(got, c.want) || got[len(got)-1] != "9@1" {
				t.Errorf("got %q", got)
			}
			s.ping()
		})
	}
}
