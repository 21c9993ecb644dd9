package broker

import (
	"io"
	"testing"
	"time"

	"packetboat/broker/packet"
)

// FuzzConnection sends anything over a connected connection: the broker goes
// on, for others and for the next connection of the same session.
func FuzzConnection(f *testing.F) {
	seed := func(version byte, durable bool, frames ...[]byte) {
		var all []byte
		for _, b := range frames {
			all = append(all, b...)
		}
		f.Add(version, durable, all)
	}
	for _, v := range []byte{packet.V31, packet.V311, packet.V5} {
		for _, durable := range []bool{false, true} {
			sub := packet.AppendSubscribe(nil, v, &packet.Subscribe{ID: 1, Filters: []packet.Filter{filter("#", 2), filter("$share/g/a", 1)}})
			seed(v, durable, sub,
				packet.AppendPublish(nil, v, &packet.Publish{Topic: "a", QoS: 1, ID: 2, Retain: true, Payload: []byte("x")}),
				packet.AppendPublish(nil, v, &packet.Publish{Topic: "a", QoS: 2, ID: 3, Payload: []byte("y")}),
				packet.AppendAck(nil, v, packet.PUBREL, 3, 0), packet.AppendAck(nil, v, packet.PUBACK, 1, 0),
				packet.AppendAck(nil, v, packet.PUBREC, 2, 0), packet.AppendAck(nil, v, packet.PUBCOMP, 2, 0),
				packet.AppendUnsubscribe(nil, v, &packet.Unsubscribe{ID: 4, Filters: []string{"#"}}), []byte{0xc0, 0})
			seed(v, durable, packet.AppendPublish(nil, v, &packet.Publish{Topic: "a", Alias: 3, Props: packet.AppendUserProp(nil, "k", "v")}),
				packet.AppendDisconnect(nil, v, &packet.Disconnect{Code: packet.DisconnectWithWill}))
		}
	}
	r := rigPipes(f, Options{MaxInflight: 8, MaxRetained: 10, MaxSubscriptions: 4})
	f.Fuzz(func(t *testing.T, version byte, durable bool, data []byte) {
		if version < packet.V31 || version > packet.V5 {
			version = packet.V5
		}
		r.t = t
		c := r.dial()
		c.t = t
		p := &packet.Connect{Version: version, ClientID: "fuzz", CleanStart: !durable}
		if durable {
			persistent(p)
		}
		p.Will = &packet.Will{Topic: "will", QoS: 1}
		if ack := c.connect(p); ack.Code != packet.Success {
			t.Fatalf("CONNACK %02x", ack.Code)
		}
		read := make(chan struct{})
		_ = c.nc.SetReadDeadline(time.Time{})
		go func() {
			defer close(read)
			_, _ = io.Copy(io.Discard, c.nc)
		}()
		_, _ = c.nc.Write(data)
		_ = c.nc.Close()
		<-read
		again := r.dial()
		again.t = t
		again.connect(&packet.Connect{Version: packet.V5, ClientID: "other", CleanStart: true})
		again.ping()
		_ = again.nc.Close()
	})
}
