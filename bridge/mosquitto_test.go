package bridge

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"packetboat/bridge/dial"
	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/config"
)

// mosquitto is a real cloud broker on a loopback port. It is killed with the
// test, or by kill.
type mosquitto struct {
	t       testing.TB
	dir     string
	address string
	cmd     *exec.Cmd
}

const mosquittoPath = "/usr/sbin/mosquitto"

func newMosquitto(t testing.TB) *mosquitto {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	m := &mosquitto{t: t, dir: t.TempDir(), address: address}
	_, port, _ := net.SplitHostPort(address)
	conf := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\n"+
		"autosave_interval 1\nautosave_on_changes true\nmax_queued_messages 0\nuser root\nlog_type error\n", port, m.dir)
	if err := os.WriteFile(filepath.Join(m.dir, "mosquitto.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	m.start()
	return m
}

func (m *mosquitto) start() {
	m.t.Helper()
	m.cmd = exec.Command(mosquittoPath, "-c", filepath.Join(m.dir, "mosquitto.conf"))
	if err := m.cmd.Start(); err != nil {
		m.t.Fatalf("start mosquitto (Debian package mosquitto): %v", err)
	}
	late := time.After(10 * time.Second)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		if c, err := net.Dial("tcp", m.address); err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-look.C:
		case <-late:
			m.t.Fatal("mosquitto does not listen")
		}
	}
}

func (m *mosquitto) kill() {
	if m.cmd != nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
		m.cmd = nil
	}
}

// term ends mosquitto in peace, so that it saves its sessions.
func (m *mosquitto) term() {
	_ = m.cmd.Process.Signal(os.Interrupt)
	_ = m.cmd.Wait()
	m.cmd = nil
}

// subscriber is a plain MQTT 5 client with a persistent session, made of our
// codec.
type subscriber struct {
	t    testing.TB
	conn net.Conn

	mu   sync.Mutex
	got  []packet.Publish
	more chan struct{} // one slot
	done chan struct{}
}

func (m *mosquitto) subscribe(filter string) *subscriber {
	m.t.Helper()
	conn, err := net.Dial("tcp", m.address)
	if err != nil {
		m.t.Fatal(err)
	}
	s := &subscriber{t: m.t, conn: conn, more: make(chan struct{}, 1), done: make(chan struct{})}
	out := packet.AppendConnect(nil, &packet.Connect{Version: packet.V5, ClientID: "watcher", SessionExpiry: 3600, ReceiveMaximum: 65535})
	out = packet.AppendSubscribe(out, packet.V5, &packet.Subscribe{ID: 1, Filters: []packet.Filter{{Filter: filter, QoS: 2, RetainAsIs: true}}})
	if _, err := conn.Write(out); err != nil {
		m.t.Fatal(err)
	}
	subscribed := make(chan struct{})
	go s.read(subscribed)
	m.t.Cleanup(func() {
		_ = conn.Close()
		<-s.done
	})
	select {
	case <-subscribed:
	case <-time.After(10 * time.Second):
		m.t.Fatal("no SUBACK from mosquitto")
	}
	return s
}

func (s *subscriber) read(subscribed chan struct{}) {
	defer close(s.done)
	r := bufio.NewReaderSize(s.conn, 64<<10)
	var buf, out []byte
	chunk := make([]byte, 64<<10)
	for {
		n, err := r.Read(chunk)
		if err != nil {
			return
		}
		buf = append(buf, chunk[:n]...)
		for {
			typ, flags, body, size, err := packet.Next(buf, 0)
			if err != nil || size == 0 {
				break
			}
			switch typ {
			case packet.SUBACK:
				close(subscribed)
			case packet.PUBLISH:
				var p packet.Publish
				if packet.ParsePublish(flags, body, packet.V5, &p) != nil {
					return
				}
				kept := p
				kept.Topic, kept.Payload, kept.Props = strings.Clone(p.Topic), slices.Clone(p.Payload), slices.Clone(p.Props)
				s.mu.Lock()
				s.got = append(s.got, kept)
				s.mu.Unlock()
				switch p.QoS {
				case 1:
					out = packet.AppendAck(out, packet.V5, packet.PUBACK, p.ID, 0)
				case 2:
					out = packet.AppendAck(out, packet.V5, packet.PUBREC, p.ID, 0)
				}
			case packet.PUBREL:
				a, _ := packet.ParseAck(typ, flags, body, packet.V5)
				out = packet.AppendAck(out, packet.V5, packet.PUBCOMP, a.ID, 0)
			}
			buf = buf[size:]
		}
		if len(out) > 0 {
			if _, err := s.conn.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
		select {
		case s.more <- struct{}{}:
		default:
		}
	}
}

// await waits for n messages and returns all payloads.
func (s *subscriber) await(n int) []string {
	s.t.Helper()
	late := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		list := make([]string, len(s.got))
		for i, p := range s.got {
			list[i] = string(p.Payload)
		}
		s.mu.Unlock()
		if len(list) >= n {
			return list
		}
		select {
		case <-s.more:
		case <-late:
			s.t.Fatalf("%d messages arrived, want %d", len(list), n)
		}
	}
}

