package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"packetboat/broker/packet"
	"packetboat/cmd/packetboat/sim"
)

// usage is what the files of a directory take on the disk, in bytes.
func usage(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		var st syscall.Stat_t
		if err == nil && syscall.Lstat(path, &st) == nil {
			sum += st.Blocks * 512
		}
		return nil
	})
	return sum
}

// watchUsage measures a directory until the test is over.
func watchUsage(t *testing.T, dir string) (most func() int64) {
	var max atomic.Int64
	run(t, func(ctx context.Context) error {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				if n := usage(dir); n > max.Load() {
					max.Store(n)
				}
			}
		}
	})
	return max.Load
}

// gapMarker is what is published about a gap.
type gapMarker struct {
	Reason, Lane string
	Count        uint64
	FirstSeq     uint64 `json:"first_seq"`
	LastSeq      uint64 `json:"last_seq"`
	Topics       []struct {
		Topic string
		Count uint64
	}
	More bool
}

// gapMarkers collects what is published on the gaps topic of the cloud.
type gapMarkers struct {
	mu   sync.Mutex
	list []gapMarker
}

func (m *gapMarkers) collect(t *testing.T, address string) {
	subscribed := make(chan struct{}, 1)
	s := &sim.Subscriber{Addr: address, ClientID: "gaps", Filter: "e2e/gaps", QoS: 1,
		Message: func(_ string, payload []byte) {
			m.mu.Lock()
			defer m.mu.Unlock()
			var g gapMarker
			if err := json.Unmarshal(payload, &g); err != nil {
				t.Errorf("gap marker %s: %v", payload, err)
			}
			m.list = append(m.list, g)
		},
		Subscribed: func() {
			select {
			case subscribed <- struct{}{}:
			default:
			}
		},
	}
	run(t, s.Run)
	<-subscribed
}

func (m *gapMarkers) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.list)
}

// TestABulkStreamBeyondTheBound: ten times what the queue may take, for a cloud
// that is away, beside three commands for a valve that is away, too.
func TestABulkStreamBeyondTheBound(t *testing.T) {
	t.Parallel()
	const limit, segment, size = 16 << 20, 256 << 10, 1000
	count := uint64(scale(40<<20, 160<<20)) / size
	cloud := newMosquitto(t, anonymous)
	var tally sim.Tally
	bulk := tally.Add(sim.Source{Name: "bulk", Kind: "QoS 1", Pad: size})
	collect(t, cloud.address, &tally, nil)
	var gaps gapMarkers
	gaps.collect(t, cloud.address)
	g := newGatewayOn(t, t.TempDir(), `max_size = "16MiB"
min_free = "1MiB"`, bridgeTo(cloud.address, upRule))
	g.start()
	g.await("the bridge is connected once", func() bool { return strings.Contains(g.said(), `"bridge":"cloud"`) })
	cloud.stop()

	valve := []string{"-i", "valve", "-c", "-q", "1", "-t", "cmd/valve"}
	mosquittoSub(t, g.mqtt, append(valve, "-E")...)
	for _, c := range []string{"open", "half", "close"} {
		mosquittoPub(t, g.mqtt, "", "-q", "1", "-t", "cmd/valve", "-m", c)
	}
	most := watchUsage(t, g.data)
	p := &sim.Publisher{Addr: g.mqtt, Topic: "sensors/bulk", QoS: 1, Source: bulk, Count: count, Window: 200}
	began := time.Now()
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages of %d bytes acknowledged in %v", count, size, time.Since(began).Round(time.Millisecond))
	if out, code := g.tool("queue", "verify"); code != 0 {
		t.Errorf("verify: exit code %d: %s", code, out)
	}
	if n := most(); n > limit+segment {
		t.Errorf("the directory took %d bytes, %d above the limit", n, n-limit)
	} else {
		t.Logf("the directory took at most %d bytes, %.1f %% of the limit", n, float64(n)*100/limit)
	}

	cloud.start()
	await(t, 2*patience, "the newest has arrived", func() bool {
		missing := bulk.MissingNumbers(1 << 30)
		return uint64(len(missing)) < count && (len(missing) == 0 || missing[len(missing)-1] < count)
	})
	g.await("the gap marker has arrived", func() bool { return gaps.count() > 0 })
	g.await("the queue is empty", func() bool {
		out, _ := g.tool("queue", "ls", "-json")
		return strings.Contains(out, `{"queue":"bridge/cloud/0","messages":0,`)
	})
	missing := bulk.MissingNumbers(1 << 30)
	n := uint64(len(missing))
	if n > 0 && missing[n-1] != n {
		t.Errorf("%d are missing, but not the oldest ones: the last is %d", n, missing[n-1])
	}
	if kept := (count - n) * size; kept < limit*60/100 {
		t.Errorf("%d bytes were kept, %.1f %% of the limit", kept, float64(kept)*100/limit)
	} else {
		t.Logf("%d of %d were kept, %.1f %% of the limit", count-n, count, float64(kept)*100/limit)
	}
	gaps.mu.Lock()
	defer gaps.mu.Unlock()
	if m := gaps.list[0]; len(gaps.list) != 1 || m.Count != n || m.FirstSeq != 0 || m.LastSeq != n-1 || m.Reason != "dropped" || m.Lane != "0" || m.More ||
		len(m.Topics) != 1 || m.Topics[0].Topic != "sensors/bulk" || m.Topics[0].Count != n {
		t.Errorf("gap markers %+v; %d are missing", gaps.list, n)
	}
	if out := mosquittoSub(t, g.mqtt, append(valve, "-C", "3", "-W", "20")...); out != "open\nhalf\nclose\n" {
		t.Errorf("the valve got %q", out)
	}
	g.stop()
}

