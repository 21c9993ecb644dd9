package dashboard

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"packetboat/broker/packet"
)

// unreadable is what keeps people from reading the page as it is: text that is cut
// off, or whose contrast to its ground is below that of WCAG 2, level AA; words and
// numbers that no person would write; controls without a name.
const unreadable = `(() => {
	const found = new Set();
	const numbers = (c) => (c.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
	const over = (top, below) => {
		const a = top.length > 3 ? top[3] : 1;
		return [0, 1, 2].map((i) => top[i] * a + below[i] * (1 - a));
	};
	const groundOf = (e) => {
		if (!e) return [255, 255, 255];
		const c = numbers(getComputedStyle(e).backgroundColor);
		return c.length > 3 && c[3] === 0 ? groundOf(e.parentElement) : c.length > 3 ? over(c, groundOf(e.parentElement)) : c;
	};
	const light = (c) => c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((a, v, i) => a + v * [0.2126, 0.7152, 0.0722][i], 0);
	const contrast = (a, b) => {
		const [x, y] = [light(a), light(b)].sort((m, n) => n - m);
		return (x + 0.05) / (y + 0.05);
	};
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const e = texts.currentNode.parentElement;
		const said = texts.currentNode.data.trim();
		if (!said || e.closest(".unseen, .skip, script, noscript, option, title") || !e.checkVisibility({ visibilityProperty: true })) continue;
		const style = getComputedStyle(e);
		const box = e.closest(".node") && e.closest(".node").querySelector(".box");
		const ground = box ? numbers(getComputedStyle(box).fill) : groundOf(e);
		const ratio = contrast(over(numbers(e.closest("svg") ? style.fill : style.color), ground), ground);
		const size = parseFloat(style.fontSize);
		const large = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700;
		if (ratio < (large ? 3 : 4.5) && !e.closest(":disabled")) found.add("contrast " + ratio.toFixed(2) + ": " + said);
		const range = document.createRange();
		range.selectNodeContents(texts.currentNode);
		const { left, right } = range.getBoundingClientRect();
		for (let at = e; at && at !== document.body; at = at.parentElement) {
			const s = getComputedStyle(at);
			if (s.textOverflow === "ellipsis" || ["auto", "scroll"].includes(s.overflowX)) break;
			if (["hidden", "clip"].includes(s.overflowX) && (left < at.getBoundingClientRect().left - 1 || right > at.getBoundingClientRect().right + 1)) found.add("cut off: " + said);
		}
	}
	for (const e of document.querySelectorAll("[placeholder]")) {
		const ground = groundOf(e);
		const ratio = contrast(over(numbers(getComputedStyle(e, "::placeholder").color), ground), ground);
		if (ratio < 4.5) found.add("contrast " + ratio.toFixed(2) + ": " + e.placeholder);
	}
	const words = document.body.innerText;
	for (const wrong of [/(?<![\d.,])1 (messages|clients|topics|frames|links|bytes|queues|lines|problems|devices|units|publishes|places|segments|adapters|keys)\b.*/g,
		/.*\b1024(\.0)? (KiB|MiB|GiB|bytes).*/g, /.*\d\.0 (KiB|MiB|GiB|k|M)\b.*/g, /.*\b(undefined|NaN|null|Infinity)\b.*/g, /.*\[object .*/g]) {
		for (const m of words.matchAll(wrong)) found.add("words: " + m[0]);
	}
	for (const e of document.querySelectorAll("button, a, input, select, [role=tree]")) {
		if (!(e.textContent.trim() || e.getAttribute("aria-label") || e.labels && e.labels.length)) found.add("without a name: " + e.outerHTML);
	}
	if (document.documentElement.scrollWidth > innerWidth) found.add("the page is " + document.documentElement.scrollWidth + " wide in a window of " + innerWidth);
	if (document.querySelectorAll("main h1").length !== 1) found.add("headings of the first order: " + document.querySelectorAll("main h1").length);
	return [...found];
})()`

// readsWell checks that everything on the page can be read, and leaves a picture of
// the whole of it.
func (b *tab) readsWell(name string) {
	b.t.Helper()
	for _, s := range eval[[]string](b, unreadable) {
		b.t.Errorf("%s: %s", name, s)
	}
	if *shots != "" {
		whole := eval[int](b, "document.documentElement.scrollHeight")
		b.look(b.size.width, max(b.size.height, min(whole, 5000)), b.size.colours)
		b.shoot(name)
	}
}

// looks are those that pages are checked in.
var looks = []look{{1280, 800, "light"}, {390, 844, "dark"}, {320, 640, "light"}}

// eachPage checks all pages in all looks.
func (b *tab) eachPage(state string) {
	b.t.Helper()
	for _, l := range looks {
		for _, v := range views {
			b.look(l.width, l.height, l.colours)
			b.goTo(v.page, v.title)
			b.until("!document.body.innerText.includes('Asking the gateway')")
			b.readsWell(fmt.Sprintf("%s-%s-%d-%s", state, v.page, l.width, l.colours))
		}
	}
}

func TestAGatewayWithNothingReadsWell(t *testing.T) {
	g := prepare(t, "a-rather-long-name-of-a-gateway-in-the-cellar-of-building-12", "", "")
	g.start()
	dial(t, g.mqtt, "only-one")
	b := newTab(t, g.web)
	b.goTo("clients", "Clients")
	b.shows("only-one")
	b.eachPage("empty")
}

// TestLongNamesReadWell on a small phone, with what opens on the pages, and topics
// that begin with a level without a name.
func TestLongNamesReadWell(t *testing.T) {
	m := newMill(t)
	m.start()
	b := newTab(t, m.web)
	b.lossy = true // at the end, the gateway is gone
	phone := func() { b.look(320, 640, "dark") }
	phone()
	b.goTo("topics", "Topics")
	b.shows("topics") // from now on the gateway looks
	long := strings.Repeat("a-very-long-level/", 6) + "temperature-of-the-second-boiler"
	c := dial(t, m.mqtt, "client-with-a-very-long-identifier-0123456789abcdef0123456789abcdef")
	c.subscribe(long + "/#")
	c.publish(packet.Publish{Topic: "/x", Payload: []byte("1")},
		packet.Publish{Topic: long, Payload: []byte(`{"t":21.5,"unit":"°C","more":"` + strings.Repeat("x", 300) + `"}`)})
	b.shows("(empty)", "No topic is chosen")
	b.do(chromedp.Focus(chromedp.CSS("#topic-search")), chromedp.KeyEvent("boiler"))
	b.shows("1 topic")
	b.do(chromedp.Click(chromedp.CSS("[role=treeitem][aria-level='7']")))
	b.shows(long, "the first 256 bytes")
	b.readsWell("long-topics")
	phone()
	b.goTo("clients", "Clients")
	b.shows("client-with")
	b.readsWell("long-clients")
	phone()
	b.do(chromedp.Click(chromedp.CSS("button[aria-label^='Kick client-with']")))
	b.shows("Its connection is ended")
	b.readsWell("long-dialog")
	phone()
	b.do(chromedp.Click(chromedp.CSS("dialog button:not(.danger)")))
	b.goTo("queue", "Queue")
	b.shows("bridge/dark/0")
	b.do(chromedp.Click(chromedp.CSS(`button[aria-label="Look into bridge/dark/0"]`)))
	b.shows(long)
	b.readsWell("long-look")
	phone()
	b.do(chromedp.Click(chromedp.CSS("#menu")))
	b.readsWell("long-menu")
	phone()
	b.goTo("overview", "Overview")
	m.end()
	b.shows("Connection lost")
	b.readsWell("long-lost")
}
