package broker

import (
	"fmt"
	"testing"
	"time"

	"packetboat/broker/packet"
)

func TestClientsAreListedAsTheyAre(t *testing.T) {
	r := rigTCP(t, Options{Authenticate: func(c *Credentials) (string, byte) { return c.User, packet.Success }})
	meter := r.connect(packet.V311, "meter-1", func(p *packet.Connect) {
		p.KeepAlive, p.User, p.HasUser = 60, "ann", true
		persistent(p)
	})
	pump := r.connect(packet.V5, "pump-1")
	pump.subscribe(packet.Filter{Filter: "b/#", QoS: 2}, packet.Filter{Filter: "a/+", QoS: 1})
	meter.subscribe(packet.Filter{Filter: "cmd", QoS: 1})
	meter.publishAll(packet.Publish{Topic: "a/1", QoS: 1, ID: 1, Payload: []byte("12")})
	meter.ping()       // the round before is counted
	pump.wantPublish() // and does not acknowledge
	pump.ping()

	list, all := r.b.Clients("", 10)
	if all != 2 || len(list) != 2 || list[0].ID != "meter-1" || list[1].ID != "pump-1" {
		t.Fatalf("%d: %+v", all, list)
	}
	m, p := list[0], list[1]
	if !m.Online || m.User != "ann" || m.Version != packet.V311 || m.KeepAlive != time.Minute || m.Expiry == 0 || m.Transport != "tcp" ||
		m.Listener != r.ln.Addr().String() || m.Address != meter.nc.LocalAddr().String() || time.Since(m.Since) > time.Minute ||
		m.MessagesIn != 1 || m.MessagesOut != 0 || m.BytesIn == 0 || m.BytesOut == 0 {
		t.Errorf("%+v", m)
	}
	if want := "[{a/+ 1} {b/# 2}]"; fmt.Sprint(p.Subscriptions) != want || p.More != 0 {
		t.Errorf("subscriptions %v, not %s", p.Subscriptions, want)
	}
	if p.MessagesIn != 0 || p.MessagesOut != 1 || p.InFlight != 1 || p.Waiting != 1 || p.Expiry != 0 {
		t.Errorf("%+v", p)
	}

	r.drop(meter, "meter-1")
	pump.publishAll(packet.Publish{Topic: "cmd", QoS: 1, ID: 1})
	list, all = r.b.Clients("meter", 10)
	if all != 1 || len(list) != 1 || list[0].Online || list[0].User != "ann" || list[0].Waiting != 1 || list[0].Version != 0 || list[0].Since.Before(m.Since) {
		t.Errorf("offline: %d %+v", all, list)
	}
	for match, want := range map[string]int{"ann": 1, "-1": 2, "pump": 1, "nobody": 0, pump.nc.LocalAddr().String(): 1} {
		if _, all := r.b.Clients(match, 1); all != want {
			t.Errorf("%s: %d, want %d", match, all, want)
		}
	}
	if list, all := r.b.Clients("", 1); all != 2 || len(list) != 1 {
		t.Errorf("a limit: %d of %d", len(list), all)
	}
}

func TestAClientsListOfSubscriptionsIsBounded(t *testing.T) {
	r := rigTCP(t, Options{})
	c := r.connect(packet.V5, "c")
	for i := range MaxClientSubscriptions + 3 {
		c.subscribe(packet.Filter{Filter: fmt.Sprintf("t/%03d", i)})
	}
	list, _ := r.b.Clients("", 1)
	if n := len(list[0].Subscriptions); n != MaxClientSubscriptions || list[0].More != 3 || list[0].Subscriptions[0].Filter != "t/000" {
		t.Errorf("%d and %d more", n, list[0].More)
	}
}
