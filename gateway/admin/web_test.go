package admin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"packetboat/adapters"
	"packetboat/bridge"
	"packetboat/broker"
	"packetboat/broker/store"
	"packetboat/broker/users"
)

// web is a server for operators and what it stands on.
type webRig struct {
	*Web
	t    testing.TB
	file string // of users
	now  time.Time
}

// newWeb makes a server at address for the users named, whose passwords are their
// names. carl is a user who may not log in there.
func newWeb(t testing.TB, address string, names ...string) *webRig {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.New(broker.Options{Store: s, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	r := &webRig{t: t, file: filepath.Join(t.TempDir(), "users"), now: time.Unix(1e9, 0)}
	for _, name := range append([]string{"carl"}, names...) {
		r.password(name, name)
	}
	u := users.New(users.Options{Path: r.file, Log: quiet, FailedLogins: 3})
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = s.Run(ctx) })
	all.Go(func() { _ = u.Run(ctx) })
	t.Cleanup(func() { stop(); all.Wait() })
	local := Local{Store: s}
	api := &Server{
		Local: local, Broker: b, Log: quiet, Logs: new(LogRing), Recorder: &Recorder{Take: func() Sample { return Sample{} }},
		Status:        func() *Status { return &Status{ID: "gw", Problems: []Problem{}, Disk: DiskOf(s), Bridges: []Bridge{}} },
		Reload:        func(context.Context) (Changes, error) { return Changes{}, nil },
		Wear:          func() *Wear { return &Wear{Today: 5, Budget: 7, Days: []WearDay{}} },
		Configuration: func() *Configuration { return new(Configuration) },
		Bridges:       func() *Bridges { return &Bridges{Bridges: []BridgeDetails{}} },
		Reset:         local.ResetBridge,
	}
	api.Adapters = func() []adapters.Adapter { return r.Web.opt.Sources.Adapters() }
	r.Web = NewWeb(WebOptions{
		API: api,
		Sources: Sources{ID: "gw", Version: "v", Broker: b, Store: s, Users: u, Wear: api.Wear,
			Bridges: func() []*bridge.Bridge { return nil }, Adapters: theAdapters(fakeAdapter{new(adapters.Recent)})},
		Alive: func(context.Context) error { return nil }, Ready: func() error { return nil },
		Address: address, Serves: func(host string) bool { return host == "gw.lan" },
		Users: u, Names: names, Log: quiet, Now: func() time.Time { return r.now },
	})
	return r
}

type fakeAdapter struct{ recent *adapters.Recent }

func (fakeAdapter) Kind() string               { return "serial" }
func (f fakeAdapter) Recent() *adapters.Recent { return f.recent }

func (fakeAdapter) Name() string              { return "scale" }
func (fakeAdapter) Run(context.Context) error { return nil }
func (fakeAdapter) Close()                    {}
func (fakeAdapter) Stats() adapters.Stats {
	return adapters.Stats{Ready: true, Published: 7, LastFrame: time.Unix(5, 0)}
}

func (r *webRig) password(name, password string) {
	r.t.Helper()
	if err := users.Edit(r.file, nil, func(l *users.List) error { return l.Set(name, []byte(password)) }); err != nil {
		r.t.Fatal(err)
	}
}

// asks is a request and who makes it.
type asks struct {
	method, path string // GET, /v1/status
	host         string // 127.0.0.1:8580
	from         string // 127.0.0.1:40000
	tls          bool
	basic        string // name:password
	cookie       string
	form         string
	body         string
	header       http.Header
}

func (r *webRig) do(a asks) *http.Response {
	r.t.Helper()
	def := func(v *string, d string) {
		if *v == "" {
			*v = d
		}
	}
	def(&a.method, "GET")
	def(&a.path, "/v1/status")
	def(&a.host, "127.0.0.1:8580")
	def(&a.from, "127.0.0.1:40000")
	req := httptest.NewRequestWithContext(r.t.Context(), a.method, "http://"+a.host+a.path, strings.NewReader(a.form+a.body))
	if a.form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.RemoteAddr = a.from
	if a.tls {
		req.TLS = &tls.ConnectionState{}
	}
	for k, v := range a.header {
		req.Header[k] = v
	}
	if name, password, ok := strings.Cut(a.basic, ":"); ok {
		req.SetBasicAuth(name, password)
	}
	if a.cookie != "" {
		req.Header.Add("Cookie", a.cookie)
	}
	w := httptest.NewRecorder()
	r.routes.ServeHTTP(w, req)
	return w.Result()
}

