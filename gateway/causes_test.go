package gateway

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"packetboat/adapters"
	"packetboat/bridge"
	"packetboat/broker"
	"packetboat/broker/packet"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func TestACauseIsNamedWithARemedy(t *testing.T) {
	well := func() outlook {
		return outlook{now: noon, room: room{maxSize: 100 * mib, size: 90 * mib, free: 1 << 30, minFree: 64 * mib}}
	}
	with := func(change func(s *snapshot)) snapshot {
		s := snapshot{more: well()}
		if change != nil {
			change(&s)
		}
		return s
	}
	serialLine := func(f frames, span time.Duration) adapterState {
		return adapterState{name: "scale", ready: true, port: "/dev/ttyUSB0", line: `baud = 9600, mode = "8N1"`, recent: f, span: span}
	}
	for _, c := range []struct {
		name         string
		s            snapshot
		what, remedy string // "": there is no problem
	}{
		{"all is well", with(nil), "", ""},
		{"a bridge that has just begun to connect", with(func(s *snapshot) {
			s.bridges = []bridgeState{{name: "c", state: bridge.State{Phase: bridge.Connecting, Since: noon.Add(-time.Second)}}}
		}), "", ""},
		{"a server that does not answer", with(func(s *snapshot) {
			s.bridges = []bridgeState{{name: "c", state: bridge.State{Phase: bridge.Connecting, Since: noon.Add(-4 * time.Second), Server: "h:1883"}}}
		}), "bridge c has no connection yet: for 4s, h:1883 has not answered", "(packetboat doctor c tries each step)"},
		{"name servers that do not answer", with(func(s *snapshot) {
			s.bridges = []bridgeState{{name: "c", state: bridge.State{Phase: bridge.Connecting, Since: noon.Add(-4 * time.Second), Server: "h:1883", Step: bridge.StepName}}}
		}), "for 4s, the name servers have not answered about the name in h:1883", "/etc/resolv.conf"},
		{"a bridge that tries again is not well", with(func(s *snapshot) {
			s.bridges = []bridgeState{{name: "c", waiting: 2, state: bridge.State{Phase: bridge.Connecting, Err: errors.New("x")}}}
		}), "bridge c is connecting: x", "2 messages wait on the disk"},
		{"a stalled one", with(func(s *snapshot) {
			s.bridges = []bridgeState{{name: "c", state: bridge.State{Phase: bridge.Stalled, Server: "h:1883"}}}
		}), "bridge c is stalled: h:1883 is connected and acknowledges nothing", "ack_timeout"},
		{"the clock is in 1970", with(func(s *snapshot) { s.more.now = time.Unix(100, 0) }),
			"this machine's clock is wrong: here it is 1970-01-01T00:01:40Z", "timedatectl"},
		{"less than a tenth of the queue is left", with(func(s *snapshot) { s.more.room.size, s.more.room.fill = 9*mib, 1*mib }),
			"the queue is nearly full: 9 MiB of 100 MiB are left, full in 9s", "queue.max_size"},
		{"the disk is near min_free", with(func(s *snapshot) { s.more.room.free = 70 * mib }),
			"the disk is nearly full: 70 MiB are free, and queue.min_free keeps 64 MiB free", "free space"},
		{"the disk is below min_free", with(func(s *snapshot) { s.more.room.free = 60 * mib }),
			"the queue takes no more room", "lower queue.min_free"},
		{"a port that may not be opened", with(func(s *snapshot) {
			s.more.adapters = []adapterState{{name: "scale", port: "/dev/ttyUSB0", problem: "port /dev/ttyUSB0: permission denied: user x must be in group dialout"}}
		}), "adapter scale is not ready: port /dev/ttyUSB0: permission denied: user x must be in group dialout", "packetboat ports"},
		{"a first frame that was cut short is no problem", with(func(s *snapshot) {
			s.more.adapters = []adapterState{serialLine(frames{bytes: 100, good: 0, bad: 1}, time.Minute)}
		}), "", ""},
		{"few of many are none either", with(func(s *snapshot) {
			s.more.adapters = []adapterState{serialLine(frames{bytes: 9000, good: 991, bad: 9}, time.Minute)}
		}), "", ""},
		{"many bad frames", with(func(s *snapshot) {
			s.more.adapters = []adapterState{serialLine(frames{bytes: 100, good: 1, bad: 9, undecoded: 4}, time.Minute)}
		}), "adapter scale: 9 of 10 frames in the last minute are bad (4 cannot be decoded)", `the speed is wrong (baud = 9600, mode = "8N1")`},
		{"a Modbus unit that does not answer", with(func(s *snapshot) {
			s.more.adapters = []adapterState{{name: "meters", ready: true, line: `baud = 19200, mode = "8E1"`, port: "/dev/ttyUSB0", units: 3, deaf: []string{"main (id 1)"}}}
		}), "adapter meters: 1 of 3 units do not answer: main (id 1)", `the wires (A and B), baud = 19200, mode = "8E1", and the unit's id`},
		{"a Modbus unit that refuses values", with(func(s *snapshot) {
			s.more.adapters = []adapterState{{name: "meters", ready: true, units: 2, refused: []string{"power, energy of main (id 1)"}}}
		}), "adapter meters: values are refused, and null is published: power, energy of main (id 1)", "correct table and address"},
		{"bytes without a frame", with(func(s *snapshot) {
			s.more.adapters = []adapterState{serialLine(frames{bytes: 100}, 10*time.Second)}
		}), "adapter scale: 100 bytes came in the last minute, and no frame", "packetboat probe"},
		{"an adapter that is denied its topic", with(func(s *snapshot) {
			s.more.denied, s.more.denials = 3, []broker.Denial{{At: noon.Add(-time.Second), Who: "adapter/scale", Action: "publish", Topic: "a/b", Count: 3}}
		}), "the access rules have denied requests (3 so far); the newest, 1s ago: adapter/scale may not publish to a/b (3 times)", "[[auth.rule]]"},
		{"what was denied long ago", with(func(s *snapshot) {
			s.more.denied, s.more.denials = 3, []broker.Denial{{At: noon.Add(-time.Hour)}}
		}), "", ""},
		{"an address that failed too often", with(func(s *snapshot) {
			s.more.logins = failedLogins{all: 12, at: noon, remote: "10.0.0.7:1", code: packet.ConnectionRateExceeded}
		}), "logins have failed (12 so far); the newest, 0s ago: 10.0.0.7:1 has failed too often", "packetboat passwd"},
	} {
		got := c.s.problems()
		if c.what == "" {
			if len(got) > 0 {
				t.Errorf("%s: %+v", c.name, got)
			}
			continue
		}
		if len(got) != 1 || !strings.Contains(got[0].What, c.what) || !strings.Contains(got[0].Remedy, c.remedy) {
			t.Errorf("%s: %+v\nwithout %q and %q", c.name, got, c.what, c.remedy)
		}
	}
}

