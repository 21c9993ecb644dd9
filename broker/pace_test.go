package broker

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
)

// flood is so many publishes in one piece.
func flood(version byte, qos byte, from, n, size int) []byte {
	var b []byte
	for i := from; i < from+n; i++ {
		p := packet.Publish{Topic: "t", QoS: qos, Payload: fmt.Appendf(nil, "%d%s", i, strings.Repeat(" ", size))}
		if qos > 0 {
			p.ID = uint16(i + 1)
		}
		b = packet.AppendPublish(b, version, &p)
	}
	return b
}

func TestPublishesBeyondTheLimitWaitInOrder(t *testing.T) {
	frame := int64(len(flood(packet.V5, 0, 0, 1, 90)))
	for _, c := range []struct {
		name string
		opt  Options
		want time.Duration // for 30 publishes
	}{
		{"no limit", Options{}, 0},
		{"10 messages a second", Options{MessagesPerSecond: 10}, 2 * time.Second},
		{"bytes of 10 messages a second", Options{BytesPerSecond: 10 * frame}, 2 * time.Second},
		{"the lower one counts", Options{MessagesPerSecond: 1000, BytesPerSecond: 5 * frame}, 5 * time.Second},
		{"a message that is larger than a second's bytes", Options{BytesPerSecond: frame / 2}, 58 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, version := range []byte{packet.V311, packet.V5} {
				synctest.Test(t, func(t *testing.T) {
					r := rigPipes(t, c.opt)
					s := r.connect(version, "s")
					s.subscribe(filter("t", 0))
					p := r.connect(version, "p")
					began := time.Now()
					go p.send(flood(version, 0, 0, 30, 90))
					for i := range 30 {
						flags, body := s.wantLate(packet.PUBLISH, time.Minute)
						var got packet.Publish
						if err := packet.ParsePublish(flags, body, version, &got); err != nil {
							t.Fatal(err)
						}
						if want := fmt.Sprint(i); strings.TrimSpace(string(got.Payload)) != want {
							t.Fatalf("%s, want %s", got.Payload, want)
						}
					}
					if took := time.Since(began); took < c.want-c.want/10 || took > c.want+c.want/5+restMin {
						t.Errorf("took %v, want %v", took, c.want)
					}
					r.stop()
				})
			}
		})
	}
}

func TestAcknowledgementsAndPingsPassPublishesThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rigPipes(t, Options{MessagesPerSecond: 1})
		// Both ways with one client: its window has room for one delivery.
		c := r.connect(packet.V5, "c", func(p *packet.Connect) { p.ReceiveMaximum = 1 })
		c.subscribe(filter("to/c", 2))
		began := time.Now()
		c.send(flood(packet.V5, 1, 0, 1, 0), flood(packet.V5, 1, 1, 20, 0)) // 20 of which wait
		c.wantAck(packet.PUBACK, 1)
		for i := range 3 {
			if _, err := r.b.Publish(&Message{Topic: "to/c", QoS: 2, Payload: fmt.Appendf(nil, "%d", i)}); err != nil {
				t.Fatal(err)
			}
			c.wantMessage("to/c", fmt.Sprint(i), 2)
			c.send([]byte{0xc0})
			c.send([]byte{0}) // in two pieces
			c.want(packet.PINGRESP)
		}
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("acknowledgements waited %v", took)
		}
		// What is no acknowledgement stays behind the publishes.
		c.send(packet.AppendSubscribe(nil, c.version, &packet.Subscribe{ID: 100, Filters: []packet.Filter{filter("x", 0)}}))
		for i := range 20 {
			_, body := c.wantLate(packet.PUBACK, time.Minute)
			if id := int(body[0])<<8 | int(body[1]); id != i+2 {
				t.Fatalf("PUBACK of %d, want %d", id, i+2)
			}
		}
		c.wantSuback(packet.SUBACK)
		r.stop()
	})
}

func TestARepeatedPubrelOfMQTT31PassesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rigPipes(t, Options{MessagesPerSecond: 1})
		c := r.connect(packet.V31, "c")
		c.publish(packet.Publish{Topic: "t", QoS: 2, ID: 1})
		c.wantAck(packet.PUBREC, 1)
		c.send(flood(packet.V31, 0, 0, 20, 0), []byte{0x6a, 2, 0, 1}) // with DUP
		began := time.Now()
		c.wantAck(packet.PUBCOMP, 1)
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("PUBREL waited %v", took)
		}
		r.stop()
	})
}

func TestWhatWasSentBeforeTheEndIsTaken(t *testing.T) {
	for _, c := range []struct {
		name string
		last []byte
		want []string // after the publishes
	}{
		{"with DISCONNECT, without the will", []byte{0xe0, 0}, []string{"end"}},
		{"without, with the will", nil, []string{"will", "end"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rigPipes(t, Options{MessagesPerSecond: 2})
				s := r.connect(packet.V311, "s")
				s.subscribe(filter("#", 0))
				p := r.connect(packet.V311, "p", func(p *packet.Connect) {
					p.Will = &packet.Will{Topic: "will", Payload: []byte("will")}
				})
				p.send(flood(packet.V311, 0, 0, 10, 0), c.last)
				p.nc.Close()
				want := []string{}
				for i := range 10 {
					want = append(want, fmt.Sprint(i))
				}
				want = append(want, c.want...)
				for i, w := range want {
					if w == "end" { // shows that nothing else came
						if _, err := r.b.Publish(&Message{Topic: "x", Payload: []byte("end")}); err != nil {
							t.Fatal(err)
						}
					}
					if w == "will" || i == 10 {
						synctest.Wait()
					}
					flags, body := s.wantLate(packet.PUBLISH, time.Minute)
					var got packet.Publish
					if err := packet.ParsePublish(flags, body, s.version, &got); err != nil || string(got.Payload) != w {
						t.Fatalf("%q, %v; want %q", got.Payload, err, w)
					}
				}
				r.stop()
			})
		})
	}
}

func TestAClientThatWaitsMayBeTakenOver(t *testing.T) {
	for _, much := range []int{0, 70_000} { // read meanwhile, and not
		synctest.Test(t, func(t *testing.T) {
			r := rigPipes(t, Options{MessagesPerSecond: 1})
			p := r.connect(packet.V5, "p")
			go func() { _, _ = p.nc.Write(flood(packet.V5, 0, 0, 50, much)) }()
			synctest.Wait()
			began := time.Now()
			done := make(chan struct{})
			go func() { // what the old one is told must be read
				_, _ = io.Copy(io.Discard, p.nc)
				close(done)
			}()
			r.connect(packet.V5, "p").ping()
			<-done
			if took := time.Since(began); took > time.Second {
				t.Errorf("took %v", took)
			}
			r.stop()
		})
	}
}

func TestWhatAClientSendsTooFastIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rigPipes(t, Options{BytesPerSecond: 100_000})
		p := r.connect(packet.V5, "p", func(p *packet.Connect) { p.KeepAlive = 1 })
		began := time.Now()
		p.send(flood(packet.V5, 0, 0, 100, 10_000)) // a pipe: returns when it is read
		if took, want := time.Since(began), 8*time.Second; took < want {
			t.Errorf("1 MB was read in %v", took)
		}
		p.ping() // it has not lost its connection by its keep alive
		r.stop()
	})
}
