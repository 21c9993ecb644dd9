package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
)

func TestConnect(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  Options
		run  func(r *rig)
	}{
		{"MQTT-3.1.0-1 another first packet closes the connection", Options{}, func(r *rig) {
			c := r.dial()
			c.send([]byte{0xc0, 0})
			c.wantEnd(0)
		}},
		{"MQTT-3.1.0-2 a second CONNECT closes it", Options{}, func(r *rig) {
			for _, v := range []byte{packet.V311, packet.V5} {
				c := r.connect(v, "a")
				c.send(packet.AppendConnect(nil, &packet.Connect{Version: v, ClientID: "a", CleanStart: true}))
				c.wantEnd(packet.ProtocolError)
			}
		}},
		{"MQTT-3.1.2-2 an unknown protocol version gets return code 1", Options{}, func(r *rig) {
			c := r.dial()
			c.version = packet.V311
			c.send([]byte{0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 9, 2, 0, 0, 0, 0})
			if ack := c.wantConnack(); ack.Code != packet.UnsupportedProtocolVersion {
				t.Errorf("code %02x", ack.Code)
			}
			c.wantEnd(0)
		}},
		{"MQTT-3.1.4-1 a malformed CONNECT gets a reason in 5.0 only", Options{}, func(r *rig) {
			c := r.dial()
			c.send([]byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 5, 3, 0, 0, 0, 0, 0})
			if ack := c.wantConnack(); ack.Code != packet.MalformedPacket {
				t.Errorf("code %02x", ack.Code)
			}
			c.wantEnd(0)
			c = r.dial()
			c.send([]byte{0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 3, 0, 0, 0, 0})
			c.wantEnd(0)
		}},
		{"MQTT-3.1.3-7 an assigned client identifier is returned and unique", Options{}, func(r *rig) {
			a, b := r.connect(packet.V5, ""), r.connect(packet.V5, "")
			if a.ack.AssignedClientID == "" || a.ack.AssignedClientID == b.ack.AssignedClientID {
				t.Errorf("got %q and %q", a.ack.AssignedClientID, b.ack.AssignedClientID)
			}
			r.connect(packet.V311, "")
		}},
		{"MQTT-3.1.3-8 of 3.1.1: no client identifier without a clean session", Options{}, func(r *rig) {
			c := r.dial()
			if ack := c.connect(&packet.Connect{Version: packet.V311}); ack.Code != packet.ClientIDNotValid {
				t.Errorf("code %02x", ack.Code)
			}
			c.wantEnd(0)
		}},
		{"MQTT 3.1 connects", Options{}, func(r *rig) {
			c := r.connect(packet.V31, "old")
			c.subscribe(packet.Filter{Filter: "a", QoS: 1})
			c.publish(packet.Publish{Topic: "a", QoS: 1, ID: 1, Payload: []byte("x")})
			c.wantMessage("a", "x", 1)
			c.wantAck(packet.PUBACK, 1)
		}},
		{"MQTT-3.1.4-3 the same client identifier takes the session over", Options{}, func(r *rig) {
			for _, v := range []byte{packet.V311, packet.V5} {
				old := r.connect(v, "a")
				c := r.connect(packet.V5, "a")
				old.wantEnd(packet.SessionTakenOver)
				c.ping()
			}
		}},
		{"MQTT-4.12.0-1 enhanced authentication is refused", Options{}, func(r *rig) {
			c := r.dial()
			if ack := c.connect(&packet.Connect{Version: packet.V5, CleanStart: true, AuthMethod: "SCRAM"}); ack.Code != packet.BadAuthenticationMethod {
				t.Errorf("code %02x", ack.Code)
			}
			c.wantEnd(0)
		}},
		{"MQTT-4.12.0-7 AUTH without a method is a protocol error", Options{}, func(r *rig) {
			c := r.connect(packet.V5, "a")
			c.send([]byte{0xf0, 0})
			c.wantEnd(packet.ProtocolError)
		}},
		{"MQTT-3.1.4-2 who is not let in is told", Options{Authenticate: func(c *Credentials) (string, byte) {
			if c.HasPassword && string(c.Password) == "secret" {
				return "u", packet.Success
			}
			return "", packet.NotAuthorized
		}}, func(r *rig) {
			for _, v := range []byte{packet.V31, packet.V311, packet.V5} {
				c := r.dial()
				if ack := c.connect(&packet.Connect{Version: v, CleanStart: true, ClientID: "a"}); ack.Code != packet.NotAuthorized {
					t.Errorf("code %02x", ack.Code)
				}
				c.wantEnd(0)
				r.connect(v, "a", func(p *packet.Connect) { p.HasUser, p.HasPass, p.Password = true, true, []byte("secret") })
			}
		}},
		{"MQTT-3.2.2-2 and MQTT-3.2.2-3 session present tells the truth", Options{}, func(r *rig) {
			for _, v := range []byte{packet.V311, packet.V5} {
				c := r.connect(v, "p", persistent)
				if c.ack.SessionPresent {
					t.Error("present when new")
				}
				c.disconnect(0)
				if c = r.connect(v, "p", persistent); !c.ack.SessionPresent {
					t.Error("absent when resumed")
				}
				c.disconnect(0)
				if c = r.connect(v, "p"); c.ack.SessionPresent {
					t.Error("present after Clean Start")
				}
				c.disconnect(0)
			}
		}},
		{"MQTT-3.2.2-21 the server keep alive is announced", Options{MaxKeepAlive: time.Minute}, func(r *rig) {
			c := r.connect(packet.V5, "a")
			if !c.ack.HasServerKeepAlive || c.ack.ServerKeepAlive != 60 {
				t.Errorf("%+v", c.ack)
			}
		}},
		{"a session expiry above the maximum is reduced and announced", Options{MaxSessionExpiry: time.Hour}, func(r *rig) {
			c := r.connect(packet.V5, "a", func(p *packet.Connect) { p.SessionExpiry = never })
			if !c.ack.HasSessionExpiry || c.ack.SessionExpiry != 3600 {
				t.Errorf("%+v", c.ack)
			}
		}},
		{"one persistent session too many is refused", Options{MaxSessions: 1}, func(r *rig) {
			r.connect(packet.V5, "a", persistent)
			c := r.dial()
			if ack := c.connect(&packet.Connect{Version: packet.V5, ClientID: "b", SessionExpiry: 10}); ack.Code != packet.QuotaExceeded {
				t.Errorf("code %02x", ack.Code)
			}
			r.connect(packet.V5, "c")
		}},
		{"MQTT-3.14.2-2 session expiry in DISCONNECT after none is a protocol error", Options{}, func(r *rig) {
			c := r.connect(packet.V5, "a")
			c.send(packet.AppendDisconnect(nil, packet.V5, &packet.Disconnect{SessionExpiry: 1, HasSessionExpiry: true}))
			c.wantEnd(packet.ProtocolError)
		}},
		{"session expiry 0 in DISCONNECT ends the session", Options{}, func(r *rig) {
			c := r.connect(packet.V5, "a", persistent)
			c.send(packet.AppendDisconnect(nil, packet.V5, &packet.Disconnect{HasSessionExpiry: true}))
			c.wantEnd(0)
			if c = r.connect(packet.V5, "a", persistent); c.ack.SessionPresent {
				t.Error("session present")
			}
		}},
		{"malformed packets close with 0x81", Options{}, func(r *rig) {
			c := r.connect(packet.V5, "a")
			c.send([]byte{0x36, 5, 0, 1, 'a', 0, 1})
			c.wantEnd(packet.MalformedPacket)
		}},
		{"a packet above the maximum closes with 0x95", Options{MaxPacketSize: 100}, func(r *rig) {
			c := r.connect(packet.V5, "a")
			if c.ack.MaxPacketSize != 100 {
				t.Errorf("announced %d", c.ack.MaxPacketSize)
			}
			c.publish(packet.Publish{Topic: "a", Payload: make([]byte, 100)})
			c.wantEnd(packet.PacketTooLarge)
		}},
		{"packets in one write, and a packet in many, are the same", Options{}, func(r *rig) {
			c := r.dial()
			b := packet.AppendConnect(nil, &packet.Connect{Version: packet.V5, ClientID: "a", CleanStart: true})
			b = packet.AppendSubscribe(b, packet.V5, &packet.Subscribe{ID: 100, Filters: []packet.Filter{{Filter: "a"}}})
			b = packet.AppendPublish(b, packet.V5, &packet.Publish{Topic: "a", Payload: make([]byte, 200_000)})
			for _, part := range [][]byte{b[:3], b[3:10], b[10:70_000], b[70_000:]} {
				c.send(part)
			}
			c.wantConnack()
			c.wantSuback(packet.SUBACK)
			if p := c.wantPublish(); len(p.Payload) != 200_000 {
				t.Errorf("%d bytes", len(p.Payload))
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(rigTCP(t, c.opt)) })
	}
}