func head(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestWhoMayDoWhatByHTTP(t *testing.T) {
	own := head(ownHeader, "1")
	post := func(a asks) asks { a.method, a.path, a.body = "POST", "/v1/reload", ""; return a }
	loopback, guarded, remote := newWeb(t, "127.0.0.1:8580"), newWeb(t, "127.0.0.1:8580", "ann"), newWeb(t, "192.168.1.5:8580", "ann")
	lan := func(a asks) asks {
		a.from, a.tls = "192.168.1.9:40000", true
		if a.host == "" {
			a.host = "192.168.1.5:8580"
		}
		return a
	}
	for _, c := range []struct {
		name string
		web  *webRig
		asks asks
		want int
	}{
		// On loopback, without users.
		{"anybody on the machine looks", loopback, asks{}, 200},
		{"by the name of loopback", loopback, asks{host: "localhost:8580"}, 200},
		{"by IPv6", loopback, asks{host: "[::1]:8580"}, 200},
		{"without a port", loopback, asks{host: "127.0.0.1"}, 200},
		{"with a dot behind the name", loopback, asks{host: "localhost.:8580"}, 200},
		{"a name that was made to resolve to loopback", loopback, asks{host: "evil.example:8580"}, 421},
		{"a name that begins like loopback", loopback, asks{host: "localhost.evil.example"}, 421},
		{"another address", loopback, asks{host: "192.168.1.5:8580"}, 421},
		{"a change by a script", loopback, post(asks{header: own}), 200},
		{"a change by a script that does not say so", loopback, post(asks{}), 403},
		{"a change by the page", loopback, post(asks{header: head(ownHeader, "1", "Sec-Fetch-Site", "same-origin", "Origin", "http://127.0.0.1:8580")}), 200},
		{"a change by a page of elsewhere", loopback, post(asks{header: head(ownHeader, "1", "Sec-Fetch-Site", "cross-site")}), 403},
		{"a change by a page of another port", loopback, post(asks{header: head(ownHeader, "1", "Sec-Fetch-Site", "same-site")}), 403},
		{"a change by a page of elsewhere in an old browser", loopback, post(asks{header: head(ownHeader, "1", "Origin", "http://evil.example")}), 403},
		{"a change by a page of nowhere", loopback, post(asks{header: head(ownHeader, "1", "Origin", "null")}), 403},
		{"a change by a page whose name resolves to here", loopback, post(asks{host: "evil.example", header: head(ownHeader, "1", "Sec-Fetch-Site", "same-origin")}), 421},
		{"a form of a page of elsewhere", loopback, post(asks{form: "a=b", header: head("Origin", "http://evil.example")}), 403},
		{"a form of no page", loopback, post(asks{form: "a=b"}), 403},
		{"looking by a page of elsewhere, which cannot read it", loopback, asks{header: head("Sec-Fetch-Site", "cross-site")}, 200},
		{"the question of a browser whether a page may", loopback, asks{method: "OPTIONS", header: head("Origin", "http://evil.example")}, 405},
		{"a method that nobody uses", loopback, asks{method: "DELETE", header: own}, 405},
		{"tracing", loopback, asks{method: "TRACE"}, 405},
		{"a login where nobody needs to", loopback, asks{method: "POST", path: "/login", form: "user=ann&password=ann"}, 404},

		// On loopback, with users.
		{"nobody looks", guarded, asks{}, 401},
		{"a user looks", guarded, asks{basic: "ann:ann"}, 200},
		{"a user changes", guarded, post(asks{basic: "ann:ann", header: own}), 200},
		{"a user's browser is made to", guarded, post(asks{basic: "ann:ann", header: head("Origin", "http://evil.example")}), 403},
		{"a user without the header", guarded, post(asks{basic: "ann:ann"}), 403},
		{"nobody changes", guarded, post(asks{header: own}), 401},
		{"a user who is not named", guarded, asks{basic: "carl:carl"}, 403},
		{"a cookie that is none of ours", guarded, asks{cookie: "packetboat=x"}, 401},
		{"nobody reads metrics", guarded, asks{path: "/metrics"}, 401},
		{"a user reads metrics", guarded, asks{path: "/metrics", basic: "ann:ann"}, 200},
		{"nobody wants the page", guarded, asks{path: "/"}, 303},
		{"nobody wants the login", guarded, asks{path: "/login"}, 200},
		{"health is for everybody", guarded, asks{path: "/healthz"}, 200},
		{"readiness is for everybody", guarded, asks{path: "/readyz"}, 200},
		{"but not for names of elsewhere", guarded, asks{path: "/healthz", host: "evil.example"}, 421},
		{"what is not there says nothing to nobody", guarded, asks{path: "/nothing"}, 401},
		{"what is not there", guarded, asks{path: "/nothing", basic: "ann:ann"}, 404},
		{"what is not there in the API", guarded, asks{path: "/v1/nothing", basic: "ann:ann"}, 404},
		{"a path that goes up", guarded, asks{path: "/v1/../page/base.css"}, 401},

		// In the network.
		{"a neighbour looks", remote, lan(asks{}), 401},
		{"a user in the network", remote, lan(asks{basic: "ann:ann"}), 200},
		{"a user in the network changes", remote, lan(post(asks{basic: "ann:ann", header: own})), 200},
		{"by the name in the certificate", remote, lan(asks{basic: "ann:ann", host: "gw.lan:8580"}), 200},
		{"by a name of elsewhere", remote, lan(asks{basic: "ann:ann", host: "evil.example"}), 421},
		{"by another address of the machine", remote, lan(asks{basic: "ann:ann", host: "10.0.0.5:8580"}), 200},
		{"by a page of elsewhere", remote, lan(post(asks{basic: "ann:ann", header: head(ownHeader, "1", "Origin", "https://evil.example")})), 403},
		{"a user of the machine itself needs to log in as well", remote, asks{tls: true}, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := c.web.do(c.asks)
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.want {
				t.Errorf("%d %s, want %d", resp.StatusCode, body, c.want)
			}
			for _, h := range headers {
				if got := resp.Header.Get(h[0]); got != h[1] {
					t.Errorf("%s: %q", h[0], got)
				}
			}
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("pages of %s may read this", got)
			}
		})
	}
}

