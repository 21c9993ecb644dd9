package dial

import (
	"strings"
	"testing"
)

func TestURLsOfServers(t *testing.T) {
	for _, c := range []struct {
		url  string
		want Server
	}{
		{"mqtt://broker", Server{Address: "broker:1883"}},
		{"mqtt://broker/", Server{Address: "broker:1883"}},
		{"MQTT://broker:11883", Server{Address: "broker:11883"}},
		{"mqtts://broker.example.com", Server{Address: "broker.example.com:8883", TLS: true}},
		{"ws://broker", Server{Address: "broker:80", WebSocket: true}},
		{"ws://broker/", Server{Address: "broker:80", WebSocket: true, target: "/"}},
		{"ws://broker?x=1", Server{Address: "broker:80", WebSocket: true, target: "/mqtt?x=1"}},
		{"wss://broker/a%2Fb/c?d=e%20f", Server{Address: "broker:443", TLS: true, WebSocket: true, target: "/a%2Fb/c?d=e%20f"}},
		{"wss://broker:8443", Server{Address: "broker:8443", TLS: true, WebSocket: true}},
		{"mqtt://10.0.0.1", Server{Address: "10.0.0.1:1883"}},
		{"mqtts://[::1]", Server{Address: "[::1]:8883", TLS: true}},
		{"mqtts://[2001:db8::1]:443", Server{Address: "[2001:db8::1]:443", TLS: true}},
		{"mqtt://[fe80::1%25eth0]", Server{Address: "[fe80::1%eth0]:1883"}},
	} {
		if got, err := Parse(c.url); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", c.url, got, err)
		}
	}
}

func TestURLsThatAreNone(t *testing.T) {
	for url, words := range map[string]string{
		"":                                   "is not a URL",
		"broker":                             "is not a URL",
		"broker.example.com:1883":            "is not a URL",
		"mqtt:broker":                        "is not a URL",
		"user:s3cr3t@broker":                 "is not a URL",
		"mqtt://user:s3cr3t%@broker":         "is not a URL",
		"mqtt://us er:s3cr3t@broker":         "is not a URL",
		"mqtt://[::1":                        "is not a URL",
		"mqtt://broker:s3cr3t":               "is not a URL",
		"mqtt://bro\nker":                    "is not a URL",
		"http://broker":                      "scheme http;",
		"mqtt://":                            "no host name",
		"mqtt://:1883":                       "no host name",
		"mqtt://user:s3cr3t@broker":          "keys username and password",
		"mqtt://broker:0":                    "1 to 65535",
		"mqtt://broker:65536":                "1 to 65535",
		"mqtt://broker:99999999999999999999": "1 to 65535",
		"mqtt://broker/mqtt":                 "after host and port",
		"mqtts://broker?password=s3cr3t":     "after host and port",
		"wss://broker/mqtt#x":                "#",
		"wss://broker/mqtt?a b":              "%20",
		"mqtt://br\u00fccke.example":         "xn--",
	} {
		if _, err := Parse(url); err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v, want %q", url, err, words)
		}
	}
}

func TestWhatOthersAreToldOfAnAddress(t *testing.T) {
	for _, c := range []struct {
		s    Server
		want string
	}{
		{Server{Address: "broker:80"}, "broker"},
		{Server{Address: "broker:443"}, "broker:443"},
		{Server{Address: "broker:443", TLS: true}, "broker"},
		{Server{Address: "broker.:8443", TLS: true}, "broker:8443"},
		{Server{Address: "[fe80::1%eth0]:8080"}, "[fe80::1]:8080"},
		{Server{Address: "[::1]:80"}, "[::1]"},
	} {
		if got := hostHeader(c.s); got != c.want {
			t.Errorf("%+v: %s", c.s, got)
		}
	}
}