func TestTimeouts(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, r *rig)
	}{
		{"MQTT-3.1.2-22 silence for 1.5 times the keep alive closes the connection", func(t *testing.T, r *rig) {
			c := r.connect(packet.V5, "a", func(p *packet.Connect) { p.KeepAlive = 10 })
			time.Sleep(14 * time.Second)
			c.ping()
			time.Sleep(14 * time.Second)
			c.ping()
			began := time.Now()
			c.t = t
			_, body := c.wantLate(packet.DISCONNECT, 20*time.Second)
			if body[0] != packet.KeepAliveTimeout || time.Since(began) != 15*time.Second {
				t.Errorf("code %02x after %v", body[0], time.Since(began))
			}
		}},
		{"3.1.2.10 keep alive 0 switches it off", func(t *testing.T, r *rig) {
			c := r.connect(packet.V5, "a")
			time.Sleep(24 * time.Hour)
			c.ping()
		}},
		{"an unfinished CONNECT ends at the connect timeout", func(t *testing.T, r *rig) {
			c := r.dial()
			began := time.Now()
			c.send([]byte{0x10, 13, 0, 4})
			c.wantEndLate(20 * time.Second)
			if d := time.Since(began); d != 10*time.Second {
				t.Errorf("after %v", d)
			}
		}},
		{"MQTT-4.1.0-2 a session ends when its expiry interval has passed", func(t *testing.T, r *rig) {
			c := r.connect(packet.V5, "a", func(p *packet.Connect) { p.CleanStart, p.SessionExpiry = false, 100 })
			c.disconnect(0)
			time.Sleep(99 * time.Second)
			if c = r.connect(packet.V5, "a", func(p *packet.Connect) { p.CleanStart, p.SessionExpiry = false, 100 }); !c.ack.SessionPresent {
				t.Error("gone too early")
			}
			c.disconnect(0)
			time.Sleep(101 * time.Second)
			if c = r.connect(packet.V5, "a"); c.ack.SessionPresent || r.store.Lookup("session/a") != nil {
				t.Error("still there")
			}
		}},
		{"a session that has been away for long expires after a restart", func(t *testing.T, r *rig) {
			c := r.connect(packet.V5, "a", func(p *packet.Connect) { p.CleanStart, p.SessionExpiry = false, 1000 })
			c.disconnect(0)
			time.Sleep(900 * time.Second)
			r.restart()
			time.Sleep(101 * time.Second)
			if r.store.Lookup("session/a") != nil {
				t.Error("still there")
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rigPipes(t, Options{})
				c.run(t, r)
				r.stop()
			})
		})
	}
}
