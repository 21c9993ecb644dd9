package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"packetboat/adapters"
	"packetboat/broker"
	"packetboat/broker/store"
)

// Server serves the API.
type Server struct {
	Local
	Broker *broker.Broker
	Status func() *Status
	// Reload has the gateway read its configuration again and act on it.
	Reload func(ctx context.Context) (Changes, error)
	// BetweenReloads calls its argument while no bridge or adapter comes or goes; nil:
	// none does.
	BetweenReloads func(ctx context.Context, f func()) error
	// Bridges is how the bridges that run are.
	Bridges func() *Bridges
	// Adapters are those that run.
	Adapters func() []adapters.Adapter
	// Reset is Local.ResetBridge, of a bridge that may run.
	Reset func(ctx context.Context, bridge string) (Reset, error)
	Log   *slog.Logger

	// Configuration is what the gateway runs with.
	Configuration func() *Configuration

	Wear func() *Wear

	Logs     *LogRing  // what Log has told
	Recorder *Recorder // somebody runs it

	watching  watching
	importing imports
	verifying turn // each reads the whole log, and applies it again in memory
}

// Listen opens the socket at path for whoever may write to it: the owner and the
// group of this process. A socket that a dead process has left is removed; one
// on which somebody answers is an error.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("%w; give the service RuntimeDirectory=packetboat, or set admin.socket", err)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("listen on %s: another gateway answers there; set admin.socket for this one", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove the socket of a gateway that is gone: %w", err)
		}
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// Serve answers on ln until ctx ends and every request has ended; it closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	if err := serve(ctx, srv, ln, s.Log); err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	return nil
}

func (s *Server) handler() *routes {
	mux := newRoutes()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Status()) })
	mux.HandleFunc("GET /v1/queues", func(w http.ResponseWriter, r *http.Request) {
		q, err := s.Queues(r.Context())
		answer(w, q, err)
	})
	mux.HandleFunc("GET /v1/messages", s.messages)
	mux.HandleFunc("POST /v1/verify", s.verify)
	mux.HandleFunc("POST /v1/rename", s.rename)
	mux.HandleFunc("POST /v1/purge", s.purge)
	mux.HandleFunc("POST /v1/replay", s.replay)
	mux.HandleFunc("POST "+importPath, s.importBatch)
	mux.HandleFunc("POST /v1/reload", func(w http.ResponseWriter, r *http.Request) {
		did, err := s.Reload(r.Context())
		answer(w, did, err)
	})
	mux.HandleFunc("GET /v1/bridges", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Bridges()) })
	mux.HandleFunc("POST /v1/bridges/reset", s.reset)
	mux.HandleFunc("GET /v1/clients", s.clients)
	mux.HandleFunc("POST /v1/clients/kick", s.kick)
	mux.HandleFunc("GET /v1/adapters", s.adapters)
	mux.HandleFunc("GET /v1/topics", s.topics)
	mux.HandleFunc("GET /v1/history", s.history)
	mux.HandleFunc("GET /v1/log", s.logLines)
	mux.HandleFunc("GET /v1/config", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Configuration()) })
	mux.HandleFunc("GET /v1/wear", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Wear()) })
	mux.HandleFunc("GET /v1/events", s.events)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, fmt.Errorf("there is no %s %s", r.Method, r.URL.Path))
	})
	return mux
}

// line is one of a reply in JSON Lines.
type line struct {
	Message  *Message      `json:"message,omitempty"`
	Progress *progress     `json:"progress,omitempty"`
	Result   *Verification `json:"result,omitempty"`
	Error    string        `json:"error,omitempty"`
	End      bool          `json:"end,omitempty"` // nothing is missing
}

type progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

func (s *Server) messages(w http.ResponseWriter, r *http.Request) {
	last, err := strconv.ParseUint(r.URL.Query().Get("last"), 10, 64)
	if err != nil && r.URL.Query().Get("last") != "" {
		refuse(w, http.StatusBadRequest, fmt.Errorf("last: %w", err))
		return
	}
	out := json.NewEncoder(w)
	sent := false
	err = s.Messages(r.Context(), r.URL.Query().Get("queue"), last, func(m *Message) error {
		sent = true
		return out.Encode(line{Message: m})
	})
	switch {
	case err == nil:
		_ = out.Encode(line{End: true}) // the client is gone if not
	case !sent:
		fail(w, err)
	default:
		_ = out.Encode(line{Error: err.Error()})
	}
}

