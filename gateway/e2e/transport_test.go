package e2e

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"packetboat/cmd/packetboat/sim"
)

// A way is how a cloud is reached.
type way struct {
	tls, mutual, webSocket bool
}

func (w way) scheme() string {
	switch {
	case w.webSocket && w.tls:
		return "wss"
	case w.webSocket:
		return "ws"
	case w.tls:
		return "mqtts"
	}
	return "mqtt"
}

// cloud is a broker with two listeners: a plain one for the collector, and the one
// under test, which the gateway is bridged to.
type cloud struct {
	plain, bridged string
	start, stop    func()
	ours           bool
}

// repeated reports what the cloud sent again to its subscriber after it had
// released it. Mosquitto 2.0.11 does so after a restart: what it loads beyond its
// quota of messages in flight it queues, as if it had never been sent. Ours must not.
func (c *cloud) repeated(t *testing.T, s *sim.Subscriber) {
	t.Helper()
	n := s.Broken.Load()
	if n == 0 {
		return
	}
	if c.ours {
		t.Errorf("our broker sent %d PUBLISHes again after their PUBREL", n)
	}
	t.Logf("the cloud sent %d PUBLISHes again after their PUBREL; they are not the bridge's", n)
}

// newCloud starts a broker. server are the files of its certificate, ca is whom
// clients' certificates are of. Sessions outlive a restart.
type newCloud func(t *testing.T, w way, server pair, ca string) *cloud

// transportClouds are the brokers that all is tested with.
var transportClouds = []struct {
	name string
	make newCloud
}{{"Mosquitto", mosquittoCloud}, {"Packetboat", packetboatCloud}}

func mosquittoCloud(t *testing.T, w way, server pair, ca string) *cloud {
	t.Helper()
	c := &cloud{bridged: freePort(t)}
	if w.webSocket {
		c.bridged = loosePort(t)
	}
	_, port, _ := net.SplitHostPort(c.bridged)
	more := fmt.Sprintf("%s\nlistener %s 127.0.0.1\n", anonymous, port)
	if w.webSocket {
		more += "protocol websockets\n"
	}
	if w.tls {
		more += fmt.Sprintf("certfile %s\nkeyfile %s\n", server.cert, server.key)
	}
	if w.mutual {
		more += fmt.Sprintf("cafile %s\nrequire_certificate true\n", ca)
	}
	m := newMosquitto(t, more)
	c.plain, c.start, c.stop = m.address, m.start, m.stop
	return c
}

func packetboatCloud(t *testing.T, w way, server pair, ca string) *cloud {
	t.Helper()
	c := &cloud{bridged: freePort(t), ours: true}
	section := fmt.Sprintf("[[listener]]\naddress = %q\n", c.bridged)
	if w.webSocket {
		section += "transport = \"websocket\"\n"
	}
	if w.tls {
		section += fmt.Sprintf("[listener.tls]\ncert = %q\nkey = %q\n", server.cert, server.key)
	}
	if w.mutual {
		section += fmt.Sprintf("client_ca = %q\nclient_cert = \"required\"\n", ca)
	}
	g := newGateway(t, section)
	g.start()
	c.plain, c.start, c.stop = g.mqtt, g.start, g.stop
	return c
}

// bridgeOver is a bridge by a URL, with more keys of its section and of its
// [bridge.tls].
func bridgeOver(url, keys, tls string) string {
	return fmt.Sprintf(`
[[bridge]]
name = "cloud"
servers = [%q]
backoff = { min = "50ms", max = "500ms", stable = "1s" }
%s
[bridge.tls]
%s
%s
[[bridge.down]]
filter = "sites/{gateway}/cmd/#"
topic = "cmd/{1}"
`, url, keys, tls, upRule)
}

// load is what is published at a gateway and collected at a cloud.
type load struct {
	sim.Tally
	collector *sim.Subscriber
	g         *gateway
	counts    map[*sim.Source]uint64
}

// newLoad begins to publish at QoS 1 and 2, small messages and some that are longer
// than a record of TLS and a short frame of a WebSocket can be.
func newLoad(t *testing.T, g *gateway, c *cloud) *load {
	t.Helper()
	l := &load{g: g, counts: map[*sim.Source]uint64{}}
	n := uint64(scale(200, 2000))
	type client struct {
		source *sim.Source
		qos    byte
		count  uint64
	}
	clients := []client{
		{l.Add(sim.Source{Name: "more", Kind: "QoS 1"}), 1, n},
		{l.Add(sim.Source{Name: "once", Kind: "QoS 2", Once: true}), 2, n},
		{l.Add(sim.Source{Name: "large", Kind: "QoS 2, 70 KiB", Once: true, Pad: 70 << 10}), 2, 10},
	}
	l.collector = collect(t, c.plain, &l.Tally, map[string]string{"more": "sites/e2e/more", "once": "sites/e2e/once", "large": "sites/e2e/large"})
	for _, c := range clients {
		p := &sim.Publisher{
			Addr: g.mqtt, Topic: "sensors/" + c.source.Name, QoS: c.qos, Source: c.source, Count: c.count, Rate: int(c.count),
		}
		l.counts[c.source] = c.count
		run(t, func(ctx context.Context) error {
			err := p.Run(ctx)
			if n := p.Refused.Load(); n > 0 {
				err = fmt.Errorf("%s: %d publishes refused", c.source.Name, n)
			}
			return err
		})
	}
	return l
}

