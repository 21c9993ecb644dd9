package bridge

import (
	"net"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/qos"
	"packetboat/broker/store"
	"packetboat/config"
)

func TestSendingAllocatesNothing(t *testing.T) {
	for _, mode := range []string{"off", "properties", "json:meta"} {
		t.Run("stamp "+mode, func(t *testing.T) { sendingAllocatesNothing(t, mode) })
	}
}

func sendingAllocatesNothing(t *testing.T, mode string) {
	r := newRig(t, func(c *config.Bridge) {
		c.Stamp, c.Gateway = mode, "gw1"
		c.Up = []config.Up{up("sensors/+/t", "site/{1}", func(u *config.Up) { u.MaxAge = time.Hour })}
	})
	r.start()
	a, z := net.Pipe()
	defer z.Close()
	c := r.bridge.newConn(t.Context(), server{}, a)
	c.limits = limits{inFlight: 100, packet: 1 << 20, qos: 2, retain: true}
	r.bridge.live.attach(c)
	ln := &r.bridge.lanes[0]
	m := store.Message{Topic: "sensors/s1/t", Payload: []byte(`{"t":21.5,"unit":"C","tags":["a","b"]}`), Props: []byte{packet.PropPayloadFormat, 1}}
	d := store.Delivery{Message: m, Seq: 5, ID: 6, At: time.Now()}
	d.QoS = 1
	dst := make([]byte, 0, 1<<10)
	for _, tt := range []struct {
		name string
		f    func()
	}{
		{"a message from the queue", func() {
			if why, _ := c.prepare(3, &d, time.Second); why != 0 {
				t.Fatal("given up")
			}
			dst = c.encode(dst[:0], ln, &d)
		}},
		{"a QoS 0 message directly", func() {
			if !r.bridge.live.Deliver(&m, 0, 0) {
				t.Fatal("not taken")
			}
			dst, _ = c.link.take(dst[:0])
		}},
		{"an acknowledgement", func() {
			c.answers.Push(store.Receipt{}, qos.Answer{Type: packet.PUBACK, ID: 1})
			dst = c.answer(dst[:0])
		}},
	} {
		if n := testing.AllocsPerRun(200, tt.f); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
		if len(dst) == 0 {
			t.Errorf("%s: nothing was encoded", tt.name)
		}
	}
	_ = a.Close()
}

func TestOurOwnSlowDiskIsNotTheServersFault(t *testing.T) {
	r := newRig(t, func(c *config.Bridge) { c.AckTimeout = 200 * time.Millisecond })
	r.start()
	r.run()
	r.awaitState(Online)
	r.cloud.onPublish = func(*packet.Publish) (byte, bool) {
		r.gate.shut()
		return 0, true
	}
	r.publish(store.Message{Topic: "t", Payload: []byte("x"), QoS: 2})
	r.gate.awaitCaught(t)
	<-time.After(2 * r.cfg.AckTimeout)
	r.gate.open()
	r.awaitIdle()
	if s := r.bridge.Stats(); s.Connects != 1 || s.Resent != 0 {
		t.Errorf("the connection was given up: %+v, %v", s, r.bridge.State())
	}
}
