package admin

import (
	"context"
	"io"
	"net/http"
	"time"
)

// aliveWithin is how long a router may take for a sign of life.
const aliveWithin = 2 * time.Second

// healthz answers 200 while the router makes progress: a gateway of which that
// is not so should be restarted.
func (w *Web) healthz(rw http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), aliveWithin)
	defer cancel()
	sayHealth(rw, w.opt.Alive(ctx))
}

// readyz answers 200 while devices can be served. A cloud that is away is no
// reason to say otherwise: the queue is there for that.
func (w *Web) readyz(rw http.ResponseWriter, _ *http.Request) { sayHealth(rw, w.opt.Ready()) }

func sayHealth(rw http.ResponseWriter, err error) {
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	text := "ok\n"
	if err != nil {
		rw.WriteHeader(http.StatusServiceUnavailable)
		text = err.Error() + "\n"
	}
	_, _ = io.WriteString(rw, text) // who asked is gone if not
}
