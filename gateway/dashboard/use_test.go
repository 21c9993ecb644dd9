package dashboard

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"packetboat/broker/packet"
	"packetboat/broker/store"
	"packetboat/broker/users"
)

var reload = chromedp.Reload()

func TestLoginAndLogout(t *testing.T) {
	file := userFile(t, "ann", "a long password")
	g := prepare(t, "guarded", `users = ["ann"]`, fmt.Sprintf("[auth]\nusers = %q\n", file))
	g.start()
	b := newTab(t, g.web)
	b.lossy = true // refused requests are written to the console
	b.do(chromedp.Navigate(g.web))
	b.logIn("wrong")
	b.shows("Wrong name or password.")
	b.logIn("a long password")
	b.shows("guarded", "Nothing is wrong.")
	b.goTo("clients", "Clients")
	b.tabTo(".foot button")
	b.press(kb.Enter)

	// A session that ends elsewhere leads to the login, and back to the page.
	b.logIn("a long password")
	b.shows("Nothing is wrong.")
	b.goTo("clients", "Clients")
	eval[bool](b, "(fetch('/logout', {method: 'POST'}), true)")
	b.logIn("a long password")
	b.until("location.hash === '#/clients' && document.querySelector('.page-clients')")
}

// userFile is a file with one user.
func userFile(t *testing.T, name, password string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "users")
	if err := users.Edit(file, nil, func(l *users.List) error { return l.Set(name, []byte(password)) }); err != nil {
		t.Fatal(err)
	}
	return file
}

// logIn waits for the form and fills it in.
func (b *tab) logIn(password string) {
	b.t.Helper()
	b.until("location.pathname === '/login' && document.activeElement.id === 'user' && document.activeElement.value === ''")
	b.shoot("login-1280-light")
	b.do(chromedp.KeyEvent("ann" + kb.Tab + password + kb.Enter))
}

func TestTheKeyboardIsEnough(t *testing.T) {
	m := newMill(t)
	m.start()
	b := newTab(t, m.web)
	sensor := dial(t, m.mqtt, "sensor-7")
	b.goTo("overview", "Overview")
	b.shows("gps")
	b.press(kb.Tab)
	b.until("document.activeElement.matches('.skip') && document.activeElement.getBoundingClientRect().top >= 0")
	b.press(kb.Enter)
	b.until("document.activeElement.id === 'main'")
	b.tabTo(".flow a[aria-label^='gps']")
	b.press(kb.Enter)
	b.until("document.querySelector('.page-adapters')")

	b.do(chromedp.Focus(chromedp.CSS(".brand")))
	b.tabTo("nav a[href='#/clients']")
	b.press(kb.Enter)
	b.shows("sensor-7")
	b.tabTo("#client-search")
	b.do(chromedp.KeyEvent("nobody"))
	b.shows("No client matches.")
	b.press(strings.Split(strings.Repeat(kb.Backspace, 6), "")...)
	b.shows("sensor-7")
	b.tabTo("button[aria-label='Kick sensor-7']")
	b.press(kb.Enter)
	b.until("document.querySelector('dialog[open]') && document.activeElement.textContent === 'Cancel'")
	b.press(kb.Escape)
	b.until("!document.querySelector('dialog') && document.activeElement.matches('[aria-label=\"Kick sensor-7\"]')")
	b.press(kb.Enter)
	b.until("document.querySelector('dialog[open]')")
	b.tabTo("dialog .danger")
	b.press(kb.Enter)
	sensor.closed()
	b.until("document.getElementById('said').textContent.includes('disconnected')")
}

// inStore changes a gateway's store before it starts.
func (r *running) inStore(change func(s *store.Store)) {
	r.t.Helper()
	s, err := store.Open(r.data, store.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.Run(ctx); err != nil {
			r.t.Error(err)
		}
	})
	change(s)
	stop()
	all.Wait()
}

