package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"packetboat/cmd/packetboat/sim"
)

var (
	drain     = flag.Int("drain", 0, "measure how fast so many waiting messages drain (scripts/bench-drain)")
	drainRuns = flag.Int("drain-runs", 3, "how often")
)

// edge is a broker with a bridge whose queue is measured.
type edge struct {
	*process
	mqtt string // listener
}

// drained is what was measured of one drain.
type drained struct {
	took time.Duration // first to last message at the subscriber
	cpu  time.Duration // user and system, of the edge
	rss  int           // KiB of the edge, with the queue full
	dups uint64

	missing uint64 // when nothing came any more; the rest means nothing then
}

// stall is when a drain is given up, after nothing has come for so long.
const stall = 30 * time.Second

// TestDrain prints how fast a queue drains into Mosquitto on loopback, and what
// that costs, beside Mosquitto's own bridge with its queue in memory.
func TestDrain(t *testing.T) {
	if *drain == 0 {
		t.Skip("a measurement: scripts/bench-drain")
	}
	edges := []struct {
		name  string
		start func(t *testing.T, cloud string, qos byte) edge
	}{{"packetboat", packetboatEdge}, {"mosquitto", mosquittoEdge}}
	for qos := byte(1); qos <= 2; qos++ {
		for run := range *drainRuns {
			for _, e := range edges {
				t.Run(fmt.Sprintf("QoS %d run %d %s", qos, run+1, e.name), func(t *testing.T) {
					d := measureDrain(t, qos, e.start)
					if d.missing > 0 {
						fmt.Printf("QoS %d  %-10s  run %d  nothing came for %v, %d of %d are missing\n", qos, e.name, run+1, stall, d.missing, *drain)
						return
					}
					fmt.Printf("QoS %d  %-10s  run %d  %7.2f s  %8.0f msg/s  %6.2f CPU s  %7d KiB  %d twice\n",
						qos, e.name, run+1, d.took.Seconds(), float64(*drain)/d.took.Seconds(), d.cpu.Seconds(), d.rss, d.dups)
				})
			}
		}
	}
}

func packetboatEdge(t *testing.T, cloud string, _ byte) edge {
	g := newGateway(t, bridgeTo(cloud, "[[bridge.up]]\nfilter = \"#\"\n"))
	g.start()
	return edge{g.process, g.mqtt}
}

// mosquittoEdge is a Mosquitto with a bridge, as it drains fastest.
func mosquittoEdge(t *testing.T, cloud string, qos byte) edge {
	address := freePort(t)
	_, port, _ := net.SplitHostPort(address)
	file := filepath.Join(t.TempDir(), "edge.conf")
	write(t, file, fmt.Sprintf(`listener %s 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
max_inflight_messages 256
connection cloud
address %s
topic # out %d
cleansession false
notifications false
restart_timeout 1
`, port, cloud, qos))
	if os.Geteuid() == 0 {
		appendTo(t, file, "user root\n")
	}
	p := start(t, nil, "mosquitto", "-c", file)
	await(t, patience, "mosquitto listens", func() bool { return listens(address) })
	return edge{p, address}
}

func measureDrain(t *testing.T, qos byte, startEdge func(t *testing.T, cloud string, qos byte) edge) drained {
	n := uint64(*drain)
	cloud := newMosquitto(t, anonymous+"\nmax_inflight_messages 1000")
	var tally sim.Tally
	source := tally.Add(sim.Source{Name: "bench", Kind: fmt.Sprintf("QoS %d", qos), Pad: 100})
	var arrivals struct {
		sync.Mutex
		first, last time.Time
		count       uint64
	}
	subscribe(t, &sim.Subscriber{
		Addr: cloud.address, ClientID: "collector", Filter: "bench", QoS: qos,
		Message: func(_ string, payload []byte) {
			tally.Arrived(payload)
			now := time.Now()
			arrivals.Lock()
			defer arrivals.Unlock()
			if arrivals.count == 0 {
				arrivals.first = now
			}
			arrivals.count++
			arrivals.last = now
		},
	})
	e := startEdge(t, cloud.address, qos)
	cloud.stop() // it keeps the subscription
	publish(t, e.mqtt, &sim.Publisher{Topic: "bench", QoS: qos, Source: source, Count: n, Window: 200})()
	if got := source.Counts().Acked; got != n {
		t.Fatalf("%d of %d are queued", got, n)
	}
	rss, before := e.memory(), e.cpu()
	cloud.start()
	stalled := false
	began := time.Now()
	await(t, time.Hour, "all has arrived", func() bool {
		arrivals.Lock()
		count, last := arrivals.count, arrivals.last
		arrivals.Unlock()
		if count == 0 {
			last = began
		}
		stalled = time.Since(last) > stall
		return stalled || count >= n && source.Counts().Arrived == n
	})
	if stalled {
		return drained{missing: source.Counts().Missing}
	}
	cpu := e.cpu() - before
	arrivals.Lock()
	defer arrivals.Unlock()
	return drained{arrivals.last.Sub(arrivals.first), cpu, rss, source.Counts().Duplicates, 0}
}

// cpu is the processor time that the program has used, in user and system.
func (p *process) cpu() time.Duration {
	p.t.Helper()
	const tick = 10 * time.Millisecond // USER_HZ is 100 on all of Go's Linux ports
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	// After the name, which may have anything in it: state is field 3, utime 14
	// and stime 15.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			p.t.Fatalf("/proc: %v", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum
}

// memory is how much of the program is resident, in KiB.
func (p *process) memory() int {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	fields := strings.Fields(string(b))
	n, err := strconv.Atoi(fields[slices.Index(fields, "VmRSS:")+1])
	if err != nil {
		p.t.Fatalf("/proc: %v", err)
	}
	return n
}
