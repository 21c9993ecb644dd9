package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestSoak throws sequences of packets, right ones and wrong ones, in all versions
// of MQTT over TCP, TLS and WebSocket, and connections that never become any, at a
// gateway. It does not crash, serves somebody who behaves meanwhile, and when all
// is over has as many files open, as many goroutines and about as much memory as
// before.
//
//	scripts/soak
func TestSoak(t *testing.T) {
	fresh := newSoak(t)
	fresh.baseline()
	few := fresh.g.goroutines()
	s := newSoak(t)
	s.baseline()
	stop := witness(t, s.g.mqtt)
	packets, malformed := int64(scale(20_000, 1_000_000)), int64(scale(2_000, 100_000))
	timed := func(work func(*rand.Rand) int64, most int64) (done int64, took time.Duration) {
		began := time.Now()
		done = s.fuzz(work, most)
		return done, time.Since(began)
	}
	n, took := timed(s.sequence, packets)
	t.Logf("%d packets in %d connections within %v", n, s.sequences.Load(), took.Round(time.Millisecond))
	n, took = timed(s.malformed, malformed)
	t.Logf("%d malformed connections within %v", n, took.Round(time.Millisecond))
	t.Logf("meanwhile, PUBACK for one who behaves: %s", stop())
	s.back()
	if out, code := s.g.tool("queue", "verify"); code != 0 {
		t.Errorf("queue verify: exit code %d: %s", code, tail(out, 20))
	}
	if n := s.g.lines("queue is damaged"); n > 0 {
		t.Errorf("the queue was called damaged %d times", n)
	}
	s.same(few)
}

// soak is a gateway under fire.
type soak struct {
	t      *testing.T
	g      *gateway
	doors  []doorway
	corpus [][]byte // that fuzzing has found interesting
	hello  []byte   // a ClientHello

	files, memory int // before
	sequences     atomic.Int64
	from          atomic.Uint32 // source addresses: the ports of one do not suffice
}

func newSoak(t *testing.T) *soak {
	s := &soak{t: t, corpus: fuzzCorpus(t), hello: clientHello(t)}
	// Small bounds are met often, and bound the memory that may be in use at the end.
	const bounds = `
[broker]
max_sessions = 50
max_session_messages = 100
max_retained = 200
max_retained_size = "1MiB"
max_packet_size = "256KiB"
max_inflight = 16
max_subscriptions = 30
sys_interval = "1s"
`
	section, doors := allDoors(t)
	s.g = newGatewayOn(t, t.TempDir(), "max_size = \"64MiB\"\nmin_free = \"1MiB\"", section+bounds)
	s.g.env = []string{"GOTRACEBACK=all"}
	s.doors = append(doors, doorway{address: s.g.mqtt})
	s.g.start()
	for _, d := range s.doors {
		s.g.await("it listens on "+d.address, func() bool { return listens(d.address) })
	}
	return s
}

// baseline measures, once all parts have been in use.
func (s *soak) baseline() {
	s.fuzz(s.sequence, 1000)
	s.sequences.Store(0)
	s.g.await("nobody is connected", s.alone)
	s.files, s.memory = s.g.open(), s.g.rss()
}

// alone: no connection is open but those that the gateway waits for.
func (s *soak) alone() bool { return s.g.connections() == 0 }

// fuzz works with several hands until most is done, and says how much was. What
// each does is the same in each run, but not what they do at the same time.
func (s *soak) fuzz(work func(*rand.Rand) int64, most int64) (done int64) {
	s.t.Helper()
	var sum atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), uint64(most)))
			for sum.Load() < most && !s.t.Failed() {
				select {
				case <-s.g.ended:
					s.t.Errorf("the gateway has ended with %v", s.g.cmd.ProcessState)
					return
				default:
				}
				sum.Add(work(rng))
			}
		})
	}
	all.Wait()
	if s.t.Failed() {
		s.t.FailNow()
	}
	return sum.Load()
}

