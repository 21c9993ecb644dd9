package admin

import (
	"bytes"
	"embed"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"
)

// pages are the files of the dashboard as they are served, below /page/. Nothing is
// built from them, and they ask for nothing from elsewhere.
//
//go:embed page
var pages embed.FS

//go:embed page/index.html
var indexHTML string

//go:embed page/login.html
var loginHTML string

// kinds are the types of files that there are, whatever the machine thinks of
// their names: a browser is told not to guess, and runs no script of another type.
var kinds = map[string]string{
	".js":  "text/javascript; charset=utf-8",
	".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml",
}

// index answers with the frame of the dashboard; its scripts do the rest.
func (w *Web) index(rw http.ResponseWriter, _ *http.Request) {
	page := indexHTML
	if len(w.opt.Names) == 0 { // nobody is logged in, so nobody logs out
		before, rest, _ := strings.Cut(page, "<!--logout-->")
		_, after, _ := strings.Cut(rest, "<!--/logout-->")
		page = before + after
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = rw.Write([]byte(page)) // the browser is gone if not
}

// file answers with a file of the dashboard.
func (w *Web) file(rw http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	kind, served := kinds[path.Ext(name)]
	b, err := pages.ReadFile(name)
	if !served || err != nil {
		refuse(rw, http.StatusNotFound, fmt.Errorf("there is no file %s", r.URL.Path))
		return
	}
	rw.Header().Set("Content-Type", kind)
	http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(b))
}