const progressEvery = 200 * time.Millisecond

func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	if !s.verifying.take(r.Context()) {
		return // nobody waits for an answer any more
	}
	defer s.verifying.give()
	out, flush := json.NewEncoder(w), http.NewResponseController(w)
	var told time.Time
	v, err := s.Verify(r.Context(), func(done, total int64) {
		if time.Since(told) < progressEvery && done < total {
			return
		}
		told = time.Now()
		_ = out.Encode(line{Progress: &progress{done, total}})
		_ = flush.Flush()
	})
	if err != nil {
		_ = out.Encode(line{Error: err.Error()})
		return
	}
	_ = out.Encode(line{Result: v})
}

const maxRequest = 64 << 10

func (s *Server) rename(w http.ResponseWriter, r *http.Request) {
	var q struct{ From, To string }
	if !read(w, r, &q) {
		return
	}
	// A bridge that began to use a queue after it was looked for would have another one.
	var names []string
	var err error
	rename := func() { names, err = s.Rename(r.Context(), q.From, q.To) }
	if s.BetweenReloads == nil {
		rename()
	} else if e := s.BetweenReloads(r.Context(), rename); e != nil {
		err = e
	}
	if err == nil {
		s.Log.Info("queues renamed by an operator", "from", q.From, "to", q.To)
	}
	answer(w, map[string][]string{"renamed": names}, err)
}

func (s *Server) purge(w http.ResponseWriter, r *http.Request) {
	var q struct{ Queue string }
	if !read(w, r, &q) {
		return
	}
	n, err := s.Purge(r.Context(), q.Queue)
	if err == nil {
		s.Log.Warn("a queue was purged by an operator", "queue", q.Queue, "messages", n)
	}
	answer(w, map[string]uint64{"purged": n}, err)
}

func (s *Server) replay(w http.ResponseWriter, r *http.Request) {
	var q struct{ Queue string }
	if !read(w, r, &q) {
		return
	}
	n, err := s.Replay(r.Context(), q.Queue)
	if n > 0 {
		s.Log.Info("dead letters were queued again by an operator", "queue", q.Queue, "messages", n)
	}
	if err != nil && n > 0 {
		err = fmt.Errorf("%w; %d were queued again", err, n)
	}
	answer(w, map[string]uint64{"replayed": n}, err)
}

func (s *Server) reset(w http.ResponseWriter, r *http.Request) {
	var q struct{ Bridge string }
	if !read(w, r, &q) {
		return
	}
	did, err := s.Reset(r.Context(), q.Bridge)
	if err == nil {
		s.Log.Info("the session of a bridge was reset by an operator", "bridge", q.Bridge, "waiting", did.Waiting)
	}
	answer(w, did, err)
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("the request is no such JSON: %w", err))
		return false
	}
	return true
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, v)
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, err error) { refuse(w, statusOf(err), err) }

func statusOf(err error) int {
	status := http.StatusInternalServerError
	var of *LineError
	var request *requestError
	switch {
	case errors.Is(err, ErrNoQueue), errors.Is(err, ErrNoBridge), errors.Is(err, ErrNoClient):
		status = http.StatusNotFound
	case errors.Is(err, ErrKind), errors.Is(err, ErrNotDead):
		status = http.StatusBadRequest
	case errors.Is(err, ErrInUse), errors.Is(err, store.ErrExists):
		status = http.StatusConflict
	case errors.Is(err, store.ErrFull), errors.Is(err, ErrDoesNotFit):
		status = http.StatusInsufficientStorage
	case errors.Is(err, store.ErrFailed), errors.Is(err, context.Canceled):
		status = http.StatusServiceUnavailable
	case errors.As(err, &of), errors.As(err, &request), errors.Is(err, ErrDeadQueue):
		status = http.StatusBadRequest
	}
	return status
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(line{Error: err.Error()})
}
