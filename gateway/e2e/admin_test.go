package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"packetboat/broker/packet"
	"packetboat/gateway/admin"
)

// TestOperatorsSeeClientsAndTopicsAndKick: with the command line's tools, and by
// HTTP as the dashboard does.
func TestOperatorsSeeClientsAndTopicsAndKick(t *testing.T) {
	g := newGateway(t, "")
	web := freePort(t)
	g.rewrite(`address = ""`, fmt.Sprintf("address = %q", web))
	g.start()
	get := func(path string, into any) {
		t.Helper()
		resp, err := http.Get("http://" + web + "/v1/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
	}
	pump := dialClient(t, g.mqtt, "pump-7", packet.V5)
	pump.subscribe("cmd/#", 1)
	meter := dialClient(t, g.mqtt, "meter-1", packet.V311)

	var topics admin.Topics
	get("topics", &topics)
	meter.publish(packet.Publish{Topic: "a/power", QoS: 1, Payload: []byte("230 W")})
	get("topics?match=power", &topics)
	if topics.Total != 1 || *topics.Topics[0].Text != "230 W" || topics.Topics[0].Count != 1 {
		t.Errorf("topics: %+v", topics)
	}

	out, code := g.tool("clients", "-json")
	var list admin.Clients
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || list.Total != 2 || list.Clients[0].ID != "meter-1" || list.Clients[1].Subscriptions[0].Filter != "cmd/#" {
		t.Errorf("clients: %d %s", code, out)
	}
	out, code = g.tool("clients", "pump")
	for _, want := range []string{"pump-7", "MQTT 5 from 127.0.0.1:", "cmd/# at QoS 1", "online for"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("no %q: %d\n%s", want, code, out)
		}
	}
	out, code = g.tool("clients")
	if code != 0 || strings.Count(out, "\n") != 3 {
		t.Errorf("%d\n%s", code, out)
	}

	// The events tell of what follows.
	resp, err := http.Get("http://" + web + "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, code = g.tool("kick", "pump-7")
	if code != 0 || !strings.Contains(out, "pump-7 was disconnected") {
		t.Errorf("kick: %d %s", code, out)
	}
	text := ""
	for b := make([]byte, 4096); !strings.Contains(text, "event: state\n") || !strings.Contains(text, "a client was disconnected by an operator"); {
		n, err := resp.Body.Read(b)
		text += string(b[:n])
		if err != nil {
			t.Fatalf("the events ended: %v\n%s", err, text)
		}
	}
	if _, err := pump.conn.Read(make([]byte, 64)); err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("the client: %v", err)
	}
	if out, code = g.tool("kick", "pump-7"); code != 1 || !strings.Contains(out, "no such client is connected: pump-7") {
		t.Errorf("kick again: %d %s", code, out)
	}
	if _, code = g.tool("kick"); code != 2 {
		t.Errorf("kick nobody: %d", code)
	}
	g.stop() // does not wait for who watches
	if rest, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("the stream ended with %v after %s", err, rest)
	}
}

// TestTheDaysOfWearSurviveARestart in order.
func TestTheDaysOfWearSurviveARestart(t *testing.T) {
	g := newGateway(t, "")
	web := freePort(t)
	g.rewrite(`address = ""`, fmt.Sprintf("address = %q", web))
	wear := func() (w admin.Wear) {
		t.Helper()
		resp, err := http.Get("http://" + web + "/v1/wear")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&w); err != nil {
			t.Fatal(err)
		}
		return w
	}
	g.start()
	c := dialClient(t, g.mqtt, "c", packet.V5)
	c.publish(packet.Publish{Topic: "t", QoS: 1, Retain: true, Payload: make([]byte, 100<<10)})
	first := wear()
	if first.Today < 100<<10 || first.Written != first.Today || len(first.Days) != 1 {
		t.Errorf("%+v", first)
	}
	g.stop()
	g.start()
	second := wear()
	if sum := second.Days[0].Written + second.Days[len(second.Days)-1].Written; sum < first.Today || second.Written > first.Written {
		t.Errorf("%+v after %+v", second, first)
	}
	g.stop()
}
