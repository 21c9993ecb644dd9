package dashboard

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

func TestFiveThousandTopicsStayFluid(t *testing.T) {
	g := prepare(t, "g", "", "")
	g.start()
	b := newTab(t, g.web)
	b.goTo("topics", "Topics")
	b.shows("Nothing was published")
	const all = 5000
	var batch []packet.Publish
	for i := range all {
		batch = append(batch, packet.Publish{Topic: fmt.Sprintf("site/room-%d/sensor-%02d", i/20, i%20), Payload: fmt.Appendf(nil, "%d", i)})
	}
	began := time.Now()
	dial(t, g.mqtt, "sensor").publish(batch...)
	b.shows("5,000 topics")
	t.Logf("shown %v after the first was sent", time.Since(began).Round(time.Millisecond))
	b.shoot("5000-topics")

	frames := `new Promise((done) => {
		const box = document.querySelector("[role=tree]");
		const times = [];
		let last = performance.now();
		const step = (now) => {
			times.push(now - last);
			last = now;
			box.scrollTop += 400;
			if (times.length < 20) requestAnimationFrame(step);
			else done(Math.max(...times.slice(1)));
		};
		requestAnimationFrame(step);
	})`
	slowest, err := chromedp.Run(b.ctx, chromedp.Evaluate[float64](frames, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the slowest frame while scrolling: %.1f ms", slowest)
	if n := eval[int](b, "document.querySelectorAll('[role=treeitem]').length"); n > 100 {
		t.Errorf("the tree is %d elements", n)
	}
	b.do(chromedp.Focus(chromedp.CSS("#topic-search")), chromedp.KeyEvent("room-249/sensor-19"))
	b.shows("1 topic", "4999")
	b.do(chromedp.Click(chromedp.CSS("[role=treeitem][aria-level='3']")))
	b.shows("site/room-249/sensor-19", "1 message")
}

// TestALargeBacklog: a million messages with -full, which takes a while with the
// race detector.
func TestALargeBacklog(t *testing.T) {
	n := 200_000
	if *full {
		n = 1_000_000
	}
	m := newMill(t)
	m.inStore(func(s *store.Store) {
		queue(t, s, "bridge/dark/0", store.LaneIDs(0), n, func(i int) *store.Message {
			return &store.Message{Topic: "site/hall/temp", Payload: fmt.Appendf(nil, "%d", i), QoS: 1}
		})
	})
	m.start()
	b := newTab(t, m.web)
	began := time.Now()
	b.goTo("overview", "Overview")
	// And a few that the gateway itself publishes.
	waiting := fmt.Sprintf(`/%s\d/.test(document.body.innerText)`, strings.TrimSuffix(eval[string](b, fmt.Sprintf("(%d).toLocaleString('en')", n)), "0"))
	b.until(waiting)
	t.Logf("%d waiting, shown after %v", n, time.Since(began).Round(time.Millisecond))
	b.shoot("backlog-1280-light")
	b.goTo("queue", "Queue")
	b.until(waiting)
	began = time.Now()
	b.do(chromedp.Click(chromedp.CSS(`button[aria-label="Look into bridge/dark/0"]`)))
	b.shows("The newest 50; the export has all.", fmt.Sprint(n-1))
	t.Logf("the newest messages are shown after %v", time.Since(began).Round(time.Millisecond))
	b.goTo("bridges", "Bridges")
	b.until(waiting)
}
