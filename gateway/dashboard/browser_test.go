package dashboard

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var (
	full  = flag.Bool("full", false, "run with the full numbers of the acceptance list")
	shots = flag.String("shots", "", "leave pictures of the pages in this `directory`")
)

// browser is the Chromium of all tests; nil: there is none.
var browser context.Context

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(withBrowser(m))
}

func withBrowser(m *testing.M) int {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return m.Run() // each test says that it is skipped
	}
	dir, err := os.MkdirTemp("", "packetboat-chromium-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(dir), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))...)
	defer stop()
	ctx, end := chromedp.NewContext(allocator)
	defer end()
	if err := chromedp.Do(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "start %s: %v\n", path, err)
		return 1
	}
	browser = ctx
	return m.Run()
}

// needBrowser skips a test where there is no browser.
func needBrowser(t *testing.T) {
	t.Helper()
	if browser == nil {
		t.Skip("SKIPPED: there is no chromium (scripts/test installs it)")
	}
}

// tab is a page of the browser, without cookies of others. At the end of its test
// it fails it when something was written to the console, the security policy was
// violated, or a request went elsewhere.
type tab struct {
	t    *testing.T
	ctx  context.Context
	end  func() // closes it
	base string // http://127.0.0.1:…
	size look

	mu       sync.Mutex
	requests []string // paths, of requests so far
	strange  []string
	open     map[network.RequestID]string // requests that have not ended
	lossy    bool                         // requests may fail
}

func newTab(t *testing.T, base string) *tab {
	t.Helper()
	ctx, end := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(end)
	b := &tab{t: t, ctx: ctx, end: end, base: base, open: map[network.RequestID]string{}}
	messages := chromedp.Console(ctx)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for m, err := range messages {
			if err != nil {
				return
			}
			b.said(m)
		}
	}()
	if err := chromedp.Listen(ctx, b.event); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	b.look(1280, 800, "light")
	t.Cleanup(func() {
		end()
		<-read
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, s := range b.strange {
			t.Error(s)
		}
	})
	return b
}

func (b *tab) said(m chromedp.ConsoleMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lossy && m.Source == "network" {
		return
	}
	b.strange = append(b.strange, fmt.Sprintf("the console has: %s (%s line %d)", m.Text, m.URL, m.Line+1))
}

func (b *tab) event(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev := ev.(type) {
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(ev.Request.URL)
		if err != nil || u.Scheme+"://"+u.Host != b.base {
			b.strange = append(b.strange, "a request goes to "+ev.Request.URL)
			return
		}
		b.requests = append(b.requests, u.Path)
		b.open[ev.RequestID] = u.Path
	case *network.EventLoadingFinished:
		delete(b.open, ev.RequestID)
	case *network.EventLoadingFailed:
		delete(b.open, ev.RequestID)
	}
}

// streams is how many streams of events are open.
func (b *tab) streams() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, path := range b.open {
		if path == "/v1/events" {
			n++
		}
	}
	return n
}

// asked is how many requests there were so far for paths that begin so.
func (b *tab) asked(prefix string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, path := range b.requests {
		if strings.HasPrefix(path, prefix) {
			n++
		}
	}
	return n
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v; the page has:\n%s", err, b.text())
	}
}

// eval gives the value of an expression of the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// text is what the page shows.
func (b *tab) text() string {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText"))
	if err != nil {
		return err.Error()
	}
	return s
}

// until waits until an expression of the page is true.
func (b *tab) until(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// An error is a page that is just being left, or has not come yet.
		if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")")); err == nil && ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.t.Fatalf("after %v, still not so: %s; the page has:\n%s", patience, expression, b.text())
		}
	}
}

// shows waits until the page has each of the texts, in small letters or large ones.
func (b *tab) shows(texts ...string) {
	b.t.Helper()
	for _, s := range texts {
		b.until(fmt.Sprintf("document.body.innerText.toLowerCase().includes(%q)", strings.ToLower(s)))
	}
}

// goTo goes to a page, and waits until it is there.
func (b *tab) goTo(page, title string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + "/#/" + page))
	b.until(fmt.Sprintf("document.getElementById('title').textContent === %q && document.querySelector('.page-%s')", title, page))
}

// A look is the size of the window and the colours that the system has.
type look struct {
	width, height int
	colours       string
}

// look sets them.
func (b *tab) look(width, height int, colours string) {
	b.t.Helper()
	b.size = look{width, height, colours}
	b.do(chromedp.EmulateViewport(int64(width), int64(height)))
	feature := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: colours}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: feature}); err != nil {
		b.t.Fatal(err)
	}
}

// press presses keys, one after the other.
func (b *tab) press(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		b.do(chromedp.KeyEvent(k))
	}
}

// tabTo presses Tab until what has the focus matches a selector.
func (b *tab) tabTo(selector string) {
	b.t.Helper()
	for range 60 {
		if eval[bool](b, fmt.Sprintf("document.activeElement.matches(%q)", selector)) {
			if !eval[bool](b, "document.activeElement.matches(':focus-visible')") {
				b.t.Errorf("%s has the focus, and nothing shows it", selector)
			}
			return
		}
		b.press(kb.Tab)
	}
	b.t.Fatalf("Tab does not lead to %s", selector)
}

// shoot leaves a picture, if pictures are wanted.
func (b *tab) shoot(name string) {
	b.t.Helper()
	if *shots == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