func TestOnlyProgramsAreAskedForBasic(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580", "ann")
	if got := w.do(asks{}).Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Basic ") {
		t.Errorf("a program is told %q", got)
	}
	if got := w.do(asks{header: head("Sec-Fetch-Mode", "cors")}).Header.Get("WWW-Authenticate"); got != "" {
		t.Errorf("a page is told %q", got)
	}
}

// logIn sends the form and gives the cookie, as a browser sends it.
func (r *webRig) logIn(name, password string, more asks) (resp *http.Response, cookie string) {
	r.t.Helper()
	more.method, more.path = "POST", "/login"
	more.form = url.Values{"user": {name}, "password": {password}}.Encode()
	resp = r.do(more)
	for _, c := range resp.Cookies() {
		cookie = c.Name + "=" + c.Value
	}
	return resp, cookie
}

func TestABrowserLogsInAndOut(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580", "ann")
	resp, cookie := w.logIn("ann", "ann", asks{})
	if resp.StatusCode != 303 || resp.Header.Get("Location") != "/" || cookie == "" {
		t.Fatalf("%d, cookie %q", resp.StatusCode, cookie)
	}
	if c := resp.Cookies()[0]; !c.HttpOnly || c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Name != "packetboat" {
		t.Errorf("the cookie is %v", c)
	}
	if got := w.do(asks{cookie: cookie}).StatusCode; got != 200 {
		t.Errorf("status: %d", got)
	}
	page, _ := io.ReadAll(w.do(asks{path: "/", cookie: cookie}).Body)
	if !strings.Contains(string(page), "/logout") {
		t.Errorf("the page has no way out: %s", page)
	}
	change := asks{method: "POST", path: "/v1/reload", cookie: cookie}
	if got := w.do(change).StatusCode; got != 403 {
		t.Errorf("a change without the header: %d", got)
	}
	change.header = head(ownHeader, "1", "Origin", "http://evil.example")
	if got := w.do(change).StatusCode; got != 403 {
		t.Errorf("a change by a page of elsewhere: %d", got)
	}
	change.header = head(ownHeader, "1", "Sec-Fetch-Site", "same-origin")
	if got := w.do(change).StatusCode; got != 200 {
		t.Errorf("a change: %d", got)
	}
	if got := w.do(asks{method: "POST", path: "/logout", cookie: cookie, header: head("Sec-Fetch-Site", "cross-site")}).StatusCode; got != 403 {
		t.Errorf("a page of elsewhere logs out: %d", got)
	}
	out := w.do(asks{method: "POST", path: "/logout", cookie: cookie})
	if out.StatusCode != 303 || out.Cookies()[0].MaxAge >= 0 {
		t.Errorf("logout: %d %v", out.StatusCode, out.Cookies())
	}
	if got := w.do(asks{cookie: cookie}).StatusCode; got != 401 {
		t.Errorf("after logout: %d", got)
	}
}

