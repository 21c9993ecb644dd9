package e2e

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/sim"
)

func TestModbusValuesComeAndCommandsGo(t *testing.T) {
	master, path, err := sim.OpenTerminal()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	units := func() *sim.Modbus {
		return &sim.Modbus{Units: map[byte]*sim.ModbusUnit{
			1: {Holding: map[uint16]uint16{0: 2301, 1: 165}, Coils: map[uint16]bool{0: false}},
		}}
	}
	line, network := units(), units()
	run(t, func(ctx context.Context) error { return line.ServeTerminal(ctx, master) })
	run(t, func(ctx context.Context) error { return network.Serve(ctx, ln) })

	const unit = `
[[modbus.unit]]
name = "u"
every = "50ms"
read = [
  { name = "volts", address = 0, scale = 0.1 },
  { name = "limit", address = 1, write = true },
  { name = "on", table = "coil", write = true },
]
`
	g := newGateway(t, fmt.Sprintf("[[modbus]]\nname = \"line\"\nport = %q\nmode = \"8N1\"\n%s[[modbus]]\nname = \"network\"\nconnect = %q\n%s", path, unit, ln.Addr(), unit))
	g.start()
	c := dialClient(t, g.mqtt, "client", packet.V5)
	c.subscribe("e2e/+/u", 1)
	for i, name := range []string{"line", "network"} {
		topic := "e2e/" + name + "/u"
		g.awaitPayload(c, topic, `{"volts":230.1,"limit":165,"on":false}`)
		c.publish(packet.Publish{Topic: topic + "/set", Payload: []byte(fmt.Sprintf(`{"limit":%d,"on":true}`, i)), QoS: 1})
		g.awaitPayload(c, topic, fmt.Sprintf(`{"volts":230.1,"limit":%d,"on":true}`, i))
	}
	if out, code := g.tool("check"); code != 0 || !strings.Contains(out, "modbus line: "+path+", 19200 8N1, units: 1 -> e2e/line/{unit}") {
		t.Errorf("check: %d, %s", code, out)
	}
	g.stop()
}

// awaitPayload waits until a client gets that message.
func (g *gateway) awaitPayload(c *client, topic, payload string) {
	g.t.Helper()
	for {
		p, ok := c.next(patience)
		if !ok {
			g.t.Fatalf("%s does not get %s", topic, payload)
		}
		if p.Topic == topic && string(p.Payload) == payload {
			return
		}
	}
}
