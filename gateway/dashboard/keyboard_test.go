package dashboard

import (
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// reached marks what has the focus, and says what is wrong with it: "" nothing, or
// "end" when it was there before.
const reached = `(() => {
	const e = document.activeElement;
	if (e === document.body || e.dataset.reached) return "end";
	e.dataset.reached = "yes";
	const box = e.querySelector(".box"); // of the picture, which has a frame of its own for it
	const shown = box ? parseFloat(getComputedStyle(box).strokeWidth) > 2 : getComputedStyle(e).outlineStyle !== "none" && parseFloat(getComputedStyle(e).outlineWidth) >= 2;
	if (!shown) return "nothing shows the focus of " + e.outerHTML.slice(0, 200);
	const { top, bottom } = e.getBoundingClientRect();
	return bottom < 0 || top > innerHeight ? "out of sight is " + e.outerHTML.slice(0, 200) : "";
})()`

const unreached = `[...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")]
	.filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.disabled && !e.dataset.reached).map((e) => e.outerHTML.slice(0, 200))`

func TestTabReachesEverythingAndShowsWhere(t *testing.T) {
	m := newMill(t)
	m.start()
	m.traffic()
	b := newTab(t, m.web)
	for _, l := range []look{{1280, 800, "light"}, {390, 844, "dark"}} {
		b.look(l.width, l.height, l.colours)
		for _, v := range views {
			b.goTo("overview", "Overview")
			b.goTo(v.page, v.title)
			b.until("!document.body.innerText.includes('Asking the gateway')")
			eval[string](b, `document.querySelectorAll("[data-reached]").forEach((e) => delete e.dataset.reached) || (window.first = document.querySelector(".skip")).focus() || (first.dataset.reached = "yes")`)
			for {
				b.press(kb.Tab)
				s := eval[string](b, reached)
				if s == "end" {
					break
				}
				if s != "" {
					t.Errorf("%s: %s", v.page, s)
				}
			}
			for _, s := range eval[[]string](b, unreached) {
				t.Errorf("%s: Tab does not lead to %s", v.page, s)
			}
		}
	}
}
