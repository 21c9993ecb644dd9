package sim

import (
	"testing"

	"packetboat/broker/packet"
)

func TestASubscriberKnowsWhatComesAgain(t *testing.T) {
	type step struct {
		dup     bool
		id      uint16
		payload string
		release bool // the id, before
	}
	for _, c := range []struct {
		name   string
		steps  []step
		handed int
		broken uint64
	}{
		{"before its PUBREL", []step{{false, 1, "a", false}, {true, 1, "a", false}}, 1, 0},
		{"after its PUBREL, with DUP", []step{{false, 1, "a", false}, {true, 1, "a", true}}, 1, 1},
		{"after its PUBREL, without DUP: a message of its own", []step{{false, 1, "a", false}, {false, 1, "a", true}}, 2, 0},
		{"under another id: a message of its own", []step{{false, 1, "a", false}, {true, 2, "a", true}}, 2, 0},
		{"another message whose first PUBLISH was lost", []step{{false, 1, "a", false}, {true, 1, "b", true}}, 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			handed := 0
			s := &Subscriber{Version: packet.V5, QoS: 2, Message: func(string, []byte) { handed++ }}
			s.forget()
			for _, x := range c.steps {
				if x.release {
					take(t, s, packet.AppendAck(nil, packet.V5, packet.PUBREL, 1, packet.Success))
				}
				take(t, s, packet.AppendPublish(nil, packet.V5, &packet.Publish{
					Dup: x.dup, QoS: 2, ID: x.id, Topic: "t", Payload: []byte(x.payload),
				}))
			}
			if handed != c.handed || s.Broken.Load() != c.broken {
				t.Errorf("%d handed over, %d broken; want %d, %d", handed, s.Broken.Load(), c.handed, c.broken)
			}
		})
	}
}

// take lets s take one packet.
func take(t *testing.T, s *Subscriber, b []byte) {
	t.Helper()
	typ, flags, body, _, err := packet.Next(b, 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.take(nil, typ, flags, body); err != nil {
		t.Fatal(err)
	}
}
