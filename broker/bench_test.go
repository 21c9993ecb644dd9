package broker

import (
	"fmt"
	"io"
	"testing"

	"packetboat/broker/packet"
)

func TestRoutingDoesNotAllocate(t *testing.T) {
	r := rigTCP(t, Options{})
	for i := range 3 {
		version := []byte{packet.V311, packet.V5, packet.V5}[i]
		c := r.connect(version, fmt.Sprint("s", i))
		c.subscribe(filter("sensors/+/temp", byte(i)), filter("sensors/#", 0))
		go func() { _, _ = io.Copy(io.Discard, c.nc) }()
	}
	d := r.connect(packet.V5, "d", persistent)
	d.subscribe(filter("durable", 1))
	d.disconnect(0)
	live := &Message{Topic: "sensors/a/temp", Payload: []byte("21.5"), Origin: "adapter/x"}
	durable := &Message{Topic: "durable", QoS: 1, Payload: []byte("21.5"), Origin: "adapter/x"}
	publish := func(m *Message) {
		if _, err := r.b.Publish(m); err != nil {
			t.Error(err)
		}
	}
	for range 100 {
		publish(live)
		publish(durable)
	}
	if n := testing.AllocsPerRun(1000, func() { publish(live) }); n >= allowedAllocs {
		t.Errorf("a live publish allocates %v times", n)
	}
	if n := testing.AllocsPerRun(1000, func() { publish(durable) }); n >= allowedAllocs {
		t.Errorf("a durable publish allocates %v times", n)
	}
}

// BenchmarkFanIn: 4 publishers to one subscriber, in batches.
func BenchmarkFanIn(b *testing.B) {
	for qos := range byte(2) {
		b.Run(fmt.Sprintf("QoS%d", qos), func(b *testing.B) {
			r := rigTCP(b, Options{MaxOutput: 1 << 30})
			benchmarkFlow(b, r, 4, 1, qos)
		})
	}
}

// BenchmarkFanOut: one publisher to 50 subscribers; ns per delivery.
func BenchmarkFanOut(b *testing.B) {
	for qos := range byte(2) {
		b.Run(fmt.Sprintf("QoS%d", qos), func(b *testing.B) {
			r := rigTCP(b, Options{MaxOutput: 1 << 30})
			benchmarkFlow(b, r, 1, 50, qos)
		})
	}
}

func benchmarkFlow(b *testing.B, r *rig, publishers, subscribers int, qos byte) {
	const batch = 64
	done := make(chan struct{}, subscribers)
	per := b.N / publishers / subscribers
	for i := range subscribers {
		c := r.connect(packet.V311, fmt.Sprint("s", i))
		c.subscribe(filter("bench/#", 0))
		go func() {
			frame := packet.AppendPublish(nil, packet.V311, &packet.Publish{Topic: "bench/0", Payload: make([]byte, 64)})
			_, _ = io.CopyN(io.Discard, c.nc, int64(per*publishers*len(frame)))
			done <- struct{}{}
		}()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range publishers {
		c := r.connect(packet.V311, fmt.Sprint("p", i))
		go func() { _, _ = io.Copy(io.Discard, c.nc) }()
		go func() {
			var buf []byte
			p := packet.Publish{Topic: fmt.Sprint("bench/", i), QoS: qos, Payload: make([]byte, 64)}
			for n := 0; n < per; n++ {
				p.ID = uint16(n%1000) + 1
				buf = packet.AppendPublish(buf, packet.V311, &p)
				if n%batch == batch-1 || n == per-1 {
					if _, err := c.nc.Write(buf); err != nil {
						b.Error(err)
						return
					}
					buf = buf[:0]
				}
			}
		}()
	}
	for range subscribers {
		<-done
	}
}
