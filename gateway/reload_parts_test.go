package gateway

import (
	"bufio"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"packetboat/broker"
	"packetboat/broker/packet"
	"packetboat/gateway/admin"
)

// client is a connection that lasts as long as the test.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

// dialMQTT connects and waits for CONNACK; nil: the connection was closed at once.
func dialMQTT(t *testing.T, address, id string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := &client{t: t, Conn: conn, r: bufio.NewReader(conn)}
	_, err = conn.Write(packet.AppendConnect(nil, &packet.Connect{Version: packet.V311, CleanStart: true, ClientID: id}))
	if err != nil || c.answers(4) == nil {
		return nil
	}
	return c
}

// answers gives the next n bytes, nil at the end of the connection.
func (c *client) answers(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		var err error
		if b[i], err = c.r.ReadByte(); err != nil {
			return nil
		}
	}
	return b
}

// alive reports whether the connection works.
func (c *client) alive() bool {
	_, err := c.Write([]byte{packet.PINGREQ << 4, 0})
	return err == nil && c.answers(2) != nil
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func listens(address string) bool {
	c, err := net.Dial("tcp", address)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

func TestReloadChangesWhatHasChangedAndLeavesTheRest(t *testing.T) {
	main, side, logger, other := free(t), free(t), free(t), free(t)
	listener := func(address, more string) string {
		return fmt.Sprintf("[[listener]]\naddress = %q\n%s\n", address, more)
	}
	tcp := func(name, address, more string) string {
		return fmt.Sprintf("[[tcp]]\nname = %q\nlisten = %q\ntopic = \"a/%s\"\n%s\n", name, address, name, more)
	}
	base := listener(main, "") + tcp("logger", logger, "")
	text := sections(t, base)
	r, g, file := reloadable(t, text)
	c := dialMQTT(t, main, "stays")
	if c == nil {
		t.Fatal("not connected")
	}
	reload := func(now string, want admin.Changes) {
		t.Helper()
		file(strings.Replace(text, base, now, 1))
		did, err := g.Reload(t.Context())
		if err != nil || !reflect.DeepEqual(did, want) {
			t.Errorf("%+v, %v; want %+v", did, err, want)
		}
		if !c.alive() {
			t.Fatal("a client of a listener that has not changed was disconnected")
		}
	}
	reload(base, admin.Changes{})

	// Listeners.
	reload(base+listener(side, ""), admin.Changes{Listeners: admin.Set{Added: []string{side}}})
	onSide := dialMQTT(t, side, "side")
	if onSide == nil || !onSide.alive() {
		t.Fatal("the new listener does not serve")
	}
	reload(base+listener(side, "max_connections = 7"), admin.Changes{Listeners: admin.Set{Changed: []string{side}}})
	if onSide.alive() {
		t.Error("a client of a listener that has changed is still connected")
	}
	if again := dialMQTT(t, side, "side"); again == nil || !again.alive() {
		t.Error("the changed listener does not serve")
	}
	reload(base, admin.Changes{Listeners: admin.Set{Removed: []string{side}}})
	if listens(side) {
		t.Error("the removed listener still accepts")
	}

	// Adapters.
	device, err := net.Dial("tcp", logger)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	reload(base+tcp("more", other, ""), admin.Changes{Adapters: admin.Set{Added: []string{"more"}}})
	r.await("the new adapter listens", func() bool { return listens(other) })
	changed := listener(main, "") + tcp("logger", logger, "retain = true") + tcp("more", other, "")
	reload(changed, admin.Changes{Adapters: admin.Set{Changed: []string{"logger"}}})
	_ = device.SetReadDeadline(time.Now().Add(patience))
	if _, err := device.Read(make([]byte, 1)); err == nil {
		t.Error("a device of an adapter that has changed is still connected")
	}
	r.await("the changed adapter listens", func() bool { return listens(logger) })
	// Another name at the same port, at once.
	reload(listener(main, "")+tcp("logger", logger, "retain = true")+tcp("renamed", other, ""),
		admin.Changes{Adapters: admin.Set{Added: []string{"renamed"}, Removed: []string{"more"}}})
	r.await("it listens under its new name", func() bool { return listens(other) })
	if r.logged("cannot listen") {
		t.Error("the port was not free")
	}
	reload(listener(main, ""), admin.Changes{Adapters: admin.Set{Removed: []string{"logger", "renamed"}}})
	if n := len(g.devices.all()); n != 0 || listens(other) {
		t.Errorf("%d adapters are left", n)
	}

	// Limits.
	reload("[limits]\nconnects_per_second = 1\n"+listener(main, ""), admin.Changes{Limits: true})
	if dialMQTT(t, main, "first") == nil {
		t.Error("the first in a second is refused")
	}
	if dialMQTT(t, main, "second") != nil {
		t.Error("the second in a second is let in")
	}
	r.cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestReloadSetsTheLogsLevel(t *testing.T) {
	text := sections(t, "[[listener]]\naddress = \"127.0.0.1:0\"\n")
	_, g, file := reloadable(t, text)
	var levels []string
	g.opt.SetLevel = func(level string) { levels = append(levels, level) }
	for _, level := range []string{"debug", "debug", "info"} {
		file(strings.Replace(text, "[[listener]]", "[log]\nlevel = \""+level+"\"\n[[listener]]", 1))
		if did, err := g.Reload(t.Context()); err != nil || did.Restart != nil {
			t.Errorf("%+v, %v", did, err)
		}
	}
	if want := []string{"debug", "info"}; !reflect.DeepEqual(levels, want) {
		t.Errorf("levels %q", levels)
	}
}

// An adapter that comes by a reload keeps to the topics of its own section, as one
// that was there at the start does; and what is told of it is of that section.
func TestAnAdapterThatAReloadBringsKeepsToItsOwnTopics(t *testing.T) {
	text := sections(t, "[[listener]]\naddress = \"127.0.0.1:0\"\n[[auth.rule]]\nuser = \"ann\"\n")
	_, g, file := reloadable(t, text)
	allowed := func(topic string) bool {
		t.Helper()
		_, before := g.broker.Denials()
		_, err := g.broker.Publish(&broker.Message{Origin: "adapter/scale", Topic: topic, QoS: 1})
		_, after := g.broker.Denials()
		return err == nil && before == after
	}
	serial := func(topic string, baud int) string {
		return fmt.Sprintf("%s[[serial]]\nname = \"scale\"\nport = \"/dev/none\"\nbaud = %d\ntopic = %q\n[serial.command]\n", text, baud, topic)
	}
	for _, c := range []struct {
		topic, other string
		baud         int
	}{{"a/{name}", "b/scale", 1200}, {"b/{name}", "a/scale", 2400}} {
		file(serial(c.topic, c.baud))
		if did, err := g.Reload(t.Context()); err != nil || did.Rules {
			t.Fatalf("%+v, %v", did, err)
		}
		if own := strings.Replace(c.topic, "{name}", "scale", 1); !allowed(own) || allowed(c.other) {
			t.Errorf("topic %s: %v and %v", c.topic, allowed(own), allowed(c.other))
		}
		if a := g.outlook().adapters; len(a) != 1 || !strings.Contains(a[0].line, fmt.Sprintf("baud = %d,", c.baud)) || !strings.Contains(a[0].port, "/dev/none") {
			t.Errorf("told of it: %+v", a)
		}
	}
}

// An adapter that goes together with the rules that it had says that it is offline.
func TestAnAdapterThatGoesHasItsLastWordByItsOwnRules(t *testing.T) {
	main, logger := free(t), free(t)
	listener := fmt.Sprintf("[[listener]]\naddress = %q\n", main)
	everybody := "[[auth.rule]]\nclient = \"*\"\nsubscribe = [\"#\"]\n"
	adapter := fmt.Sprintf("[[tcp]]\nname = \"logger\"\nlisten = %q\ntopic = \"a\"\nstatus = \"s\"\n", logger)
	text := sections(t, listener+everybody+adapter)
	r, g, file := reloadable(t, text)
	r.await("the adapter listens", func() bool { return listens(logger) })
	device, err := net.Dial("tcp", logger)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	status := func() string {
		c := dialMQTT(t, main, "reader")
		_, _ = c.Write(packet.AppendSubscribe(nil, packet.V311, &packet.Subscribe{ID: 1, Filters: []packet.Filter{{Filter: "s"}}}))
		c.answers(5) // SUBACK
		head := c.answers(2)
		if head == nil {
			return ""
		}
		return string(c.answers(int(head[1]))[3:])
	}
	r.await("it is online", func() bool { return status() == "online" })
	file(strings.Replace(text, adapter, "[[auth.rule]]\nadapter = \"*\"\npublish = [\"other\"]\n", 1))
	if did, err := g.Reload(t.Context()); err != nil || !did.Rules || len(did.Adapters.Removed) != 1 {
		t.Fatalf("%+v, %v", did, err)
	}
	if got := status(); got != "offline" {
		t.Errorf("an adapter that is gone is %s", got)
	}
}
