package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"packetboat/broker/packet"
)

// TestHostileClients: none of them makes the gateway use more than so much memory,
// or keeps it from serving one who behaves. With -v it says what they cost.
func TestHostileClients(t *testing.T) {
	for _, c := range []struct {
		name   string
		config string
		most   int // MiB that it may take
		attack func(t *testing.T, h *hostility)
	}{
		{"the bytes of CONNECT come one by one", "connect_timeout = \"2s\"", 64, slowLoris},
		{"nothing comes at all", "connect_timeout = \"2s\"", 64, halfOpen},
		{"a client falls silent", "", 64, silent},
		{"a packet claims to be of 256 MiB", "", 32, hugeLength},
		{"CONNECTs as large as may be stay unfinished", "connect_timeout = \"2s\"", 96, unfinishedConnects},
		{"topics have 65,535 levels", "", 64, manyLevels},
		{"one client subscribes 10,000 times", "max_subscriptions = 10_000", 64, manySubscriptions},
		{"all of many clients' subscriptions match", "", 128, wildcardFlood},
		{"subscriptions come and go", "", 64, churn},
		{"those who subscribe to all that is retained do not read it", "", 384, retainedFlood},
	} {
		t.Run(c.name, func(t *testing.T) {
			section, doors := allDoors(t)
			g := newGateway(t, section+"[broker]\n"+c.config+"\n")
			g.start()
			h := &hostility{g: g, doors: append(doors, doorway{address: g.mqtt})}
			for _, d := range h.doors {
				g.await("it listens", func() bool { return listens(d.address) })
			}
			g.await("nobody is connected", func() bool { return g.connections() == 0 })
			stop := witness(t, g.mqtt)
			files, before, cpu, began := g.open(), g.rss(), g.cpu(), time.Now()
			c.attack(t, h)
			took, used := time.Since(began), g.cpu()-cpu
			h.wait()
			g.await("only who behaves is connected", func() bool { return g.open() <= files })
			most := g.peak() - before
			t.Logf("%s: within %v, CPU %v, at most %d KiB more; PUBACK for one who behaves: %s",
				h.did, took.Round(time.Millisecond), used, most, stop())
			if most > c.most<<10 {
				t.Errorf("it took %d KiB more, not %d at most", most, c.most<<10)
			}
			g.stop()
		})
	}
}

// hostility is an attack on a gateway.
type hostility struct {
	g     *gateway
	doors []doorway
	did   string // in words
	from  atomic.Uint32
	all   sync.WaitGroup
}

func (h *hostility) wait() { h.all.Wait() }