// queue stores n messages for a consumer.
func queue(t *testing.T, s *store.Store, name string, ids store.IDs, n int, message func(i int) *store.Message) {
	t.Helper()
	c, err := s.Consumer(name, ids)
	if err != nil {
		t.Fatal(err)
	}
	var last store.Receipt
	for i := range n {
		if last, err = s.Publish(message(i), []store.Target{{Consumer: c, QoS: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Wait(t.Context(), last); err != nil {
		t.Fatal(err)
	}
}

func TestDeadLettersAreShownExportedAndPurged(t *testing.T) {
	m := newMill(t)
	m.inStore(func(s *store.Store) {
		dead := &store.Message{Topic: "site/hall/big", Payload: []byte("too much"), QoS: 1}
		dead.Props = packet.AppendUserProp(dead.Props, store.DeadReason, "refused: packet too large")
		dead.Props = packet.AppendUserProp(dead.Props, store.DeadQueue, "bridge/dark/0")
		queue(t, s, "bridge/dark/dead", store.SessionIDs, 1, func(int) *store.Message { return dead })
	})
	m.start()
	b := newTab(t, m.web)
	b.goTo("queue", "Queue")
	look := `button[aria-label="Look into bridge/dark/dead"]`
	b.until(fmt.Sprintf("document.querySelector(%q)", look))
	b.do(chromedp.Click(chromedp.CSS(look)))
	b.shows("site/hall/big", "too much", "refused: packet too large")
	b.until(`document.querySelector(".look a").getAttribute("href") === "/v1/messages?queue=bridge%2Fdark%2Fdead"`)
	b.do(chromedp.Click(chromedp.CSS(".look .danger")))
	b.shows("Purge bridge/dark/dead?", "1 message now")
	b.do(chromedp.Click(chromedp.CSS("dialog .danger")))
	b.shows("Nothing waits.", "1 purged")
	b.until(`document.querySelector("section[aria-labelledby=part-gaps]").innerText.includes("purged")`)
}

func TestAGatewayThatIsGoneIsSaidToBe(t *testing.T) {
	m := newMill(t)
	m.start()
	b := newTab(t, m.web)
	b.lossy = true
	b.goTo("overview", "Overview")
	b.shows("mill-3", "problem")
	b.until("document.getElementById('lost').hidden")
	m.end()
	b.shows("Connection lost", "The connection to the gateway is lost; it is tried again and again. What is shown is from")
	b.shoot("lost-1280-light")
	if b.streams() > 1 {
		t.Errorf("%d streams of events are open", b.streams())
	}
	m.start()
	b.until("document.getElementById('lost').hidden && document.getElementById('link').textContent.includes('problem')")
}

func TestNobodyAsksWhileNobodyLooks(t *testing.T) {
	m := newMill(t)
	m.start()
	b := newTab(t, m.web)
	b.goTo("bridges", "Bridges")
	b.shows("dark")
	await(t, "one stream of events", func() bool { return b.streams() == 1 })
	if n := b.asked("/v1/topics") + b.asked("/v1/adapters") + b.asked("/v1/clients"); n > 0 {
		t.Errorf("%d requests for pages that are not shown", n)
	}
	hide := func(hidden bool) {
		eval[bool](b, fmt.Sprintf(`Object.defineProperty(document, "hidden", {value: %v, configurable: true}); document.dispatchEvent(new Event("visibilitychange"))`, hidden))
	}
	hide(true)
	b.shows("Paused")
	await(t, "the stream has ended", func() bool { return b.streams() == 0 })
	before := b.asked("/v1/bridges")
	eval[bool](b, "setTimeout(() => document.body.dataset.later = 1, 2500) > 0") // a page that is shown asks each 2 s
	b.until("document.body.dataset.later")
	if n := b.asked("/v1/bridges") - before; n > 0 {
		t.Errorf("%d requests of a page that is hidden", n)
	}
	hide(false)
	await(t, "one stream of events again", func() bool { return b.streams() == 1 })
	await(t, "the page asks again", func() bool { return b.asked("/v1/bridges") > before })
}
