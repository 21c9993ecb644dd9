package admin

import (
	"bytes"
	"embed"
	"net/http"
	"strings"
	"time"
)

// files are the pages: plain, with nothing from elsewhere.
//
//go:embed page/page.js page/page.css page/icon.svg
var files embed.FS

//go:embed page/overview.html
var overviewHTML string

//go:embed page/login.html
var loginHTML string

// overview answers with the state in words, which its script fetches.
func (w *Web) overview(rw http.ResponseWriter, _ *http.Request) {
	page := overviewHTML
	if len(w.opt.Names) == 0 { // nobody is logged in, so nobody logs out
		before, rest, _ := strings.Cut(page, "<!--logout-->")
		_, after, _ := strings.Cut(rest, "<!--/logout-->")
		page = before + after
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = rw.Write([]byte(page)) // the browser is gone if not
}

// file answers with a file of the pages.
func (w *Web) file(rw http.ResponseWriter, r *http.Request) {
	b, err := files.ReadFile("page" + r.URL.Path)
	if err != nil {
		refuse(rw, http.StatusNotFound, err)
		return
	}
	http.ServeContent(rw, r, r.URL.Path, time.Time{}, bytes.NewReader(b))
}
