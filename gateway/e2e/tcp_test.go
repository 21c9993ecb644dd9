package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"packetboat/cmd/packetboat/sim"
)

// byTopic collects payloads by topic.
type byTopic struct {
	mu    sync.Mutex
	lines map[string][]string
	count int
}

func (b *byTopic) take(topic string, payload []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	topic = strings.Clone(topic)
	b.lines[topic] = append(b.lines[topic], string(payload))
	b.count++
}

func (b *byTopic) seen() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count
}

// TestBytesOneAtATimeAnd64KiBAtATimeGiveTheSame: 200 devices, which name
// themselves, twice.
func TestBytesOneAtATimeAnd64KiBAtATimeGiveTheSame(t *testing.T) {
	t.Parallel()
	const devices = 200
	lines := scale(20, 200)
	tcp := freePort(t)
	g := newGateway(t, fmt.Sprintf(`
[[tcp]]
name = "loggers"
listen = %q
identity = "first-frame"
topic = "{name}/{remote}"
ack = "OK\n"
`, tcp))
	g.start()
	g.await("the adapter listens", func() bool { return listens(tcp) })
	got := byTopic{lines: map[string][]string{}}
	subscribed := make(chan struct{}, 1)
	run(t, (&sim.Subscriber{Addr: g.mqtt, ClientID: "all", Filter: "loggers/#", QoS: 1, Message: got.take, Subscribed: func() {
		select {
		case subscribed <- struct{}{}:
		default:
		}
	}}).Run)
	<-subscribed

	text := func(i int) []byte {
		var b bytes.Buffer
		fmt.Fprintf(&b, "device-%d\r\n", i)
		for n := range lines {
			fmt.Fprintf(&b, "%d: line %d%s\r\n", i, n, strings.Repeat(" and more", n%7))
		}
		return b.Bytes()
	}
	// speak is one life of a device: it waits until all is acknowledged.
	speak := func(i, piece int) error {
		c, err := net.Dial("tcp", tcp)
		if err != nil {
			return err
		}
		defer c.Close()
		for chunk := range slices.Chunk(text(i), piece) {
			if _, err := c.Write(chunk); err != nil {
				return err
			}
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		acks, err := io.ReadAll(c)
		if want := strings.Repeat("OK\n", lines); err == nil && string(acks) != want {
			err = fmt.Errorf("device %d: %d bytes of acknowledgements, not %d", i, len(acks), len(want))
		}
		return err
	}
	for round, piece := range []int{1, 64 << 10} {
		var wg sync.WaitGroup
		for i := range devices {
			wg.Go(func() {
				if err := speak(i, piece); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		want := (round + 1) * devices * lines
		g.await("all lines have arrived", func() bool { return got.seen() >= want })
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	if len(got.lines) != devices || got.count != 2*devices*lines {
		t.Fatalf("%d devices, %d lines", len(got.lines), got.count)
	}
	for topic, all := range got.lines {
		if single, bulk := all[:lines], all[lines:]; !slices.Equal(single, bulk) {
			t.Errorf("%s: byte by byte %q …, 64 KiB at a time %q …", topic, single[:3], bulk[:3])
		}
	}
	g.stop()
}

// TestLinesOfOneConnectionReachTheStore as fast as it can; each is acknowledged
// when it is on the disk.
func TestLinesOfOneConnectionReachTheStore(t *testing.T) {
	t.Parallel()
	lines := scale(50_000, 2_000_000)
	tcp := freePort(t)
	g := newGateway(t, fmt.Sprintf("[[tcp]]\nname = \"logger\"\nlisten = %q\nack = \"+\"\nstatus = \"\"\n", tcp)+bridgeTo(freePort(t), "[[bridge.up]]\nfilter = \"#\"\n"))
	g.start()
	g.await("the adapter listens", func() bool { return listens(tcp) })
	c, err := net.Dial("tcp", tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began, used := time.Now(), g.processor()
	var wg sync.WaitGroup
	wg.Go(func() {
		const piece = 1000
		chunk := []byte(strings.Repeat("scale,12.345,kg,stable,0001\r\n", piece))
		for range lines / piece {
			if _, err := c.Write(chunk); err != nil {
				t.Error(err)
				return
			}
		}
	})
	if err := c.SetReadDeadline(time.Now().Add(4 * patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.CopyN(io.Discard, c, int64(lines)); err != nil {
		t.Fatalf("%d acknowledgements: %v", n, err)
	}
	took := time.Since(began)
	wg.Wait()
	rate := float64(lines) / took.Seconds()
	t.Logf("%d lines in %v: %.0f a second, %.1f µs of processor time each", lines, took.Round(time.Millisecond), rate, float64((g.processor()-used).Microseconds())/float64(lines))
	if *full && rate < 50_000 {
		t.Error("too slow")
	}
	if out, _ := g.tool("queue", "ls", "-json"); !strings.Contains(out, fmt.Sprintf(`{"queue":"bridge/cloud/0","messages":%d,`, lines)) {
		t.Errorf("the queue has not all of them: %s", out)
	}
	g.stop()
}
