package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"packetboat/cmd/packetboat/sim"
	"packetboat/gateway/admin"
)

// TestWhatADeadGatewayHadReachesTheCloudByAnother is the way that
// docs/maintenance.md has: a gateway dies with its cloud away, its card is read,
// and another gateway sends what was acknowledged, behind what it has itself.
func TestWhatADeadGatewayHadReachesTheCloudByAnother(t *testing.T) {
	t.Parallel()
	const n = 3000
	cloud := newGateway(t, "")
	dead := newGateway(t, bridgeOver("mqtt://127.0.0.1:1", "", ""))
	dead.start()
	var tally sim.Tally
	once := tally.Add(sim.Source{Name: "once", Kind: "QoS 2", Once: true})
	least := tally.Add(sim.Source{Name: "least", Kind: "QoS 1"})
	other := tally.Add(sim.Source{Name: "other", Kind: "QoS 2", Once: true})
	dead.publish("sensors/once", 2, once, n)()
	dead.publish("sensors/least", 1, least, n)()
	dead.signal(syscall.SIGKILL)
	dead.exit()

	g := newGateway(t, bridgeOver("mqtt://"+cloud.mqtt, "", ""))
	g.start()
	g.publish("sensors/other", 2, other, 10)()
	const queue = "bridge/cloud/0"
	if q := g.queue(queue); q.Messages != 10 {
		t.Fatalf("%+v", q)
	}
	ls, err := exec.Command(binary, "queue", "ls", "-dir", dead.data).Output()
	if err != nil || !strings.Contains(string(ls), queue) {
		t.Fatalf("%v: %s", err, ls)
	}
	lines, err := exec.Command(binary, "queue", "export", queue, "-dir", dead.data).Output()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "rescued.jsonl")
	write(t, name, string(lines))
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c := exec.Command(binary, "queue", "import", queue, "-config", g.config)
	c.Stdin = file
	if out, err := c.CombinedOutput(); err != nil || string(out) != "bridge/cloud/0: 6000 messages queued\n" {
		t.Fatalf("%v: %s", err, out)
	}
	g.signal(syscall.SIGKILL) // what it said is on the disk
	g.exit()
	g.start()
	if q := g.queue(queue); q.Messages != 2*n+10 {
		t.Errorf("%+v", q)
	}
	receivedThere(t, lines, g)
	cloud.start()
	collect(t, cloud.mqtt, &tally, map[string]string{"once": "sites/e2e/once", "least": "sites/e2e/least", "other": "sites/e2e/other"})
	settled(t, &tally)
	g.stop()
	cloud.stop()
}

// receivedThere checks that the first message of an export has kept when it was
// received.
func receivedThere(t *testing.T, lines []byte, g *gateway) {
	t.Helper()
	first := func(text string, skip int) (m admin.Message) {
		for line := range strings.Lines(text) {
			if skip--; skip < 0 {
				if err := json.Unmarshal([]byte(line), &m); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
		return m
	}
	out, _ := g.tool("queue", "export", "bridge/cloud/0")
	was, is := first(string(lines), 0), first(out, 10)
	if !is.Received.Equal(was.Received) || is.Trusted != was.Trusted || *is.Text != *was.Text || was.Received.IsZero() {
		t.Errorf("received %v as %s, not %v as %s", is.Received, *is.Text, was.Received, *was.Text)
	}
}