// accepted waits until the gateway has acknowledged all.
func (l *load) accepted() {
	l.g.t.Helper()
	l.g.await("all are acknowledged", func() bool {
		for s, n := range l.counts {
			if s.Counts().Acked < n {
				return false
			}
		}
		return true
	})
}

// arrived waits until the cloud has a part of each.
func (l *load) arrived(part uint64) {
	l.g.t.Helper()
	l.g.await(fmt.Sprintf("1/%d has arrived", part), func() bool {
		for s, n := range l.counts {
			if s.Counts().Arrived < n/part {
				return false
			}
		}
		return true
	})
}

// settled waits until all of it has arrived at the cloud.
func (l *load) settled() {
	l.g.t.Helper()
	l.accepted()
	settled(l.g.t, &l.Tally)
}

// carried publishes with the cloud going away and coming back meanwhile.
func carried(t *testing.T, g *gateway, c *cloud) {
	t.Helper()
	l := newLoad(t, g, c)
	l.arrived(4)
	c.stop()
	l.accepted()
	c.start()
	l.settled()
	c.repeated(t, l.collector)
}

// commanded publishes commands of that size at the cloud and waits for them at the
// gateway.
func commanded(t *testing.T, g *gateway, c *cloud, size int) {
	t.Helper()
	var tally sim.Tally
	commands := tally.Add(sim.Source{Name: "commands", Kind: "QoS 2, down", Once: true, Pad: size})
	collect(t, g.mqtt, &tally, map[string]string{"commands": "cmd/valve"})
	run(t, (&sim.Publisher{Addr: c.plain, Topic: "sites/e2e/cmd/valve", QoS: 2, Source: commands, Count: 10}).Run)
	g.await("the commands are published", func() bool { return commands.Counts().Acked == 10 })
	settled(t, &tally)
}

func TestCloudsAreReachedOverAllTransports(t *testing.T) {
	t.Parallel()
	for _, c := range transportClouds {
		for _, w := range []struct {
			name string
			way
			path, keys string
			only       string // this cloud
		}{
			{"TLS", way{tls: true}, "", "", ""},
			{"TLS, MQTT 3.1.1", way{tls: true}, "", `version = "3.1.1"`, ""},
			{"client certificates", way{tls: true, mutual: true}, "", "", ""},
			{"WebSocket", way{webSocket: true}, "", "", ""},
			{"WebSocket, the path /", way{webSocket: true}, "/", "", ""},
			{"WebSocket over TLS", way{tls: true, webSocket: true}, "", "", ""},
			{"WebSocket over TLS with client certificates, MQTT 3.1.1", way{tls: true, mutual: true, webSocket: true}, "/mqtt", `version = "3.1.1"`, "Mosquitto"},
		} {
			if w.only != "" && w.only != c.name {
				continue
			}
			t.Run(c.name+", "+w.name, func(t *testing.T) {
				t.Parallel()
				ca, server, client := newAuthority(t, "Ours"), newPair(t), newPair(t)
				caFile := filepath.Join(t.TempDir(), "ca.crt")
				ca.file(caFile)
				ca.issue("cloud", server)
				tls := ""
				if w.tls {
					tls = fmt.Sprintf("ca = %q\n", caFile)
				}
				if w.mutual {
					ca.issue("gateway", client)
					tls += fmt.Sprintf("cert = %q\nkey = %q\n", client.cert, client.key)
				}
				cloud := c.make(t, w.way, server, caFile)
				g := newGateway(t, bridgeOver(w.scheme()+"://"+cloud.bridged+w.path, w.keys, tls))
				g.start()
				carried(t, g, cloud)
				size := 70 << 10
				if c.name == "Mosquitto" && w.webSocket {
					size = 1 << 10 // 2.0 sends the rest of a long frame when the client's next packet comes
				}
				commanded(t, g, cloud, size)
				g.stop()
			})
		}
	}
}

// complains waits until the gateway has said why it does not reach the cloud, and
// checks that `packetboat status` says it, too.
func (g *gateway) complains(words ...string) {
	g.t.Helper()
	g.await("it says: "+words[0], func() bool { return g.lines(words[0]) > 0 })
	out, code := g.tool("status")
	if code != 1 {
		g.t.Errorf("status: exit code %d", code)
	}
	for _, w := range append(words, " on the disk, ") {
		if !strings.Contains(out, w) {
			g.t.Errorf("status does not say %q:\n%s", w, out)
		}
	}
}

