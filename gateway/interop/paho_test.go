package interop

import (
	"context"
	"crypto/tls"
	_ "embed"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
)

//go:embed testdata/paho.py
var pahoScript string

func pahoPython(t *testing.T, s *site) {
	python := ""
	for _, name := range []string{"/usr/bin/python3", "python3"} { // Debian's packages are those of Debian's Python
		if exec.Command(name, "-c", "import paho.mqtt.client").Run() == nil {
			python = name
			break
		}
	}
	if python == "" {
		t.Skip("no Python 3 with paho: install the package python3-paho-mqtt")
	}
	for _, kind := range kinds {
		if kind == "unix" {
			continue // from paho 2.0 on
		}
		t.Run(kind, func(t *testing.T) {
			t.Parallel() // it waits most of its time
			out := output(t, command(t, python, "-c", pahoScript, kind, s.port(kind), s.ca(), s.cert(), s.key()))
			if out != "3 versions\n" {
				t.Error(out)
			}
		})
	}
}

func pahoGo(t *testing.T, s *site) {
	for scheme, kind := range map[string]string{"mqtt": "tcp", "mqtts": "tls", "mqtts+cert": "mtls", "ws": "ws", "wss": "wss"} {
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cfg := &tls.Config{RootCAs: s.pool}
			if kind == "mtls" {
				cert, err := tls.LoadX509KeyPair(s.cert(), s.key())
				if err != nil {
					t.Fatal(err)
				}
				cfg.Certificates = []tls.Certificate{cert}
			}
			scheme, _, _ := strings.Cut(scheme, "+")
			path := ""
			if scheme == "ws" || scheme == "wss" {
				path = "/mqtt"
			}
			came := make(chan *paho.Publish, 10)
			c, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
				ServerUrls:     []*url.URL{{Scheme: scheme, Host: s.address[kind], Path: path}},
				TlsCfg:         cfg,
				KeepAlive:      30,
				OnConnectError: func(err error) { t.Error(err); cancel() },
				ClientConfig: paho.ClientConfig{
					ClientID: "paho-go-" + kind,
					OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
						came <- p.Packet
						return true, nil
					}},
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.AwaitConnection(ctx); err != nil {
				t.Fatal(err)
			}
			topic := "paho-go/" + kind
			if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 2}}}); err != nil {
				t.Fatal(err)
			}
			for qos := range byte(3) {
				payload := strings.Repeat("x", int(qos)*50_000)
				if _, err := c.Publish(ctx, &paho.Publish{Topic: topic, QoS: qos, Payload: []byte(payload), Properties: &paho.PublishProperties{ContentType: "text/plain"}}); err != nil {
					t.Fatal(err)
				}
				select {
				case p := <-came:
					if p.QoS != qos || string(p.Payload) != payload || p.Properties.ContentType != "text/plain" {
						t.Errorf("%d bytes at QoS %d, %+v", len(p.Payload), p.QoS, p.Properties)
					}
				case <-ctx.Done():
					t.Fatal("nothing came")
				}
			}
			bye, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := c.Disconnect(bye); err != nil {
				t.Error(err)
			}
		})
	}
}
