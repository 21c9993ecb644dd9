package e2e

import (
	"strings"
	"testing"

	"packetboat/cmd/packetboat/sim"
)

// TestAResetBeginsANewSessionAndLosesNothing: in the drain, and with the gateway
// stopped.
func TestAResetBeginsANewSessionAndLosesNothing(t *testing.T) {
	t.Parallel()
	const count, window = 5000, 256
	cloud := newMosquitto(t, anonymous)
	var tally sim.Tally
	source := tally.Add(sim.Source{Name: "meter", Kind: "QoS 2"})
	collect(t, cloud.address, &tally, nil)
	cloud.stop()
	g := newGateway(t, bridgeTo(cloud.address, upRule))
	g.start()
	p := &sim.Publisher{Addr: g.mqtt, Topic: "sensors/meter", QoS: 2, Source: source, Count: count}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	cloud.start()
	g.await("the drain has begun", func() bool { return source.Counts().Arrived > 50 })
	connected := g.lines(`"msg":"connected"`)
	out, code := g.tool("bridge", "reset", "cloud")
	if code != 0 || !strings.Contains(out, "the session at the cloud is given up") {
		t.Fatalf("bridge reset: %d, %s", code, out)
	}
	g.await("a new session", func() bool { return g.lines(`"msg":"connected"`) > connected })
	settled(t, &tally)
	if n := source.Counts().Duplicates; n > window {
		t.Errorf("%d arrived twice; a window is %d", n, window)
	}
	out, code = g.tool("bridge", "ls")
	if code != 0 || !strings.Contains(out, "online, "+cloud.address) {
		t.Errorf("bridge ls: %d, %s", code, out)
	}
	g.stop()

	if out, code := g.tool("bridge", "reset", "cloud"); code != 0 || !strings.Contains(out, "the session at the cloud is given up") {
		t.Errorf("bridge reset of a gateway that is stopped: %d, %s", code, out)
	}
	before := source.Counts().Duplicates
	g.start()
	more := &sim.Publisher{Addr: g.mqtt, Topic: "sensors/meter", QoS: 2, Source: source, Count: 100}
	if err := more.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	settled(t, &tally)
	if n := source.Counts().Duplicates - before; n > window {
		t.Errorf("%d arrived twice after the second reset", n)
	}
	g.stop()
}