// mosquittoSub runs mosquitto_sub and returns what it printed.
func mosquittoSub(t *testing.T, address string, args ...string) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	out, err := exec.Command("mosquitto_sub", append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("mosquitto_sub %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestALaneThatRejects refuses a publisher that speaks MQTT 5 and leaves one that
// speaks 3.1.1 without an answer; others go on, and so do both after the drain.
func TestALaneThatRejects(t *testing.T) {
	t.Parallel()
	cloud := newMosquitto(t, anonymous)
	var tally sim.Tally
	collect(t, cloud.address, &tally, nil)
	g := newGateway(t, bridgeTo(cloud.address, upRule+`
[[bridge.up]]
filter = "vital/#"
priority = 1
when_full = "reject"
max_size = "1MiB"
`))
	g.start()
	g.await("the bridge is connected once", func() bool { return strings.Contains(g.said(), `"bridge":"cloud"`) })
	cloud.stop()

	const n = 3000 // of 1,000 bytes: three times the lane
	old := tally.Add(sim.Source{Name: "old", Kind: "QoS 1, MQTT 3.1.1", Pad: 1000})
	stop := make(chan struct{})
	oldClient := &sim.Publisher{Addr: g.mqtt, Topic: "vital/old", QoS: 1, Version: packet.V311, Source: old, Count: n}
	var done sync.WaitGroup
	done.Add(1)
	run(t, func(ctx context.Context) error { defer done.Done(); return oldClient.Run(ctx) })
	g.await("the lane is full", func() bool { return old.Counts().Acked > 700 && old.Counts().Written > old.Counts().Acked })

	fresh := tally.Add(sim.Source{Name: "fresh", Kind: "QoS 1, MQTT 5", Pad: 1000})
	freshClient := &sim.Publisher{Addr: g.mqtt, Topic: "vital/fresh", QoS: 1, Source: fresh, Stop: stop, Rate: 200}
	var stopped sync.WaitGroup
	stopped.Add(1)
	run(t, func(ctx context.Context) error { defer stopped.Done(); return freshClient.Run(ctx) })
	g.await("MQTT 5 is refused", func() bool { return freshClient.Refused.Load() > 50 })
	held := old.Counts().Acked
	for _, version := range []string{"mqttv311", "mqttv5"} {
		mosquittoPub(t, g.mqtt, "", "-V", version, "-q", "1", "-t", "sensors/other", "-m", "x", "-d")
	}
	refused := freshClient.Refused.Load()
	g.await("it is refused still", func() bool { return freshClient.Refused.Load() > refused+50 })
	if now := old.Counts(); now.Acked != held || now.Written-now.Acked > 32 {
		t.Errorf("MQTT 3.1.1: %+v, %d when it was held up", now, held)
	}
	cloud.start()
	done.Wait() // all of the 3.1.1 client's were acknowledged, once there was room
	before := fresh.Counts().Acked
	g.await("MQTT 5 is accepted again", func() bool { return fresh.Counts().Acked > before+100 })
	close(stop)
	stopped.Wait()
	settled(t, &tally)
	if c := old.Counts(); c.Acked != n || c.Duplicates > 0 {
		t.Errorf("MQTT 3.1.1: %+v", c)
	}
	if n := oldClient.Forgotten.Load() + freshClient.Forgotten.Load(); n > 0 || g.lines("connection closed") > 0 {
		t.Errorf("%d sessions were forgotten; log: %s", n, g.said())
	}
	g.stop()
}

// TestRestartsOfAKilledGatewayDropNothing: each life has one message.
func TestRestartsOfAKilledGatewayDropNothing(t *testing.T) {
	t.Parallel()
	times := scale(15, 300)
	g := newGatewayOn(t, t.TempDir(), `max_size = "64MiB"
min_free = "1MiB"`, bridgeTo("127.0.0.1:9", upRule))
	for i := range times {
		g.start()
		mosquittoPub(t, g.mqtt, "", "-q", "1", "-t", "sensors/one", "-m", fmt.Sprint("life ", i))
		g.signal(syscall.SIGKILL)
	}
	t.Logf("after %d kills the directory takes %d bytes", times, usage(g.data))
	out, code := g.tool("queue", "ls", "-json")
	want := fmt.Sprintf(`{"queue":"bridge/cloud/0","messages":%d,`, times)
	if code != 0 || !strings.Contains(out, want) || strings.Contains(out, "lost") {
		t.Errorf("exit code %d: %s, want %s", code, out, want)
	}
	if out, _ := g.tool("queue", "export", "bridge/cloud/0"); strings.Count(out, "life ") != times {
		t.Errorf("export has %d messages", strings.Count(out, "life "))
	}
	g.start()
	if out, code := g.tool("queue", "verify"); code != 0 {
		t.Errorf("verify: exit code %d: %s", code, out)
	}
	g.stop()
}
