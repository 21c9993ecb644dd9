package e2e

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/sim"
)

// hang stops a process where it is until resume; SIGKILL ends it all the same.
func (p *process) hang() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) resume() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		p.t.Fatal(err)
	}
}

// TestACloudThatHangsIsFoundWithinTheAckTimeout: it is stopped, and the bridge is
// stalled first and then tries to reconnect; all arrives when it goes on.
func TestACloudThatHangsIsFoundWithinTheAckTimeout(t *testing.T) {
	t.Parallel()
	const timeout = 2 * time.Second
	n := uint64(scale(2000, 10000))
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			cloud := newMosquitto(t, anonymous)
			var tally sim.Tally
			once := tally.Add(sim.Source{Name: "once", Kind: "QoS 2", Once: true})
			more := tally.Add(sim.Source{Name: "once-or-more", Kind: "QoS 1"})
			late := tally.Add(sim.Source{Name: "late", Kind: "QoS 2", Once: true}) // so that there is something in flight
			collect(t, cloud.address, &tally, nil)
			g := newGateway(t, badLink(v.level, `ack_timeout = "2s"
connect_timeout = "1s"
`, cloud.address))
			g.start()
			doneOnce := g.publish("sensors/once", 2, once, n)
			doneMore := g.publish("sensors/more", 1, more, n)
			g.await("some have arrived", func() bool { return once.Counts().Arrived > n/10 && more.Counts().Arrived > n/10 })
			cloud.hang()
			began := time.Now()
			doneLate := g.publish("sensors/late", 2, late, 10)
			var states []string // one after the other
			g.await("it tries to reconnect", func() bool {
				state := g.status().State
				if len(states) == 0 || states[len(states)-1] != state {
					states = append(states, state)
				}
				return state == "connecting" || state == "backing off"
			})
			found := time.Since(began)
			if want := []string{"online", "stalled"}; !slices.Equal(states[:len(states)-1], want) {
				t.Errorf("its states were %q", states)
			}
			// An eighth is for acknowledgements that were under way and for looking; a
			// machine that is busy with other tests may take its time.
			if most := timeout + timeout/8; *full && found > most {
				t.Errorf("found after %v, not within %v", found, most)
			}
			doneOnce()
			doneMore()
			doneLate()
			cloud.resume()
			g.drained(&tally, cloud.address)
			settled(t, &tally)
			reconnects := uint64(g.lines(`"msg":"connected"`) - 1)
			t.Logf("%d messages, %q, found after %v, %d arrived twice at QoS 1, %d reconnects",
				2*n, states, found.Round(time.Millisecond), more.Counts().Duplicates, reconnects)
			if twice := more.Counts().Duplicates; twice > cloudWindow*reconnects {
				t.Errorf("%d arrived twice", twice)
			}
			g.stop()
		})
	}
}

// TestAnAnswerThatIsLostIsMadeUpFor: with one message in flight, an answer to it
// disappears, and no other comes. It goes again after a reconnect.
func TestAnAnswerThatIsLostIsMadeUpFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		qos, answer   byte
		twice, repeat int // arrivals and PUBLISHes with DUP
	}{
		{"PUBACK", 1, packet.PUBACK, 1, 1},
		{"PUBREC", 2, packet.PUBREC, 0, 1},
		{"PUBCOMP", 2, packet.PUBCOMP, 0, 0},
	} {
		for _, v := range versions {
			t.Run(c.name+", "+v.name, func(t *testing.T) {
				t.Parallel()
				cloud := newMosquitto(t, anonymous)
				var tally sim.Tally
				source := tally.Add(sim.Source{Name: "meter", Kind: "one"})
				collect(t, cloud.address, &tally, nil)
				link := newProxy(t, cloud.address, dice(t))
				g := newGateway(t, badLink(v.level, "ack_timeout = \"500ms\"\n", link.address))
				g.start()
				g.await("the bridge is online", func() bool { return g.status().State == "online" })
				_, _, before, _ := link.figures()
				lost := link.swallow(c.answer)
				g.publish("sensors/meter", c.qos, source, 1)()
				select {
				case <-lost:
				case <-time.After(patience):
					t.Fatalf("no %s came", c.name)
				}
				g.drained(&tally, cloud.address)
				settled(t, &tally)
				_, _, connects, repeats := link.figures()
				if connects != before+1 || repeats != c.repeat || source.Counts().Duplicates != uint64(c.twice) {
					t.Errorf("%d reconnects, %d sent again, %d arrived twice; want 1, %d and %d",
						connects-before, repeats, source.Counts().Duplicates, c.repeat, c.twice)
				}
				g.stop()
			})
		}
	}
}
