package admin

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"packetboat/broker/packet"
)

// connect has a client connect to the broker of the web, which is served until the
// test ends, and returns its connection.
func (r *webRig) connect(id string) net.Conn {
	r.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- r.opt.Sources.Broker.Serve(ctx, ln) }()
	r.t.Cleanup(func() {
		stop()
		<-served
	})
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write(packet.AppendConnect(nil, &packet.Connect{Version: packet.V5, ClientID: id, CleanStart: true, KeepAlive: 30})); err != nil {
		r.t.Fatal(err)
	}
	b := make([]byte, 256)
	if _, err := c.Read(b); err != nil || b[0]>>4 != packet.CONNACK {
		r.t.Fatalf("CONNACK: %x, %v", b[0], err)
	}
	return c
}

func TestClientsAreListedAndKicked(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580")
	conn := w.connect("pump")
	var list Clients
	if err := json.NewDecoder(w.do(asks{path: "/v1/clients?match=pu&limit=5"}).Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	if list.Total != 1 || len(list.Clients) != 1 {
		t.Fatalf("%+v", list)
	}
	c := list.Clients[0]
	if c.ID != "pump" || c.Protocol != "MQTT 5" || !c.Online || c.KeepAlive != 30 || c.Transport != "tcp" || c.Address == "" || c.Connected.IsZero() || !c.Disconnected.IsZero() || c.Subscriptions == nil {
		t.Errorf("%+v", c)
	}
	for path, want := range map[string]int{"/v1/clients?match=x": 200, "/v1/clients?limit=x": 400, "/v1/clients?limit=-1": 400, "/v1/clients?limit=999999": 400} {
		if got := w.do(asks{path: path}).StatusCode; got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	kick := asks{method: "POST", path: "/v1/clients/kick", body: `{"client": "pump"}`, header: head(ownHeader, "1")}
	if got := w.do(kick).StatusCode; got != 200 {
		t.Errorf("kick: %d", got)
	}
	b := make([]byte, 16)
	if n, err := conn.Read(b); err != nil || n < 3 || b[0]>>4 != packet.DISCONNECT || b[2] != packet.AdministrativeAction {
		t.Errorf("the client was told %x, %v", b[:n], err)
	}
	kick.body = `{"client": "nobody"}`
	resp := w.do(kick)
	var l line
	if err := json.NewDecoder(resp.Body).Decode(&l); err != nil || resp.StatusCode != 404 || !strings.Contains(l.Error, "nobody") {
		t.Errorf("kick nobody: %d %q", resp.StatusCode, l.Error)
	}
}