// viaTCP points a rig at a real server, through a proxy of bytes that can cut.
func (r *rig) viaTCP(address string) *tcpCutter {
	c := &tcpCutter{live: map[net.Conn]struct{}{}}
	r.bridge.dial = func(ctx context.Context, _ dial.Server) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.live[conn] = struct{}{}
		return conn, nil
	}
	return c
}

type tcpCutter struct {
	mu   sync.Mutex
	live map[net.Conn]struct{}
}

// cut closes the present connection with a reset.
func (c *tcpCutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.live {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
		delete(c.live, conn)
	}
}

func TestMosquittoGetsEveryMessageOnceAndInOrder(t *testing.T) {
	m := newMosquitto(t)
	watch := m.subscribe("up/#")
	r := newRig(t, func(c *config.Bridge) {
		c.Up = []config.Up{up("t/#", "up/{1}")}
		if rigVersion != 5 {
			c.Inflight = 20 // more it acknowledges and drops
		}
	})
	r.start()
	line := r.viaTCP(m.address)
	r.publishMany("t/x", 0, 2000, 2)
	r.run()
	for i := range 10 {
		watch.await(150 * (i + 1))
		line.cut()
	}
	got := watch.await(2000)
	r.awaitIdle()
	if !slices.Equal(got, numbers(0, 2000)) {
		t.Errorf("not each exactly once and in order: %d messages, %d different", len(got), len(firsts(got)))
	}
	if s := r.bridge.Stats(); s.Reconnects == 0 || s.SessionsLost != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestMosquittoRestartedKeepsTheSession(t *testing.T) {
	m := newMosquitto(t)
	r := newRig(t, func(c *config.Bridge) {
		c.Backoff = config.Backoff{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond, Stable: time.Minute}
		c.Down = []config.Down{down("cmd/#", "cmd/{1}", 2)}
	})
	r.start()
	r.viaTCP(m.address)
	dev := r.device("cmd/#")
	r.run()
	r.awaitState(Online)
	r.publishMany("t", 0, 100, 1)
	r.awaitIdle()
	m.term()
	r.publishMany("t", 100, 100, 1)
	m.start()
	r.awaitState(Online)
	r.awaitIdle()
	r.halt()
	// A command sent while the gateway is away waits in its session.
	pub := exec.Command("mosquitto_pub", "-V", "5", "-q", "2", "-h", "127.0.0.1", "-p", strings.TrimPrefix(m.address, "127.0.0.1:"),
		"-t", "cmd/valve", "-m", "open", "-D", "publish", "user-property", "k", "v", "-D", "publish", "content-type", "text/plain")
	if out, err := pub.CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub: %v: %s", err, out)
	}
	r.run()
	d := r.next(dev)
	var props []byte
	props = packet.AppendStringProp(props, packet.PropContentType, "text/plain")
	props = packet.AppendUserProp(props, "k", "v")
	if rigVersion != 5 {
		props = nil
	}
	if string(d.Payload) != "open" || d.QoS != 2 || string(d.Props) != string(props) {
		t.Errorf("got %+v", d)
	}
	if s := r.bridge.Stats(); s.SessionsLost != 0 {
		t.Errorf("mosquitto lost the session: %+v", s)
	}
}

func TestMosquittoPassesPropertiesStatusAndExpiryOn(t *testing.T) {
	m := newMosquitto(t)
	watch := m.subscribe("#")
	r := newRig(t, func(c *config.Bridge) { c.Status = "gw/status" })
	r.start()
	r.viaTCP(m.address)
	var props []byte
	props = packet.AppendStringProp(props, packet.PropCorrelationData, "\x01\x02")
	props = packet.AppendUserProp(props, "a", "1")
	r.publish(store.Message{Topic: "t", Payload: []byte("x"), QoS: 1, Props: props, Expiry: 100, HasExpiry: true})
	r.run()
	watch.await(2)
	r.awaitIdle()
	r.halt()
	watch.await(3)
	watch.mu.Lock()
	defer watch.mu.Unlock()
	x := watch.got[1]
	if string(x.Props) != string(props) || x.Expiry < 90 || x.Expiry > 100 {
		t.Errorf("got %+v", x)
	}
	for i, want := range map[int]string{0: "online", 2: "offline"} {
		if p := watch.got[i]; p.Topic != "gw/status" || string(p.Payload) != want || !p.Retain {
			t.Errorf("message %d is %+v, want retained %s", i, p, want)
		}
	}
}
