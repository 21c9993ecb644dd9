package dial

import (
	"crypto/tls"
	"net"
	"net/netip"
	"testing"
)

func TestWhoIsConnectedToFirst(t *testing.T) {
	s := Server{Address: "mqtt.test:8883", TLS: true}
	direct := newDialer(t, Options{})
	if a, proxied, err := direct.Via(s); a != "mqtt.test:8883" || proxied || err != nil {
		t.Error(a, proxied, err)
	}
	through := newDialer(t, Options{Proxy: "http://user:" + secret + "@proxy.test:3128", ServerName: "other.test"})
	if a, proxied, err := through.Via(s); a != "proxy.test:3128" || !proxied || err != nil {
		t.Error(a, proxied, err)
	}
	if a, b := direct.Name(s), through.Name(s); a != "mqtt.test" || b != "other.test" {
		t.Error(a, b)
	}
}

func TestAServerIsShownWithoutItsQuery(t *testing.T) {
	for url, want := range map[string]string{
		"mqtt://h": "mqtt://h:1883", "mqtts://h:1": "mqtts://h:1", "ws://h": "ws://h:80", "wss://h/way?token=" + secret: "wss://h:443/way",
	} {
		s, err := Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.String(); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}

func TestLookingUpAndTheWay(t *testing.T) {
	all, err := Lookup(t.Context(), "127.0.0.1:1883")
	if err != nil || len(all) != 1 || all[0] != netip.MustParseAddr("127.0.0.1") {
		t.Fatal(all, err)
	}
	if _, err := Lookup(t.Context(), "no port"); err == nil {
		t.Error("an address without a port is looked up")
	}
	local, device, err := newDialer(t, Options{}).Way(t.Context(), all[0])
	if err != nil || !local.IsLoopback() || device != "lo" {
		t.Error(local, device, err)
	}
	local, device, err = newDialer(t, Options{Source: "127.0.0.7"}).Way(t.Context(), all[0])
	if err != nil || local != netip.MustParseAddr("127.0.0.7") {
		t.Error(local, device, err)
	}
	_, _, err = newDialer(t, Options{Source: "wwan7"}).Way(t.Context(), all[0])
	wantError(t, err, "connect", "not there now")
	_, _, err = newDialer(t, Options{Source: "127.0.0.1"}).Way(t.Context(), netip.MustParseAddr("::1"))
	wantError(t, err, "connect", "source is of IPv4")
}

func TestADialTellsHowFarItHasCome(t *testing.T) {
	to := listen(t, "127.0.0.1:0", greet)
	connected, secured := 0, 0
	d := newDialer(t, Options{Connected: func(net.Conn) { connected++ }, Secured: func(tls.ConnectionState) { secured++ }})
	wantError(t, reach(t, d, Server{Address: to}), "")
	if connected != 1 || secured != 0 {
		t.Error(connected, secured)
	}
}