// each does the same n times at a time, with a connection each.
func (h *hostility) each(t *testing.T, n int, f func(i int, conn *net.TCPConn) error) {
	for i := range n {
		conn, err := dialFrom(h.from.Add(1), h.doors[i%len(h.doors)].address)
		if err != nil {
			t.Error(err)
			continue
		}
		h.all.Go(func() {
			defer conn.Close()
			if err := f(i, conn); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
}

// closed reads until the gateway ends the connection; that it does not is an error.
func closed(conn io.Reader) error {
	_, err := io.Copy(io.Discard, conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the connection is still open after %v", patience)
	}
	return nil
}

func slowLoris(t *testing.T, h *hostility) {
	n := scale(200, 4000)
	h.did = fmt.Sprintf("%d connections, a byte each 100 ms", n)
	began := time.Now()
	h.each(t, n, func(i int, conn *net.TCPConn) error {
		b := packet.AppendConnect(nil, &packet.Connect{Version: packet.V5, ClientID: strings.Repeat("x", 1000)})
		switch d := h.doors[i%len(h.doors)]; {
		case d.tls:
			b = clientHello(t)
		case d.web:
			b = []byte(upgradeRequest)
		}
		stop := make(chan struct{})
		var writing sync.WaitGroup
		writing.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for i := range b {
				if _, err := conn.Write(b[i : i+1]); err != nil {
					return
				}
				select {
				case <-stop:
					return
				case <-tick.C:
				}
			}
		})
		err := closed(conn)
		close(stop)
		writing.Wait()
		return err
	})
	h.wait()
	if took := time.Since(began); took > 2*time.Second+time.Duration(scale(5, 20))*time.Second {
		t.Errorf("the last was connected for %v", took)
	}
}

func halfOpen(t *testing.T, h *hostility) {
	n := scale(200, 4000)
	h.did = fmt.Sprintf("%d connections", n)
	h.each(t, n, func(_ int, conn *net.TCPConn) error { return closed(conn) })
	h.wait()
}

// plain has the attack come by the plain listener alone.
func (h *hostility) plain() { h.doors = h.doors[len(h.doors)-1:] }

// mqtt connects as a client.
func mqtt(conn net.Conn, c packet.Connect) error {
	c.Version, c.CleanStart = packet.V311, true
	if _, err := conn.Write(packet.AppendConnect(nil, &c)); err != nil {
		return err
	}
	return answered(conn)
}

func silent(t *testing.T, h *hostility) {
	h.plain()
	n := scale(200, 4000)
	h.did = fmt.Sprintf("%d clients with a keep alive of 1 s", n)
	h.each(t, n, func(i int, conn *net.TCPConn) error {
		if err := mqtt(conn, packet.Connect{ClientID: strconv.Itoa(i), KeepAlive: 1}); err != nil {
			return err
		}
		return closed(conn)
	})
	h.wait()
}

func hugeLength(t *testing.T, h *hostility) {
	h.plain()
	n := scale(200, 4000)
	h.did = fmt.Sprintf("%d connections", n)
	h.each(t, n, func(i int, conn *net.TCPConn) error {
		if i%2 == 0 {
			if err := mqtt(conn, packet.Connect{ClientID: strconv.Itoa(i)}); err != nil {
				return err
			}
		}
		_, _ = conn.Write([]byte{[]byte{0x30, 0x10}[i%2], 0xff, 0xff, 0xff, 0x7f})
		_, _ = conn.Write(make([]byte, 1<<20))
		return closed(conn)
	})
	h.wait()
}

func unfinishedConnects(t *testing.T, h *hostility) {
	h.plain()
	n := scale(200, 2000)
	h.did = fmt.Sprintf("%d connections of 300 KiB", n)
	text := strings.Repeat("x", 65_535)
	b := packet.AppendConnect(nil, &packet.Connect{
		Version: packet.V5, ClientID: text, HasUser: true, User: text, HasPass: true, Password: []byte(text),
		Will: &packet.Will{Topic: text, Payload: []byte(text)},
	})
	h.each(t, n, func(_ int, conn *net.TCPConn) error {
		_, _ = conn.Write(b[:len(b)-1])
		return closed(conn)
	})
	h.wait()
}

func manyLevels(t *testing.T, h *hostility) {
	h.plain()
	clients, each := 8, scale(50, 1000)
	h.did = fmt.Sprintf("%d packets", clients*each)
	name, filter := strings.Repeat("/", 65_535), strings.TrimSuffix(strings.Repeat("+/", 32_768), "/")
	h.each(t, clients, func(i int, conn *net.TCPConn) error {
		conns := each
		for n := range conns {
			v := []byte{packet.V311, packet.V5}[n%2]
			if n > 0 { // a PUBLISH like this may end the connection
				again, err := dialFrom(h.from.Add(1), h.g.mqtt)
				if err != nil {
					return err
				}
				conn = again
			}
			b := packet.AppendConnect(nil, &packet.Connect{Version: v, CleanStart: true, ClientID: fmt.Sprint("levels-", i)})
			b = packet.AppendSubscribe(b, v, &packet.Subscribe{ID: 1, Filters: []packet.Filter{{Filter: filter}, {Filter: name}, {Filter: "$share/g/" + filter[:60_000]}}})
			b = packet.AppendUnsubscribe(b, v, &packet.Unsubscribe{ID: 2, Filters: []string{filter, name}})
			b = packet.AppendPublish(b, v, &packet.Publish{Topic: name, QoS: 1, ID: 3, Retain: true, Payload: []byte("x")})
			b = packet.AppendDisconnect(b, v, &packet.Disconnect{})
			if _, err := conn.Write(b); err != nil {
				return err
			}
			err := closed(conn)
			_ = conn.Close()
			if err != nil {
				return err
			}
		}
		return nil
	})
	h.wait()
}

func manySubscriptions(t *testing.T, h *hostility) {
	h.plain()
	n := scale(1, 4)
	h.did = fmt.Sprintf("%d clients with 10,000 subscriptions each, 1,000 publishes", n)
	h.each(t, n, func(i int, conn *net.TCPConn) error {
		if err := mqtt(conn, packet.Connect{ClientID: strconv.Itoa(i)}); err != nil {
			return err
		}
		var b []byte
		for k := range 10_000 {
			f := fmt.Sprintf("%d/+/%d/#", i, k)
			b = packet.AppendSubscribe(b, packet.V311, &packet.Subscribe{ID: 1, Filters: []packet.Filter{{Filter: f}}})
		}
		for k := range 1000 {
			b = packet.AppendPublish(b, packet.V311, &packet.Publish{Topic: fmt.Sprintf("%d/x/%d/y", i, k*10)})
		}
		n, err := counted(conn, packet.AppendPing(b, packet.PINGREQ))
		if n[0] > 0 || n[packet.SUBACK] != 10_000 || n[packet.PUBLISH] != 1000 {
			err = errors.Join(err, fmt.Errorf("packets by type: %v", n))
		}
		return err
	})
	h.wait()
}

// pong sends b, which ends with PINGREQ, and reads until PINGRESP.
func pong(conn net.Conn, b []byte) error {
	_, err := counted(conn, b)
	return err
}

// counted is pong and says how many packets of each type came, and refused
// subscriptions under 0.
func counted(conn net.Conn, b []byte) (n [16]int, err error) {
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(b)
		written <- err
	}()
	var in []byte
	buf := make([]byte, 64<<10)
	for {
		k, err := conn.Read(buf)
		if err != nil {
			_ = conn.Close()
			return n, errors.Join(err, <-written)
		}
		in = append(in, buf[:k]...)
		for {
			typ, _, body, size, err := packet.Next(in, 0)
			if err != nil {
				return n, err
			}
			if size == 0 {
				break
			}
			n[typ]++
			if typ == packet.SUBACK && body[2] >= packet.UnspecifiedError {
				n[0]++
			}
			if in = in[size:]; typ == packet.PINGRESP {
				return n, <-written
			}
		}
	}
}

