package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"packetboat/broker/packet"
)

const accessRules = `
[[auth.rule]]
client = "meter-*"
publish = ["meters/{client}/#"]
subscribe = ["cmd/{client}/#", "state"]
[[auth.rule]]
client = "room*"
publish = ["cmd/#", "{gateway}/#"]
subscribe = ["#"]
[[auth.rule]]
adapter = "bridge/cloud"
publish = ["cmd/meter-1/#"]
`

// mosquittoClient runs one of Mosquitto's clients and returns what it printed and its exit
// code.
func mosquittoClient(t *testing.T, program, address string, args ...string) (out string, code int) {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	c := exec.Command(program, append([]string{"-h", host, "-p", port}, args...)...)
	b, err := c.CombinedOutput()
	if c.ProcessState == nil {
		t.Fatalf("%s %v: %v", program, args, err)
	}
	return string(b), c.ProcessState.ExitCode()
}

func TestMosquittosClientsKeepToTheAccessRules(t *testing.T) {
	t.Parallel()
	g := newGateway(t, accessRules)
	g.start()
	for _, version := range []string{"mqttv311", "mqttv5"} {
		pub := func(id, topic, payload string, more ...string) string {
			t.Helper()
			out, code := mosquittoClient(t, "mosquitto_pub", g.mqtt, append([]string{"-V", version, "-i", id, "-t", topic, "-m", payload, "-q", "1"}, more...)...)
			if code != 0 {
				t.Errorf("%s: mosquitto_pub ended with %d: %s", version, code, out)
			}
			return out
		}
		refused := func(out string) bool { return strings.Contains(out, "Not authorized") }
		v5 := version == "mqttv5"
		if out := pub("meter-2", "meters/meter-1/kwh", "forged", "-r"); refused(out) != v5 {
			t.Errorf("%s: another's topic: %s", version, out)
		}
		if out := pub("stranger", "meters/x", "forged", "-r"); refused(out) != v5 {
			t.Errorf("%s: a stranger: %s", version, out)
		}
		if out := pub("meter-+", "meters/meter-1/kwh", "forged", "-r"); refused(out) != v5 {
			t.Errorf("%s: a wildcard as a name: %s", version, out)
		}
		pub("meter-1", "meters/meter-1/kwh", "42", "-r")
		if out, code := mosquittoClient(t, "mosquitto_sub", g.mqtt, "-V", version, "-i", "room", "-t", "meters/#", "-C", "1", "-W", "20", "-F", "%t %p"); out != "meters/meter-1/kwh 42\n" || code != 0 {
			t.Errorf("%s: the room got %q", version, out)
		}
		for filter, ok := range map[string]bool{
			"cmd/meter-1/#": true, "$share/g/cmd/meter-1/+": true, "cmd/#": false, "#": false, "$share/g/cmd/+/x": false, "meters/meter-1/kwh": false,
		} {
			out, _ := mosquittoClient(t, "mosquitto_sub", g.mqtt, "-V", version, "-i", "meter-1", "-t", filter, "-E")
			if denied := strings.Contains(out, "denied"); denied == ok {
				t.Errorf("%s: %s: %s", version, filter, out)
			}
		}
		out, code := mosquittoClient(t, "mosquitto_sub", g.mqtt, "-V", version, "-i", "meter-1", "-t", "state", "-E",
			"--will-topic", "meters/meter-2/state", "--will-payload", "gone")
		if (code != 0) != v5 || refused(out) != v5 {
			t.Errorf("%s: a will that is not allowed: exit code %d, %s", version, code, out)
		}
	}
	g.stop()
}

