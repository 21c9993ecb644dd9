package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"packetboat/cmd/packetboat/bench"
)

// benchGateway runs a gateway with an admin socket, and gives its configuration.
func benchGateway(t *testing.T, more string) (file, address string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "bench-") // sockets' paths are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file, address = filepath.Join(dir, "packetboat.toml"), freeAddress(t)
	text := fmt.Sprintf(`[gateway]
id = "gw"
data_dir = "%s/data"
[queue]
min_free = "1MiB"
[admin]
socket = "%[1]s/admin.sock"
address = ""
[[listener]]
address = %[2]q
`, dir, address)
	if err := os.WriteFile(file, []byte(text+more), 0o600); err != nil {
		t.Fatal(err)
	}
	runFile(t, file)
	return file, address
}

// benched runs packetboat bench with -json.
func benched(t *testing.T, code int, args ...string) (r benchReport) {
	t.Helper()
	got, out, errOut := call(t, append([]string{"bench", "-json"}, args...)...)
	if got != code {
		t.Fatalf("%q: exit code %d\n%s%s", args, got, out, errOut)
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s%s", err, out, errOut)
	}
	return r
}

func TestBenchCountsWhatAGatewayCarries(t *testing.T) {
	file, address := benchGateway(t, "")
	for _, c := range []struct {
		name   string
		args   []string
		stored bool
	}{
		{"QoS 1", []string{"-config", file, "-clients", "10"}, true},
		{"QoS 2, a window, topics of their own", []string{"-config", file, "-clients", "3", "-qos", "2", "-window", "5", "-topic", "b/{client}/{n}"}, true},
		{"QoS 0", []string{"-config", file, "-clients", "2", "-qos", "0", "-rate", "2000"}, false},
		{"with nothing stored", []string{"-config", file, "-clients", "3", "-subscriber", "live"}, false},
		{"MQTT 3.1.1", []string{"-config", file, "-clients", "3", "-V", "3.1.1"}, true},
		{"a rate", []string{"-config", file, "-clients", "5", "-rate", "200", "-size", "2000"}, true},
		{"the listener by its address", []string{"-config", file, "-clients", "2", address}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := benched(t, exitFine, append([]string{"-for", "300ms"}, c.args...)...)
			a := r.Arrivals
			if a == nil || r.Sent == 0 || a.Arrived != r.Sent || a.Lost+a.Twice+a.Disordered > 0 || a.After == nil || a.After.P50 <= 0 || a.After.Max < a.After.P99 {
				t.Errorf("%+v %+v", r, a)
			}
			if r.QoS > 0 && (r.Acknowledged != r.Sent || r.Acks == nil) || r.Rate <= 0 || r.Unanswered > 0 || r.Left {
				t.Errorf("%+v", r)
			}
			g := r.Gateway
			if g == nil || r.Stored != c.stored || c.stored && (g.Syncs == 0 || g.PerOne < float64(r.Size)) || len(g.Queued) > 0 {
				t.Errorf("%+v", g)
			}
		})
	}
	if out := mustCall(t, "clients", "-config", file, "-json"); strings.Contains(out, "subscriber") {
		t.Errorf("a session is left: %s", out)
	}
	_, out, _ := call(t, "bench", "-config", file, "-for", "200ms", "-clients", "2")
	for _, want := range []string{"to the gateway on " + address + ": 2 clients, QoS 1, payloads of 100 bytes", "acknowledged  ", "  after       p50 ", "lost          0, twice 0, out of order 0", "bytes written for a message"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestBenchFillsNoQueueForTheCloud(t *testing.T) {
	file, _ := benchGateway(t, `[[bridge]]
name = "cloud"
servers = ["mqtt://127.0.0.1:1"]
[[bridge.up]]
filter = "+/1"
[[bridge.up]]
filter = "sensors/#"
`)
	fast := []string{"bench", "-config", file, "-for", "200ms", "-clients", "2"}
	code, out, errOut := call(t, fast...)
	if code != exitUsage || out != "" || !strings.Contains(errOut, "messages to bench/+ would fill a queue for the cloud: bridge cloud takes +/1 ("+file) || !strings.Contains(errOut, "-yes") {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
	benched(t, exitFine, append(fast[1:], "-topic", "bench/of/{client}")...)
	r := benched(t, exitFine, append(fast[1:], "-yes")...)
	if n := r.Gateway.Queued["bridge/cloud/0"]; n == 0 || n >= r.Sent {
		t.Errorf("%d of %d went to the bridge: %+v", n, r.Sent, r.Gateway)
	}
}

func TestBenchSaysWhatWasRefused(t *testing.T) {
	file, _ := benchGateway(t, `anonymous = true
[[auth.rule]]
client = "*"
publish = ["bench/1"]
subscribe = ["bench/#"]
`)
	r := benched(t, exitFailed, "-config", file, "-for", "200ms", "-clients", "2")
	if len(r.Refused) != 1 || r.Acknowledged == 0 || r.Arrivals.Lost > 0 {
		t.Errorf("%+v", r)
	}
	code, _, errOut := call(t, "bench", "-config", file, "-topic", "other/{client}")
	if code != exitFailed || !strings.Contains(errOut, "to subscribe to other/+") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

func TestBenchConnectsAsFastAsItMay(t *testing.T) {
	file, _ := benchGateway(t, "[limits]\nconnects_per_second = 20\n")
	if r := benched(t, exitFine, "-config", file, "-for", "200ms", "-clients", "30"); r.Acknowledged < 30 {
		t.Errorf("%+v", r)
	}
}

func TestBenchThatCannotBeginLeavesNoSession(t *testing.T) {
	file, _ := benchGateway(t, `anonymous = true
[[auth.rule]]
client = "*-1"
publish = ["#"]
[broker]
max_sessions = 2
`)
	code, _, errOut := call(t, "bench", "-config", file, "-for", "200ms", "-clients", "1", "-i", "x")
	if code != exitFailed || !strings.Contains(errOut, "to subscribe to bench/+") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	// Its end may be on the way still: of those that are not online none is left.
	if out := mustCall(t, "clients", "-config", file, "-json"); strings.Contains(out, "x-subscriber") && !strings.Contains(out, `"session_expiry_seconds":0`) {
		t.Errorf("a session is left: %s", out)
	}
}

func TestBenchKnowsWrongUsage(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ args, want string }{
		{"-clients 0", "-clients must be from 1"},
		{"-qos 3", "-qos must be from 0 to 2"},
		{"-size 8", "-size must be from 24"},
		{"-window 1001", "-window must be"},
		{"-rate -1", "-rate must be"},
		{"-for 0s", "-for must be"},
		{"-topic a/#", "is no topic"},
		{"-subscriber two", "there are durable, live and none"},
		{"a:1 b:2", `unexpected argument "b:2"`},
		{"a:1 -url b:2", "two places"},
		{"disk a b", "one directory"},
		{"disk " + dir + "/none", "no directory that is there"},
		{"disk -config " + dir + "/none", "without a configuration, give the directory"},
	} {
		code, _, errOut := call(t, append([]string{"bench"}, strings.Fields(c.args)...)...)
		if code != exitUsage || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: exit code %d: %s", c.args, code, errOut)
		}
	}
}

func TestBenchMeasuresTheDiskAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	code, out, errOut := call(t, "bench", "disk", "-json", "-for", "150ms", dir)
	var r diskReport
	if err := json.Unmarshal([]byte(out), &r); code != exitFine || err != nil {
		t.Fatalf("exit code %d, %v: %s%s", code, err, out, errOut)
	}
	if len(r.Records) != 3 || r.Alone <= 0 || r.Hundred < r.Alone || r.Device == "" {
		t.Errorf("%+v", r)
	}
	for i, size := range benchRecords {
		if m := r.Records[i]; m.Bytes != size || m.Syncs == 0 || m.Rate <= 0 || m.P50 <= 0 || m.Max < m.P99 {
			t.Errorf("%+v", m)
		}
	}
	code, out, _ = call(t, "bench", "disk", "-for", "30ms", dir)
	if code != exitFine || !strings.Contains(out, "\n64 KiB     ") || !strings.Contains(out, "one publisher, one message at a time: at most about ") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}

