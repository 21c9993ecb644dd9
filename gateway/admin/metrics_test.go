package admin

import (
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"packetboat/bridge"
	"packetboat/broker"
	"packetboat/broker/store"
	"packetboat/config"
)

func TestPrometheusReadsTheMetrics(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580")
	from := w.opt.Sources
	cfg, err := config.Parse("f", []byte("[[bridge]]\nname = \"cloud\"\nservers = [\"mqtt://127.0.0.1:1\"]\n[[bridge.up]]\nfilter = \"#\"\n"),
		config.Options{Hostname: func() (string, error) { return "gw", nil }})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bridge.New(cfg.Bridges[0], bridge.Options{Broker: from.Broker, Store: from.Store, MaxPacket: 1 << 20, Log: w.log})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	from.Bridges = func() []*bridge.Bridge { return []*bridge.Bridge{b} }
	m := newMetrics(from, w.log)
	for _, queue := range []string{"session/one", "session/two"} {
		c, err := from.Store.Consumer(queue, store.SessionIDs)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := from.Store.Publish(&store.Message{Topic: "t", Payload: []byte("x"), QoS: 1}, []store.Target{{Consumer: c, QoS: 1}}); err != nil {
				t.Fatal(err)
			}
		}
		if queue == "session/two" {
			if n, r := c.Purge(); n != 3 || from.Store.Wait(t.Context(), r) != nil {
				t.Fatalf("purged %d", n)
			}
		}
	}
	// A session that has ended stays in the sums, or they would seem to begin anew.
	from.Store.Remove("session/two")
	if _, err := from.Broker.Publish(&broker.Message{Topic: "t", Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}

	w.routes = m // alone
	resp := w.do(asks{path: "/metrics"})
	text, _ := io.ReadAll(resp.Body)
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
		t.Errorf("content type %q", got)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	own := 0
	name := regexp.MustCompile(`^(packetboat|go|process)_[a-z0-9_]+$`)
	for _, n := range slices.Sorted(maps.Keys(families)) {
		f := families[n]
		counts := strings.HasSuffix(n, "_total")
		if strings.HasPrefix(n, "packetboat_") {
			own++
			if (f.GetType().String() == "COUNTER") != counts {
				t.Errorf("%s is a %v", n, f.GetType())
			}
		}
		if !name.MatchString(n) || f.GetHelp() == "" {
			t.Errorf("%s: %q", n, f.GetHelp())
		}
	}
	if own < 80 {
		t.Errorf("%d metrics of ours", own)
	}
	for _, line := range []string{
		`packetboat_info{id="gw",version="v"} 1`,
		`packetboat_queue_messages{queue="session/*"} 3`,
		`packetboat_queue_accepted_total{queue="session/*"} 6`,
		`packetboat_queue_lost_total{queue="session/*",reason="purged"} 3`,
		`packetboat_queue_lost_total{queue="session/*",reason="dropped"} 0`,
		`packetboat_queue_lost_total{queue="bridge/cloud/0",reason="expired"} 0`,
		`packetboat_queue_messages{queue="bridge/cloud/0"} 1`,
		`packetboat_bridge_online{bridge="cloud"} 0`,
		`packetboat_adapter_published_frames_total{adapter="scale"} 7`,
		`packetboat_adapter_last_frame_timestamp_seconds{adapter="scale"} 5`,
		`packetboat_disk_failed 0`,
		`packetboat_users 1`,
		`packetboat_disk_written_today_bytes 5`,
	} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}

func TestATimeThatThereIsNotIsZero(t *testing.T) {
	if got := seconds(time.Time{}); got != 0 {
		t.Error(got)
	}
}