func TestProblemsReadWell(t *testing.T) {
	s := snapshot{bridges: []bridgeState{{name: "cloud", dead: 1, dropped: 1, whenFull: "drop-oldest", waiting: 1, state: bridge.State{Phase: bridge.BackingOff}}}}
	var of []string
	for _, p := range s.problems() {
		if strings.Contains(p.What+p.Remedy, "1 messages") {
			t.Errorf("%+v", p)
		}
		of = append(of, p.Of)
	}
	if want := []string{"", "bridge/cloud", "bridge/cloud"}; !slices.Equal(of, want) {
		t.Errorf("they are of %q, not %q", of, want)
	}
}

func TestForecastsAreMadeFromTheLastMinute(t *testing.T) {
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	for _, c := range []struct {
		name     string
		old, now sample
		want     float64
	}{
		{"it grows", sample{at: at(0), queued: 100, written: 1000}, sample{at: at(10), queued: 600, written: 2000}, 50},
		{"what two bridges wait for is written once", sample{at: at(0)}, sample{at: at(10), queued: 2000, written: 1000}, 100},
		{"it drains", sample{at: at(0), queued: 600, written: 0}, sample{at: at(10), queued: 100, written: 9}, 0},
		{"too little time has passed", sample{at: at(0)}, sample{at: at(1), queued: 600, written: 600}, 0},
	} {
		if got, _ := fillRate(c.old, c.now); got != c.want {
			t.Errorf("%s: %v, not %v", c.name, got, c.want)
		}
	}
	for _, c := range []struct {
		name     string
		old, now uint64
		took     time.Duration
		limit    int
		want     time.Duration // -1: not known
	}{
		{"nothing waits", 5, 0, 0, 0, 0},
		{"half has gone", 1000, 500, 10 * time.Second, 0, 10 * time.Second},
		{"as much comes as goes", 1000, 1000, 10 * time.Second, 0, -1},
		{"just connected", 1000, 1000, 0, 0, -1},
		{"just connected, and the rate is bounded", 1000, 1000, 0, 100, 10 * time.Second},
	} {
		got, ok := drainTime(flow{waiting: c.old}, flow{waiting: c.now}, c.took, c.limit)
		if !ok {
			got = -1
		}
		if got != c.want {
			t.Errorf("%s: %v, not %v", c.name, got, c.want)
		}
	}
}

func TestSamplesOfTheLastMinuteAreKept(t *testing.T) {
	var tr trend
	for i := range 100 {
		tr.add(sample{at: noon.Add(time.Duration(i) * sampleEvery), written: uint64(i)})
	}
	now := sample{at: noon.Add(100 * sampleEvery), written: 100}
	if got := tr.from(time.Time{}, now); got.written != 69 {
		t.Errorf("the oldest is %d", got.written)
	}
	if got := tr.from(noon.Add(98*sampleEvery), now); got.written != 98 {
		t.Errorf("the oldest since then is %d", got.written)
	}
	if got := tr.from(now.at, now); got.written != 100 {
		t.Errorf("with none since then it is %d", got.written)
	}
}

// namedAdapter has a name, and nothing else to tell.
type namedAdapter struct{ adapters.Adapter }

func (namedAdapter) Name() string          { return "scale" }
func (namedAdapter) Stats() adapters.Stats { return adapters.Stats{} }

// An adapter that a reload has changed counts from nothing again.
func TestWhatCameOfLateSurvivesAReload(t *testing.T) {
	at := func(f frames) sample { return sample{adapters: map[string]frames{"scale": f}} }
	before := at(frames{bytes: 1000, good: 90, bad: 10})
	x := &device{Adapter: namedAdapter{}}
	if s := adapterStateOf(x, before, at(frames{bytes: 1100, good: 95, bad: 11})); s.recent != (frames{bytes: 100, good: 5, bad: 1}) {
		t.Errorf("%+v", s.recent)
	}
	if s := adapterStateOf(x, before, at(frames{bytes: 30, good: 3})); s.recent != (frames{bytes: 30, good: 3}) {
		t.Errorf("after a reload: %+v", s.recent)
	}
}