// back waits until all is as it was before: at once what is counted; memory when
// the runtime has given it back to the system, which it does little by little. The
// queue is full then, and sessions wait: it is not all as in the beginning.
func (s *soak) back() {
	s.t.Helper()
	s.g.await("nobody is connected", s.alone)
	s.g.await("all files are closed", func() bool { return s.g.open() <= s.files })
	now, most := s.g.rss(), s.memory+16<<10
	within := time.Duration(scale(1, 10)) * time.Minute
	began := time.Now()
	await(s.t, within, fmt.Sprintf("memory is back below %d KiB", most), func() bool { return s.g.rss() <= most })
	s.t.Logf("files: %d, then %d; memory: %d KiB, then %d KiB at once and %d KiB after %v",
		s.files, s.g.open(), s.memory, now, s.g.rss(), time.Since(began).Round(time.Second))
}

// same ends the gateway with the stacks of its goroutines, and compares them with
// those of one that has done little.
func (s *soak) same(few goroutines) {
	s.t.Helper()
	now := s.g.goroutines()
	for _, in := range slices.Sorted(maps.Keys(now)) {
		if now[in] > few[in] {
			s.t.Errorf("%d goroutines in %s, and %d in a gateway that has done little", now[in], in, few[in])
		}
	}
	s.t.Logf("goroutines: %d in a gateway that has done little, then %d", few.sum(), now.sum())
}

// goroutines are those of a program, by the outermost function of ours that they
// are in.
type goroutines map[string]int

func (g goroutines) sum() (n int) {
	for _, k := range g {
		n += k
	}
	return n
}

var outermost = regexp.MustCompile(`(?m)^(packetboat/\S+|main\.\S+)\(.*$`)

// goroutines ends the gateway by SIGQUIT, for which the runtime prints all stacks.
func (g *gateway) goroutines() goroutines {
	g.t.Helper()
	said := len(g.said())
	g.signal(syscall.SIGQUIT)
	n := goroutines{}
	for stack := range strings.SplitSeq(g.said()[said:], "\n\n") {
		if !strings.HasPrefix(stack, "goroutine ") {
			continue
		}
		stack, by, _ := strings.Cut(stack, "\ncreated by ")
		if strings.HasPrefix(by, "runtime.") || strings.HasPrefix(stack, "goroutine 0 ") {
			continue // the runtime's own, of which there are as many as it likes
		}
		in := "the runtime"
		if all := outermost.FindAllStringSubmatch(stack, -1); all != nil {
			in = all[len(all)-1][1]
		}
		n[in]++
	}
	if n["main.main"] == 0 {
		g.t.Fatalf("no stacks in: %s", tail(g.said(), 20))
	}
	return n
}

// open counts the descriptors that the gateway has, but those of the queue's files:
// of these it keeps some open that it reads.
func (g *gateway) open() (n int) {
	for _, link := range g.links() {
		if !strings.HasPrefix(link, g.data) {
			n++
		}
	}
	return n
}

// links are what the descriptors of the gateway stand for.
func (g *gateway) links() (all []string) {
	g.t.Helper()
	fds := fmt.Sprintf("/proc/%d/fd", g.cmd.Process.Pid)
	list, err := os.ReadDir(fds)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range list {
		if link, err := os.Readlink(filepath.Join(fds, f.Name())); err == nil { // else closed meanwhile
			all = append(all, link)
		}
	}
	return all
}

var inode = regexp.MustCompile(`^socket:\[(\d+)\]$`)

// connections counts the TCP connections that the gateway has open.
func (g *gateway) connections() (n int) {
	g.t.Helper()
	mine := map[string]bool{}
	for _, link := range g.links() {
		if m := inode.FindStringSubmatch(link); m != nil {
			mine[m[1]] = true
		}
	}
	const listening, state, node = "0A", 3, 9
	for _, table := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", g.cmd.Process.Pid, table))
		if err != nil {
			continue // a system without IPv6
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > node && f[state] != listening && mine[f[node]] {
				n++
			}
		}
	}
	return n
}