func TestOverTLSTheCookieIsSecure(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580", "ann")
	resp, cookie := w.logIn("ann", "ann", asks{tls: true})
	if c := resp.Cookies()[0]; !c.Secure || c.Name != "__Host-packetboat" {
		t.Errorf("the cookie is %v", c)
	}
	if got := w.do(asks{tls: true, cookie: cookie}).StatusCode; got != 200 {
		t.Errorf("status: %d", got)
	}
	if got := w.do(asks{cookie: cookie}).StatusCode; got != 401 {
		t.Errorf("without TLS: %d", got)
	}
}

func TestALoginThatFails(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580", "ann")
	for _, c := range []struct {
		name, password string
		header         http.Header
		want           int
		text           string
	}{
		{"ann", "bob", nil, 401, "Wrong name or password"},
		{"eve", "ann", nil, 401, "Wrong name or password"},
		{"carl", "carl", nil, 403, "admin.users does not name it"},
		{"ann", "ann", head("Origin", "http://evil.example"), 403, "another origin"},
		{"ann", strings.Repeat("x", maxForm), nil, 400, "could not be read"},
	} {
		resp, cookie := w.logIn(c.name, c.password, asks{header: c.header})
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != c.want || !strings.Contains(string(body), c.text) || cookie != "" {
			t.Errorf("%s with %.9s: %d %s, cookie %q", c.name, c.password, resp.StatusCode, body, cookie)
		}
	}
}

