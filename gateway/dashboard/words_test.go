package dashboard

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// TestNumbersReadWell asks the page's own functions.
func TestNumbersReadWell(t *testing.T) {
	g := prepare(t, "g", "", "")
	g.start()
	b := newTab(t, g.web)
	b.goTo("overview", "Overview")
	for _, c := range []struct{ name, file, expression, want string }{
		{"small counts are whole", "format", "short(9999)", "9,999"},
		{"large ones are cut", "format", "short(1234567)", "1.2 M"},
		{"and larger ones", "format", "short(250e9)", "250 G"},
		{"a rate that is nearly nothing", "format", "rate(0.01)", "<0.1/s"},
		{"no rate", "format", "rate(0)", "0/s"},
		{"a rate", "format", "rate(41.94)", "41.9/s"},
		{"bytes", "format", "size(999)", "999 bytes"},
		{"binary units", "format", "size(2 ** 30)", "1 GiB"},
		{"no decimals where there are enough figures", "format", "size(700 * 2 ** 20)", "700 MiB"},
		{"nothing behind the point that is nothing", "format", "size(16 * 2 ** 20)", "16 MiB"},
		{"not 1024 of a unit", "format", "size(2 ** 20 - 1)", "1 MiB"},
		{"not 1000 of one either", "format", "short(999_999)", "1 M"},
		{"a count that was just written out", "format", "short(10_000)", "10 k"},
		{"a time to come", "format", "ahead(new Date(Date.now() + 11_900))", "in 12 s"},
		{"a moment", "format", "span(0.2)", "0 s"},
		{"two units", "format", "span(3 * 3600 + 12 * 60 + 5)", "3 h 12 min"},
		{"days", "format", "span(2 * 86400 + 60)", "2 d"},
		{"a time that is not known", "format", "span(null)", "unknown"},
		{"no time", "format", "moment('0001-01-01T00:00:00Z')", "never"},
		{"one of a kind", "format", "plural(1, 'message')", "1 message"},
		{"a payload that is no text", "format", "payload({base64: '/wA='})", "base64 /wA="},
		{"an empty payload", "format", "payload({text: ''})", ""},

		{"a queue that fills", "pages/forecast", "forecast([0, 10, 20, 30, 40, 50], 10, 30, 1000).list.join(' ')", "60 70 80"},
		{"only to its limit", "pages/forecast", "forecast([0, 10, 20, 30, 40, 50], 10, 30, 65).list.join(' ')", "60 65 65"},
		{"one that drains, to nothing", "pages/forecast", "forecast([50, 40, 30, 20, 10, 5], 10, 20, 0).list.map(Math.round).join(' ')", "0 0"},
		{"gaps are left out", "pages/forecast", "forecast([0, null, 20, 30, 40, 50, 60], 10, 10, 0).list.join(' ')", "70"},
		{"of a few samples nothing is said", "pages/forecast", "String(forecast([0, 10, 20], 10, 30, 0))", "null"},

		{"nothing waits", "pages/outlook", "drainedIn([{waiting: 0}]).join('|')", "—||nothing waits"},
		{"the slowest bridge counts", "pages/outlook", "drainedIn([{waiting: 1, drained_in_seconds: 5}, {waiting: 2, drained_in_seconds: 90}])[0]", "1 min 30 s"},
		{"a bridge that is away drains never", "pages/outlook",
			"drainedIn([{name: 'a', state: 'online', waiting: 1, drained_in_seconds: null}, {name: 'b', state: 'refused', waiting: 1, drained_in_seconds: null}]).join('|')", "unknown||b is refused"},
		{"nothing is said of what is not known", "pages/outlook", "fullIn({}).join('|')", "unknown||"},
		{"a queue that fills this year or the next", "pages/outlook", "fullIn({full_in_seconds: 1e7}).join('|')", "—||not within 30 days"},
		{"a queue that fills today", "pages/outlook", "fullIn({full_in_seconds: 15300}).join('|')", "4 h 15 min||as it fills now"},
		{"a queue that is full", "pages/outlook", "fullIn({full_in_seconds: 0}).join('|')", "now||there is no room left"},
		{"a queue that does not fill", "pages/outlook", "fullIn({full_in_seconds: null}).join('|')", "—||it does not fill"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("import('/page/"+c.file+".js').then((all) => { with (all) return "+c.expression+" })", chromedp.EvalAwaitPromise))
			if err != nil || got != c.want {
				t.Errorf("%s: %q, %v; want %q", c.expression, got, err, c.want)
			}
		})
	}
}
