package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"packetboat/cmd/packetboat/sim"
)

// TestACloudThatRestartsInMidFlowGetsEachMessageOnce: QoS 2 without a pause, and a
// cloud that ends in order and begins again with what it has saved, time after time.
// Over a WebSocket Mosquitto saves first and closes the connection afterwards.
func TestACloudThatRestartsInMidFlowGetsEachMessageOnce(t *testing.T) {
	t.Parallel()
	for _, c := range transportClouds {
		for _, w := range []way{{}, {webSocket: true}} {
			for _, version := range []string{"5", "3.1.1"} {
				t.Run(fmt.Sprintf("%s, %s, MQTT %s", c.name, w.scheme(), version), func(t *testing.T) {
					t.Parallel()
					cloud := c.make(t, w, pair{}, "")
					g := newGateway(t, bridgeOver(w.scheme()+"://"+cloud.bridged, fmt.Sprintf("version = %q", version), ""))
					g.start()
					restarted(t, g, cloud, scale(3, 15))
					g.stop()
				})
			}
		}
	}
}

// restarted publishes at QoS 2 while the cloud is restarted so many times.
func restarted(t *testing.T, g *gateway, c *cloud, restarts int) {
	t.Helper()
	var tally sim.Tally
	once := tally.Add(sim.Source{Name: "once", Kind: "QoS 2", Once: true})
	collector := collect(t, c.plain, &tally, map[string]string{"once": "sites/e2e/once"})
	enough, published := make(chan struct{}), make(chan struct{})
	p := &sim.Publisher{Addr: g.mqtt, Topic: "sensors/once", QoS: 2, Source: once, Rate: 1500, Stop: enough}
	run(t, func(ctx context.Context) error {
		defer close(published)
		return p.Run(ctx)
	})
	for range restarts {
		was := once.Counts().Arrived
		g.await("more has arrived", func() bool { return once.Counts().Arrived > was+200 })
		c.stop()
		was = once.Counts().Acked
		g.await("more waits", func() bool { return once.Counts().Acked > was+50 })
		c.start()
	}
	close(enough)
	select {
	case <-published:
	case <-time.After(patience):
		t.Fatal("what was in flight is not acknowledged")
	}
	settled(t, &tally)
	c.repeated(t, collector)
}
