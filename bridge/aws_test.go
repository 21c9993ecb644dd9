package bridge

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/config"
)

// awsRules is AWS IoT Core as far as it is strict: it ends a connection on which a
// client does what the service does not allow. It sits before a cloud, as the
// judge of a fault proxy.
type awsRules struct {
	violations []string
	answered   bool // CONNACK was sent
	unacked    map[uint16]bool
	filters    int
	version    byte
	connected  time.Time
	published  []time.Time
}

func (a *awsRules) judge(up bool, typ byte, frame []byte) verdict {
	why := ""
	if up {
		why = a.fromClient(typ, frame)
	} else if typ == packet.CONNACK {
		a.answered = true
	} else if typ == packet.PUBACK {
		_, flags, body, _, _ := packet.Next(frame, 0)
		if ack, err := packet.ParseAck(typ, flags, body, a.version); err == nil {
			delete(a.unacked, ack.ID)
		}
	}
	if why == "" {
		return pass
	}
	a.violations = append(a.violations, why)
	return cutBefore
}

func (a *awsRules) fromClient(typ byte, frame []byte) string {
	_, flags, body, _, err := packet.Next(frame, 0)
	if err != nil {
		return err.Error()
	}
	switch {
	case typ == packet.CONNECT:
		return a.connect(body)
	case !a.answered:
		return "bytes before CONNACK"
	case typ == packet.PUBREC || typ == packet.PUBREL || typ == packet.PUBCOMP:
		return "QoS 2"
	case typ == packet.SUBSCRIBE:
		return a.subscribe(body)
	case typ == packet.PUBLISH:
		return a.publish(flags, body)
	}
	return ""
}

func (a *awsRules) connect(body []byte) string {
	var p packet.Connect
	if err := packet.ParseConnect(body, &p); err != nil {
		return err.Error()
	}
	since := time.Since(a.connected)
	a.answered, a.filters, a.version, a.connected = false, 0, p.Version, time.Now()
	a.unacked = map[uint16]bool{}
	switch {
	case since < time.Second:
		return fmt.Sprintf("CONNECT again after %v", since)
	case len(p.ClientID) > 128:
		return "client id"
	case p.KeepAlive < 30 || p.KeepAlive > 1200:
		return "keep alive"
	case p.Will != nil && p.Will.QoS > 1:
		return "will of QoS 2"
	}
	return ""
}

func (a *awsRules) subscribe(body []byte) string {
	var p packet.Subscribe
	if err := packet.ParseSubscribe(body, a.version, &p); err != nil {
		return err.Error()
	}
	if a.filters += len(p.Filters); len(p.Filters) > 8 || a.filters > 50 {
		return "too many filters"
	}
	for _, f := range p.Filters {
		if f.QoS > 1 || strings.Count(f.Filter, "/") > 7 {
			return "filter"
		}
	}
	return ""
}

func (a *awsRules) publish(flags byte, body []byte) string {
	var p packet.Publish
	if err := packet.ParsePublish(flags, body, a.version, &p); err != nil {
		return err.Error()
	}
	now := time.Now()
	a.published = append(slices.DeleteFunc(a.published, func(t time.Time) bool { return now.Sub(t) > time.Second }), now)
	if p.QoS == 1 {
		a.unacked[p.ID] = true
	}
	switch {
	case p.QoS == 2:
		return "QoS 2"
	case len(p.Topic) > 256:
		return "long topic"
	case strings.Count(p.Topic, "/") > 7 && !strings.HasPrefix(p.Topic, "$aws/rules/"):
		return "slashes"
	case len(p.Payload) > 128<<10:
		return "payload"
	case len(a.unacked) > 100:
		return "more than 100 unacknowledged"
	case len(a.published) > 120: // it sees them later than they were sent, some together
		return "more than 100 publishes a second"
	}
	return ""
}

