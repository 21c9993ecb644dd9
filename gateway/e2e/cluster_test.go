package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/sim"
	"packetboat/gateway/admin"
)

// TestAClusterOfNATSIsTheCloud drains a queue into a cluster whose nodes go, one
// after the other, in the drain: first the one that the bridge is connected to,
// and when that is back, another. The session is resumed on whichever answers.
//
// What NATS promises across the loss of a node is QoS 1, both ways, and that is
// what is checked: nothing is missing. At QoS 2 it deletes the copy that it
// holds for PUBREL without knowing that the message is stored elsewhere, and it
// hands messages to subscribers again for which their node's acknowledgement was
// lost; so of QoS 2, what was in flight may be missing, and no more. How many come
// twice and out of order is told and not checked.
func TestAClusterOfNATSIsTheCloud(t *testing.T) {
	t.Parallel()
	const inflight = 50
	each := uint64(scale(1000, 20000))
	began := time.Now()
	lap := func(format string, args ...any) {
		t.Logf("%5.1f s: %s", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	cloud := newNATSCluster(t, 3)
	last := cloud.nodes[2] // stays; the test's own clients are there

	var tally sim.Tally
	atLeastOnce := tally.Add(sim.Source{Name: "once-or-more", Kind: "QoS 1"})
	exactlyOnce := tally.Add(sim.Source{Name: "once", Kind: "QoS 2"})
	commands := tally.Add(sim.Source{Name: "valve", Kind: "commands, QoS 1"})
	arrived := func(topic string, payload []byte) { tally.Arrived(payload) }
	subscribe(t, &sim.Subscriber{
		Addr: last.mqtt, ClientID: "collector", Filter: "sites/e2e/+", QoS: 2, Version: packet.V311, Message: arrived,
	})
	lap("the cluster is there, the collector is subscribed")

	nowhere := fmt.Sprintf("servers = [%q]", "mqtt://"+freePort(t))
	g := newGateway(t, fmt.Sprintf(`
[[bridge]]
name = "cloud"
version = "3.1.1"
%s
shared_sessions = true
inflight = %d
backoff = { min = "50ms", max = "500ms", stable = "1s" }
[[bridge.up]]
filter = "sensors/#"
topic = "sites/{gateway}/{1}"
[[bridge.down]]
filter = "sites/{gateway}/cmd/#"
topic = "cmd/{1}"
qos = 1
`, nowhere, inflight))
	g.start()
	subscribe(t, &sim.Subscriber{Addr: g.mqtt, ClientID: "valve", Filter: "cmd/#", QoS: 2, Message: arrived})
	publish(t, g.mqtt,
		&sim.Publisher{Topic: "sensors/a", QoS: 1, Source: atLeastOnce, Count: each},
		&sim.Publisher{Topic: "sensors/b", QoS: 2, Source: exactlyOnce, Count: each},
	)()
	lap("all is queued")

	g.rewrite(nowhere, "servers = "+cloud.urls())
	g.reload()
	inCloud := func() uint64 { return atLeastOnce.Counts().Arrived + exactlyOnce.Counts().Arrived }
	connected := func(times int) func() bool {
		return func() bool { return g.lines(`"msg":"connected"`) >= times }
	}
	g.await("a quarter has arrived", func() bool { return inCloud() >= each/2 })
	cloud.stop(0)
	lap("node 1 has gone, %d have arrived", inCloud())
	g.await("the bridge is at another node", connected(2))
	lap("connected again, %d have arrived", inCloud())
	cloud.start(0)
	cloud.awaitCurrent(0)
	lap("node 1 is back, %d have arrived", inCloud())

	commanded := publish(t, last.mqtt, &sim.Publisher{
		Topic: "sites/e2e/cmd/valve", QoS: 1, Source: commands, Count: each / 4, Window: 10, Version: packet.V311,
	})
	g.await("some commands have come down", func() bool { return commands.Counts().Arrived >= each/20 })
	cloud.stop(1)
	lap("node 2 has gone, %d have arrived", inCloud())
	g.await("the bridge is at another node", connected(3))
	lap("connected again, %d have arrived", inCloud())
	commanded()

	g.await("all at QoS 1 has arrived, nothing waits at the gateway or in the cluster", func() bool {
		return atLeastOnce.Waiting()+commands.Waiting() == 0 && g.queued("bridge/cloud/0") == 0 && last.waiting() == 0
	})
	lap("all is settled")
	for _, s := range tally.Sources() {
		t.Logf("%s (%s): %+v", s.Name, s.Kind, s.Counts())
	}
	if c := exactlyOnce.Counts(); c.Missing > 2*inflight {
		t.Errorf("QoS 2: more is missing than what was in flight: %+v", c)
	}
	if n := tally.Strange(); n > 0 {
		t.Errorf("%d arrived that nobody had sent", n)
	}
	if g.lines("no session of ours any more") > 0 {
		t.Error("a session was not resumed on another node")
	}
	g.stop()
}

// queued is how much a queue of the gateway holds.
func (g *gateway) queued(name string) uint64 {
	g.t.Helper()
	out, code := g.tool("queue", "ls", "-json")
	var l admin.Queues
	if err := json.Unmarshal([]byte(out), &l); err != nil || code != 0 {
		g.t.Fatalf("queue ls: exit code %d, %v: %s", code, err, out)
	}
	for _, q := range l.Queues {
		if q.Queue == name {
			return q.Messages
		}
	}
	g.t.Fatalf("there is no queue %s: %s", name, out)
	return 0
}

// subscribe runs a subscriber and returns when the server has taken it.
func subscribe(t *testing.T, s *sim.Subscriber) {
	t.Helper()
	subscribed := make(chan struct{}, 1)
	s.Subscribed = func() {
		select {
		case subscribed <- struct{}{}:
		default:
		}
	}
	run(t, s.Run)
	select {
	case <-subscribed:
	case <-time.After(patience):
		t.Fatalf("%s is not subscribed", s.ClientID)
	}
}

// publish runs publishers; what it returns waits for their end.
func publish(t *testing.T, address string, publishers ...*sim.Publisher) (wait func()) {
	done := make(chan struct{}, len(publishers))
	for _, p := range publishers {
		p.Addr = address
		run(t, func(ctx context.Context) error {
			defer func() { done <- struct{}{} }()
			return p.Run(ctx)
		})
	}
	return func() {
		t.Helper()
		deadline := time.After(5 * patience)
		for range publishers {
			select {
			case <-done:
			case <-deadline:
				t.Fatal("not all is published")
			}
		}
	}
}
