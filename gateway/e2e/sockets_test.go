package e2e

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"packetboat/broker/packet"
)

// Who connects while the service is down or restarts waits in the socket that
// systemd holds, and is served.
func TestASocketOfSystemdIsOpenBeforeTheGatewayAndBetween(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	address := ln.Addr().String()
	ln.Close() // f holds it open

	g := newGateway(t, "[[listener]]\naddress = \"systemd:mqtt\"\nanonymous = true\n")
	g.files = []*os.File{f}
	g.env = []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=mqtt"}
	g.within = []string{"sh", "-c", `export LISTEN_PID=$$; exec "$@"`, "sh"}
	for range 2 {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(patience))
		if _, err := nc.Write(packet.AppendConnect(nil, &packet.Connect{Version: packet.V311, CleanStart: true})); err != nil {
			t.Fatal(err)
		}
		g.start()
		connack := make([]byte, 4)
		if _, err := io.ReadFull(nc, connack); err != nil || string(connack) != "\x20\x02\x00\x00" {
			t.Fatalf("% x, %v", connack, err)
		}
		nc.Close()
		g.stop()
	}
}
