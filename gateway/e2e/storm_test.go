package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/transport/certtest"
)

var (
	storm  = flag.Int("storm", 0, "have so many clients connect at once, and measure")
	settle = flag.Duration("settle", 3*time.Minute, "measure memory so long after the storm, too: what the storm took, the runtime gives back slowly")
)

// TestStorm measures how long it takes until all clients that come at once have
// CONNACK, and what a connection takes when nothing moves. The gateway is a
// process of its own; the clients share the machine with it.
//
//	go test ./gateway/e2e -run TestStorm -v -timeout 30m -storm 5000
func TestStorm(t *testing.T) {
	if *storm == 0 {
		t.Skip("not asked for: -storm 5000")
	}
	for _, c := range []struct {
		name          string
		tls, ws, keep bool
	}{
		{name: "TCP"},
		{name: "TCP, persistent sessions", keep: true},
		{name: "TLS", tls: true},
		{name: "WebSocket", ws: true},
		{name: "WebSocket over TLS", tls: true, ws: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := freePort(t)
			section := fmt.Sprintf("[[listener]]\naddress = %q\n", address)
			if c.ws {
				section += "transport = \"websocket\"\n"
			}
			if c.tls {
				cert, key := certtest.SelfSigned("gateway").Files(t.TempDir(), "tls")
				section += fmt.Sprintf("tls = { cert = %q, key = %q }\n", cert, key)
			}
			g := newGateway(t, section+fmt.Sprintf("[broker]\nmax_sessions = %d\n", *storm+1))
			g.start()
			g.await("it listens", func() bool { return listens(address) })
			before := g.rss()

			conns := make([]net.Conn, *storm)
			errs := make([]error, *storm)
			start := make(chan struct{})
			var ready, done sync.WaitGroup
			for i := range conns {
				ready.Add(1)
				done.Go(func() {
					ready.Done()
					<-start
					conns[i], errs[i] = stormClient(address, c.tls, c.ws, c.keep, i)
				})
			}
			ready.Wait()
			began := time.Now()
			close(start)
			done.Wait()
			took := time.Since(began)
			failed := 0
			for i, err := range errs {
				if err != nil {
					if failed++; failed < 5 {
						t.Errorf("client %d: %v", i, err)
					}
					continue
				}
				defer conns[i].Close()
			}
			after := g.rss()
			timer := time.NewTimer(*settle)
			defer timer.Stop()
			<-timer.C
			settled := g.rss()
			each := func(rss int) float64 { return float64(rss-before) / float64(*storm) }
			t.Logf("%d clients, %d failed: all CONNACKs after %v; memory of each %.1f KiB at once, %.1f KiB after %v",
				*storm, failed, took.Round(time.Millisecond), each(after), each(settled), *settle)
		})
	}
}

var rssLine = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// rss is the gateway's resident memory in KiB.
func (g *gateway) rss() int {
	g.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	n, _ := strconv.Atoi(string(rssLine.FindSubmatch(b)[1]))
	return n
}

// stormClient connects and has CONNACK.
func stormClient(address string, secure, web, keep bool, i int) (net.Conn, error) {
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	_ = raw.(*net.TCPConn).SetLinger(0)
	nc := raw
	if secure {
		nc = tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	}
	connect := packet.AppendConnect(nil, &packet.Connect{Version: packet.V311, ClientID: fmt.Sprintf("storm-%d", i), CleanStart: !keep})
	connack := make([]byte, 4)
	if web {
		if _, err := io.WriteString(nc, "GET /mqtt HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"); err != nil {
			return raw, err
		}
		if a, err := http.ReadResponse(bufio.NewReaderSize(nc, 512), nil); err != nil || a.StatusCode != http.StatusSwitchingProtocols {
			return raw, fmt.Errorf("upgrade: %v, %v", a, err)
		}
		connect = append([]byte{0x82, 0x80 | byte(len(connect)), 0, 0, 0, 0}, connect...) // with the mask 0
		connack = make([]byte, 6)
	}
	if _, err := nc.Write(connect); err != nil {
		return raw, err
	}
	if _, err := io.ReadFull(nc, connack); err != nil {
		return raw, err
	}
	if !bytes.HasSuffix(connack, []byte{0x20, 2, 0, 0}) {
		return raw, fmt.Errorf("CONNACK % x", connack)
	}
	return nc, nil
}
