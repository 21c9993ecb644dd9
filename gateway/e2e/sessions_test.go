package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/sim"
)

// Local publishers and subscribers with sessions that stay, and a gateway that
// is killed again and again: what was acknowledged to a publisher arrives at
// each subscriber, in order, at QoS 2 once.
func TestSessionsSurviveKillsOfTheGateway(t *testing.T) {
	t.Parallel()
	kills, each := scale(3, 50), uint64(scale(500, 5000))
	g := newGateway(t, "")
	g.start()

	var tally sim.Tally
	var subscribers []*sim.Subscriber
	var done sync.WaitGroup
	for _, s := range []struct {
		name    string
		qos     byte
		version byte
	}{{"a", 2, packet.V5}, {"b", 2, packet.V311}, {"c", 1, packet.V5}, {"d", 1, packet.V311}} {
		subscribed := make(chan struct{}, 1)
		subscriber := &sim.Subscriber{
			Addr: g.mqtt, ClientID: "subscriber-" + s.name, Filter: s.name + "/#", QoS: s.qos, Version: s.version,
			Message: func(_ string, payload []byte) { tally.Arrived(payload) },
			Subscribed: func() {
				select {
				case subscribed <- struct{}{}:
				default:
				}
			},
		}
		run(t, subscriber.Run)
		subscribers = append(subscribers, subscriber)
		select {
		case <-subscribed:
		case <-time.After(patience):
			t.Fatal("not subscribed")
		}
		for qos := byte(1); qos <= 2; qos++ {
			for _, version := range []byte{packet.V311, packet.V5} {
				source := tally.Add(sim.Source{
					Name: fmt.Sprintf("%s-%d-%d", s.name, qos, version),
					Kind: fmt.Sprintf("published at QoS %d, subscribed to at QoS %d", qos, s.qos),
					Once: qos == 2 && s.qos == 2,
				})
				p := &sim.Publisher{
					Addr: g.mqtt, Topic: s.name + "/x", QoS: qos, Version: version, Source: source, Count: each, Window: 20,
				}
				done.Add(1)
				run(t, func(ctx context.Context) error {
					defer done.Done()
					err := p.Run(ctx)
					if p.Refused.Load()+p.Forgotten.Load() > 0 {
						return fmt.Errorf("%s: %d publishes refused, session forgotten %d times", source.Name, p.Refused.Load(), p.Forgotten.Load())
					}
					return err
				})
			}
		}
		run(t, func(ctx context.Context) error { return noise(ctx, g.mqtt, s.name+"/noise") })
	}

	// The moments of the kills: when so much is acknowledged.
	var moments []uint64
	for range kills {
		moments = append(moments, rand.Uint64N(each*16*9/10))
	}
	slices.Sort(moments)
	for _, m := range moments {
		g.await(fmt.Sprintf("%d are acknowledged", m), func() bool { return acked(&tally) >= m })
		g.signal(syscall.SIGKILL)
		g.start()
	}
	t.Logf("killed when so many were acknowledged: %v", moments)
	done.Wait()
	settled(t, &tally)
	for _, s := range subscribers {
		if n := s.Broken.Load(); n > 0 {
			t.Errorf("%s: %d PUBLISHes came again after their PUBREL", s.ClientID, n)
		}
	}
	for _, s := range tally.Sources() {
		if got := s.Counts().Acked; got != each {
			t.Errorf("%s: %d of %d acknowledged", s.Name, got, each)
		}
	}
	g.stop()
}

// noise publishes at QoS 0, of which nothing is promised, over one connection
// after the other until ctx ends.
func noise(ctx context.Context, address, topic string) error {
	hello := packet.AppendConnect(nil, &packet.Connect{Version: packet.V311, CleanStart: true, ClientID: topic})
	message := packet.AppendPublish(nil, packet.V311, &packet.Publish{Topic: topic, Payload: []byte("noise")})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var c net.Conn
	for {
		select {
		case <-ctx.Done():
			if c != nil {
				_ = c.Close()
			}
			return nil
		case <-tick.C:
		}
		if c == nil {
			var err error
			if c, err = net.Dial("tcp", address); err != nil { // it is down
				c = nil
				continue
			}
			_, _ = c.Write(hello)
		}
		if _, err := c.Write(message); err != nil {
			_ = c.Close()
			c = nil
		}
	}
}