// TestTheFakeOfAWSIsStrict: it ends the connection on each thing that it says.
func TestTheFakeOfAWSIsStrict(t *testing.T) {
	for _, version := range []byte{packet.V311, packet.V5} {
		publish := func(p packet.Publish) []byte { return packet.AppendPublish(nil, version, &p) }
		subscribe := func(filters ...string) []byte {
			s := packet.Subscribe{ID: 65533}
			for _, f := range filters {
				s.Filters = append(s.Filters, packet.Filter{Filter: f, QoS: 1})
			}
			return packet.AppendSubscribe(nil, version, &s)
		}
		many := func(n int) (b []byte) {
			for i := range n {
				b = append(b, publish(packet.Publish{Topic: "t", QoS: 1, ID: uint16(i + 1)})...)
			}
			return b
		}
		for _, tt := range []struct {
			why   string
			bytes []byte
			early bool
		}{
			{"", publish(packet.Publish{Topic: "a/b/c/d/e/f/g/h", QoS: 1, ID: 1, Payload: make([]byte, 128<<10)}), false},
			{"", publish(packet.Publish{Topic: "$aws/rules/r/a/b/c/d/e/f/g/h"}), false},
			{"", subscribe("1", "2", "3", "4", "5", "6", "7", "8"), false},
			{"", many(100), false},
			{"bytes before CONNACK", publish(packet.Publish{Topic: "t"}), true},
			{"QoS 2", publish(packet.Publish{Topic: "t", QoS: 2, ID: 1}), false},
			{"QoS 2", packet.AppendAck(nil, version, packet.PUBREL, 1, 0), false},
			{"too many filters", subscribe("1", "2", "3", "4", "5", "6", "7", "8", "9"), false},
			{"filter", subscribe("a/b/c/d/e/f/g/h/#"), false},
			{"slashes", publish(packet.Publish{Topic: "a/b/c/d/e/f/g/h/i"}), false},
			{"long topic", publish(packet.Publish{Topic: strings.Repeat("x", 257)}), false},
			{"payload", publish(packet.Publish{Topic: "t", Payload: make([]byte, 128<<10+1)}), false},
			{"more than 100 unacknowledged", many(101), false},
		} {
			t.Run(fmt.Sprintf("%d %s", version, tt.why), func(t *testing.T) {
				rules := &awsRules{}
				f, c := newFaults(), newCloud()
				c.mute = true
				f.set(rules.judge)
				client, err := c.dial(f)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = client.Close(); c.close(); f.wg.Wait() }()
				hello := packet.AppendConnect(nil, &packet.Connect{Version: version, CleanStart: true, ClientID: "x", KeepAlive: 30})
				if tt.early {
					hello = append(hello, tt.bytes...)
				}
				got := talk(client, hello, packet.CONNACK)
				if !tt.early {
					got = talk(client, append(tt.bytes, packet.AppendPing(nil, packet.PINGREQ)...), packet.PINGRESP)
				}
				if ended := got == 0; ended != (tt.why != "") {
					t.Errorf("ended %t", ended)
				}
				f.mu.Lock()
				defer f.mu.Unlock()
				if tt.why != "" && !slices.Equal(rules.violations, []string{tt.why}) {
					t.Errorf("violations %q", rules.violations)
				}
			})
		}
	}
}

// talk writes b and reads until a packet of that type comes, which it returns, or
// the end, 0. A CONNACK that the end follows at once counts as the end.
func talk(c net.Conn, b []byte, want byte) byte {
	go func() { _, _ = c.Write(b) }()
	var in []byte
	chunk := make([]byte, 4<<10)
	for {
		n, err := c.Read(chunk)
		if err != nil {
			return 0
		}
		in = append(in, chunk[:n]...)
		for {
			typ, _, _, size, err := packet.Next(in, 0)
			if err != nil || size == 0 {
				break
			}
			if in = in[size:]; typ == want {
				return typ
			}
		}
	}
}

