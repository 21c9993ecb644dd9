package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/sim"
	"packetboat/gateway/admin"
)

// cloudWindow is how much the bridges of these tests have in flight: as much as
// newMosquitto takes, which refuses one more or, with MQTT 3.1.1, drops it.
const cloudWindow = 100

// badLink is a bridge that is cut off often: it pauses only briefly.
func badLink(version byte, more string, servers ...string) string {
	shown := "5"
	if version == packet.V311 {
		shown = `"3.1.1"`
	}
	for i := range servers {
		servers[i] = fmt.Sprintf("%q", "mqtt://"+servers[i])
	}
	return fmt.Sprintf(`
[[bridge]]
name = "cloud"
servers = [%s]
version = %s
inflight = %d
backoff = { min = "10ms", max = "50ms", stable = "1s" }
%s%s`, strings.Join(servers, ", "), shown, cloudWindow, more, upRule)
}

// otherLane is a rule of a lane of its own, for badLink.
const otherLane = `
[[bridge.up]]
filter = "other/#"
priority = 1
`

// status is the answer of packetboat status -json, about the only bridge.
func (g *gateway) status() (b admin.Bridge) {
	g.t.Helper()
	out, _ := g.tool("status", "-json") // 1 when something is wrong, which it may be
	var st admin.Status
	if err := json.Unmarshal([]byte(out), &st); err != nil || len(st.Bridges) != 1 {
		g.t.Fatalf("packetboat status -json: %v, %s", err, out)
	}
	return st.Bridges[0]
}

// drained waits until the cloud has finished all that is queued and a collector
// has all that the cloud had for it; what should not have arrived has arrived
// then, too.
func (g *gateway) drained(tally *sim.Tally, clouds ...string) {
	g.t.Helper()
	g.await("the queue is empty", func() bool { return g.status().Waiting == 0 })
	if n := g.status().DeadLetters; n > 0 {
		g.t.Errorf("%d dead letters", n)
	}
	for i, cloud := range clouds {
		last := tally.Add(sim.Source{Name: fmt.Sprintf("last-%d", i), Kind: "at the cloud"})
		mosquittoPub(g.t, cloud, "", "-q", "2", "-t", "last", "-m", string(last.Payload(last.Next())))
		await(g.t, patience, "the last message has arrived", func() bool { return last.Counts().Arrived == 1 })
	}
}

// publish publishes the numbers of a source in the background; done waits for
// the end.
func (g *gateway) publish(topic string, qos byte, source *sim.Source, count uint64) (done func()) {
	return g.publishWith(&sim.Publisher{Topic: topic, QoS: qos, Source: source, Count: count})
}

func (g *gateway) publishWith(p *sim.Publisher) (done func()) {
	var wait sync.WaitGroup
	wait.Add(1)
	p.Addr = g.mqtt
	run(g.t, func(ctx context.Context) error {
		defer wait.Done()
		err := p.Run(ctx)
		if n := p.Refused.Load() + p.Forgotten.Load(); n > 0 {
			return fmt.Errorf("%s: refused or forgotten %d times", p.Source.Name, n)
		}
		return err
	})
	return wait.Wait
}

// aCloud is a kind of broker in the cloud's place; start returns its address.
type aCloud struct {
	name  string
	start func(t *testing.T) string
}

var clouds = []aCloud{
	{"Mosquitto", func(t *testing.T) string { return newMosquitto(t, anonymous).address }},
	{"packetboat", func(t *testing.T) string {
		g := newGateway(t, "")
		g.start()
		return g.mqtt
	}},
}

var versions = []struct {
	name  string
	level byte
}{{"MQTT 5", packet.V5}, {"MQTT 3.1.1", packet.V311}}

// killAt kills the gateway when so many exchanges have been finished, each time.
func killAt(g *gateway, p *proxy, moments []int) {
	g.t.Helper()
	slices.Sort(moments)
	for _, m := range moments {
		g.await(fmt.Sprintf("%d exchanges are finished", m), func() bool { return p.passed() >= m })
		g.signal(syscall.SIGKILL)
		g.start()
	}
}

