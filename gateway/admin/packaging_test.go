package admin

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// metricNames are those that /metrics can have.
func metricNames() map[string]bool {
	names := map[string]bool{}
	note(names, gatewayRows)
	note(names, brokerRows)
	note(names, loginRows)
	note(names, storeRows)
	note(names, wearRows)
	note(names, queueRows)
	note(names, lossRow(0))
	note(names, bridgeRows)
	note(names, adapterRows)
	return names
}

func note[T any](names map[string]bool, rows []row[T]) {
	for i := range rows {
		names[rows[i].name] = true
	}
}

var metricName = regexp.MustCompile(`packetboat_[a-z0-9_]+`)

// TestTheMetricsOfGrafanaAndTheAlertsExist: of the dashboard and the rules that the
// package brings, and of docs/operations.md.
func TestTheMetricsOfGrafanaAndTheAlertsExist(t *testing.T) {
	known := metricNames()
	for file, least := range map[string]int{"packaging/grafana/packetboat.json": 25, "packaging/prometheus/alerts.yml": 15, "docs/operations.md": 5} {
		text, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, name := range metricName.FindAllString(string(text), -1) {
			seen[name] = true
			if !known[name] && !strings.HasSuffix(name, "_") { // packetboat_disk_…
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
		if len(seen) < least {
			t.Errorf("%s has %d metrics", file, len(seen))
		}
	}
}

func TestTheGrafanaDashboardIsWhole(t *testing.T) {
	text, err := os.ReadFile("../../packaging/grafana/packetboat.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID    string
		Panels []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	ids, cells := map[int]bool{}, map[[2]int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d %q", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, q := range p.Targets {
			if strings.Count(q.Expr, "(") != strings.Count(q.Expr, ")") || !strings.Contains(q.Expr, `instance=~"$instance"`) {
				t.Errorf("%s: %s", p.Title, q.Expr)
			}
		}
		g := p.GridPos
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if x >= 24 || cells[[2]int{x, y}] {
					t.Fatalf("%s lies over another panel, or outside", p.Title)
				}
				cells[[2]int{x, y}] = true
			}
		}
	}
	if d.UID == "" || len(ids) < 20 {
		t.Errorf("%d panels", len(ids))
	}
}

func TestEveryAlertHasARemedy(t *testing.T) {
	text, err := os.ReadFile("../../packaging/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules := strings.Split(string(text), "      - alert: ")[1:]
	names := map[string]bool{}
	for _, rule := range rules {
		name, rest, _ := strings.Cut(rule, "\n")
		if names[name] {
			t.Errorf("%s is there twice", name)
		}
		names[name] = true
		for _, want := range []string{"        expr: ", "        labels: { severity: ", "          summary: \"", "          remedy: \""} {
			if strings.Count(rest, want) != 1 {
				t.Errorf("%s: %q is missing", name, want)
			}
		}
	}
	if len(names) < 10 {
		t.Errorf("%d alerts", len(names))
	}
}
