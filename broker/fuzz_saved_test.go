package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// FuzzSavedState starts a broker on records of a session, a subscription and a
// will that hold anything: it refuses to start, or serves that session and
// others.
func FuzzSavedState(f *testing.F) {
	will := (&lastWill{grace: willGrace, user: "bob", w: &packet.Will{Topic: "a/will", QoS: 1, Retain: true, Delay: 10, Payload: []byte("x"), Props: packet.AppendUserProp(nil, "k", "v")}}).record()
	plain := (&sub{qos: 2}).record()
	f.Add(sessionRecord(3600, store.Stamp{}, "bob"), plain, "a/#", will)
	f.Add(sessionRecord(never, store.Stamp{Boot: 1, Up: 5}, ""), (&sub{qos: 1, noLocal: true, asPublished: true, handling: 2, id: 7}).record(), "$share/g/a/+", will[:20])
	f.Add(sessionRecord(0, store.Stamp{Boot: 9, Up: 1 << 63}, ""), plain[:5], "#/a", will[:14])
	f.Add([]byte{}, []byte{recordVersion, 0xff, 0, 0, 0, 0}, "", []byte{})
	f.Fuzz(func(t *testing.T, session, subscription []byte, filter string, will []byte) {
		synctest.Test(t, func(t *testing.T) {
			r := rigPipes(t, Options{})
			r.store.Set(sessionKey("s"), session)
			r.store.Set(subKey("s", filter), subscription)
			r.store.Set(willKey("s"), will)
			synctest.Wait()
			r.stop()
			opt := r.opt
			var err error
			if opt.Store, err = store.Open("", store.Options{FS: r.disk.Clone(), Clock: testClock{}, Log: r.opt.Log, SegmentSize: 1 << 20}); err != nil {
				t.Fatal(err)
			}
			if _, err := New(opt); err != nil {
				return
			}
			r.start()
			p := r.connect(packet.V5, "p")
			p.publishAll(packet.Publish{Topic: "a/b", QoS: 2, ID: 1, Payload: []byte("to s")})
			s := &player{nc: r.connect(packet.V5, "s", persistent).nc}
			go s.read()
			p.publishAll(packet.Publish{Topic: "a/b", QoS: 1, ID: 1, Payload: []byte("to s")})
			_ = s.nc.Close()
			time.Sleep(2 * time.Hour)
			p.ping()
			_ = p.nc.Close()
			r.stop()
		})
	})
}
