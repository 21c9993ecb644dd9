package bridge

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/config"
)

// setClock is a clock that tests set.
type setClock struct {
	boot   byte
	up     time.Duration
	wall   time.Time
	synced bool
}

func (c *setClock) BootID() [16]byte        { return [16]byte{c.boot} }
func (c *setClock) Uptime() time.Duration   { return c.up }
func (c *setClock) Wall() (time.Time, bool) { return c.wall, c.synced }

// userProps are the user properties of a packet, the last one of a name.
func userProps(t testing.TB, raw []byte) map[string]string {
	t.Helper()
	m := map[string]string{}
	if err := packet.EachProp(raw, func(id byte, k, v []byte) bool {
		if id == packet.PropUser {
			m[string(k)] = string(v)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTheCloudLearnsWhenAMessageWasReceived(t *testing.T) {
	y1970 := time.Unix(100, 0)
	now := time.Date(2026, 5, 4, 10, 0, 0, 250e6, time.UTC)
	for _, tt := range []struct {
		name string
		life setClock // that sends, with the message taken in at uptime 40 s of boot 1, in 1970 by an unsynchronised clock
		want map[string]string
	}{
		{"the clock was synchronised later in the same boot, so the time is corrected",
			setClock{1, 100 * time.Second, now, true},
			map[string]string{"received": "2026-05-04T09:59:00.250Z"}},
		{"the clock never was synchronised in that boot, and the stamp says so",
			setClock{2, 100 * time.Second, now, true},
			map[string]string{"received": "1970-01-01T00:01:40.000Z", "received_trusted": "false"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(c *config.Bridge) {
				c.Stamp, c.Gateway = "properties", "gw1"
				c.Up = []config.Up{up("#", "{topic}", func(u *config.Up) { u.Priority = 2 })}
			})
			r.clock = &setClock{1, 40 * time.Second, y1970, false}
			r.start()
			own := packet.AppendUserProp(packet.AppendByteProp(nil, packet.PropPayloadFormat, 1), "gateway", "mine")
			r.publish(store.Message{Topic: "a", QoS: 1})
			r.publish(store.Message{Topic: "b", QoS: 2, Props: own})
			r.stop()
			life := tt.life
			r.clock = &life
			r.start()
			r.run()
			r.awaitIdle()
			r.halt()
			want := maps.Clone(tt.want)
			want["gateway"], want["seq"] = "gw1", "2/0"
			if got := userProps(t, r.cloud.got[0].Props); !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			b := r.cloud.got[1].Props
			if got := userProps(t, b); got["seq"] != "2/1" || got["gateway"] != "gw1" {
				t.Errorf("got %v", got)
			}
			if string(b[:len(own)]) != string(own) {
				t.Errorf("the message's own properties do not come first: %x", b)
			}
		})
	}
}

// TestABacklogOverClockSteps: a gateway starts in 1970, gets the time later and
// is set back by an hour, while the cloud is away. Ages do not change by it, and
// the times that the cloud learns are right by the clock that is right at last.
func TestABacklogOverClockSteps(t *testing.T) {
	const step, steps = 10 * time.Minute, 12
	r := newRig(t, func(c *config.Bridge) { c.Stamp = "properties" })
	now := setClock{boot: 1, up: time.Minute, wall: time.Unix(60, 0)}
	for i := range steps {
		switch i {
		case 4:
			now.wall, now.synced = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC), true
		case 8:
			now.wall = now.wall.Add(-time.Hour)
		}
		life := now
		r.clock = &life
		r.start()
		m := store.Message{Topic: fmt.Sprint("at/", i), QoS: 1, Expiry: 3600, HasExpiry: true}
		r.publish(m)
		r.stop()
		now.up, now.wall = now.up+step, now.wall.Add(step)
	}
	r.clock = &now
	r.start()
	r.run()
	r.awaitIdle()
	r.halt()
	if got, want := len(r.cloud.got), 5; got != want { // 10 to 50 minutes old
		t.Fatalf("%d messages came, want the %d that are younger than an hour", got, want)
	}
	for i, m := range r.cloud.got {
		age := step * time.Duration(len(r.cloud.got)-i)
		if want := fmt.Sprint("at/", steps-5+i); m.Topic != want {
			t.Errorf("%s came, want %s", m.Topic, want)
		}
		if want := uint32((time.Hour - age).Seconds()); m.Expiry != want {
			t.Errorf("%s came with expiry %d, want %d", m.Topic, m.Expiry, want)
		}
		stamp := userProps(t, m.Props)
		at, err := time.Parse(time.RFC3339, stamp["received"])
		if err != nil || at.Sub(now.wall.Add(-age)).Abs() > time.Second || stamp["received_trusted"] != "" {
			t.Errorf("%s came with the stamp %v, want %v", m.Topic, stamp, now.wall.Add(-age))
		}
	}
	if l := r.store.Lookup("bridge/cloud/0").Lag(); l.Lost[store.Expired] != steps-5 {
		t.Errorf("the ledger says %+v", l)
	}
}

func TestAnObjectTakesTheStampAsAField(t *testing.T) {
	s := newStamp("json:meta", `g"w`)
	d := &store.Delivery{Seq: 7, At: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), AtTrusted: true}
	const meta = `"meta":{"received":"2026-01-02T03:04:05.006Z","seq":"1/7","gateway":"g\"w"}}`
	for _, tt := range []struct{ name, payload, want string }{
		{"an object", `{"t":1}`, `{"t":1,` + meta},
		{"an empty object", `{ }`, `{` + meta},
		{"white space around it", " {\"t\":1 }\r\n", ` {"t":1,` + meta},
		{"the name as a value and deeper", `{"a":"meta","b":{"meta":[{"meta":1}]},"c":"}\\"}`, `{"a":"meta","b":{"meta":[{"meta":1}]},"c":"}\\",` + meta},
		{"a field of that name stays", `{"t":1, "meta" : {}}`, ""},
		{"an array", `[{"t":1}]`, ""},
		{"a number", `21.5`, ""},
		{"nothing", ``, ""},
		{"text in braces", `{hello}`, ""},
		{"two objects", `{"a":1}{"b":2}`, ""},
		{"half an object", `{"a":1`, ""},
	} {
		var w stamper
		p := packet.Publish{Payload: []byte(tt.payload)}
		if ok := w.apply(&s, 1, d, &p); ok != (tt.want != "") {
			t.Errorf("%s: stamped: %v", tt.name, ok)
		}
		want := tt.want
		if want == "" {
			want = tt.payload
		}
		if string(p.Payload) != want || p.Props != nil {
			t.Errorf("%s: got %s, want %s", tt.name, p.Payload, want)
		}
	}
}

func FuzzAStampedObjectKeepsItsFields(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":"\"}"}`, `{"meta":1}`, ` {"a":[{"meta":{}}],"m\u0065ta":2}`, `{"a":"meta":`} {
		f.Add([]byte(s))
	}
	s := newStamp("json:meta", "gw")
	f.Fuzz(func(t *testing.T, payload []byte) {
		var w stamper
		p := packet.Publish{Payload: payload}
		if !w.apply(&s, 0, &store.Delivery{}, &p) {
			return
		}
		var before, after map[string]json.RawMessage
		if json.Unmarshal(payload, &before) != nil || json.Unmarshal(p.Payload, &after) != nil {
			t.Fatalf("%q was stamped as %q", payload, p.Payload)
		}
		if string(after["meta"]) != `{"seq":"0/0","gateway":"gw"}` {
			t.Fatalf("%q has the stamp %s", p.Payload, after["meta"])
		}
		for k, v := range before {
			if k != "meta" && string(after[k]) != string(v) { // "meta" written with escapes is another name to us
				t.Fatalf("field %q is %s, was %s", k, after[k], v)
			}
		}
	})
}

func TestTheStampCountsAgainstTheServersPacketSize(t *testing.T) {
	for _, mode := range []string{"properties", "json:meta", "off"} {
		r := newRig(t, func(c *config.Bridge) { c.Stamp, c.Gateway = mode, "gw1" })
		r.cloud.onConnect = func(_ *packet.Connect, a *packet.Connack) { a.MaxPacketSize = 80 }
		r.start()
		r.publish(store.Message{Topic: "t", Payload: []byte(`{"text":"sixty bytes are less than the server takes"}`), QoS: 1})
		r.publish(store.Message{Topic: "t", Payload: []byte("x"), QoS: 0})
		r.run()
		r.awaitIdle()
		tooLarge := r.bridge.Lag()[0].Lost[store.TooLarge]
		if mode == "off" && tooLarge != 0 || mode == "json:meta" && tooLarge != 1 || mode == "properties" && tooLarge != 2 {
			t.Errorf("%s: %d are too large", mode, tooLarge)
		}
		if n := r.bridge.Stats().Unstamped; (n == 1) != (mode == "json:meta") {
			t.Errorf("%s: %d not stamped", mode, n)
		}
		r.stop()
	}
}
