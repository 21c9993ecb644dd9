package bridge

import (
	"strings"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/config"
)

// TestATakeoverIsSaid by servers of MQTT 5, and guessed with those that only close.
func TestATakeoverIsSaid(t *testing.T) {
	for name, tt := range map[string]struct {
		version config.Version
		end     func(*rig)
		want    string
	}{
		"5": {5, func(r *rig) {
			r.cloud.raw("gw1", packet.AppendDisconnect(nil, packet.V5, &packet.Disconnect{Code: packet.SessionTakenOver}))
		}, "session taken over (0x8E): another client uses the client id; each needs its own"},
		"3.1.1": {4, func(r *rig) { r.cloud.cut() }, `another client has the client id "gw1": each needs its own`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *config.Bridge) { c.Version = tt.version })
			r.start()
			r.run()
			for i := range suspiciouslyMany {
				r.cloud.await(t, "a connection", func() bool { return len(r.cloud.connects) >= 2+i && r.bridge.Stats().Connects > uint64(i) })
				tt.end(r)
			}
			r.cloud.await(t, "a reason", func() bool {
				time.AfterFunc(time.Millisecond, r.cloud.cond.Broadcast)
				s := r.bridge.State()
				return s.Err != nil && strings.Contains(s.Err.Error(), tt.want)
			})
		})
	}
}

func TestTheRateOfADrain(t *testing.T) {
	var d drainRate
	now := time.Now()
	for i := range 10 {
		d.sample(uint64(100*i), now.Add(time.Duration(i)*time.Second))
	}
	if d.second != 100 {
		t.Errorf("%v a second", d.second)
	}
}

func TestABucketKeepsItsRate(t *testing.T) {
	b := newBucket(500, 50)
	now := time.Now()
	start, n := now, 0
	for now.Sub(start) < 10*time.Second {
		if wait := b.wait(now); wait > 0 {
			now = now.Add(wait)
			continue
		}
		b.take(1)
		n++
	}
	if n < 5000 || n > 5051 {
		t.Errorf("%d in 10 s", n)
	}
	if zero := (bucket{}); zero.wait(now) != 0 {
		t.Error("the zero bucket holds something up")
	}
}
