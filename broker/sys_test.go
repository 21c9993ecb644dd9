package broker

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
)

// sysValues reads the values of $SYS that come before a ping is answered.
func (c *client) sysValues() map[string]packet.Publish {
	c.t.Helper()
	c.send([]byte{0xc0, 0})
	got := map[string]packet.Publish{}
	for {
		typ, flags, body, err := c.next()
		if err != nil {
			c.t.Fatal(err)
		}
		if typ == packet.PINGRESP {
			return got
		}
		var p packet.Publish
		if err := packet.ParsePublish(flags, body, c.version, &p); typ != packet.PUBLISH || err != nil {
			c.t.Fatalf("packet type %d, %v", typ, err)
		}
		got[strings.TrimPrefix(p.Topic, "$SYS/broker/")] = p
	}
}

func TestSys(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, r *rig)
	}{
		{"a new subscription gets the present values at once, as retained ones", func(t *testing.T, r *rig) {
			p := r.connect(packet.V311, "p")
			p.publishAll(pub("nobody", 1, 1, "12345"))
			s := r.connect(packet.V5, "s")
			s.subscribe(filter("$SYS/#", 2))
			got := s.sysValues()
			for name, want := range map[string]string{
				"version": "packetboat version 7", "uptime": "0 seconds", "clients/connected": "2", "clients/total": "2",
				"clients/maximum": "2", "clients/disconnected": "0", "publish/messages/received": "1", "publish/bytes/received": "5",
				"publish/messages/unrouted": "1", "retained messages/count": "0", "subscriptions/count": "1",
				"store/messages/count": "0", "messages/inflight": "0", "queue": "ok", "load/sockets/1min": "0.00",
			} {
				if m, ok := got[name]; string(m.Payload) != want || !ok || !m.Retain || m.QoS != 0 {
					t.Errorf("%s: %q (retain %v, QoS %d), want %q", name, m.Payload, m.Retain, m.QoS, want)
				}
			}
			for _, name := range []string{"bytes/received", "bytes/sent", "messages/received", "messages/sent", "heap/current", "heap/maximum"} {
				if v := string(got[name].Payload); v == "" || v == "0" {
					t.Errorf("%s: %q", name, v)
				}
			}
		}},
		{"what has changed is published every interval", func(t *testing.T, r *rig) {
			s := r.connect(packet.V5, "s")
			s.subscribe(filter("$SYS/broker/clients/connected", 0), filter("$SYS/broker/version", 0))
			if n := len(s.sysValues()); n != 2 {
				t.Fatalf("%d values at first", n)
			}
			time.Sleep(30 * time.Second)
			if got := s.sysValues(); len(got) != 0 {
				t.Errorf("without a change: %v", got)
			}
			r.connect(packet.V5, "other")
			time.Sleep(11 * time.Second)
			if got := s.sysValues(); len(got) != 1 || string(got["clients/connected"].Payload) != "2" || got["clients/connected"].Retain {
				t.Errorf("got %v", got)
			}
		}},
		{"averages are those of a minute, whether anybody listens or not", func(t *testing.T, r *rig) {
			p := r.connect(packet.V311, "p")
			for range 60 {
				p.publishAll(pub("a", 0, 0, ""))
				time.Sleep(time.Second)
			}
			time.Sleep(time.Second)
			s := r.connect(packet.V5, "s")
			s.subscribe(filter("$SYS/broker/load/publish/received/+", 0))
			got := s.sysValues()
			// 60 a minute for one minute: 1 - 1/e of it, and so on.
			for name, want := range map[string]string{"1min": "37.", "5min": "10.", "15min": "3."} {
				if v := string(got["load/publish/received/"+name].Payload); !strings.HasPrefix(v, want) {
					t.Errorf("%s: %s, want about %s", name, v, want)
				}
			}
		}},
		{"values are not kept while nobody wants them", func(t *testing.T, r *rig) {
			s := r.connect(packet.V5, "s")
			s.subscribe(filter("$share/g/$SYS/broker/uptime", 0))
			time.Sleep(11 * time.Second)
			if got := string(s.sysValues()["uptime"].Payload); got != "10 seconds" { // shared: no value at once
				t.Errorf("uptime %q", got)
			}
			s.unsubscribe("$share/g/$SYS/broker/uptime")
			time.Sleep(time.Minute)
			r.b.sys.mu.Lock()
			if n := r.b.sys.values.Len(); n != 0 {
				t.Errorf("%d values are kept", n)
			}
			r.b.sys.mu.Unlock()
			s.subscribe(filter("$SYS/broker/uptime", 0))
			if got := string(s.sysValues()["uptime"].Payload); got != "71 seconds" {
				t.Errorf("uptime %q", got)
			}
		}},
		{"MQTT-4.7.2-1 wildcards in the first level do not match it", func(t *testing.T, r *rig) {
			s := r.connect(packet.V5, "s")
			s.subscribe(filter("#", 0), filter("+/broker/#", 0))
			time.Sleep(time.Minute)
			if got := s.sysValues(); len(got) != 0 {
				t.Errorf("got %v", got)
			}
		}},
		{"nobody else publishes there", func(t *testing.T, r *rig) {
			s, p, old := r.connect(packet.V5, "s"), r.connect(packet.V5, "p"), r.connect(packet.V311, "old")
			s.subscribe(filter("$SYS/x", 0))
			p.publish(pub("$SYS/x", 1, 1, ""))
			if code := p.wantAck(packet.PUBACK, 1); code != packet.NotAuthorized {
				t.Errorf("PUBACK %02x", code)
			}
			p.publishAll(pub("$SYS/x", 0, 0, ""))
			old.publishAll(packet.Publish{Topic: "$SYS/x", QoS: 2, ID: 1, Retain: true, Payload: []byte("x")})
			if _, err := r.b.Publish(&Message{Topic: "$SYS/x"}); !errors.Is(err, ErrTopic) {
				t.Errorf("an adapter: %v", err)
			}
			s.ping()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rigPipes(t, Options{SysInterval: 10 * time.Second, Version: "7"})
				c.run(t, r)
				r.stop()
			})
		})
	}
}
