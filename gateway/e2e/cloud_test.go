package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/sim"
	"packetboat/gateway/admin"
)

// TestPropertiesArriveAtTheCloud whole, and the expiry less the time that the
// message has waited.
func TestPropertiesArriveAtTheCloud(t *testing.T) {
	cloud := newMosquitto(t, "allow_anonymous true")
	cloud.stop()
	g := newGateway(t, fmt.Sprintf(`[[bridge]]
name = "cloud"
servers = ["mqtt://%s"]
backoff = { min = "50ms", max = "100ms" }
[[bridge.up]]
filter = "ask/#"
topic = "site/ask/{1}"
[[bridge.down]]
filter = "site/answer/#"
topic = "answer/{1}"
`, cloud.address))
	g.start()
	device := dialClient(t, g.mqtt, "device", packet.V5)
	var props []byte
	props = packet.AppendByteProp(props, packet.PropPayloadFormat, 1)
	props = packet.AppendStringProp(props, packet.PropContentType, "application/json")
	props = packet.AppendStringProp(props, packet.PropResponseTopic, "answer/7")
	props = packet.AppendStringProp(props, packet.PropCorrelationData, "\x00\xff\x01")
	props = packet.AppendUserProp(props, "k", "1")
	props = packet.AppendUserProp(props, "k", "zwei")
	sent := time.Now()
	device.publish(packet.Publish{Topic: "ask/now", Payload: []byte(`{"a":1}`), QoS: 2, Props: props, Expiry: 100, HasExpiry: true})
	device.publish(packet.Publish{Topic: "ask/short", Payload: []byte(`gone`), QoS: 1, Expiry: 1, HasExpiry: true})
	await(t, patience, "two seconds have passed", func() bool { return time.Since(sent) > 2100*time.Millisecond })
	cloud.start()
	reader := dialClient(t, cloud.address, "reader", packet.V5)
	reader.subscribe("site/#", 2)
	// A Mosquitto that has just started has nothing for the reader; what waits comes
	// by the bridge.
	p, ok := reader.next(patience)
	if !ok {
		t.Fatal("nothing arrived")
	}
	age := time.Since(sent)
	if !p.HasExpiry || p.Expiry > 98 || p.Expiry < 100-uint32(age/time.Second)-1 {
		t.Errorf("expiry %d after %v", p.Expiry, age)
	}
	if p.QoS != 2 || string(p.Payload) != `{"a":1}` || p.Topic != "site/ask/now" {
		t.Errorf("got %+v", p)
	}
	want := []string{"1 \x01", "3 application/json", "8 site/answer/7", "9 \x00\xff\x01", "k 1", "k zwei", "gateway e2e"}
	if got := properties(p.Props); !slices.Equal(within(got, want), want) {
		t.Errorf("properties %q, want %q among them, in that order", got, want)
	}
	if p, ok := reader.next(500 * time.Millisecond); ok && string(p.Payload) == "gone" {
		t.Errorf("an expired message arrived: %+v", p)
	}
	// And the answer, as the property says.
	device.subscribe("answer/#", 1)
	reader.publish(packet.Publish{Topic: "site/answer/7", Payload: []byte("yes"), QoS: 1})
	if p, ok := device.next(patience); !ok || string(p.Payload) != "yes" || p.Topic != "answer/7" {
		t.Errorf("answer %+v", p)
	}
}

func properties(raw []byte) (list []string) {
	_ = packet.EachProp(raw, func(id byte, value, second []byte) bool {
		if id == packet.PropUser {
			list = append(list, string(value)+" "+string(second))
		} else {
			list = append(list, fmt.Sprintf("%d %s", id, value))
		}
		return true
	})
	return list
}

// within is what of list is in want.
func within(list, want []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !slices.Contains(want, s) })
}

