package broker

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/transport"
	"packetboat/broker/transport/certtest"
)

// listenOn has the broker serve one more listener, with layers below MQTT.
func (r *rig) listenOn(below transport.Options) (ln *pipeListener, stop func()) {
	ln = newPipeListener()
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() { _ = r.b.Serve(ctx, transport.Listen(ln, below)) })
	return ln, func() { cancel(); served.Wait() }
}

func serverTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certtest.SelfSigned("gateway", certtest.Hosts("gateway")).TLS()}}
}

const upgradeRequest = "GET /mqtt HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n"

// However far a client comes, and however slowly it goes on, it has
// ConnectTimeout from being accepted to a complete CONNECT.
func TestConnectTimeoutHoldsInEveryLayer(t *testing.T) {
	const timeout = 10 * time.Second
	cfg := serverTLS()
	certs := func() *tls.Config { return cfg }
	plain, secure := transport.Options{}, transport.Options{TLS: certs}
	web, webSecure := transport.Options{WebSocket: true}, transport.Options{TLS: certs, WebSocket: true}
	connect := packet.AppendConnect(nil, &packet.Connect{Version: packet.V5, ClientID: strings.Repeat("c", 100), CleanStart: true})
	frame := func(b []byte) []byte { return append([]byte{0x82, 0x80 | byte(len(b)), 0, 0, 0, 0}, b...) } // with the mask 0
	hello := clientHello(t)

	handshake := func(t *testing.T, nc net.Conn) net.Conn {
		c := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	upgrade := func(t *testing.T, nc net.Conn) net.Conn {
		if _, err := io.WriteString(nc, upgradeRequest+"\r\n"); err != nil {
			t.Fatal(err)
		}
		if a, err := http.ReadResponse(bufio.NewReader(nc), nil); err != nil || a.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(a, err)
		}
		return nc
	}
	both := func(t *testing.T, nc net.Conn) net.Conn { return upgrade(t, handshake(t, nc)) }
	as := func(_ *testing.T, nc net.Conn) net.Conn { return nc }
	for _, c := range []struct {
		name  string
		below transport.Options
		until func(*testing.T, net.Conn) net.Conn // how far the client comes
		then  []byte                              // what it begins after that, byte by byte
	}{
		{"TCP, silent", plain, as, nil},
		{"TCP, a slow CONNECT", plain, as, connect},
		{"TLS, silent", secure, as, nil},
		{"TLS, a slow ClientHello", secure, as, hello},
		{"TLS, silent after its handshake", secure, handshake, nil},
		{"TLS, a slow CONNECT", secure, handshake, connect},
		{"WebSocket, silent", web, as, nil},
		{"WebSocket, a slow request", web, as, []byte(upgradeRequest)},
		{"WebSocket, silent after the upgrade", web, upgrade, nil},
		{"WebSocket, a slow CONNECT", web, upgrade, frame(connect)},
		{"WebSocket, pings only", web, upgrade, []byte(strings.Repeat("\x89\x80\x00\x00\x00\x00", 20))},
		{"WebSocket over TLS, a slow request", webSecure, handshake, []byte(upgradeRequest)},
		{"WebSocket over TLS, a slow CONNECT", webSecure, both, frame(connect)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rigPipes(t, Options{ConnectTimeout: timeout})
				ln, stop := r.ln.(*pipeListener), func() {}
				if c.below.TLS != nil || c.below.WebSocket {
					ln, stop = r.listenOn(c.below)
				}
				nc, err := ln.dial()
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				at := c.until(t, nc)
				var wg sync.WaitGroup
				wg.Go(func() {
					for _, b := range c.then {
						if _, err := at.Write([]byte{b}); err != nil {
							return
						}
						time.Sleep(time.Second) // in the bubble
					}
				})
				_, _ = io.Copy(io.Discard, at)
				if took := time.Since(began); took != timeout {
					t.Errorf("it was closed after %v", took)
				}
				nc.Close()
				wg.Wait()
				stop()
				r.stop()
			})
		})
	}
}

// clientHello is what a TLS client sends first.
func clientHello(t *testing.T) []byte {
	a, b := net.Pipe()
	defer b.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer a.Close()
	wg.Go(func() { _ = tls.Client(a, &tls.Config{InsecureSkipVerify: true}).Handshake() })
	hello := make([]byte, 1<<10)
	n, err := b.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	return hello[:n]
}

// A shutdown does not wait for those who have got stuck on the way.
func TestAShutdownEndsHandshakes(t *testing.T) {
	cfg := serverTLS()
	certs := func() *tls.Config { return cfg }
	for _, below := range []transport.Options{{TLS: certs}, {WebSocket: true}, {TLS: certs, WebSocket: true}} {
		synctest.Test(t, func(t *testing.T) {
			r := rigPipes(t, Options{})
			ln, stop := r.listenOn(below)
			nc, err := ln.dial()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := nc.Write([]byte("\x16\x03")); err != nil && !below.WebSocket {
				t.Fatal(err)
			}
			synctest.Wait()
			began := time.Now()
			stop()
			if took := time.Since(began); took != 0 {
				t.Errorf("took %v", took)
			}
			nc.Close()
			r.stop()
		})
	}
}
