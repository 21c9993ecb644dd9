package broker

import (
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
)

// wantReason reads a packet of a type that has a reason, and returns it in code
// and words.
func (c *client) wantReason(typ byte) (code byte, reason string) {
	c.t.Helper()
	flags, body := c.want(typ)
	var props []byte
	switch typ {
	case packet.CONNACK:
		var a packet.Connack
		if err := packet.ParseConnack(body, c.version, &a); err != nil {
			c.t.Fatal(err)
		}
		return a.Code, a.ReasonString
	case packet.DISCONNECT:
		var d packet.Disconnect
		if err := packet.ParseDisconnect(body, c.version, &d); err != nil {
			c.t.Fatal(err)
		}
		return d.Code, d.ReasonString
	default:
		a, err := packet.ParseAck(typ, flags, body, c.version)
		if err != nil {
			c.t.Fatal(err)
		}
		code, props = a.Code, a.Props
	}
	_ = packet.EachProp(props, func(id byte, v, _ []byte) bool {
		if id == packet.PropReasonString {
			reason = string(v)
		}
		return true
	})
	return code, reason
}

func TestToTheLetter(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  Options
		run  func(t *testing.T, r *rig)
	}{
		{"MQTT 3.1 sends PUBREL, SUBSCRIBE and UNSUBSCRIBE again with DUP", Options{}, func(t *testing.T, r *rig) {
			c := r.connect(packet.V31, strings.Repeat("long", 20)) // Mosquitto takes more than 23, too
			dup := func(frame []byte) []byte { frame[0] |= 8; return frame }
			c.send(dup(packet.AppendSubscribe(nil, packet.V31, &packet.Subscribe{ID: 100, Filters: []packet.Filter{filter("a", 2)}})))
			c.wantSuback(packet.SUBACK)
			c.publish(pub("b", 2, 1, "x"))
			c.wantAck(packet.PUBREC, 1)
			c.send(dup(packet.AppendAck(nil, packet.V31, packet.PUBREL, 1, 0)))
			c.wantAck(packet.PUBCOMP, 1)
			c.send(dup(packet.AppendUnsubscribe(nil, packet.V31, &packet.Unsubscribe{ID: 100, Filters: []string{"a"}})))
			c.want(packet.UNSUBACK)
			later := r.connect(packet.V311, "later") // [MQTT-2.2.2-2] of 3.1.1
			later.send(dup(packet.AppendAck(nil, packet.V311, packet.PUBREL, 1, 0)))
			later.wantEnd(0)
		}},
		{"MQTT 3.1 has no SUBACK that refuses, and needs a client identifier", Options{MaxSubscriptions: 1}, func(t *testing.T, r *rig) {
			c := r.connect(packet.V31, "c")
			c.subscribe(filter("a", 0))
			c.send(packet.AppendSubscribe(nil, packet.V31, &packet.Subscribe{ID: 100, Filters: []packet.Filter{filter("b", 0)}}))
			c.wantEnd(0)
			c = r.dial()
			if ack := c.connect(&packet.Connect{Version: packet.V31, CleanStart: true}); ack.Code != packet.ClientIDNotValid {
				t.Errorf("CONNACK %02x", ack.Code)
			}
		}},
		{"reasons are given in words", Options{MaxSessions: 1}, func(t *testing.T, r *rig) {
			c := r.connect(packet.V5, "c")
			c.publish(pub("$SYS/x", 1, 1, ""))
			if code, reason := c.wantReason(packet.PUBACK); code != packet.NotAuthorized || reason == "" {
				t.Errorf("PUBACK %02x %q", code, reason)
			}
			c.send([]byte{0xc0, 1, 0})
			if code, reason := c.wantReason(packet.DISCONNECT); code != packet.MalformedPacket || reason == "" {
				t.Errorf("DISCONNECT %02x %q", code, reason)
			}
			r.connect(packet.V5, "one", persistent)
			c = r.dial()
			p := packet.Connect{Version: packet.V5, ClientID: "two"}
			persistent(&p)
			c.send(packet.AppendConnect(nil, &p))
			if code, reason := c.wantReason(packet.CONNACK); code != packet.QuotaExceeded || reason == "" {
				t.Errorf("CONNACK %02x %q", code, reason)
			}
		}},
		{"MQTT-3.1.2-29 no reason string in PUBACK and PUBREC for who wants none", Options{}, func(t *testing.T, r *rig) {
			c := r.connect(packet.V5, "c", func(p *packet.Connect) { p.NoProblemInfo = true })
			c.publish(pub("$SYS/x", 1, 1, ""))
			if code, reason := c.wantReason(packet.PUBACK); code != packet.NotAuthorized || reason != "" {
				t.Errorf("PUBACK %02x %q", code, reason)
			}
			c.publish(pub("$SYS/x", 2, 1, ""))
			if code, reason := c.wantReason(packet.PUBREC); code != packet.NotAuthorized || reason != "" {
				t.Errorf("PUBREC %02x %q", code, reason)
			}
			c.send([]byte{0xc0, 1, 0})
			if code, reason := c.wantReason(packet.DISCONNECT); code != packet.MalformedPacket || reason == "" {
				t.Errorf("DISCONNECT %02x %q", code, reason)
			}
		}},
		{"MQTT-3.4.2-2 and MQTT-3.14.2-3 no reason string that makes a packet too large", Options{}, func(t *testing.T, r *rig) {
			c := r.connect(packet.V5, "c", func(p *packet.Connect) { p.MaxPacketSize = 25 })
			c.publish(pub("$SYS/x", 1, 1, ""))
			if code, reason := c.wantReason(packet.PUBACK); code != packet.NotAuthorized || reason != "" {
				t.Errorf("PUBACK %02x %q", code, reason)
			}
			c.send([]byte{0xc0, 1, 0})
			if code, reason := c.wantReason(packet.DISCONNECT); code != packet.MalformedPacket || reason != "" {
				t.Errorf("DISCONNECT %02x %q", code, reason)
			}
		}},
		{"MQTT-3.1.2-24 an answer that the client does not take ends the connection", Options{}, func(t *testing.T, r *rig) {
			c := r.connect(packet.V5, "c", func(p *packet.Connect) { p.MaxPacketSize = 30 })
			c.send(packet.AppendSubscribe(nil, packet.V5, &packet.Subscribe{ID: 1, Filters: slices.Repeat([]packet.Filter{filter("a", 0)}, 40)}))
			c.wantEnd(packet.PacketTooLarge)
			c = r.dial()
			c.send(packet.AppendConnect(nil, &packet.Connect{Version: packet.V5, ClientID: "c", CleanStart: true, MaxPacketSize: 10}))
			if code, reason := c.wantReason(packet.CONNACK); code != packet.PacketTooLarge || reason != "" {
				t.Errorf("CONNACK %02x %q", code, reason)
			}
		}},
		{"MQTT-3.1.2-28 response information for who asks", Options{}, func(t *testing.T, r *rig) {
			ask := func(p *packet.Connect) { p.RequestResponse = true }
			for id, want := range map[string]string{"c": "response/c", "a/b": "", "#": ""} {
				if got := r.connect(packet.V5, id).ack.ResponseInfo; got != "" {
					t.Errorf("%q without asking: %q", id, got)
				}
				if got := r.connect(packet.V5, id, ask).ack.ResponseInfo; got != want {
					t.Errorf("%q: %q, want %q", id, got, want)
				}
			}
			if c := r.connect(packet.V5, "", ask); c.ack.ResponseInfo != "response/"+c.ack.AssignedClientID {
				t.Errorf("%+v", c.ack)
			}
		}},
		{"a will that could not be published is refused", Options{MaxTopicLevels: 2}, func(t *testing.T, r *rig) {
			for topic, want := range map[string]byte{"$SYS/x": packet.NotAuthorized, "a/b/c": packet.TopicNameInvalid} {
				c := r.dial()
				if ack := c.connect(&packet.Connect{Version: packet.V5, CleanStart: true, Will: &packet.Will{Topic: topic}}); ack.Code != want {
					t.Errorf("%s: CONNACK %02x", topic, ack.Code)
				}
			}
		}},
		{"an operator ends a connection, and the session stays", Options{}, func(t *testing.T, r *rig) {
			c := r.connect(packet.V5, "c", persistent)
			if r.b.Kick("nobody") || !r.b.Kick("c") {
				t.Error("Kick says something else")
			}
			c.wantEnd(packet.AdministrativeAction)
			if c = r.connect(packet.V5, "c", persistent); !c.ack.SessionPresent {
				t.Error("the session is gone")
			}
		}},
		{"a value that cannot be retained takes the old one away", Options{MaxRetainedSize: 20}, func(t *testing.T, r *rig) {
			for _, p := range []*client{r.connect(packet.V311, "old"), r.connect(packet.V5, "new")} {
				retain := func(qos byte, payload string) {
					p.publish(packet.Publish{Topic: "a", QoS: qos, ID: 1, Retain: true, Payload: []byte(payload)})
				}
				retain(0, "1")
				retain(0, strings.Repeat("2", 30))
				p.ping()
				if n := r.b.Stats().Retained; n != 0 {
					t.Errorf("%d retained", n)
				}
				retain(0, "1")
				retain(1, strings.Repeat("2", 30))
				code, left := p.wantAck(packet.PUBACK, 1), r.b.Stats().Retained
				if p.version == packet.V5 && (code != packet.QuotaExceeded || left != 1) || p.version != packet.V5 && left != 0 {
					t.Errorf("PUBACK %02x, %d retained", code, left)
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, rigTCP(t, c.opt)) })
	}
}

func TestExpiredRetainedMessagesGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rigPipes(t, Options{})
		p := r.connect(packet.V5, "p")
		for i, seconds := range []uint32{30, 200, 0} {
			p.publishAll(packet.Publish{
				Topic: strings.Repeat("x", i+1), Retain: true, Payload: []byte("x"), HasExpiry: seconds > 0, Expiry: seconds,
			})
		}
		for _, want := range []int{2, 2, 2, 1} {
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := r.b.Stats().Retained; n != want {
				t.Errorf("%d retained, want %d", n, want)
			}
		}
		r.restart()
		if n := r.b.Stats().Retained; n != 1 {
			t.Errorf("%d retained after a restart", n)
		}
		r.stop()
	})
}

// TestAClientThatReadsNothingIsCut: its own answers are bounded too.
func TestAClientThatReadsNothingIsCut(t *testing.T) {
	r := rigTCP(t, Options{MaxOutput: 64 << 10, MaxPacketSize: 1 << 10})
	c := r.connect(packet.V5, "c")
	_ = c.nc.(*net.TCPConn).SetReadBuffer(4 << 10)
	pings := make([]byte, 0, 64<<10)
	for len(pings) < cap(pings) {
		pings = append(pings, 0xc0, 0)
	}
	for range 1000 {
		if _, err := c.nc.Write(pings); err != nil {
			if n := r.b.Stats().Cut; n != 1 {
				t.Errorf("%d were cut", n)
			}
			return
		}
	}
	t.Error("never cut")
}
