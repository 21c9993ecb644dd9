package e2e

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"packetboat/broker/packet"
)

// publisher is a client that publishes at QoS 1, one message after the other.
type publisher struct {
	conn  net.Conn
	waits []time.Duration // for each PUBACK
}

// publish sends one message and waits for its PUBACK.
func (p *publisher) publish(topic string) error {
	began := time.Now()
	frame := packet.AppendPublish(nil, packet.V311, &packet.Publish{ID: 1, QoS: 1, Topic: topic, Payload: []byte("payload")})
	if _, err := p.conn.Write(frame); err != nil {
		return err
	}
	ack := make([]byte, 4)
	if _, err := io.ReadFull(p.conn, ack); err != nil || ack[0] != packet.PUBACK<<4 {
		return fmt.Errorf("% x instead of PUBACK: %w", ack, err)
	}
	p.waits = append(p.waits, time.Since(began))
	return nil
}

// attack logs in n times with that password ("": wrong ones), from addresses of its own in turn, one each
// time, however long the others take (0: 64 at a time), and counts the codes of
// CONNACK.
func attack(t *testing.T, address, password string, n, addresses int, every time.Duration) map[byte]int {
	t.Helper()
	var (
		mu    sync.Mutex
		codes = map[byte]int{}
		all   sync.WaitGroup
		slots = make(chan struct{}, 64)
	)
	try := func(i int) {
		from, shown := i%addresses, password
		if shown == "" {
			shown = fmt.Sprint("wrong", i)
		}
		conn, code, err := tryLogin(address, fmt.Sprintf("127.1.%d.%d", from/250, 1+from%250), fmt.Sprint("login", i), "good", shown, packet.V5)
		if conn != nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
		if err != nil {
			t.Errorf("login %d: %v", i, err)
		}
		mu.Lock()
		codes[code]++
		mu.Unlock()
	}
	began := time.Now()
	for i := range n {
		if every == 0 {
			slots <- struct{}{}
		} else {
			<-time.After(time.Until(began.Add(time.Duration(i) * every)))
		}
		all.Go(func() {
			try(i)
			if every == 0 {
				<-slots
			}
		})
	}
	all.Wait()
	return codes
}

// goodClients connects n clients of user good.
func goodClients(t *testing.T, address string, n int) []*publisher {
	t.Helper()
	list := make([]*publisher, n)
	for i := range list {
		conn, code := login(t, address, "", fmt.Sprint("good", i), "good", "good", packet.V311)
		if code != 0 {
			t.Fatalf("a good client: code 0x%02X", code)
		}
		list[i] = &publisher{conn: conn}
	}
	return list
}

// Wrong passwords cost a few hashes for each address, and good clients are
// answered, come back, too.
func TestBadLoginsDoNotKeepGoodClientsOut(t *testing.T) {
	t.Parallel()
	const bad, addresses, limit = 1000, 5, 10
	g, _ := newGuarded(t, fmt.Sprintf("[limits]\nfailed_logins = %d\n", limit))
	g.passwd("good", "good")
	g.start()
	clients := goodClients(t, g.mqtt, 5)
	over := make(chan struct{})
	var all sync.WaitGroup
	for i, c := range clients {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				if err := c.publish(fmt.Sprint("good/", i)); err != nil {
					t.Error(err)
					return
				}
				if n%50 != 0 {
					continue
				}
				// From an address that is refused.
				conn, code, err := tryLogin(g.mqtt, "127.1.0.1", fmt.Sprint("again", i), "good", "good", packet.V5)
				if err != nil || code != 0 && code != packet.ConnectionRateExceeded {
					t.Errorf("a good client that comes back: code 0x%02X, %v", code, err)
				}
				if code == 0 {
					_ = conn.Close()
				}
			}
		})
	}
	codes := attack(t, g.mqtt, "", bad, addresses, 0)
	close(over)
	all.Wait()
	// With two at a time, one more may be under way when the limit is reached.
	if n := codes[packet.BadUserNameOrPassword]; n < addresses*limit || n > addresses*(limit+1) || codes[0] != 0 ||
		n+codes[packet.ConnectionRateExceeded] != bad {
		t.Errorf("codes: %v", codes)
	}
	conn, code := login(t, g.mqtt, "", "new", "good", "good", packet.V5)
	if code != 0 {
		t.Errorf("a good client from elsewhere: code 0x%02X", code)
	}
	_ = conn.Close()
	if n := g.lines("are refused for a minute"); n != addresses {
		t.Errorf("%d lines in the log about %d addresses", n, addresses)
	}
}

// TestTheFiguresOfBadLogins measures what 10,000 bad logins in 10 s do to 50
// good clients: acceptance 2 of the security issue. The attacker shares the
// machine with the gateway; what its connections alone cost, those that show the
// right password tell.
//
//	go test ./gateway/e2e -run TestTheFiguresOfBadLogins -v -full
func TestTheFiguresOfBadLogins(t *testing.T) {
	if !*full {
		t.Skip("not asked for: -full")
	}
	const bad, in, clients = 10_000, 10 * time.Second, 50
	for _, c := range []struct {
		name      string
		addresses int
		doubles   bool // p99 may: each costs a hash, and a processor of two is busy with them
	}{
		{"from one address", 1, false},
		{"from 100 addresses", 100, false},
		{"from 10,000 addresses", 10_000, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, _ := newGuarded(t, "")
			g.passwd("good", "good")
			g.start()
			good := goodClients(t, g.mqtt, clients)
			measure := func(during func()) (p99 time.Duration) {
				over := make(chan struct{})
				var all sync.WaitGroup
				for i, p := range good {
					p.waits = p.waits[:0]
					all.Go(func() {
						tick := time.NewTicker(20 * time.Millisecond)
						defer tick.Stop()
						for {
							select {
							case <-over:
								return
							case <-tick.C:
								if err := p.publish(fmt.Sprint("good/", i)); err != nil {
									t.Error(err)
									return
								}
							}
						}
					})
				}
				during()
				close(over)
				all.Wait()
				var waits []time.Duration
				for _, p := range good {
					waits = append(waits, p.waits...)
				}
				slices.Sort(waits)
				return waits[len(waits)*99/100]
			}
			rest := measure(func() { <-time.After(in) })
			// What as many connections cost, on one machine with those who connect.
			right := measure(func() { attack(t, g.mqtt, "good", bad, 1, in/bad) })
			before, cpu := g.rss(), g.cpu()
			var codes map[byte]int
			began := time.Now()
			wrong := measure(func() { codes = attack(t, g.mqtt, "", bad, c.addresses, in/bad) })
			t.Logf("PUBACK p99 of %d clients: %v at rest, %v during %d good logins, %v during as many bad ones in %v, which took %v of the gateway's CPU; codes %v; memory %d KiB before, %d KiB after",
				clients, rest, right, bad, wrong, time.Since(began).Round(time.Millisecond), g.cpu()-cpu, codes, before, g.rss())
			if wrong > 2*max(rest, right) && !c.doubles {
				t.Errorf("p99 has more than doubled")
			}
		})
	}
}
