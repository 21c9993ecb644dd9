package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"packetboat/cmd/packetboat/sim"
)

// TestDeadLettersGoOnceTheCloudTakesThem: a cloud refuses a topic, is set right,
// and gets by `queue replay` what it had refused.
func TestDeadLettersGoOnceTheCloudTakesThem(t *testing.T) {
	t.Parallel()
	cloud := newGateway(t, "[broker]\nmax_topic_levels = 2\n")
	cloud.start()
	g := newGateway(t, bridgeOver("mqtt://"+cloud.mqtt, "", ""))
	g.start()
	var tally sim.Tally
	source := tally.Add(sim.Source{Name: "meter", Kind: "QoS 1"})
	g.publish("sensors/meter", 1, source, 5)()
	dead := func() int {
		out, _ := g.tool("queue", "export", "bridge/cloud/dead")
		return strings.Count(out, `"dead_letter"`)
	}
	g.await("the cloud has refused them", func() bool { return dead() == 5 })

	cloud.rewrite("max_topic_levels = 2", "max_topic_levels = 3")
	cloud.stop()
	cloud.start()
	collect(t, cloud.mqtt, &tally, map[string]string{"meter": "sites/e2e/meter"})
	out, code := g.tool("queue", "replay", "bridge/cloud/dead")
	if want := fmt.Sprintln("bridge/cloud/dead: 5 messages queued again"); code != 0 || out != want {
		t.Fatalf("exit code %d, %q", code, out)
	}
	settled(t, &tally)
	if n := dead(); n != 0 {
		t.Errorf("%d are still dead", n)
	}
	// Nor are they when the gateway has been killed: a second replay repeats nothing.
	g.signal(syscall.SIGKILL)
	g.start()
	if n := dead(); n != 0 {
		t.Errorf("%d are dead again", n)
	}
	g.stop()
	cloud.stop()
}
