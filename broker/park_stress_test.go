package broker

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// stubborn is an MQTT 3.1.1 publisher that keeps to the protocol over cut
// connections: message i goes out under id i+1, at QoS 1 or 2 in turn, and is
// sent again until it is acknowledged.
type stubborn struct {
	r        *rig
	c        *client
	sent     int          // messages begun
	released map[int]bool // PUBREC came
	done     map[int]bool
}

func stubbornQoS(i int) byte { return byte(1 + i%2) }

func (s *stubborn) publish(i int, dup bool) {
	p := pub("up/x", stubbornQoS(i), uint16(i+1), fmt.Sprint(i))
	p.Dup = dup
	s.c.publish(p)
}

// open is how many messages are not acknowledged.
func (s *stubborn) open() int { return s.sent - len(s.done) }

func (s *stubborn) reconnect() {
	if s.c != nil {
		s.r.drop(s.c, "p")
	}
	s.c = s.r.connect(packet.V311, "p", persistent)
	for i := range s.sent {
		switch {
		case s.done[i]:
		case s.released[i]:
			s.c.sendAck(packet.PUBREL, uint16(i+1))
		default:
			s.publish(i, true)
		}
	}
}

// absorb takes the acknowledgements that are there.
func (s *stubborn) absorb() {
	for had := -1; had != len(s.c.buf); {
		had = len(s.c.buf)
		s.c.peek()
	}
	for {
		typ, flags, body, n, err := packet.Next(s.c.buf, 0)
		if err != nil {
			s.r.t.Fatal(err)
		}
		if n == 0 {
			return
		}
		a, err := packet.ParseAck(typ, flags, body, packet.V311)
		if err != nil {
			s.r.t.Fatalf("packet type %d: %v", typ, err)
		}
		s.c.buf = s.c.buf[n:]
		i := int(a.ID) - 1
		if typ == packet.PUBREC {
			s.released[i] = true
			s.c.sendAck(packet.PUBREL, a.ID)
			continue
		}
		s.done[i] = true
	}
}

// TestAQueueThatIsFullOrFailedAtAnyTimeLosesNothing: one publisher, a lane that
// rejects, and at random a drain, a broken disk, a cut connection, time.
func TestAQueueThatIsFullOrFailedAtAnyTimeLosesNothing(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rigPipes(t, Options{MaxInflight: 4})
				a, err := r.b.Attach("bridge/b", 0, []Subscription{{Filter: "up/#", QoS: 2}}, nil)
				if err != nil {
					t.Fatal(err)
				}
				a.Lane(0).SetPolicy(store.Reject, 300)
				rng := rand.New(rand.NewPCG(1, seed))
				s := &stubborn{r: r, released: map[int]bool{}, done: map[int]bool{}}
				s.reconnect()
				var got []string
				parked := int64(0)
				for range 150 {
					switch rng.IntN(10) {
					case 0, 1, 2, 3, 4:
						if s.open() < 3 {
							s.sent++
							s.publish(s.sent-1, false)
						}
					case 5:
						got = append(got, drain(a.Lane(0))...)
					case 6:
						time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
					case 7:
						r.breakDisk(rng.IntN(2) == 0)
					case 8:
						if rng.IntN(3) == 0 {
							s.reconnect()
						}
					}
					parked = max(parked, r.b.Stats().Parked)
					s.absorb()
				}
				r.breakDisk(false)
				for range 100 {
					time.Sleep(time.Second)
					s.absorb()
					got = append(got, drain(a.Lane(0))...)
				}
				if s.open() > 0 {
					t.Errorf("%d of %d are not acknowledged", s.open(), s.sent)
				}
				if parked == 0 {
					t.Error("nothing was ever parked")
				}
				checkStubborn(t, got, s.sent)
				r.stop()
			})
		})
	}
}

// checkStubborn: every message is there, QoS 2 once, each first in its turn.
func checkStubborn(t *testing.T, got []string, sent int) {
	t.Helper()
	times := make([]int, sent)
	next := 0
	for _, g := range got {
		var i, qos int
		if _, err := fmt.Sscanf(strings.TrimPrefix(g, "up/x "), "%d %d", &i, &qos); err != nil {
			t.Fatalf("%q: %v", g, err)
		}
		if times[i]++; times[i] > 1 && qos == 2 {
			t.Errorf("QoS 2 message %d comes %d times", i, times[i])
		}
		if i > next {
			t.Errorf("%d comes before %d", i, next)
		}
		next = max(next, i+1)
	}
	if next != sent {
		t.Errorf("%d of %d messages came", next, sent)
	}
}
