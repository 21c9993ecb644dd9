package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/sim"
)

const anonymous = "allow_anonymous true"

// bridgeTo is a bridge with a short backoff.
func bridgeTo(address, rules string) string {
	return fmt.Sprintf(`
[[bridge]]
name = "cloud"
servers = ["mqtt://%s"]
backoff = { min = "50ms", max = "500ms", stable = "1s" }
%s`, address, rules)
}

const upRule = `
[[bridge.up]]
filter = "sensors/#"
topic = "sites/{gateway}/{1}"
`

func TestSerialTCPAndMQTTReachTheCloudInOrder(t *testing.T) {
	t.Parallel()
	n := uint64(scale(1000, 1000))
	cloud := newMosquitto(t, anonymous)
	var tally sim.Tally
	scaleSource := tally.Add(sim.Source{Name: "scale", Kind: "serial", Once: true, Silent: true})
	logger := tally.Add(sim.Source{Name: "logger", Kind: "TCP", Once: true})
	pub := tally.Add(sim.Source{Name: "pub", Kind: "mosquitto_pub -q 1", Once: true})
	collect(t, cloud.address, &tally, map[string]string{
		"scale": "sites/e2e/line/scale", "logger": "sites/e2e/line/logger", "pub": "sites/e2e/pub",
	})

	device := &sim.Serial{Source: scaleSource, Count: n}
	if err := device.Open(); err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	tcp := freePort(t)
	g := newGateway(t, fmt.Sprintf(`
[[serial]]
name = "scale"
port = %q
topic = "sensors/line/{name}"
[[tcp]]
name = "logger"
listen = %q
topic = "sensors/line/{name}"
ack = "OK\n"
`, device.Path(), tcp)+bridgeTo(cloud.address, upRule))
	g.start()

	run(t, device.Run)
	run(t, (&sim.TCP{Addr: tcp, Source: logger, Count: n, Ack: "OK"}).Run)
	var lines bytes.Buffer
	for range n {
		lines.Write(append(pub.Payload(pub.Next()), '\n'))
	}
	mosquittoPub(t, g.mqtt, lines.String(), "-q", "1", "-t", "sensors/pub", "-l")
	for i := range n {
		pub.Acked(i + 1)
	}
	await(t, patience, "all lines are written", func() bool {
		return scaleSource.Counts().Written == n && logger.Counts().Acked == n
	})
	settled(t, &tally)
	g.stop()
}

// mosquittoPub runs mosquitto_pub and returns when it has ended well.
func mosquittoPub(t *testing.T, address, stdin string, args ...string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	c := exec.Command("mosquitto_pub", append([]string{"-h", host, "-p", port}, args...)...)
	c.Stdin = strings.NewReader(stdin)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub: %v\n%s", err, out)
	}
}