// TestTwoGatewaysThatBridgeEverythingBothWays through one cloud: each publish
// reaches each subscriber once.
func TestTwoGatewaysThatBridgeEverythingBothWays(t *testing.T) {
	for _, version := range []string{"5", `"3.1.1"`} {
		t.Run(version, func(t *testing.T) {
			cloud := newMosquitto(t, "allow_anonymous true")
			section := fmt.Sprintf(`[[bridge]]
name = "cloud"
servers = ["mqtt://%s"]
version = %s
client_id = "ID"
status = ""
gaps = ""
inflight = 100
stamp = "off"
backoff = { min = "50ms", max = "100ms" }
[[bridge.up]]
filter = "#"
[[bridge.down]]
filter = "#"
`, cloud.address, version)
			var gateways []*gateway
			for _, id := range []string{"gw-a", "gw-b"} {
				g := newGateway(t, strings.Replace(section, "ID", id, 1))
				g.rewrite(`id = "e2e"`, fmt.Sprintf("id = %q", id))
				g.start()
				g.await("the bridge is online and subscribed", func() bool {
					d := details(t, g)
					return d.State == "online" && subscribedTo(t, g, cloud)
				})
				gateways = append(gateways, g)
			}
			places := map[string]string{"a": gateways[0].mqtt, "b": gateways[1].mqtt, "cloud": cloud.address}
			counts := map[string]*counter{}
			for place, address := range places {
				counts[place] = count(t, address)
			}
			n := scale(200, 2000)
			for _, place := range []string{"a", "b", "cloud"} {
				p := &sim.Publisher{Addr: places[place], Topic: "from/" + place, QoS: 1, Source: new(sim.Tally).Add(sim.Source{Name: place, Kind: "QoS 1"}), Count: uint64(n), Window: 50}
				if err := p.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			for place, c := range counts {
				await(t, patience, "all has arrived at "+place, func() bool { return c.total() >= 3*n })
			}
			// Whatever goes round would come now: one more publish from each place passes
			// behind it.
			for _, place := range []string{"a", "b", "cloud"} {
				dialClient(t, places[place], "last-"+place, packet.V5).publish(packet.Publish{Topic: "last/" + place, Payload: []byte("last " + place), QoS: 1})
			}
			for place, c := range counts {
				await(t, patience, "the last have arrived at "+place, func() bool { return c.lasts() == 3 })
				if twice := c.twice(); len(twice) > 0 {
					t.Errorf("%s: %d arrived more than once, such as %s", place, len(twice), twice[0])
				}
			}
			for i, g := range gateways {
				d := details(t, g)
				t.Logf("gateway %d: %+v", i, d.Counters)
			}
		})
	}
}

// counter counts payloads.
type counter struct {
	mu  sync.Mutex
	got map[string]int
}

// count counts what a subscriber to all gets.
func count(t *testing.T, address string) *counter {
	c := &counter{got: map[string]int{}}
	subscribed := make(chan struct{}, 1)
	s := &sim.Subscriber{Addr: address, ClientID: "counter", Filter: "#", QoS: 1,
		Message: func(topic string, payload []byte) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.got[string(payload)]++
		},
		Subscribed: func() {
			select {
			case subscribed <- struct{}{}:
			default:
			}
		}}
	run(t, s.Run)
	select {
	case <-subscribed:
	case <-time.After(patience):
		t.Fatal("not subscribed")
	}
	return c
}

func (c *counter) total() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := range c.got {
		if !strings.HasPrefix(p, "last") {
			n++
		}
	}
	return n
}

func (c *counter) lasts() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := range c.got {
		if strings.HasPrefix(p, "last") {
			n++
		}
	}
	return n
}

func (c *counter) twice() (list []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, n := range c.got {
		if n > 1 {
			list = append(list, fmt.Sprintf("%s (%d times)", p, n))
		}
	}
	return list
}

// details asks a gateway how its only bridge is.
func details(t *testing.T, g *gateway) admin.BridgeDetails {
	t.Helper()
	out, code := g.tool("bridge", "ls", "-json")
	var all admin.Bridges
	if err := json.Unmarshal([]byte(out), &all); code != 0 || err != nil || len(all.Bridges) != 1 {
		t.Fatalf("packetboat bridge ls: exit code %d: %v: %s", code, err, out)
	}
	return all.Bridges[0]
}