func TestTooManyFailedLoginsAreRefusedForThatAddressAlone(t *testing.T) {
	w := newWeb(t, "192.168.1.5:8580", "ann")
	a := asks{tls: true, host: "192.168.1.5", from: "192.168.1.66:1", basic: "ann:guess"}
	for range 3 {
		if got := w.do(a).StatusCode; got != 401 {
			t.Fatalf("a wrong password: %d", got)
		}
	}
	resp := w.do(a)
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "60" {
		t.Errorf("by Basic: %d, retry after %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	a.basic = ""
	resp, _ = w.logIn("ann", "ann", a)
	if resp.StatusCode != 429 {
		t.Errorf("by the form: %d", resp.StatusCode)
	}
	a.from, a.basic = "192.168.1.67:1", "ann:ann"
	if got := w.do(a).StatusCode; got != 200 {
		t.Errorf("another address: %d", got)
	}
}

func TestASessionEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(w *webRig, cookie string)
		want int
	}{
		{"not at once", func(*webRig, string) {}, 200},
		{"when it is not used", func(w *webRig, _ string) { w.now = w.now.Add(sessionIdle) }, 401},
		{"not while it is used", func(w *webRig, cookie string) {
			for range 5 {
				w.now = w.now.Add(sessionIdle - time.Second)
				w.do(asks{cookie: cookie})
			}
		}, 200},
		{"after half a day, however much it is used", func(w *webRig, cookie string) {
			for range 25 {
				w.now = w.now.Add(sessionIdle - time.Second)
				w.do(asks{cookie: cookie})
			}
		}, 401},
		{"when the password is changed", func(w *webRig, _ string) { w.password("ann", "another") }, 401},
		{"when the user is gone", func(w *webRig, _ string) {
			if err := users.Edit(w.file, nil, func(l *users.List) error {
				if !l.Remove("ann") {
					return errors.New("no ann")
				}
				return nil
			}); err != nil {
				w.t.Fatal(err)
			}
		}, 401},
		{"not when another user is changed", func(w *webRig, _ string) { w.password("carl", "another") }, 200},
		{"when too many others begin", func(w *webRig, _ string) {
			for range maxSessions {
				w.now = w.now.Add(time.Second)
				w.logIn("ann", "ann", asks{})
			}
			if n := len(w.sessions.by); n != maxSessions {
				w.t.Errorf("%d sessions", n)
			}
		}, 401},
		{"when the browser logs in again", func(w *webRig, cookie string) { w.logIn("ann", "ann", asks{cookie: cookie}) }, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWeb(t, "127.0.0.1:8580", "ann")
			_, cookie := w.logIn("ann", "ann", asks{})
			c.then(w, cookie)
			if got := w.do(asks{cookie: cookie}).StatusCode; got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}

func TestHealthSaysWhyNot(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580")
	w.opt.Alive = func(ctx context.Context) error { <-ctx.Done(); return errors.New("the router makes no progress") }
	w.opt.Ready = func() error { return errors.New("1 of 2 listeners are not open") }
	synctest.Test(t, func(t *testing.T) {
		for path, want := range map[string]string{"/healthz": "the router makes no progress\n", "/readyz": "1 of 2 listeners are not open\n"} {
			rec := httptest.NewRecorder()
			w.routes.ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost"+path, nil))
			if rec.Code != 503 || rec.Body.String() != want {
				t.Errorf("%s: %d %q", path, rec.Code, rec.Body)
			}
		}
	})
}

func TestThePagesAskNobodyElse(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580")
	paths := map[string]string{"/": "text/html"}
	err := fs.WalkDir(pages, "page", func(name string, d fs.DirEntry, err error) error {
		if kind, ok := kinds[path.Ext(name)]; ok {
			paths["/"+name] = kind
		}
		return err
	})
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for path, kind := range paths {
		resp := w.do(asks{path: path})
		body, _ := io.ReadAll(resp.Body)
		text := string(body)
		if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), kind) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		text = strings.ReplaceAll(text, `"http://www.w3.org/2000/svg"`, "")
		for _, bad := range []string{"http:", "https:", "//cdn", "<script>", " style=", " onclick=", "innerHTML", "eval(", "/logout"} {
			if !strings.HasPrefix(path, "/page/vendor/") && strings.Contains(text, bad) {
				t.Errorf("%s has %s", path, bad)
			}
		}
	}
	for _, path := range []string{"/page/", "/page/index.html", "/page/login.html", "/page/vendor/uplot-1.6.32/LICENSE", "/page/none.js", "/page/../web.go"} {
		if resp := w.do(asks{path: path}); resp.StatusCode == 200 {
			t.Errorf("%s is served", path)
		}
	}
}

func TestTheStatusIsWhatTheSocketSays(t *testing.T) {
	w := newWeb(t, "127.0.0.1:8580")
	var st Status
	if err := json.NewDecoder(w.do(asks{}).Body).Decode(&st); err != nil || st.ID != "gw" {
		t.Errorf("%+v, %v", st, err)
	}
	if got := w.do(asks{method: "HEAD"}).StatusCode; got != 200 {
		t.Errorf("HEAD: %d", got)
	}
}

func theAdapters(list ...adapters.Adapter) func() []adapters.Adapter {
	return func() []adapters.Adapter { return list }
}