func TestWithoutAClientCertificateTheStateSaysSoAndNothingIsLost(t *testing.T) {
	t.Parallel()
	for _, c := range transportClouds {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ca, server, client := newAuthority(t, "Ours"), newPair(t), newPair(t)
			caFile := filepath.Join(t.TempDir(), "ca.crt")
			ca.file(caFile)
			ca.issue("cloud", server)
			cloud := c.make(t, way{tls: true, mutual: true}, server, caFile)
			tls := fmt.Sprintf("ca = %q\n", caFile)
			g := newGateway(t, bridgeOver("mqtts://"+cloud.bridged, "", tls))
			g.start()
			l := newLoad(t, g, cloud)
			g.complains("TLS handshake: the server wants a client certificate", "give tls.cert and tls.key")

			// One of another authority does not help.
			newAuthority(t, "Theirs").issue("gateway", client)
			g.rewrite(tls, tls+fmt.Sprintf("cert = %q\nkey = %q\n", client.cert, client.key))
			g.reload()
			g.complains("TLS handshake: the server does not take the client certificate", "registered there, active and not expired")

			// The right one is found where the wrong one was.
			ca.issue("gateway", client)
			l.settled()
			g.stop()
		})
	}
}

func TestAnAuthorityThatIsNotKnownIsNamedAndItsFileCanBeReplaced(t *testing.T) {
	t.Parallel()
	for _, c := range transportClouds {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ca, server := newAuthority(t, "Ours"), newPair(t)
			caFile := filepath.Join(t.TempDir(), "ca.crt")
			newAuthority(t, "Theirs").file(caFile)
			ca.issue("cloud", server)
			cloud := c.make(t, way{tls: true}, server, "")
			g := newGateway(t, bridgeOver("mqtts://"+cloud.bridged, "", fmt.Sprintf("ca = %q\n", caFile)))
			g.start()
			l := newLoad(t, g, cloud)
			g.complains("certificate: it is signed by an authority that is not known here", "CN=Ours", "tls.ca has others")
			l.accepted()
			ca.file(caFile)
			l.settled()
			g.stop()
		})
	}
}

func TestCertificatesAreRenewedWithoutARestartOfTheGateway(t *testing.T) {
	t.Parallel()
	for _, c := range transportClouds {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			old, next, server := newAuthority(t, "Old"), newAuthority(t, "Next"), newPair(t)
			caFile := filepath.Join(t.TempDir(), "ca.crt")
			old.file(caFile)
			old.issue("cloud", server)
			cloud := c.make(t, way{tls: true}, server, "")
			g := newGateway(t, bridgeOver("mqtts://"+cloud.bridged, "", fmt.Sprintf("ca = %q\n", caFile)))
			g.start()
			l := newLoad(t, g, cloud)
			l.arrived(4)
			cloud.stop()
			next.issue("cloud", server)
			cloud.start()
			g.complains("certificate: it is signed by an authority that is not known here", "CN=Next")
			next.file(caFile)
			l.settled()
			g.stop()
		})
	}
}

func TestCloudsAreReachedThroughAProxyThatWantsALogin(t *testing.T) {
	t.Parallel()
	for _, c := range transportClouds {
		for _, w := range []way{{}, {tls: true}, {tls: true, webSocket: true}} {
			t.Run(c.name+", "+w.scheme(), func(t *testing.T) {
				t.Parallel()
				const password = "s3cr3t"
				proxy := newHTTPProxy(t, "gw", password)
				ca, server := newAuthority(t, "Ours"), newPair(t)
				caFile := filepath.Join(t.TempDir(), "ca.crt")
				ca.file(caFile)
				ca.issue("cloud", server)
				cloud := c.make(t, w, server, "")
				wrong := fmt.Sprintf("proxy = \"http://gw:%s-not@%s\"", password, proxy.address)
				g := newGateway(t, bridgeOver(w.scheme()+"://"+cloud.bridged, wrong, fmt.Sprintf("ca = %q\n", caFile)))
				g.start()
				g.complains("proxy: it does not take the user name and password (407 Proxy Authentication Required)", "correct them in its URL")
				g.rewrite("-not@", "@")
				g.reload()
				carried(t, g, cloud)
				if n := len(proxy.clients(cloud.bridged)); n < 2 {
					t.Errorf("%d connections through the proxy", n)
				}
				if strings.Contains(g.said(), password) {
					t.Error("the password is in the log")
				}
				g.stop()
			})
		}
	}
}

func TestConnectionsLeaveByTheSource(t *testing.T) {
	t.Parallel()
	// The proxy sees where they come from.
	proxy := newHTTPProxy(t, "gw", "s3cr3t")
	for _, c := range transportClouds {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cloud := c.make(t, way{}, pair{}, "")
			keys := fmt.Sprintf("source = \"127.0.0.2\"\nproxy = \"http://gw:s3cr3t@%s\"", proxy.address)
			g := newGateway(t, bridgeOver("mqtt://"+cloud.bridged, keys, ""))
			g.start()
			carried(t, g, cloud)
			g.stop()
			clients := proxy.clients(cloud.bridged)
			for _, a := range clients {
				if !strings.HasPrefix(a, "127.0.0.2:") {
					t.Errorf("from %s", a)
				}
			}
			if len(clients) < 2 {
				t.Errorf("%d connections", len(clients))
			}
		})
	}
}