// drawn are so many numbers below n.
func drawn(dice *rand.Rand, count, n int) (list []int) {
	for range count {
		list = append(list, dice.IntN(n))
	}
	return list
}

// TestQoS2IsExactlyOnceOverCutsAndKills: each message once, in the order of its
// lane.
func TestQoS2IsExactlyOnceOverCutsAndKills(t *testing.T) {
	t.Parallel()
	n, cuts, kills := scale(1000, 10000), scale(12, 100), scale(2, 10)
	for _, cloud := range clouds {
		for _, v := range versions {
			t.Run(cloud.name+", "+v.name, func(t *testing.T) {
				t.Parallel()
				r := dice(t)
				address := cloud.start(t)
				var tally sim.Tally
				meter := tally.Add(sim.Source{Name: "meter", Kind: "QoS 2", Once: true})
				alarm := tally.Add(sim.Source{Name: "alarm", Kind: "QoS 2, a higher lane", Once: true})
				collect(t, address, &tally, map[string]string{"meter": "sites/e2e/meter", "alarm": "other/alarm"})
				link := newProxy(t, address, r)
				link.spread(cuts, n)
				moments := drawn(r, kills, n*8/10)
				g := newGateway(t, badLink(v.level, "", link.address)+otherLane)
				g.start()
				began := time.Now()
				published := g.publish("sensors/meter", 2, meter, uint64(n))
				publishedAlarms := g.publish("other/alarm", 2, alarm, uint64(n/4))
				killAt(g, link, moments)
				g.await("all cuts are made", func() bool { return link.left() == 0 })
				published()
				publishedAlarms()
				link.calm()
				g.drained(&tally, address)
				took := time.Since(began)
				settled(t, &tally)
				made, early, connects, repeats := link.figures()
				t.Logf("%d messages, %d cuts and %d before CONNACK, kills at %v, %d connections, %d sent again: %v",
					n+n/4, made, early, moments, connects, repeats, took.Round(time.Millisecond))
				g.stop()
			})
		}
	}
}

// TestQoS1ArrivesInOrderOverCutsAndKills: none missing, the first of each in the
// order of its topic, and not more of them twice than was in flight at a cut or
// not yet noted at a kill.
func TestQoS1ArrivesInOrderOverCutsAndKills(t *testing.T) {
	t.Parallel()
	n, cuts, kills := scale(500, 10000), scale(8, 50), scale(2, 5)
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			r := dice(t)
			cloud := newMosquitto(t, anonymous)
			var tally sim.Tally
			topics := map[string]string{"a": "sites/e2e/a", "b": "sites/e2e/b", "c": "sites/e2e/c"}
			collect(t, cloud.address, &tally, topics)
			link := newProxy(t, cloud.address, r)
			link.spread(cuts, n*len(topics))
			moments := drawn(r, kills, n*len(topics)*8/10)
			g := newGateway(t, badLink(v.level, "", link.address))
			g.start()
			began := time.Now()
			var published []func()
			for name := range topics {
				source := tally.Add(sim.Source{Name: name, Kind: "QoS 1"})
				published = append(published, g.publish("sensors/"+name, 1, source, uint64(n)))
			}
			killAt(g, link, moments)
			g.await("all cuts are made", func() bool { return link.left() == 0 })
			for _, done := range published {
				done()
			}
			link.calm()
			g.drained(&tally, cloud.address)
			took := time.Since(began)
			settled(t, &tally)
			made, early, connects, repeats := link.figures()
			twice := uint64(0)
			for _, s := range tally.Sources() {
				twice += s.Counts().Duplicates
			}
			t.Logf("%d messages, %d cuts and %d before CONNACK, kills at %v, %d connections, %d sent again, %d arrived twice: %v",
				n*len(topics), made, early, moments, connects, repeats, twice, took.Round(time.Millisecond))
			if most := uint64(cloudWindow*cuts + (1024+cloudWindow)*kills); twice > most {
				t.Errorf("%d arrived twice; %d may", twice, most)
			}
			g.stop()
		})
	}
}