// wildcardFlood: the filters of a client are a/+/a/… in all combinations, so that
// each matches a/a/a/…
func wildcardFlood(t *testing.T, h *hostility) {
	h.plain()
	clients, publishes := scale(10, 50), 100
	h.did = fmt.Sprintf("%d clients with 1,000 subscriptions that all match, %d publishes", clients, publishes)
	const levels = 10
	var all []byte
	for k := range 1000 {
		f := make([]string, levels)
		for i := range f {
			f[i] = []string{"a", "+"}[k>>i&1]
		}
		all = packet.AppendSubscribe(all, packet.V311, &packet.Subscribe{ID: 1, Filters: []packet.Filter{{Filter: strings.Join(f, "/")}}})
	}
	all = packet.AppendPing(all, packet.PINGREQ)
	name := strings.TrimSuffix(strings.Repeat("a/", levels), "/")
	var subscribed, published sync.WaitGroup
	subscribed.Add(clients)
	published.Add(clients)
	h.each(t, clients, func(i int, conn *net.TCPConn) error {
		defer published.Done()
		err := mqtt(conn, packet.Connect{ClientID: strconv.Itoa(i)})
		if err == nil {
			err = pong(conn, all)
		}
		subscribed.Done()
		subscribed.Wait()
		if err != nil {
			return err
		}
		var b []byte
		for range publishes / clients {
			b = packet.AppendPublish(b, packet.V311, &packet.Publish{Topic: name, Payload: []byte("x")})
		}
		return pong(conn, packet.AppendPing(b, packet.PINGREQ))
	})
	h.wait()
}