// subscribedTo reports whether what is published at the cloud comes down.
func subscribedTo(t *testing.T, g *gateway, cloud *mosquitto) bool {
	before := details(t, g).Counters.Received
	dialClient(t, cloud.address, "probe", packet.V5).publish(packet.Publish{Topic: "probe", Payload: []byte("last probe"), QoS: 1})
	end := time.Now().Add(time.Second)
	for time.Now().Before(end) {
		if details(t, g).Counters.Received > before {
			return true
		}
	}
	return false
}

// TestLiveMessagesAreQuickWhileTheBacklogDrainsAtItsRate.
func TestLiveMessagesAreQuickWhileTheBacklogDrainsAtItsRate(t *testing.T) {
	cloud := newMosquitto(t, "allow_anonymous true")
	cloud.stop()
	const rate = 500
	backlog := scale(4000, 50000)
	g := newGateway(t, fmt.Sprintf(`[[bridge]]
name = "cloud"
servers = ["mqtt://%s"]
inflight = 100
rate = %d
backoff = { min = "50ms", max = "100ms" }
[[bridge.up]]
filter = "bulk/#"
[[bridge.up]]
filter = "alarm/#"
priority = 3
`, cloud.address, rate))
	g.start()
	bulk := &sim.Publisher{Addr: g.mqtt, Topic: "bulk/x", QoS: 1, Source: new(sim.Tally).Add(sim.Source{Name: "bulk", Kind: "QoS 1"}), Count: uint64(backlog), Window: 500}
	if err := bulk.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	published := time.Now()
	await(t, patience, "the backlog is old enough to be one", func() bool { return time.Since(published) > 11*time.Second })
	cloud.start()
	var mu sync.Mutex
	var first, last time.Time
	var bulkGot int
	var delays []time.Duration
	subscribed := make(chan struct{}, 1)
	s := &sim.Subscriber{Addr: cloud.address, ClientID: "clock", Filter: "#", QoS: 1,
		Message: func(topic string, payload []byte) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case strings.HasPrefix(topic, "bulk/"):
				last = time.Now()
				if bulkGot++; bulkGot == 1 {
					first = last
				}
			case strings.HasPrefix(topic, "alarm/"):
				var at int64
				if _, err := fmt.Sscan(string(payload), &at); err == nil {
					delays = append(delays, time.Duration(time.Now().UnixNano()-at))
				}
			}
		},
		Subscribed: func() {
			select {
			case subscribed <- struct{}{}:
			default:
			}
		}}
	run(t, s.Run)
	<-subscribed
	g.await("the drain has begun", func() bool { mu.Lock(); defer mu.Unlock(); return bulkGot > 0 })
	alarms := dialClient(t, g.mqtt, "alarms", packet.V5)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	told := false
	for range tick.C {
		mu.Lock()
		done := bulkGot >= backlog
		mu.Unlock()
		if done {
			break
		}
		alarms.publish(packet.Publish{Topic: "alarm/1", Payload: fmt.Append(nil, time.Now().UnixNano()), QoS: 1})
		if !told {
			if d := details(t, g); d.Left > 0 {
				t.Logf("in the drain: %.0f messages a second, %.0f s left", d.Rate, d.Left)
				told = true
			}
		}
	}
	g.await("all has arrived", func() bool { mu.Lock(); defer mu.Unlock(); return bulkGot == backlog })
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(delays)
	took := last.Sub(first)
	p99 := delays[len(delays)*99/100]
	got := float64(backlog-1) / took.Seconds()
	t.Logf("%d messages in %v: %.1f a second; %d alarms, p50 %v, p99 %v, max %v", backlog, took, got, len(delays), delays[len(delays)/2], p99, delays[len(delays)-1])
	// Figures are for people; these bounds only tell a drain that is paced from one
	// that is not.
	if got > 1.2*rate || p99 > 5*time.Second {
		t.Error("not as configured")
	}
}
