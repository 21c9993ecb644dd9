package admin

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// FuzzRequest has the server answer what net/http takes for a request: nobody is
// let in who does not log in, and nothing breaks.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /v1/messages?queue=bridge%2Fa%2F0&last=-1 HTTP/1.1\r\nHost: 127.0.0.1:8580\r\n\r\n",
		"GET //v1/../login HTTP/1.1\r\nHost: [::1]:1\r\n\r\n",
		"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 15\r\n\r\nuser=a&password",
		"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 3\r\n\r\n--x",
		"POST /v1/purge HTTP/1.1\r\nHost: localhost\r\nX-Packetboat: 1\r\nContent-Length: 13\r\n\r\n{\"queue\":\"a\"}",
		"POST /v1/purge HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nAuthorization: Basic Og==\r\nContent-Length: 0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: packetboat=x; __Host-packetboat=y\r\n\r\n",
		"CONNECT evil:1 HTTP/1.1\r\nHost: evil:1\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		f.Add(s)
	}
	w := newWeb(f, "127.0.0.1:8580", "ann")
	f.Fuzz(func(t *testing.T, text string) {
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		req.RemoteAddr = "127.0.0.1:1"
		rec := httptest.NewRecorder()
		w.routes.ServeHTTP(rec, req)
		if rec.Code == http.StatusOK && !open(req.URL.Path) {
			t.Errorf("%q: %d %s", text, rec.Code, rec.Body)
		}
		if rec.Code >= 500 && rec.Code != http.StatusServiceUnavailable {
			t.Errorf("%q: %d %s", text, rec.Code, rec.Body)
		}
	})
}

// FuzzAPI has the API answer requests that are let in: each with JSON, and with no
// failure of ours.
func FuzzAPI(f *testing.F) {
	for _, s := range [][3]string{
		{"POST", "/v1/purge", `{"queue": "bridge/a/0"}`},
		{"POST", "/v1/rename", `{"from": "bridge/a", "to": "bridge/b"}`},
		{"POST", "/v1/rename", `{"from": "bridge", "to": ""}`},
		{"POST", "/v1/rename", `{"from": "", "to": "bridge/"}`},
		{"POST", "/v1/bridges/reset", `{"bridge": "a"}`},
		{"POST", "/v1/bridges/reset", `[]`},
		{"GET", "/v1/messages?queue=bridge/a/0&last=18446744073709551615", ""},
		{"GET", "/v1/messages?queue=%00&last=1e3", ""},
		{"GET", "/v1/queues", ""},
		{"GET", "/v1/clients?match=%ff&limit=1", ""},
		{"POST", "/v1/clients/kick", `{"client": "\u0000"}`},
		{"GET", "/v1/topics?match=a&limit=20001", ""},
		{"GET", "/v1/log?last=0", ""},
		{"GET", "/v1/adapters", ""},
		{"GET", "/v1/history", ""},
		{"POST", "/v1/import?queue=bridge/a/0&import=1&end", "{\"topic\":\"a\",\"text\":\"\"}\n{}"},
		{"POST", "/v1/import?queue=bridge/a/0&import=1&messages=9223372036854775807&bytes=9223372036854775807", ""},
	} {
		f.Add(s[0], s[1], s[2])
	}
	w := newWeb(f, "127.0.0.1:8580", "ann")
	api := w.opt.API.handler()
	f.Fuzz(func(t *testing.T, method, path, body string) {
		req, err := http.NewRequest(method, "http://localhost/", strings.NewReader(body))
		if err != nil {
			return
		}
		if u, err := req.URL.Parse(path); err == nil && strings.HasPrefix(u.Path, "/v1/") && u.Path != "/v1/events" { // which does not end
			req.URL = u
		} else {
			return
		}
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, req)
		redirect := rec.Code >= 300 && rec.Code < 400 // to the path without dots
		if rec.Code >= 500 && rec.Code != http.StatusInsufficientStorage || !redirect && !strings.HasPrefix(rec.Body.String(), "{") {
			t.Errorf("%s %s %q: %d %s", method, path, body, rec.Code, rec.Body)
		}
	})
}

// FuzzHost: a name that is taken for ours is loopback, an address, or one that we
// know.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"localhost", "localhost:1", "127.0.0.1", "[::1]:80", "[::ffff:127.0.0.1]", "::1", "a:b:c", "localhost.", ".", "[", "]:", "%", "evil.example", "127.0.0.1.evil.example", "LOCALHOST:8580"} {
		f.Add(s)
	}
	w := &Web{opt: WebOptions{Serves: func(string) bool { return false }}}
	f.Fuzz(func(t *testing.T, text string) {
		host := hostOf(text)
		ip, err := netip.ParseAddr(host)
		local := strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
		if got := w.known(host, "127.0.0.1"); got != local {
			t.Errorf("on loopback, %q: %v", text, got)
		}
		if got := w.known(host, "192.168.1.5"); got != (local || err == nil) {
			t.Errorf("in the network, %q: %v", text, got)
		}
	})
}
