package bridge

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"packetboat/bridge/dial"
	"packetboat/broker"
	"packetboat/broker/store"
	"packetboat/broker/store/wal/simdisk"
	"packetboat/config"
)

// rig is a gateway as far as a bridge needs one, on a simulated disk.
type rig struct {
	t           testing.TB
	disk        *simdisk.Disk
	gate        syncGate // of its syncs
	cloud       *cloud
	faults      *faults
	cfg         config.Bridge
	clock       store.Clock
	segment     int64  // size of the store's, bytes; 0: 256 KiB
	withoutRule string // of the store's model
	log         *logBuffer

	store  *store.Store
	broker *broker.Broker
	bridge *Bridge

	stopStore, stopBridge context.CancelFunc
	storeDone, bridgeDone chan error
}

// unhurried makes the pause after a lost connection so long that it is seen also
// on a machine that is busy.
func unhurried(c *config.Bridge) {
	c.Backoff = config.Backoff{Min: time.Second, Max: time.Second, Stable: time.Minute}
}

// rigVersion is what the bridges of new rigs speak.
var rigVersion config.Version = 5

// newRig makes a rig with the usual configuration; nothing runs yet.
func newRig(t testing.TB, change func(*config.Bridge)) *rig {
	r := &rig{t: t, disk: simdisk.New(), cloud: newCloud(), faults: newFaults(), log: &logBuffer{}}
	r.disk.Fault = r.gate.fault
	r.cfg = config.Bridge{
		Name: "cloud", Servers: []string{"mqtt://cloud.test"}, ClientID: "gw1", Version: rigVersion,
		KeepAlive: 30 * time.Second, SessionExpiry: time.Hour,
		ConnectTimeout: 5 * time.Second, AckTimeout: 10 * time.Second,
		Inflight: 64, Retries: 3,
		Backoff: config.Backoff{Min: time.Millisecond, Max: 5 * time.Millisecond, Stable: time.Minute},
		Up:      []config.Up{up("#", "{topic}")},
	}
	if change != nil {
		change(&r.cfg)
	}
	t.Cleanup(func() {
		r.stop()
		r.faults.cut(true)
		r.cloud.close()
		r.faults.wg.Wait()
		if t.Failed() {
			t.Logf("log of the bridge:\n%s", r.log.String())
		}
	})
	return r
}

func up(filter, topic string, change ...func(*config.Up)) config.Up {
	u := config.Up{Filter: filter, Topic: template(topic), QoS: config.Keep}
	for _, f := range change {
		f(&u)
	}
	return u
}

func down(filter, topic string, qos int) config.Down {
	return config.Down{Filter: filter, Topic: template(topic), QoS: qos}
}

func template(s string) config.Template {
	t, err := config.ParseTemplate(s, "topic", "1", "2", "3", "4", "x")
	if err != nil {
		panic(err)
	}
	return t
}

// start opens the store, makes broker and bridge, and runs the store.
func (r *rig) start() {
	r.t.Helper()
	var err error
	r.store, err = store.Open("", store.Options{FS: r.disk, Clock: r.clock, SegmentSize: cmp.Or(r.segment, 256<<10), WithoutRule: r.withoutRule})
	if err != nil {
		r.t.Fatal(err)
	}
	r.broker, err = broker.New(broker.Options{Store: r.store})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stopStore, r.storeDone = cancel, make(chan error, 1)
	done, s := r.storeDone, r.store
	go func() { done <- s.Run(ctx) }()
	r.bridge, err = New(r.cfg, Options{
		Broker: r.broker, Store: r.store,
		Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.bridge.dial = func(context.Context, dial.Server) (net.Conn, error) { return r.cloud.dial(r.faults) }
}

// run runs the bridge.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	r.stopBridge, r.bridgeDone = cancel, make(chan error, 1)
	done, b := r.bridgeDone, r.bridge
	go func() { done <- b.Run(ctx) }()
}

// halt ends the bridge's Run in peace.
func (r *rig) halt() {
	if r.stopBridge == nil {
		return
	}
	r.stopBridge()
	r.finished(r.bridgeDone)
	r.stopBridge = nil
}

// stop ends everything in peace.
func (r *rig) stop() {
	r.halt()
	if r.stopStore != nil {
		r.stopStore()
		r.finished(r.storeDone)
		r.stopStore = nil
	}
}

// crash ends this life as a power cut does: nothing passes the network any
// more, and the disk keeps what it likes of what was not synced.
func (r *rig) crash(seed int64) {
	r.faults.cut(true)
	r.gate.dead.Store(true) // or the old life would go on writing
	r.disk.Crash(rand.New(rand.NewPCG(uint64(seed), 1)))
	r.gate.open()
	r.stop()
	r.gate.dead.Store(false)
	r.faults.cut(false)
}

func (r *rig) finished(done chan error) {
	r.t.Helper()
	select {
	case err := <-done:
		if err != nil && !strings.Contains(err.Error(), simdisk.ErrCrashed.Error()) {
			r.t.Errorf("run: %v", err)
		}
	case <-time.After(20 * time.Second):
		buf := make([]byte, 1<<20)
		r.t.Fatalf("does not end:\n%s", buf[:runtime.Stack(buf, true)])
	}
}

// publish publishes locally and waits until it is durable.
func (r *rig) publish(m store.Message) {
	r.t.Helper()
	receipt, err := r.broker.Publish(&m)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.store.Wait(ctx, receipt); err != nil {
		r.t.Fatal(err)
	}
}

// publishMany publishes "0" to "n-1", at QoS qos, and waits for the last.
func (r *rig) publishMany(topic string, from, n int, qos byte) {
	r.t.Helper()
	for i := from; i < from+n-1; i++ {
		if _, err := r.broker.Publish(&store.Message{Topic: topic, Payload: fmt.Append(nil, i), QoS: qos}); err != nil {
			r.t.Fatal(err)
		}
	}
	r.publish(store.Message{Topic: topic, Payload: fmt.Append(nil, from+n-1), QoS: qos})
}

// awaitState waits for a phase.
func (r *rig) awaitState(want Phase) State {
	r.t.Helper()
	late := time.After(20 * time.Second)
	for {
		s, changed := r.bridge.Changed()
		if s.Phase == want {
			return s
		}
		select {
		case <-changed:
		case <-late:
			r.t.Fatalf("state is %v, want %v", s, want)
		}
	}
}

// awaitIdle waits until nothing is queued for the bridge any more.
func (r *rig) awaitIdle() {
	r.t.Helper()
	r.cloud.await(r.t, "an empty queue", func() bool {
		for _, l := range r.bridge.Lag() {
			if l.Messages > 0 {
				// An acknowledgement makes no event at the cloud: look again soon.
				time.AfterFunc(time.Millisecond, r.cloud.cond.Broadcast)
				return false
			}
		}
		return true
	})
}

// logBuffer is a log for tests.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
