package broker

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

func TestAWillRecordReadsBack(t *testing.T) {
	for _, l := range []lastWill{
		{w: &packet.Will{Topic: "t"}},
		{w: &packet.Will{Topic: "a/b", Payload: []byte("gone"), QoS: 2, Retain: true, Delay: 70000, HasExpiry: true, Expiry: 9, Props: packet.AppendUserProp(nil, "k", "v")}},
		{w: &packet.Will{Topic: "a/b", Payload: []byte("gone"), Retain: true}, user: "bob"},
	} {
		l.grace = 45 * time.Second
		b := l.record()
		got, ok := parseWillRecord(b)
		if !ok || got.grace != l.grace || got.user != l.user || !bytes.Equal(got.record(), b) {
			t.Errorf("%+v: %+v %v", l.w, got, ok)
		}
		for n := range len(b) - len(l.w.Payload) {
			if _, ok := parseWillRecord(b[:n]); ok {
				t.Errorf("%+v: %d of %d bytes are a record", l.w, n, len(b))
			}
		}
	}
}

func TestWillsOutliveACrash(t *testing.T) {
	will := func(retain bool, delay uint32) func(*packet.Connect) {
		return func(p *packet.Connect) {
			p.Will = &packet.Will{Topic: "will", Payload: []byte("gone"), QoS: 1, Retain: retain, Delay: delay, Props: packet.AppendUserProp(nil, "k", "v")}
		}
	}
	keepAlive := func(seconds uint16) func(*packet.Connect) {
		return func(p *packet.Connect) { p.KeepAlive = seconds }
	}
	// s is a subscriber to "will" that is made again after each crash.
	for _, c := range []struct {
		name string
		run  func(t *testing.T, r *rig, crash func() (s *client))
	}{
		{"that of a persistent session is published after 30 s", func(t *testing.T, r *rig, crash func() *client) {
			r.connect(packet.V5, "w", will(false, 0), persistent)
			s := crash()
			time.Sleep(29 * time.Second)
			s.ping()
			time.Sleep(2 * time.Second)
			if m := s.wantMessage("will", "gone", 1); string(m.Props) != string(packet.AppendUserProp(nil, "k", "v")) {
				t.Errorf("properties %x", m.Props)
			}
			s = crash() // once
			time.Sleep(time.Hour / 2)
			s.ping()
		}},
		{"one with RETAIN, also of a clean session", func(t *testing.T, r *rig, crash func() *client) {
			r.connect(packet.V311, "w", will(true, 0))
			s := crash()
			time.Sleep(31 * time.Second)
			s.wantMessage("will", "gone", 1)
			if n := r.b.Stats().Retained; n != 1 {
				t.Errorf("%d retained", n)
			}
		}},
		{"after 1.5 times the keep alive, if that is longer", func(t *testing.T, r *rig, crash func() *client) {
			r.connect(packet.V311, "w", will(true, 0), keepAlive(40))
			s := crash()
			time.Sleep(59 * time.Second)
			s.ping()
			time.Sleep(2 * time.Second)
			s.wantMessage("will", "gone", 1)
		}},
		{"after the will delay, if that is longer", func(t *testing.T, r *rig, crash func() *client) {
			r.connect(packet.V5, "w", will(false, 100), persistent)
			s := crash()
			time.Sleep(99 * time.Second)
			s.ping()
			time.Sleep(2 * time.Second)
			s.wantMessage("will", "gone", 1)
		}},
		{"when the session expires, if that is earlier", func(t *testing.T, r *rig, crash func() *client) {
			r.connect(packet.V5, "w", will(false, 1000), persistent, func(p *packet.Connect) { p.SessionExpiry = 200 })
			s := crash()
			time.Sleep(199 * time.Second)
			s.ping()
			time.Sleep(2 * time.Second)
			s.wantMessage("will", "gone", 1)
		}},
		{"not when the client is back in time", func(t *testing.T, r *rig, crash func() *client) {
			r.connect(packet.V5, "w", will(false, 0), persistent)
			r.connect(packet.V311, "clean", will(true, 0))
			s := crash()
			time.Sleep(29 * time.Second)
			r.connect(packet.V5, "w", persistent)
			r.connect(packet.V311, "clean")
			time.Sleep(time.Hour / 2)
			s.ping()
			s = crash() // and there is no record any more
			time.Sleep(time.Hour / 2)
			s.ping()
		}},
		{"a new one takes its place", func(t *testing.T, r *rig, crash func() *client) {
			r.connect(packet.V5, "w", will(false, 0), persistent)
			r.connect(packet.V5, "w", persistent, func(p *packet.Connect) {
				p.Will = &packet.Will{Topic: "will", Payload: []byte("newer"), QoS: 1}
			})
			s := crash()
			time.Sleep(31 * time.Second)
			s.wantMessage("will", "newer", 1)
			s.ping()
		}},
		{"not after a DISCONNECT", func(t *testing.T, r *rig, crash func() *client) {
			r.connect(packet.V5, "w", will(true, 0), persistent).disconnect(0)
			r.connect(packet.V311, "clean", will(true, 0)).disconnect(0)
			if err := r.store.Wait(t.Context(), r.store.Set("later", nil)); err != nil {
				t.Fatal(err)
			}
			s := crash()
			time.Sleep(time.Hour / 2)
			s.ping()
		}},
		{"not twice when it was published before", func(t *testing.T, r *rig, crash func() *client) {
			r.drop(r.connect(packet.V5, "w", will(false, 0), persistent), "w")
			if err := r.store.Wait(t.Context(), r.store.Set("later", nil)); err != nil {
				t.Fatal(err)
			}
			s := crash()
			time.Sleep(time.Hour / 2)
			s.ping()
		}},
		{"a delayed one waits over a crash", func(t *testing.T, r *rig, crash func() *client) {
			r.drop(r.connect(packet.V5, "w", will(false, 60), persistent), "w")
			s := crash()
			time.Sleep(61 * time.Second)
			s.wantMessage("will", "gone", 1)
		}},
		{"one of a clean session without RETAIN is not written", func(t *testing.T, r *rig, crash func() *client) {
			release := r.holdSyncs()
			defer release()
			r.connect(packet.V5, "w", will(false, 0))
			if r.keys("will") != 0 {
				t.Error("there is a record")
			}
		}},
		{"CONNACK waits for the record, unless it is there already", func(t *testing.T, r *rig, crash func() *client) {
			r.drop(r.connect(packet.V5, "w", will(false, 1000), persistent), "w")
			release := r.holdSyncs()
			r.drop(r.connect(packet.V5, "w", will(false, 1000), persistent), "w")
			w := r.dial()
			p := packet.Connect{Version: packet.V5, ClientID: "w"}
			persistent(&p)
			will(true, 1000)(&p)
			w.send(packet.AppendConnect(nil, &p))
			synctest.Wait()
			if got := w.peek(); len(got) != 0 {
				t.Errorf("early: %x", got)
			}
			release()
			w.wantConnack()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rigPipes(t, Options{})
				rng := rand.New(rand.NewPCG(1, 2))
				c.run(t, r, func() *client {
					r.crash(rng, func() {})
					s := r.connect(packet.V5, "s")
					s.subscribe(filter("will", 1))
					return s
				})
				r.stop()
			})
		})
	}
}

