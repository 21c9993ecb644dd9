package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"packetboat/cmd/packetboat/sim"
	"packetboat/gateway/admin"
)

// purge ends what waits in a queue and returns how much that was.
func (g *gateway) purge(queue string) uint64 {
	g.t.Helper()
	out, code := g.tool("queue", "purge", queue, "-yes")
	m := regexp.MustCompile(`: (\d+) messages? purged`).FindStringSubmatch(out)
	if code != 0 || m == nil {
		g.t.Fatalf("purge %s: exit code %d: %s", queue, code, out)
	}
	n, _ := strconv.ParseUint(m[1], 10, 64)
	return n
}

// queue is what packetboat queue ls -json says about one queue.
func (g *gateway) queue(name string) admin.Queue {
	g.t.Helper()
	out, code := g.tool("queue", "ls", "-json")
	var all admin.Queues
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 {
		g.t.Fatalf("packetboat queue ls: exit code %d, %v: %s", code, err, out)
	}
	i := slices.IndexFunc(all.Queues, func(q admin.Queue) bool { return q.Queue == name })
	if i < 0 {
		g.t.Fatalf("no queue %s: %s", name, out)
	}
	return all.Queues[i]
}

// purges is a bad link on which messages expire and are purged.
type purges struct {
	t    *testing.T
	g    *gateway
	link *proxy
	r    *rand.Rand
	each int // messages at a time

	tally  sim.Tally
	doomed *sim.Source // expire after a second
	purged map[string]uint64
}

// purge ends what waits in a lane; what is published from now on has to arrive.
func (p *purges) purge(lane string) time.Time {
	p.t.Helper()
	p.purged[lane] += p.g.purge("bridge/cloud/" + lane)
	return time.Now()
}

// round has the link cut, messages expire while it is down, and a lane purged: the
// one with the others while they are in flight (kind 0) or while the link is down
// (kind 1), or else only the other lane. Of these two, the gateway remembers
// nothing but what is on the disk: it is killed.
func (p *purges) round(i int) {
	p.t.Helper()
	g, kind := p.g, i%3
	flow := p.tally.Add(sim.Source{Name: fmt.Sprint("flow-", i), Kind: "QoS 2", Once: true})
	other := p.tally.Add(sim.Source{Name: fmt.Sprint("other-", i), Kind: "QoS 2", Once: true})
	publish := func(s *sim.Source) (done func()) {
		topic := map[*sim.Source]string{flow: "sensors/flow", other: "other/x"}[s]
		return g.publish(topic, 2, s, uint64(p.each))
	}
	since := time.Now()

	doneFlow, doneOther := publish(flow), publish(other)
	if kind == 0 {
		g.await("some have arrived", func() bool { return flow.Counts().Arrived > 0 && other.Counts().Arrived > 0 })
		since = p.purge("0")
		p.purge("1")
	}
	doneFlow()
	doneOther()

	// Those that expire are in flight when the link is cut, and wait while it is down.
	had := p.doomed.Counts().Arrived
	doneFlow, doneDoomed := publish(flow), p.expiring()
	g.await("some of those that expire have arrived", func() bool { return p.doomed.Counts().Arrived > had })
	p.link.then(cut{finished: p.r.IntN(p.each / 8), packets: p.r.IntN(50)})
	p.link.then(cut{finished: p.r.IntN(p.each / 8), packets: p.r.IntN(50), down: true})
	doneFlow()
	publish(flow)()
	doneDoomed()
	g.await("the link is down", p.link.isDown)
	p.expiring()()
	expire := time.Now().Add(1100 * time.Millisecond)
	publish(other)()
	publish(flow)()
	if kind == 1 {
		since = p.purge("0")
	}
	sinceOther := p.purge("1")
	publish(flow)()
	publish(other)()
	if kind > 0 {
		g.signal(syscall.SIGKILL)
		g.start()
	}
	g.await("their second is over", func() bool { return time.Now().After(expire) })
	p.link.bringUp()
	g.await("the queue is empty", func() bool { return g.status().Waiting == 0 })
	p.must(flow, since)
	p.must(other, sinceOther)
}

// must waits until all that a source has published since has arrived.
func (p *purges) must(source *sim.Source, since time.Time) {
	p.t.Helper()
	var written, missing uint64
	p.g.await(source.Name+" has arrived", func() bool {
		written, missing = source.MissingWithin(since, time.Now())
		return missing == 0
	})
	if written < uint64(p.each) {
		p.t.Errorf("%s: only %d published after the purge", source.Name, written)
	}
}

// expiring publishes messages that expire after a second.
func (p *purges) expiring() (done func()) {
	p.t.Helper()
	return p.g.publishWith(&sim.Publisher{Topic: "sensors/expire", QoS: 2, Source: p.doomed, Count: uint64(p.each), Expiry: 1})
}

// account compares what is missing with what was purged.
func (p *purges) account() {
	p.t.Helper()
	missing := map[string]uint64{}
	for _, s := range p.tally.Sources() {
		c := s.Counts()
		if c.Duplicates > 0 || c.Disordered > 0 {
			p.t.Errorf("%s: %+v", s.Name, c)
		}
		lane := map[bool]string{true: "1"}[strings.HasPrefix(s.Name, "other")]
		if s != p.doomed {
			missing[cmp.Or(lane, "0")] += c.Missing
		}
	}
	if n := p.tally.Strange(); n > 0 {
		p.t.Errorf("%d arrived that nobody had sent", n)
	}
	for _, lane := range []string{"0", "1"} {
		if missing[lane] > p.purged[lane] || p.purged[lane] == 0 {
			p.t.Errorf("lane %s: %d are missing, %d were purged", lane, missing[lane], p.purged[lane])
		}
	}
	lost := p.g.queue("bridge/cloud/0").Lost
	if lost["expired"] == 0 {
		p.t.Error("nothing has expired")
	}
	c := p.doomed.Counts()
	p.t.Logf("lane 0: %d missing, lost %v; %d of %d that expire have arrived; lane 1: %d missing, %d purged",
		missing["0"], lost, c.Arrived, c.Written, missing["1"], p.purged["1"])
}

// TestNothingElseIsSwallowedWhenMessagesExpireAndArePurged: in a lane that is cut
// again and again, some messages expire while the link is down, and some are
// purged, of it and of another. All others arrive, once and in order.
func TestNothingElseIsSwallowedWhenMessagesExpireAndArePurged(t *testing.T) {
	t.Parallel()
	rounds, each := scale(3, 12), scale(200, 1000)
	for _, cloud := range clouds {
		for _, v := range versions {
			t.Run(cloud.name+", "+v.name, func(t *testing.T) {
				t.Parallel()
				r := dice(t)
				address := cloud.start(t)
				link := newProxy(t, address, r)
				g := newGateway(t, badLink(v.level, "", link.address)+otherLane)
				p := &purges{t: t, g: g, link: link, r: r, each: each, purged: map[string]uint64{}}
				p.doomed = p.tally.Add(sim.Source{Name: "doomed", Kind: "expires after a second", Once: true})
				collect(t, address, &p.tally, nil)
				g.start()
				began := time.Now()
				for i := range rounds {
					p.round(i)
				}
				took := time.Since(began)
				link.calm()
				g.drained(&p.tally, address)
				p.account()
				cuts, _, _, repeats := link.figures()
				t.Logf("%d cuts, %d sent again: %v", cuts, repeats, took.Round(time.Millisecond))
				g.stop()
			})
		}
	}
}
