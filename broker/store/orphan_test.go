package store

import (
	"testing"
	"testing/synctest"
)

// TestALaneThatRejectedIsTheFirstToGoOnceNobodyReadsIt: a bridge was removed while the
// gateway runs, with a backlog that was to be kept whatever else comes.
func TestALaneThatRejectedIsTheFirstToGoOnceNobodyReadsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, size = 1 << 20, 1000
		b := newBox(t)
		b.opt.MaxSize, b.opt.SegmentSize = limit, 16<<10
		b.open()
		stop := b.run()
		gone, live := b.consumer("bridge/gone/0"), b.consumer("bridge/live/0")
		publish := func(i int, to *Consumer) {
			t.Helper()
			b.s.WaitForRoom()
			r, err := b.s.Publish(&Message{Topic: "t", Payload: []byte(numbered(i, size)), QoS: 1}, []Target{{Consumer: to, QoS: 1}})
			if err != nil {
				t.Fatalf("message %d for %s: %v", i, to.name, err)
			}
			if err := b.s.Wait(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		gone.SetPolicy(Reject, limit/2)
		for i := range 500 {
			publish(i, gone)
			if i%4 == 0 {
				publish(i, live)
			}
		}
		gone.SetOrphan(true)
		for i := range 3000 {
			publish(i, live)
		}
		if l := gone.Lag(); l.Lost[Dropped] != 500 || l.Messages != 0 {
			t.Errorf("of the bridge that is gone: %+v", l)
		}
		if l := live.Lag(); l.Messages == 0 || !l.balances() {
			t.Errorf("of the bridge that is there: %+v", l)
		}
		stop()
	})
}
