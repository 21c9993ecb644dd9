package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"packetboat/cmd/packetboat/sim"
)

// rewrite replaces what follows the listener in the gateway's configuration.
func (g *gateway) rewrite(old, now string) {
	g.t.Helper()
	text, err := os.ReadFile(g.config)
	if err != nil {
		g.t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		g.t.Fatalf("not in the configuration: %s", old)
	}
	write(g.t, g.config, strings.Replace(string(text), old, now, 1))
}

// hup sends SIGHUP.
func (g *gateway) hup() {
	g.t.Helper()
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		g.t.Fatal(err)
	}
}

// reload has the gateway read its configuration again, by the signal.
func (g *gateway) reload() {
	g.t.Helper()
	n := g.lines("configuration read again")
	g.hup()
	g.await("the configuration is read again", func() bool { return g.lines("configuration read again") > n })
}

// TestTheQueueOutlivesItsBridgesConfiguration changes everything about a bridge
// while messages wait and more come in: its rules, credentials, client id and
// server, with the cloud away; and the server and the rules once more, in the
// drain.
func TestTheQueueOutlivesItsBridgesConfiguration(t *testing.T) {
	t.Parallel()
	const waiting = 5000
	a, b := newMosquitto(t, anonymous), newMosquitto(t, anonymous)
	var tally sim.Tally
	more := tally.Add(sim.Source{Name: "once-or-more", Kind: "QoS 1"})
	once := tally.Add(sim.Source{Name: "once", Kind: "QoS 2"})
	collect(t, a.address, &tally, nil)
	collect(t, b.address, &tally, map[string]string{"once": "second/once", "once-or-more": "second/once-or-more"})

	rule := upRule
	section := bridgeTo(a.address, rule)
	g := newGateway(t, section)
	g.start()
	g.await("the bridge is connected once", func() bool { return strings.Contains(g.said(), `"bridge":"cloud"`) })
	a.stop()
	b.stop()

	stop := make(chan struct{})
	var done sync.WaitGroup
	var publishers []*sim.Publisher
	for _, x := range []struct {
		source *sim.Source
		qos    byte
	}{{more, 1}, {once, 2}} {
		p := &sim.Publisher{Addr: g.mqtt, Topic: "sensors/" + x.source.Name, QoS: x.qos, Source: x.source, Rate: 2500, Window: 20, Stop: stop}
		publishers = append(publishers, p)
		done.Add(1)
		run(t, func(ctx context.Context) error {
			defer done.Done()
			return p.Run(ctx)
		})
	}
	g.await("enough waits", func() bool { return acked(&tally) >= waiting })

	change := func(now string) {
		g.rewrite(section, now)
		section = now
		before := acked(&tally)
		g.reload()
		g.await("messages are taken in as before", func() bool { return acked(&tally) > before })
	}
	change(bridgeTo(a.address, strings.Replace(rule, "sites/{gateway}", "second", 1)))
	change(strings.Replace(section, a.address, b.address, 1))
	change(strings.Replace(section, "servers", "client_id = \"another\"\nservers", 1))
	change(strings.Replace(section, a.address, b.address, 1))
	b.start()
	g.await("some have arrived", func() bool { return more.Counts().Arrived > 0 && once.Counts().Arrived > 0 })
	close(stop)
	done.Wait()
	settled(t, &tally)
	if n := more.Counts().Duplicates + once.Counts().Duplicates; n > 0 {
		t.Errorf("%d arrived twice", n) // nobody was connected between the first server and the last
	}
	for _, p := range publishers {
		if n := p.Forgotten.Load() + p.Refused.Load(); n > 0 {
			t.Errorf("%s: refused or forgotten %d times", p.Source.Name, n)
		}
	}

	// A file with a mistake changes nothing.
	g.rewrite(section, strings.Replace(section, "qos", "quos", 1)+"\n[[bridge.up]]\nfiltre = \"x\"\n")
	g.hup()
	g.await("the mistake is named", func() bool { return g.lines("filtre") > 0 })
	if n := g.lines("nothing was changed"); n == 0 {
		t.Errorf("not said that nothing has changed: %s", tail(g.said(), 2000))
	}
	g.stop()
}

// TestABridgeMovesInTheDrain: to another server, with 5,000 waiting.
func TestABridgeMovesInTheDrain(t *testing.T) {
	t.Parallel()
	const count, window = 5000, 256
	a, b := newMosquitto(t, anonymous), newMosquitto(t, anonymous)
	var tally sim.Tally
	source := tally.Add(sim.Source{Name: "meter", Kind: "QoS 2"})
	marker := tally.Add(sim.Source{Name: "marker", Kind: "QoS 2, from elsewhere"})
	collect(t, a.address, &tally, nil)
	leaveSession(t, b.address)
	a.stop()
	g := newGateway(t, bridgeTo(a.address, upRule))
	g.start()
	p := &sim.Publisher{Addr: g.mqtt, Topic: "sensors/meter", QoS: 2, Source: source, Count: count}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.start()
	g.await("the drain has begun", func() bool { return source.Counts().Arrived > 50 })
	g.rewrite(a.address, b.address)
	g.reload()
	// Two servers know no order between them: first comes all that the one has.
	last := &sim.Publisher{Addr: a.address, Topic: "marker", QoS: 2, Source: marker, Count: 1}
	if err := last.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.await("all of the first server has arrived", func() bool { return marker.Counts().Arrived == 1 })
	collect(t, b.address, &tally, nil)
	settled(t, &tally)
	if n := source.Counts().Duplicates; n > window {
		t.Errorf("%d arrived twice; a window is %d", n, window)
	}
	out, code := g.tool("reload")
	if want := fmt.Sprintln("nothing has changed"); code != 0 || out != want {
		t.Errorf("packetboat reload: %d, %q", code, out)
	}
	g.stop()
}

// leaveSession has a broker keep everything for the collector that comes later.
func leaveSession(t *testing.T, address string) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	s := &sim.Subscriber{
		Addr: address, ClientID: "collector", Filter: "#", QoS: 2, Message: func(string, []byte) {}, Subscribed: leave,
	}
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
}
