package e2e

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/broker/users"
)

// TestTheFiguresOfLoginsAfterAPowerCut measures how long 5,000 clients, each a
// user of its own, take to get in: after a start of the gateway, when each
// password costs a hash, and after a cut of the network, when it knows them.
// Who is told to come later does, as fast as a device would.
//
//	go test ./gateway/e2e -run TestTheFiguresOfLogins -v -full
func TestTheFiguresOfLoginsAfterAPowerCut(t *testing.T) {
	if !*full {
		t.Skip("not asked for: -full")
	}
	const clients, again = 5000, time.Second
	g, file := newGuarded(t, "")
	if err := users.Edit(file, nil, func(l *users.List) error {
		for i := range clients {
			if err := l.Set(fmt.Sprint("user", i), fmt.Append(nil, "password", i)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	g.start()
	for _, when := range []string{"after a start", "after a cut"} {
		var all sync.WaitGroup
		var later atomic.Int64
		conns := make([]net.Conn, clients)
		began, cpu := time.Now(), g.cpu()
		for i := range conns {
			all.Go(func() {
				for {
					conn, code, err := tryLogin(g.mqtt, "", fmt.Sprint("c", i), fmt.Sprint("user", i), fmt.Sprint("password", i), packet.V5)
					if err == nil && code == 0 {
						conns[i] = conn
						return
					}
					if conn != nil {
						_ = conn.Close()
					}
					if err != nil || code != packet.ServerBusy {
						t.Errorf("client %d: code 0x%02X, %v", i, code, err)
						return
					}
					later.Add(1)
					<-time.After(again)
				}
			})
		}
		all.Wait()
		t.Logf("%s: %d clients were in after %v; %d times one was told to come later; the gateway took %v of the processors and has %d KiB",
			when, clients, time.Since(began).Round(time.Millisecond), later.Load(), g.cpu()-cpu, g.rss())
		for _, c := range conns {
			if c != nil {
				_ = c.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
			}
		}
	}
}