// TestTheProfileOfAWSWithAHostileWorkload: not one disconnect, what AWS would not
// take is a dead letter.
func TestTheProfileOfAWSWithAHostileWorkload(t *testing.T) {
	for _, version := range []config.Version{5, 4} {
		t.Run(version.String(), func(t *testing.T) {
			rules := &awsRules{}
			r := newRig(t, func(c *config.Bridge) {
				c.Servers = []string{"mqtts://x-ats.iot.eu-central-1.amazonaws.com"}
				c.Profile, c.Version, c.DeadLetterSize = "aws-iot", version, 4<<20
				c.Given, c.Inflight = []string{"version"}, 256
				c.Status, c.Gaps = "gw1/status", "gw1/gaps"
				c.Up = []config.Up{up("deep/#", "a/b/c/d/{1}"), up("$aws/#", "{topic}"), up("#", "{topic}")}
				for i := range 20 {
					c.Down = append(c.Down, down(fmt.Sprintf("cmd/%d/#", i), "{topic}", 2))
				}
			})
			r.segment = 1 << 20
			r.faults.set(rules.judge)
			r.start()
			want := map[string]int{}
			fine := func(topic, payload string, qos byte) {
				r.publish(store.Message{Topic: topic, Payload: []byte(payload), QoS: qos, Retain: qos == 1})
				want[payload]++
			}
			for i := range 120 {
				fine("t", fmt.Sprint("fine ", i), byte(1+i%2))
				switch i % 12 {
				case 0:
					r.publish(store.Message{Topic: "1/2/3/4/5/6/7/8/9", Payload: []byte("deep"), QoS: 1})
				case 1:
					r.publish(store.Message{Topic: "deep/1/2/3/4/5", Payload: []byte("deeper"), QoS: 2})
				case 2:
					r.publish(store.Message{Topic: "t/" + strings.Repeat("x", 255), Payload: []byte("long"), QoS: 1})
				case 3:
					r.publish(store.Message{Topic: "t", Payload: bytes.Repeat([]byte("x"), 128<<10+1), QoS: 1})
				}
			}
			fine("deep/1/2/3", "not too deep", 2)
			fine("$aws/rules/r/1/2/3/4/5/6/7", "not too deep either", 1)
			r.run()
			r.awaitState(Online)
			for i := range 30 {
				r.publish(store.Message{Topic: fmt.Sprintf("live/%d/2/3/4/5/6/7/8/9", i), Payload: []byte("deep and QoS 0")})
			}
			r.cloud.await(t, "a subscription to all", func() bool { return len(r.cloud.subs) == 20 })
			r.cloud.send("gw1", packet.Publish{Topic: "cmd/3/x", QoS: 1, Payload: []byte("y")})
			r.awaitIdle()
			r.faults.mu.Lock()
			if len(rules.violations) > 0 {
				t.Errorf("violations: %q", rules.violations)
			}
			r.faults.mu.Unlock()
			got := map[string]int{}
			for _, p := range r.cloud.payloads() {
				if !strings.HasPrefix(p, "{") && p != "online" {
					got[p]++
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %d kinds, want %d; not both have:", len(got), len(want))
				for p := range want {
					if got[p] != want[p] {
						t.Errorf("%s: %d times, want %d", short(p), got[p], want[p])
					}
				}
			}
			r.deadLetters("unfit: topic \"1/2/3/4/5/6/7/8/9\": 8 slashes, aws-iot takes 7", slices.Repeat([]string{"deep"}, 10)...)
			r.deadLetters("unfit: topic \"a/b/c/d/1/2/3/4/5\": ", slices.Repeat([]string{"deeper"}, 10)...)
			r.deadLetters("unfit: topic \"t/xx", slices.Repeat([]string{"long"}, 10)...)
			r.deadLetters("unfit: topic \"live/", slices.Repeat([]string{"deep and QoS 0"}, 30)...)
			r.deadLetters("too large: 131073 bytes of payload, aws-iot takes 131072", slices.Repeat([]string{strings.Repeat("x", 128<<10+1)}, 10)...)
		})
	}
}

// TestTheProfileOfAWSKeepsItsWindow also when the cloud is slow.
func TestTheProfileOfAWSKeepsItsWindow(t *testing.T) {
	rules := &awsRules{}
	r := newRig(t, func(c *config.Bridge) {
		c.Servers, c.Profile, c.Status, c.Gaps = []string{"mqtts://aws.test"}, "aws-iot", "", ""
		c.AckTimeout = 30 * time.Second
	})
	r.faults.set(rules.judge)
	r.cloud.mute = true
	r.start()
	r.publishMany("t", 0, 150, 1)
	r.run()
	r.cloud.await(t, "a full window", func() bool { return len(r.cloud.got) >= 100 })
	r.cloud.do(func() { r.cloud.mute = false })
	r.cloud.cut()
	r.awaitIdle()
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	if len(rules.violations) > 0 {
		t.Errorf("violations: %q", rules.violations)
	}
}
