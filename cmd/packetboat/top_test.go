package main

import (
	"strings"
	"testing"
	"time"

	"packetboat/gateway/admin"
)

func TestTopShowsRatesSinceTheScreenBefore(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	left := 30.0
	viewAt := func(at time.Time, accepted, delivered uint64) view {
		lane := admin.Queue{Queue: "bridge/cloud/0", Messages: accepted - delivered, Accepted: accepted, Delivered: delivered}
		return view{
			at: at,
			status: &admin.Status{
				ID: "pi", Uptime: 3600, Flowing: admin.FlowYes, Clients: 3, Clock: admin.Clock{Now: at},
				Disk:     admin.Disk{Dir: "/data", Bytes: 1 << 20, MaxSize: 1 << 30, FreeBytes: 5 << 30},
				Bridges:  []admin.Bridge{{Name: "cloud", State: "online", Since: at.Add(-time.Minute), Waiting: accepted - delivered, DrainedIn: &left}},
				Problems: []admin.Problem{{What: "something", Remedy: "mend it"}},
			},
			queues: &admin.Queues{Queues: []admin.Queue{lane, {Queue: "bridge/cloud/1"}}},
			bridges: &admin.Bridges{Bridges: []admin.BridgeDetails{{
				Name: "cloud", State: "online", Server: "h:1883", Lanes: []admin.Queue{lane}, InFlight: 7, Counters: admin.Counters{Acked: delivered},
			}}},
		}
	}
	before, now := viewAt(at, 1000, 400), viewAt(at.Add(2*time.Second), 1005, 800)
	screen := strings.Join(topLines(before, now), "\n")
	for _, want := range []string{
		"packetboat top: pi, 12:00:02, up 1h; q ends",
		"flowing   yes, 205 messages wait",
		"clients   3 connected; adapters 0 of 0 ready; 0 messages lost; clock NOT synchronised",
		"cloud   online  1m   205      2.5   200    0       7          about 30s   h:1883",
		"bridge/cloud/0  205      0 bytes  0s      2.5   200    0",
		"what is wrong:\n  something\n    -> mend it",
	} {
		if !strings.Contains(screen, want) {
			t.Errorf("without %q:\n%s", want, screen)
		}
	}
	if strings.Contains(screen, "bridge/cloud/1") {
		t.Errorf("a queue that never had a message is shown:\n%s", screen)
	}
	first := strings.Join(topLines(view{}, now), "\n")
	if !strings.Contains(first, "cloud   online  1m   205      -     -      -") {
		t.Errorf("rates of nothing:\n%s", first)
	}
}

func TestLinesAreCutToTheScreen(t *testing.T) {
	for _, c := range []struct {
		line  string
		width int
		want  string
	}{
		{"short", 10, "short"},
		{"as long", 7, "as long"},
		{"a little longer", 8, "a littl…"},
		{"größer als", 6, "größe…"},
		{"\x1b[2Jcleared\u009b", 20, "·[2Jcleared·"},
		{"nothing", 0, "…"},
	} {
		if got := cutTo(c.line, c.width); got != c.want {
			t.Errorf("%q at %d: %q", c.line, c.width, got)
		}
	}
}
