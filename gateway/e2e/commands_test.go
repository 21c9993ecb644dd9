package e2e

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"packetboat/adapters/frame"
	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/sim"
)

// TestCommandsAndTheirAnswersGoRound between an MQTT 5 client and devices on a serial
// port and a TCP connection: each answer has the correlation data of its command.
func TestCommandsAndTheirAnswersGoRound(t *testing.T) {
	master, port, err := sim.OpenTerminal()
	if err != nil {
		t.Skipf("no pseudo terminals: %v", err)
	}
	listen := freePort(t)
	g := newGateway(t, fmt.Sprintf(`[[serial]]
name = "scale"
port = %q
[serial.command]
topic = "cmd/scale"
[[tcp]]
name = "valve"
listen = %q
[tcp.command]
topic = "cmd/valve"
reply = "reply/valve"
`, port, listen))
	g.start()
	ctx, cancel := context.WithCancel(t.Context())
	var devices sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		devices.Wait()
		_ = master.Close()
	})
	device := func() *sim.Device {
		return &sim.Device{
			Framing: frame.Line{Ending: "\r\n", Trim: true}, Reading: func(n uint64) []byte { return fmt.Appendf(nil, "reading %d", n) },
			Answer: func(request []byte) []byte { return append([]byte("done "), request...) },
		}
	}
	devices.Go(func() { _ = device().Run(ctx, master) })
	conn := g.dial(listen)
	t.Cleanup(func() { _ = conn.Close() })
	devices.Go(func() { _ = device().Run(ctx, conn) })
	g.await("both devices are there", func() bool {
		out, _ := g.tool("status", "-json")
		return strings.Contains(out, `"ready":2`)
	})
	n := scale(100, 1000)
	for _, name := range []string{"scale", "valve"} {
		t.Run(name, func(t *testing.T) {
			c := dialClient(t, g.mqtt, "operator-"+name, packet.V5)
			c.subscribe("answers/"+name, 1)
			start := time.Now()
			var rounds []time.Duration
			for i := range n {
				began := time.Now()
				props := packet.AppendStringProp(nil, packet.PropResponseTopic, "answers/"+name)
				props = packet.AppendStringProp(props, packet.PropCorrelationData, fmt.Sprintf("id-%d", i))
				c.publish(packet.Publish{Topic: "cmd/" + name, Payload: fmt.Appendf(nil, "set %d", i), QoS: 1, Props: props})
				p, ok := c.next(patience)
				if !ok {
					t.Fatalf("no answer to command %d", i)
				}
				if want := fmt.Sprintf("done set %d", i); string(p.Payload) != want || !slices.Contains(properties(p.Props), fmt.Sprintf("9 id-%d", i)) {
					t.Fatalf("answer %q with %q to command %d", p.Payload, properties(p.Props), i)
				}
				rounds = append(rounds, time.Since(began))
			}
			slices.Sort(rounds)
			t.Logf("%d round trips in %v, p50 %v, p99 %v", n, time.Since(start).Round(time.Millisecond), rounds[n/2], rounds[n*99/100])
		})
	}
}

// TestCommandsToOneOfSeveralDevices by the name that each has given.
func TestCommandsToOneOfSeveralDevices(t *testing.T) {
	listen := freePort(t)
	g := newGateway(t, fmt.Sprintf(`[[tcp]]
name = "valves"
listen = %q
identity = "first-frame"
topic = "{gateway}/{name}/{remote}"
[tcp.command]
topic = "cmd/{name}/{remote}"
`, listen))
	g.start()
	ctx, cancel := context.WithCancel(t.Context())
	var devices sync.WaitGroup
	t.Cleanup(func() { cancel(); devices.Wait() })
	for _, name := range []string{"north", "south"} {
		conn := g.dial(listen)
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := conn.Write([]byte(name + "\r\n")); err != nil {
			t.Fatal(err)
		}
		d := &sim.Device{Framing: frame.Line{Ending: "\r\n", Trim: true}, Answer: func(b []byte) []byte { return append([]byte(name+" "), b...) }}
		devices.Go(func() { _ = d.Run(ctx, conn) })
	}
	c := dialClient(t, g.mqtt, "operator", packet.V5)
	c.subscribe("e2e/valves/reply", 1)
	for _, name := range []string{"south", "north", "south"} {
		c.publish(packet.Publish{Topic: "cmd/valves/" + name, Payload: []byte("open"), QoS: 1})
		if p, ok := c.next(patience); !ok || string(p.Payload) != name+" open" {
			t.Errorf("answer %q from %s", p.Payload, name)
		}
	}
}

// TestCommandsToAnAbsentDeviceExpireAndAreTold; none is written late.
func TestCommandsToAnAbsentDeviceExpireAndAreTold(t *testing.T) {
	ttl, absence := "1s", 2500*time.Millisecond
	if *full {
		ttl, absence = "10s", time.Minute
	}
	listen := freePort(t)
	g := newGateway(t, fmt.Sprintf(`[[tcp]]
name = "valve"
listen = %q
[tcp.command]
topic = "cmd/valve"
ttl = %q
`, listen, ttl))
	g.start()
	c := dialClient(t, g.mqtt, "operator", packet.V5)
	c.subscribe("e2e/valve/set/state", 1)
	began := time.Now()
	sent := 0
	for time.Since(began) < absence {
		c.publish(packet.Publish{Topic: "cmd/valve", Payload: fmt.Appendf(nil, "set %d", sent), QoS: 1})
		sent++
		if sent%10 == 0 {
			<-time.After(absence / 10) // the pace of the operator
		}
	}
	conn := g.dial(listen)
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var written []string
	var device sync.WaitGroup
	d := &sim.Device{Framing: frame.Line{Ending: "\r\n", Trim: true}, Said: func(b []byte) {
		mu.Lock()
		defer mu.Unlock()
		written = append(written, string(b))
	}, Answer: func(b []byte) []byte { return []byte("ok") }}
	device.Go(func() { _ = d.Run(ctx, conn) })
	t.Cleanup(func() { cancel(); _ = conn.Close(); device.Wait() })
	states := map[string]int{}
	for states["expired"]+states["acked"] < sent {
		p, ok := c.next(patience)
		if !ok {
			break
		}
		for _, s := range []string{"queued", "sent", "acked", "expired", "timeout", "failed"} {
			if strings.Contains(string(p.Payload), `"state":"`+s+`"`) {
				states[s]++
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	t.Logf("%d commands: %v", sent, states)
	if states["expired"] == 0 || states["expired"]+states["acked"] != sent || len(written) != states["sent"] || states["sent"] != states["acked"] {
		t.Errorf("of %d commands, %v; %d were written", sent, states, len(written))
	}
}

// dial connects to an adapter of the gateway, once that listens.
func (g *gateway) dial(address string) (c net.Conn) {
	g.t.Helper()
	g.await("the adapter listens", func() bool {
		var err error
		c, err = net.Dial("tcp", address)
		return err == nil
	})
	return c
}
