package dashboard

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
	"golang.org/x/sys/unix"

	"packetboat/broker/packet"
	"packetboat/broker/store"
)

// TestWhatEachPageCosts with a large backlog, 5,000 topics and a message now and
// then: until something is there to be seen, until the figures are, and afterwards,
// while the page is open and nobody touches it, of the gateway's processor and the
// tab's memory.
func TestWhatEachPageCosts(t *testing.T) {
	if !*full {
		t.Skip("a minute of looking on: with -full")
	}
	const backlog, topics = 1_000_000, 5000
	m := newMill(t)
	m.inStore(func(s *store.Store) {
		queue(t, s, "bridge/dark/0", store.LaneIDs(0), backlog, func(i int) *store.Message {
			return &store.Message{Topic: "site/hall/temp", Payload: fmt.Appendf(nil, "%d", i), QoS: 1}
		})
	})
	m.start()
	m.traffic()
	var batch []packet.Publish
	for i := range topics {
		batch = append(batch, packet.Publish{Topic: fmt.Sprintf("site/room-%d/sensor-%02d", i/20, i%20), Payload: fmt.Appendf(nil, "%d", i), Retain: true})
	}
	dial(t, m.mqtt, "sensor-8").publish(batch...)
	nobody := m.processor(nil)
	t.Logf("the processor without a page: %.2f %%", nobody)
	for _, v := range views {
		b := newTab(t, m.web)
		began := time.Now()
		b.goTo(v.page, v.title)
		if v.page == "adapters" { // of which frames are kept from now on
			m.device(`{"kg": 12.45}`, "W 12,47 kg")
		}
		b.shows(v.shows...)
		live := time.Since(began)
		paint := eval[float64](b, "performance.getEntriesByName('first-contentful-paint')[0].startTime")
		if paint > 1000 {
			t.Errorf("%s: the first paint is after %.0f ms", v.page, paint)
		}
		open := m.processor(b)
		heap, elements := b.memory()
		t.Logf("%-13s first paint %4.0f ms, all figures %5v; open: %5.2f %% of a processor, heap %.1f MiB, %.0f elements",
			v.page, paint, live.Round(10*time.Millisecond), open-nobody, heap/(1<<20), elements)
		b.end()
	}
}

// processor is what this process takes of one in some seconds, in per cent, while a
// page is open; nil: none.
func (m *mill) processor(b *tab) float64 {
	m.t.Helper()
	const watched = 6 * time.Second
	if b == nil {
		b = newTab(m.t, m.web)
		defer b.end()
	}
	used := func() time.Duration {
		var r unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
			m.t.Fatal(err)
		}
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	before, began := used(), time.Now()
	passed := fmt.Sprintf("new Promise((done) => setTimeout(() => done(true), %d))", watched.Milliseconds())
	if _, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](passed, chromedp.EvalAwaitPromise)); err != nil {
		m.t.Fatal(err)
	}
	return 100 * float64(used()-before) / float64(time.Since(began))
}

// memory is what scripts hold, in bytes, and the elements that there are, after a
// collection of garbage.
func (b *tab) memory() (heap, elements float64) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, heapprofiler.CollectGarbage, cdp.Empty{}); err != nil {
		b.t.Fatal(err)
	}
	if _, err := chromedp.Call(b.ctx, performance.Enable, performance.EnableParams{}); err != nil {
		b.t.Fatal(err)
	}
	all, err := chromedp.Call(b.ctx, performance.GetMetrics, cdp.Empty{})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, m := range all.Metrics {
		switch m.Name {
		case "JSHeapUsedSize":
			heap = m.Value
		case "Nodes":
			elements = m.Value
		}
	}
	return heap, elements
}