// keys is how many keys the store has whose first part is name.
func (r *rig) keys(name string) (n int) {
	r.store.Each(store.Key(name), func(string, []byte) { n++ })
	return n
}

func TestAChangedWillIsHeldInMemoryWhileTheDiskHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rigPipes(t, Options{})
		d := r.connect(packet.V5, "d", persistent)
		d.subscribe(filter("d", 1))
		w := r.connect(packet.V5, "w", persistent)
		r.drop(w, "w")
		r.failed()
		for range 3 { // however often it comes
			w = r.connect(packet.V5, "w", persistent, func(p *packet.Connect) {
				p.Will = &packet.Will{Topic: "will", Payload: []byte("gone"), QoS: 1, Delay: 5}
			})
			if r.keys("will") != 0 {
				t.Fatal("the record is staged")
			}
			r.drop(w, "w")
		}
		s := r.connect(packet.V5, "s")
		s.subscribe(filter("will", 0))
		time.Sleep(6 * time.Second)
		s.wantMessage("will", "gone", 0) // live-only: it is published all the same
		r.connect(packet.V5, "w", persistent, func(p *packet.Connect) {
			p.Will = &packet.Will{Topic: "will", Payload: []byte("later"), QoS: 1}
		})
		r.breakDisk(false)
		time.Sleep(time.Minute)
		if r.keys("will") != 1 {
			t.Error("no record when the disk is well again")
		}
		r.crash(rand.New(rand.NewPCG(1, 2)), func() {})
		s = r.connect(packet.V5, "s")
		s.subscribe(filter("will", 0))
		time.Sleep(time.Minute)
		s.wantMessage("will", "later", 0)
		r.stop()
	})
}