// TestAReloadChangesWhatMayBeDone for a client that is away and for one that stays,
// and for what the cloud may send.
func TestAReloadChangesWhatMayBeDone(t *testing.T) {
	t.Parallel()
	cloud := newMosquitto(t, anonymous)
	g := newGateway(t, accessRules+bridgeTo(cloud.address, "[[bridge.down]]\nfilter = \"site/#\"\ntopic = \"cmd/{1}\"\n"))
	g.start()
	away := []string{"-i", "meter-1", "-c", "-q", "1", "-F", "%t %p", "-t", "cmd/meter-1/#", "-t", "state"}
	mosquittoSub(t, g.mqtt, append(away, "-E")...)
	room := dialClient(t, g.mqtt, "room", packet.V5)
	room.subscribe("#", 1)
	fromCloud := func(topic string) { mosquittoPub(t, cloud.address, "", "-q", "1", "-t", topic, "-m", "x") }
	g.await("the bridge has subscribed", func() bool {
		fromCloud("site/meter-1/probe")
		_, ok := room.next(100 * time.Millisecond)
		return ok
	})
	fromCloud("site/meter-2/open")
	fromCloud("site/meter-1/open")
	for last := ""; last != "cmd/meter-1/open"; {
		p, ok := room.next(patience)
		if last = p.Topic; !ok || !strings.HasPrefix(last, "cmd/meter-1/") {
			t.Fatalf("%q came from the cloud", last)
		}
	}

	g.rewrite("subscribe = [\"cmd/{client}/#\", \"state\"]", "subscribe = [\"state\"]")
	g.rewrite("publish = [\"cmd/meter-1/#\"]", "publish = [\"cmd/meter-2/#\"]")
	g.rewrite("subscribe = [\"#\"]", "subscribe = [\"cmd/#\", \"state\"]")
	g.reload()
	fromCloud("site/meter-1/open")
	fromCloud("site/meter-2/open")
	room.subscribe("cmd/#", 1) // the same connection; # went
	fromCloud("site/meter-2/close")
	for {
		p, ok := room.next(patience)
		if !ok || !strings.HasPrefix(p.Topic, "cmd/meter-2/") {
			t.Fatalf("%q came from the cloud", p.Topic)
		}
		if p.Topic == "cmd/meter-2/close" {
			break
		}
	}
	g.rewrite("publish = [\"cmd/#\", \"{gateway}/#\"]", "publish = [\"#\"]")
	g.reload()
	room.publish(packet.Publish{Topic: "cmd/meter-1/close", QoS: 1})
	room.publish(packet.Publish{Topic: "state", QoS: 1, Payload: []byte("on")})
	if out := mosquittoSub(t, g.mqtt, append(away[:len(away)-4], "-t", "state", "-C", "1", "-W", "20")...); out != "state on\n" {
		t.Errorf("what waited: %q", out)
	}
	if out, code := g.tool("route", "cmd/meter-1/x", "-client", "meter-1"); code != 0 || !strings.Contains(out, "DENIED: auth.rule[0] (at ") {
		t.Errorf("%d: %s", code, out)
	}
	g.stop()
}

// TestACommandCannotHaveAnAdapterPublishAnywhere: as soon as there are rules, the
// response topic that a command names is one of the adapter's section or not used.
func TestACommandCannotHaveAnAdapterPublishAnywhere(t *testing.T) {
	t.Parallel()
	device, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = device.Close() })
	go func() {
		for {
			c, err := device.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for s := bufio.NewScanner(c); s.Scan(); {
					fmt.Fprintf(c, "did %s\n", s.Text())
				}
			}()
		}
	}()
	g := newGateway(t, accessRules+fmt.Sprintf("[[tcp]]\nname = \"valve\"\nconnect = %q\n[tcp.command]\nstates = \"\"\n", device.Addr()))
	g.start()
	room := dialClient(t, g.mqtt, "room", packet.V5)
	room.subscribe("#", 1)
	command := func(payload, responseTopic string) {
		room.publish(packet.Publish{Topic: "e2e/valve/set", QoS: 1, Payload: []byte(payload),
			Props: packet.AppendStringProp(nil, packet.PropResponseTopic, responseTopic)})
	}
	command("open", "meters/meter-1/kwh")
	command("close", "e2e/valve/reply")
	for {
		p, ok := room.next(patience)
		if !ok || p.Topic == "meters/meter-1/kwh" || string(p.Payload) == "did open" {
			t.Fatalf("%s %q came", p.Topic, p.Payload)
		}
		if p.Topic == "e2e/valve/reply" {
			if string(p.Payload) != "did close" {
				t.Errorf("the answer is %q", p.Payload)
			}
			break
		}
	}
	g.stop()
}