func churn(t *testing.T, h *hostility) {
	h.plain()
	clients, times := 8, scale(50, 1000)
	h.did = fmt.Sprintf("%d times subscribed and unsubscribed", clients*times*20)
	h.each(t, clients, func(i int, conn *net.TCPConn) error {
		if err := mqtt(conn, packet.Connect{ClientID: strconv.Itoa(i)}); err != nil {
			return err
		}
		for n := range times {
			var b []byte
			for k := range 20 {
				f := fmt.Sprintf("+/%d/%d/+/#", n, k)
				b = packet.AppendSubscribe(b, packet.V311, &packet.Subscribe{ID: 1, Filters: []packet.Filter{{Filter: f}, {Filter: "$share/g/" + f}}})
				b = packet.AppendUnsubscribe(b, packet.V311, &packet.Unsubscribe{ID: 2, Filters: []string{f, "$share/g/" + f}})
			}
			if err := pong(conn, packet.AppendPing(b, packet.PINGREQ)); err != nil {
				return err
			}
		}
		return nil
	})
	h.wait()
}

// retainedFlood: what is retained is as much as may be.
func retainedFlood(t *testing.T, h *hostility) {
	h.plain()
	clients := scale(20, 100)
	h.did = fmt.Sprintf("%d clients and 15 MiB", clients)
	fill, err := dialFrom(h.from.Add(1), h.g.mqtt)
	if err != nil {
		t.Fatal(err)
	}
	defer fill.Close()
	if err := mqtt(fill, packet.Connect{ClientID: "fill"}); err != nil {
		t.Fatal(err)
	}
	var b []byte
	for i := range 500 {
		b = packet.AppendPublish(b, packet.V311, &packet.Publish{Topic: fmt.Sprint("r/", i), Retain: true, Payload: make([]byte, 30<<10)})
	}
	if err := pong(fill, packet.AppendPing(b, packet.PINGREQ)); err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	over := make(chan struct{})
	waiting.Add(clients)
	h.each(t, clients, func(i int, conn *net.TCPConn) error {
		_ = conn.SetReadBuffer(4 << 10)
		err := mqtt(conn, packet.Connect{ClientID: strconv.Itoa(i)})
		if err == nil {
			var b []byte
			for range 4 {
				b = packet.AppendSubscribe(b, packet.V311, &packet.Subscribe{ID: 1, Filters: []packet.Filter{{Filter: "#"}}})
			}
			_, _ = conn.Write(b)
		}
		waiting.Done()
		<-over
		return err
	})
	waiting.Wait()
	// Somebody who comes after them is heard when theirs was.
	if err := pong(fill, packet.AppendPing(nil, packet.PINGREQ)); err != nil {
		t.Error(err)
	}
	settledMemory(h.g)
	close(over)
	h.wait()
}

// settledMemory waits until the gateway takes no more memory than it did a second
// ago.
func settledMemory(g *gateway) {
	last, since := g.peak(), time.Now()
	g.await("the memory does not grow any more", func() bool {
		if now := g.peak(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
}

// peak is the most memory that the gateway was resident with, in KiB.
func (g *gateway) peak() int {
	g.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); len(f) > 1 && f[0] == "VmHWM:" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}

// cpu is the time that the gateway has computed.
func (g *gateway) cpu() time.Duration {
	g.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.cmd.Process.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	const tick = 10 * time.Millisecond // of the kernel's interface
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * tick
}
