package e2e

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/sim"
)

// oldSession leaves a session of a client at a broker that holds packet
// identifiers: messages under them would be taken for repeats.
func oldSession(t *testing.T, address string, version byte, client string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	const held = 50
	out := packet.AppendConnect(nil, &packet.Connect{Version: version, ClientID: client, SessionExpiry: 3600})
	for id := range uint16(held) {
		out = packet.AppendPublish(out, version, &packet.Publish{Topic: "old", QoS: 2, ID: id + 1, Payload: fmt.Append(nil, "old ", id)})
	}
	if _, err := c.Write(out); err != nil {
		t.Fatal(err)
	}
	var in []byte
	for confirmed := 0; confirmed < held; {
		typ, _, _, n, err := packet.Next(in, 0)
		if err != nil {
			t.Fatal(err)
		}
		if in = in[n:]; typ == packet.PUBREC {
			confirmed++
		}
		if n > 0 {
			continue
		}
		in = append(in, make([]byte, 4096)...)
		k, err := c.Read(in[len(in)-4096:])
		if err != nil {
			t.Fatalf("leave an old session: %v", err)
		}
		in = in[:len(in)-4096+k]
	}
}

// order checks that what a broker hands out begins in order: the first of each
// message, as the other broker may have had some in between.
type order struct {
	mu   sync.Mutex
	seen map[uint64]bool
	high uint64
	late int // firsts below one before
}

func (o *order) arrived(payload []byte) {
	var n uint64
	if _, err := fmt.Sscanf(string(payload), "meter %d", &n); err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen[n] {
		return
	}
	o.seen[n] = true
	if n < o.high {
		o.late++
	}
	o.high = max(o.high, n)
}

// TestFailoverBetweenBrokersThatRememberUs moves to and fro between two brokers,
// each of which has kept a session of ours from before, with packet identifiers.
// Nothing is swallowed for a repeat, and a window arrives twice at most, each time.
func TestFailoverBetweenBrokersThatRememberUs(t *testing.T) {
	t.Parallel()
	// With -full, identifiers are used more than twice over (16,383 in a lane).
	n, moves, cuts := scale(1500, 40000), scale(5, 20), scale(2, 4)
	for _, cloud := range clouds {
		for _, v := range versions {
			t.Run(cloud.name+", "+v.name, func(t *testing.T) {
				t.Parallel()
				r := dice(t)
				var tally sim.Tally
				source := tally.Add(sim.Source{Name: "meter", Kind: "QoS 2"})
				var addresses [2]string
				var links [2]*proxy
				var orders [2]order
				for i := range links {
					addresses[i] = cloud.start(t)
					oldSession(t, addresses[i], v.level, "e2e")
					o := &orders[i]
					o.seen = map[uint64]bool{}
					listen(t, addresses[i], func(topic string, payload []byte) {
						if bytes.HasPrefix(payload, []byte("old")) {
							t.Errorf("%s of the old session arrived under %s", payload, topic)
						}
						o.arrived(payload)
						tally.Arrived(payload)
					})
					links[i] = newProxy(t, addresses[i], r)
				}
				links[1].bringDown()
				g := newGateway(t, badLink(v.level, "", links[0].address, links[1].address))
				g.start()
				began := time.Now()
				published := g.publish("sensors/meter", 2, source, uint64(n))
				for i := range moves {
					here, there := links[i%2], links[(i+1)%2]
					share := n / (moves + 1)
					here.spread(cuts, share/2)
					g.await("the cuts before it moves are made", func() bool { return here.left() == 0 })
					there.bringUp()
					here.then(cut{finished: 1 + r.IntN(share/4), packets: r.IntN(200), down: true})
					g.await("it has to move", here.isDown)
				}
				published()
				links[moves%2].calm()
				g.drained(&tally, addresses[:]...)
				took := time.Since(began)
				arrived(t, &tally)
				c := source.Counts()
				t.Logf("%d messages, moved %d times, %d cuts besides, %d arrived twice: %v", n, moves, moves*cuts, c.Duplicates, took.Round(time.Millisecond))
				if most := uint64(cloudWindow * moves); c.Duplicates > most {
					t.Errorf("%d arrived twice; %d may", c.Duplicates, most)
				}
				if s := tally.Strange(); s > 0 || c.Acked != uint64(n) {
					t.Errorf("%+v, and %d arrived that nobody had sent", c, s)
				}
				for i := range orders {
					if late := orders[i].late; late > 0 {
						t.Errorf("broker %d: %d out of order", i, late)
					}
				}
				g.stop()
			})
		}
	}
}
