package dashboard

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"packetboat/broker/packet"
)

// traffic has messages pass while the test runs.
func (m *mill) traffic() {
	panel := dial(m.t, m.mqtt, "panel-1")
	panel.subscribe("alarm/#")
	panel.subscribe("site/#")
	sensor := dial(m.t, m.mqtt, "sensor-7")
	m.device(`{"kg": 12.45}`, `{"kg": 12.46}`, "W 12,47 kg")
	var batch []packet.Publish
	for i := range 40 {
		batch = append(batch, packet.Publish{Topic: fmt.Sprintf("site/hall/sensor-%d/temp", i%8), Payload: fmt.Appendf(nil, `{"t": %d.5}`, 20+i%5)})
	}
	sensor.publish(batch...)
}

// views are the pages, and what each must come to show.
var views = []struct {
	page, title string
	shows       []string
}{
	{"overview", "Overview", []string{"bridge dark is", "adapter gps is not ready", "Comes in", "Drained in", "Full in", "Lost", "MQTT clients", "scale", "gps", "not reached", "answers", "highest"}},
	{"queue", "Queue", []string{"Forecast", "bridge/dark/0", "have never had a message", "session/panel-1", "Nothing was lost", "Written today"}},
	{"bridges", "Bridges", []string{"online", "127.0.0.1:1", "connection refused", "In flight", "bridge/dark/0", "Reset the session"}},
	{"adapters", "Adapters", []string{"there-is-no-gps", "not ready", "TCP, devices connect", `{"kg": 12.45}`, "7b 22 6b 67", "57 20 31 32", "mill-3/scale"}},
	{"clients", "Clients", []string{"panel-1", "sensor-7", "alarm/#", "MQTT 3.1.1", "Kick"}},
	{"topics", "Topics", []string{"site", "topics"}},
	{"log", "Log", []string{"gateway runs", "info", "id=mill-3"}},
	{"configuration", "Configuration", []string{"packetboat.toml", "data_dir", "bridge[1]", "default", "set in packetboat.toml"}},
}

func TestEveryPageShowsWhatGoesOn(t *testing.T) {
	m := newMill(t)
	m.start()
	b := newTab(t, m.web)
	b.goTo("topics", "Topics") // from now on the gateway looks
	b.until("document.querySelector('.page-topics .note').textContent.includes('topic')")
	b.goTo("adapters", "Adapters")
	b.shows("scale")
	m.traffic()
	for _, l := range looks {
		for _, v := range views {
			b.look(l.width, l.height, l.colours)
			b.goTo(v.page, v.title)
			b.shows(v.shows...)
			b.readsWell(fmt.Sprintf("%s-%d-%s", v.page, l.width, l.colours))
		}
	}
}

func TestColoursFollowTheSystemOrTheChoice(t *testing.T) {
	g := prepare(t, "g", "", "")
	g.start()
	b := newTab(t, g.web)
	ground := func() string { return eval[string](b, "getComputedStyle(document.documentElement).backgroundColor") }
	b.goTo("overview", "Overview")
	light := ground()
	b.look(1280, 800, "dark")
	dark := ground()
	if light == dark {
		t.Errorf("light and dark are both %s", light)
	}
	choose := func(value string) {
		eval[bool](b, fmt.Sprintf(`{const s = document.getElementById("theme"); s.value = %q; s.dispatchEvent(new Event("change"))}`, value))
	}
	choose("light")
	if got := ground(); got != light {
		t.Errorf("light is chosen, the ground is %s", got)
	}
	b.goTo("log", "Log")
	b.do(reload)
	b.until("document.querySelector('.page-log')")
	if got := ground(); got != light {
		t.Errorf("after loading it again, the ground is %s", got)
	}
	choose("")
	if got := ground(); got != dark {
		t.Errorf("as the system again, the ground is %s", got)
	}
}

func TestTheLogGoesOnAndPauses(t *testing.T) {
	m := newMill(t)
	m.start()
	b := newTab(t, m.web)
	b.goTo("log", "Log")
	b.shows("gateway runs")
	m.device("no JSON at all")
	b.shows("frame not decoded")
	choose := func(level string) {
		eval[bool](b, fmt.Sprintf(`{const s = document.getElementById("log-level"); s.value = %q; s.dispatchEvent(new Event("change"))}`, level))
	}
	choose("3")
	b.until(`!document.querySelector(".log").innerText.includes("gateway runs") && document.querySelector(".log").innerText.includes("cannot open")`)
	choose("0")
	pause := chromedp.Click(chromedp.CSS("button[aria-pressed]"))
	b.do(pause)
	b.shows("Paused; 0 new lines")
	kicked := dial(t, m.mqtt, "panel-1")
	eval[bool](b, `(fetch("/v1/clients/kick", {method: "POST", headers: {"X-Packetboat": "1"}, body: '{"client": "panel-1"}'}), true)`)
	kicked.closed()
	b.until(`/Paused; [1-9]/.test(document.querySelector(".note[role=status]").textContent) && !document.querySelector(".log").innerText.includes("disconnected by an operator")`)
	b.do(pause)
	b.shows("disconnected by an operator")
}

// TestTheFirstPaint logs how long the first page takes, with an empty cache.
func TestTheFirstPaint(t *testing.T) {
	m := newMill(t)
	m.start()
	b := newTab(t, m.web)
	b.goTo("overview", "Overview")
	b.until("performance.getEntriesByName('first-contentful-paint').length")
	b.shows("MQTT clients")
	t.Logf("first contentful paint after %.0f ms, the first state after %.0f ms; %d requests, %.0f KiB",
		eval[float64](b, "performance.getEntriesByName('first-contentful-paint')[0].startTime"),
		eval[float64](b, "performance.now()"),
		eval[int](b, "performance.getEntriesByType('resource').length"),
		eval[float64](b, "performance.getEntriesByType('resource').reduce((a, r) => a + r.transferSize, 0) / 1024"))
}