func TestNothingAcknowledgedIsLostWhenTheCloudIsAwayAndTheGatewayIsKilled(t *testing.T) {
	t.Parallel()
	atLeastOnce, exactlyOnce := uint64(scale(4000, 20000)), uint64(scale(1000, 5000))
	cloud := newMosquitto(t, anonymous)
	var tally sim.Tally
	type client struct {
		source *sim.Source
		qos    byte
		count  uint64
	}
	var clients []client
	for i := range 4 {
		s := sim.Source{Name: fmt.Sprintf("once-or-more-%d", i), Kind: "QoS 1"}
		clients = append(clients, client{tally.Add(s), 1, atLeastOnce / 4})
	}
	for i := range 2 {
		s := sim.Source{Name: fmt.Sprintf("once-%d", i), Kind: "QoS 2", Once: true}
		clients = append(clients, client{tally.Add(s), 2, exactlyOnce / 2})
	}
	collect(t, cloud.address, &tally, nil)
	g := newGateway(t, bridgeTo(cloud.address, upRule))
	g.start()
	g.await("the bridge is connected once", func() bool {
		return strings.Contains(g.said(), `"bridge":"cloud"`)
	})
	cloud.stop()

	var done sync.WaitGroup
	for i, c := range clients {
		p := &sim.Publisher{
			Addr: g.mqtt, Topic: "sensors/" + c.source.Name, QoS: c.qos, Source: c.source, Count: c.count,
			Window: 20, Version: []byte{packet.V311, packet.V5}[i%2],
		}
		done.Add(1)
		run(t, func(ctx context.Context) error {
			defer done.Done()
			err := p.Run(ctx)
			if n := p.Refused.Load(); n > 0 {
				return fmt.Errorf("%s: %d publishes refused", c.source.Name, n)
			}
			if n := p.Forgotten.Load(); n > 0 {
				return fmt.Errorf("%s: its session was forgotten %d times", c.source.Name, n)
			}
			return err
		})
	}

	// The moments of the kills: when so much is acknowledged.
	var moments []uint64
	for range 3 {
		moments = append(moments, rand.Uint64N(atLeastOnce+exactlyOnce))
	}
	slices.Sort(moments)
	for _, m := range moments {
		g.await(fmt.Sprintf("%d are acknowledged", m), func() bool { return acked(&tally) >= m })
		g.signal(syscall.SIGKILL)
		g.start()
	}
	done.Wait()
	t.Logf("killed at %v of %d acknowledged", moments, acked(&tally))
	cloud.start()

	// Once more in the drain: what was in flight goes again under the same
	// identifiers, into the session that the cloud has kept.
	m := rand.Uint64N(atLeastOnce + exactlyOnce)
	g.await(fmt.Sprintf("%d have arrived", m), func() bool {
		n := uint64(0)
		for _, s := range tally.Sources() {
			n += s.Counts().Arrived
		}
		return n >= m
	})
	g.signal(syscall.SIGKILL)
	g.start()
	settled(t, &tally)
	for _, c := range clients {
		if got := c.source.Counts(); got.Acked != c.count {
			t.Errorf("%s: %d of %d acknowledged", c.source.Name, got.Acked, c.count)
		}
	}
	g.stop()
}

func acked(tally *sim.Tally) (n uint64) {
	for _, s := range tally.Sources() {
		n += s.Counts().Acked
	}
	return n
}

func TestACommandPublishedAtTheCloudReachesThePortAndTheSocket(t *testing.T) {
	t.Parallel()
	cloud := newMosquitto(t, anonymous)
	var tally sim.Tally
	got := make(chan string, 16)
	device := &sim.Serial{
		Source: tally.Add(sim.Source{Name: "valve", Kind: "serial", Silent: true}), Rate: 20,
		Line: func(l string) { got <- "serial: " + l },
	}
	if err := device.Open(); err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	tcp := freePort(t)
	g := newGateway(t, fmt.Sprintf(`
[[serial]]
name = "valve"
port = %q
[serial.command]
topic = "cmd/{name}"
encode = "SET {payload}\r\n"
[[tcp]]
name = "panel"
listen = %q
ack = "OK\n"
[tcp.command]
topic = "cmd/{name}"
encode = "SHOW {field:text}\n"
`, device.Path(), tcp)+bridgeTo(cloud.address, `
[[bridge.up]]
filter = "e2e/#"
[[bridge.down]]
filter = "sites/{gateway}/cmd/#"
topic = "cmd/{1}"
`))
	collect(t, cloud.address, &tally, nil)
	g.start()
	run(t, device.Run)
	panel := &sim.TCP{
		Addr: tcp, Source: tally.Add(sim.Source{Name: "panel", Kind: "TCP"}), Rate: 20, Ack: "OK",
		Line: func(l string) { got <- "tcp: " + l }, Stop: make(chan struct{}),
	}
	run(t, func(ctx context.Context) error {
		_ = panel.Run(ctx) // ends with the test
		return nil
	})
	// The subscription at the cloud stands when a message has come up by the
	// same connection, which subscribes first.
	g.await("both devices are heard", func() bool {
		for _, s := range tally.Sources() {
			if s.Counts().Arrived == 0 {
				return false
			}
		}
		return true
	})
	mosquittoPub(t, cloud.address, "", "-q", "1", "-t", "sites/e2e/cmd/valve", "-m", "42")
	mosquittoPub(t, cloud.address, "", "-q", "2", "-t", "sites/e2e/cmd/panel", "-m", `{"text": "hello"}`)
	want := map[string]bool{"serial: SET 42": true, "tcp: SHOW hello": true}
	await(t, patience, "both commands are there", func() bool {
		select {
		case l := <-got:
			if !want[l] {
				t.Fatalf("a device got %q", l)
			}
			delete(want, l)
		default:
		}
		return len(want) == 0
	})
	g.stop()
}