func TestWhatADiskAllowsDependsOnTheCommitInterval(t *testing.T) {
	of := func(took time.Duration, size int) syncsMeasure {
		m := syncsMeasure{Bytes: size}
		m.hist = new(bench.Histogram)
		m.hist.Add(took)
		return m
	}
	for _, c := range []struct {
		name           string
		interval       float64
		alone, hundred string
	}{
		{"one sync behind the other", 0, "100", "4700"},
		{"a card with 50 ms between two", 0.05, "20", "2000"},
	} {
		r := diskReport{Interval: c.interval, Records: []syncsMeasure{of(10*time.Millisecond, 512), of(10*time.Millisecond, 4096), of(20*time.Millisecond, 65536)}}
		r.translate()
		if alone, hundred := roughly(r.Alone), roughly(r.Hundred); alone != c.alone || hundred != c.hundred {
			t.Errorf("%s: %s, %s", c.name, alone, hundred)
		}
	}
}

func TestProcessorTimeIsRead(t *testing.T) {
	const stat = "1234 (packet (boat) x) S 1 1234 1234 0 -1 4194560 1 2 3 4 150 25 0 0 20 0 12 0 100 200 300"
	if d, err := parseCPU(stat); err != nil || d != 1750*time.Millisecond {
		t.Errorf("%v %v", d, err)
	}
	for _, bad := range []string{"", "1 (x) S 1", "1 (x) S 1 1 1 0 -1 4 1 2 3 4 a b 0"} {
		if d, err := parseCPU(bad); err == nil {
			t.Errorf("%q: %v", bad, d)
		}
	}
	if _, known := cpuOf(1 << 30); known {
		t.Error("the time of a process that is not there")
	}
}

func TestRoughly(t *testing.T) {
	for of, want := range map[float64]string{3.26: "3.3", 20: "20", 123: "120", 256201: "260000"} {
		if got := roughly(of); got != want {
			t.Errorf("%v: %s", of, got)
		}
	}
}
