package gateway

import (
	"fmt"
	"net"
	"testing"
	"time"

	"packetboat/broker/packet"
)

func TestBridgesAreInSys(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	r := begin(t, sections(t, fmt.Sprintf(`
[broker]
sys_interval = "1s"
[[listener]]
address = %q
[[bridge]]
name = "cloud"
servers = ["mqtt://127.0.0.1:1"]
[[bridge.up]]
filter = "#"
`, address)))
	r.state("READY=1")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	out := packet.AppendConnect(nil, &packet.Connect{Version: packet.V5, ClientID: "c", CleanStart: true})
	out = packet.AppendSubscribe(out, packet.V5, &packet.Subscribe{ID: 1, Filters: []packet.Filter{{Filter: "$SYS/broker/connection/+/state"}}})
	if _, err := c.Write(out); err != nil {
		t.Fatal(err)
	}
	var in []byte
	for {
		typ, flags, body, n, err := packet.Next(in, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			b := make([]byte, 1024)
			k, err := c.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			in = append(in, b[:k]...)
			continue
		}
		if typ == packet.PUBLISH {
			var p packet.Publish
			if err := packet.ParsePublish(flags, body, packet.V5, &p); err != nil || p.Topic != "$SYS/broker/connection/cloud/state" || string(p.Payload) != "0" {
				t.Errorf("%s %q, %v", p.Topic, p.Payload, err)
			}
			break
		}
		in = in[n:]
	}
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}
