package admin

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"packetboat/broker/users"
)

// A refusal is why somebody is not let in.
type refusal struct {
	status int
	text   string
}

var (
	nobody   = &refusal{http.StatusUnauthorized, "log in: with HTTP Basic, or at /login"}
	wrong    = &refusal{http.StatusUnauthorized, "Wrong name or password."}
	tooMany  = &refusal{http.StatusTooManyRequests, "Too many logins have failed from your address: come back in a minute."}
	busy     = &refusal{http.StatusServiceUnavailable, "Too many log in just now: try again in a moment."}
	notNamed = &refusal{http.StatusForbidden, "This user may not log in here: admin.users does not name it."}
)

// loggedIn lets those in whom admin.users names, and says who asks for changes.
func (w *Web) loggedIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		user := ""
		if len(w.opt.Names) > 0 && !open(r.URL.Path) {
			var no *refusal
			if user, no = w.userOf(r); no != nil {
				w.turnAway(rw, r, no)
				return
			}
		}
		if r.Method == http.MethodPost && !open(r.URL.Path) {
			w.log.Info("a change is asked for by HTTP", "path", r.URL.Path, "user", user, "address", r.RemoteAddr)
		}
		next.ServeHTTP(rw, r)
	})
}

// turnAway sends a browser that wants a page to the login, and tells others.
func (w *Web) turnAway(rw http.ResponseWriter, r *http.Request, no *refusal) {
	if no == nobody && r.URL.Path == "/" {
		http.Redirect(rw, r, "/login", http.StatusSeeOther)
		return
	}
	if no.status == http.StatusUnauthorized && r.Header.Get("Sec-Fetch-Mode") == "" {
		rw.Header().Set("WWW-Authenticate", `Basic realm="packetboat", charset="UTF-8"`) // not to a page: the browser would ask
	}
	w.retryAfter(rw, no)
	refuse(rw, no.status, errors.New(no.text))
}

func (w *Web) retryAfter(rw http.ResponseWriter, no *refusal) {
	switch no {
	case tooMany:
		rw.Header().Set("Retry-After", "60")
	case busy:
		rw.Header().Set("Retry-After", "5")
	}
}

// userOf is who asks: by name and password, or by a session.
func (w *Web) userOf(r *http.Request) (user string, no *refusal) {
	if name, password, ok := r.BasicAuth(); ok {
		_, no := w.verify(r, name, password)
		return name, no
	}
	c, err := r.Cookie(cookieName(r))
	if err != nil {
		return "", nobody
	}
	s, ok := w.sessions.find(c.Value, w.now())
	if !ok {
		return "", nobody
	}
	if v, there := w.opt.Users.Version(s.user); !there || v != s.version {
		w.sessions.end(c.Value)
		return "", nobody
	}
	return s.user, nil
}

// verify checks a password, within the limits that MQTT logins have: those of
// failures from an address, and those of passwords that are looked at at a time.
// It gives the version of the user that was verified, or an older one.
func (w *Web) verify(r *http.Request, name, password string) (version uint64, no *refusal) {
	version, _ = w.opt.Users.Version(name) // before: a change meanwhile ends the session
	switch w.opt.Users.Login(name, []byte(password), peer(r), r.Context().Done()) {
	case users.Right:
		if !slices.Contains(w.opt.Names, name) {
			return 0, notNamed
		}
		return version, nil
	case users.Busy:
		return 0, busy
	case users.Refused:
		return 0, tooMany
	}
	return 0, wrong
}

// peer is the address that failures count for.
func peer(r *http.Request) netip.Addr {
	p, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}

// cookieName is that of the session. Of one with this prefix a browser knows that
// it came over TLS, and from this host itself.
func cookieName(r *http.Request) string {
	if r.TLS != nil {
		return "__Host-packetboat"
	}
	return "packetboat"
}

func cookie(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{
		Name: cookieName(r), Value: value, Path: "/", MaxAge: age,
		Secure: r.TLS != nil, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
}

func (w *Web) loginPage(rw http.ResponseWriter, r *http.Request) {
	if len(w.opt.Names) == 0 {
		http.Redirect(rw, r, "/", http.StatusSeeOther)
		return
	}
	w.showLogin(rw, http.StatusOK, "")
}

// maxForm bounds a name and a password.
const maxForm = 4 << 10

func (w *Web) login(rw http.ResponseWriter, r *http.Request) {
	if len(w.opt.Names) == 0 {
		refuse(rw, http.StatusNotFound, errors.New("nobody needs to log in here"))
		return
	}
	r.Body = http.MaxBytesReader(rw, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		w.showLogin(rw, http.StatusBadRequest, "The form could not be read.")
		return
	}
	name := r.PostForm.Get("user")
	version, no := w.verify(r, name, r.PostForm.Get("password"))
	if no != nil {
		w.retryAfter(rw, no)
		w.showLogin(rw, no.status, no.text)
		return
	}
	if old, err := r.Cookie(cookieName(r)); err == nil {
		w.sessions.end(old.Value)
	}
	w.log.Info("a browser has logged in", "user", name, "address", r.RemoteAddr)
	http.SetCookie(rw, cookie(r, w.sessions.begin(name, version, w.now()), 0))
	http.Redirect(rw, r, "/", http.StatusSeeOther)
}

func (w *Web) logout(rw http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(cookieName(r)); err == nil {
		w.sessions.end(c.Value)
	}
	http.SetCookie(rw, cookie(r, "", -1))
	http.Redirect(rw, r, "/login", http.StatusSeeOther)
}

// showLogin answers with the form, and one of the texts above.
func (w *Web) showLogin(rw http.ResponseWriter, status int, text string) {
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	rw.WriteHeader(status)
	_, _ = rw.Write([]byte(strings.Replace(loginHTML, "<!--message-->", text, 1))) // the browser is gone if not
}
